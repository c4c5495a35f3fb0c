# default: what `emu boot` shows when it is given nothing to boot.  A tour of the processor, and then a prompt.
#
# Every stop of the tour has a kernel of its own that says more: ticks, paging, ring3, echo.

.include "boot.inc"
.include "serial.inc"
.include "print.inc"
.include "idt.inc"
.include "pic.inc"
.include "paging.inc"
.include "task.inc"
.include "turns.inc"
.include "commands.inc"

main:
    say  "\n"
    say  "  emu: a PC that you can see through.\n"
    say  "  This is its own guest kernel: 32-bit protected mode, loaded at 1 MiB, on COM1.\n\n"

    call idt_init
    call pic_init
    call pit_init
    call task_init
    mov  dword ptr [handlers + IRQ0 * 4], on_tick
    mov  dword ptr [handlers + (IRQ0 + 4) * 4], on_serial
    mov  al, 0xEE           # OCW1: all masked but IR0, the timer, and IR4, COM1
    out  PIC1_IMR, al
    mov  dx, COM1_IER
    mov  al, COM1_IER_ERBFI
    out  dx, al

    call stamp
    say  "processor  "
    call print_processor
    call stamp
    say  "memory     "
    call print_memory

    mov  eax, 10
    call wait_ticks
    call stamp
    say  "timer      10 interrupts of the 8254 at 100 Hz, through the 8259A\n"

    call paging_init
    call stamp
    say  "paging     on; the first 4 MiB are mapped to themselves\n"
    call touch

    call stamp
    say  "ring 3     two tasks that wait for each other; only the timer takes turns\n"
    mov  ecx, 1
    mov  eax, task_1
    call spawn
    mov  ecx, 2
    mov  eax, task_2
    call spawn
.tasks:
    sti
    hlt
    cli
    cmp  word ptr [alive + 1], 0        # tasks 1 and 2
    jne  .tasks
    call stamp
    say  "ring 3     both are done, after "
    mov  eax, [preemptions]
    call print_dec
    say  " preemptions\n"
    call stamp
    say  "idle       the processor halts until the next interrupt; type help\n\n"
    jmp  prompt

# The time since the timer was started, in seconds.
stamp:
    pushad
    say  "["
    mov  eax, [ticks]
    mov  ecx, HZ
    xor  edx, edx
    div  ecx
    cmp  eax, 10
    jae  .wide
    say  " "
.wide:
    call print_dec
    say  "."
    cmp  edx, 10
    jae  .two
    say  "0"
.two:
    mov  eax, edx
    call print_dec
    say  "] "
    popad
    ret

# Sleeps for EAX ticks.
wait_ticks:
    mov  ebx, [ticks]
    add  ebx, eax
.sleep:
    sti
    hlt
    cli
    cmp  [ticks], ebx
    jb   .sleep
    ret

# Writes to the next page that is not there yet.
touch:
    mov  ebx, [next_page]
    add  dword ptr [next_page], 0x1000
    mov  ecx, [faults]
    mov  dword ptr [ebx], 0x600DCAFE    # the page fault, and then this once more
    call stamp
    say  "page fault "
    mov  eax, ebx
    call print_hex
    say  " was not mapped; now it reads "
    mov  eax, [ebx]
    call print_hex
    say  " ("
    mov  eax, [faults]
    sub  eax, ecx
    call print_dec
    say  " fault served)\n"
    ret

on_tick:
    inc  dword ptr [ticks]
    mov  al, EOI
    out  PIC1_OCW2, al
    jmp  preempt

# The receiver has something: empty it into the ring.
on_serial:
    mov  dx, COM1_IIR       # reading it tells the UART that it has been heard
    in   al, dx
.next:
    mov  dx, COM1_LSR
    in   al, dx
    test al, COM1_LSR_DR
    jz   .done
    mov  dx, COM1_RBR
    in   al, dx
    movzx ebx, byte ptr [head]
    mov  [ring + ebx], al
    inc  byte ptr [head]    # 256 bytes: the index wraps by itself
    jmp  .next
.done:
    mov  al, EOI
    out  PIC1_OCW2, al
    ret

ticks:     .long 0
next_page: .long LAZY
head:      .byte 0          # written by on_serial
tail:      .byte 0          # written by getc
ring:      .fill 256, 1, 0
end:
