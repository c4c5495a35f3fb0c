# ring3: two programs that do not know of each other, on one processor.  They run in ring 3, ask the kernel by INT 80h, and lose the
# processor to the timer.  A third tries HLT, which is not for ring 3.  Without paging, rings protect instructions but not memory.

.include "boot.inc"
.include "serial.inc"
.include "print.inc"
.include "idt.inc"
.include "pic.inc"
.include "task.inc"
.include "turns.inc"

main:
    call idt_init
    call pic_init
    call pit_init
    call task_init
    mov  dword ptr [handlers + IRQ0 * 4], on_tick
    mov  dword ptr [handlers + 13 * 4], on_protection
    mov  al, 0xFE           # OCW1: all masked but IR0
    out  PIC1_IMR, al

    say  "ring3: two tasks that wait for each other without asking\n"
    mov  ecx, 1
    mov  eax, task_1
    call spawn
    mov  ecx, 2
    mov  eax, task_2
    call spawn
    call wait_for_tasks
    cmp  dword ptr [preemptions], 2 * (ROUNDS - 1)  # after each round but the last, each had to be thrown out of its wait
    jb   failed
    say  "ring3: both done, preempted all along\n"

    mov  ecx, 1
    mov  eax, task_halt
    call spawn
    call wait_for_tasks
    cmp  byte ptr [refused], 1
    jne  failed
    say  "ring3: HLT refused\n"
    mov  al, OK
    jmp  exit

failed:
    say  "ring3: FAILED\n"
    mov  al, FAILED
    jmp  exit

# The next tick takes the processor from us, and gives it back when no task is left.
wait_for_tasks:
    sti
    hlt
    cli
    cmp  word ptr [alive + 1], 0    # tasks 1 and 2
    jne  wait_for_tasks
    ret

on_tick:
    mov  al, EOI
    out  PIC1_OCW2, al
    jmp  preempt

# SDM vol. 3, 6.15, interrupt 13: HLT outside ring 0 is a general protection fault.  The task does not live on.
on_protection:
    test dword ptr [ebp + F_CS], 3
    jz   unexpected
    mov  eax, [ebp + F_EIP]
    cmp  byte ptr [eax], 0xF4   # HLT
    jne  unexpected
    mov  byte ptr [refused], 1
    mov  ecx, [task]
    mov  byte ptr [alive + ecx], 0
    jmp  schedule

task_halt:
    hlt

refused: .byte 0
