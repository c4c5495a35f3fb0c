# A planted bug: SS0 in the TSS is a data segment of ring 3, so no interrupt can come out of ring 3.

.include "../../../firmware/kernels/boot.inc"
.include "../../../firmware/kernels/serial.inc"
.include "../../../firmware/kernels/print.inc"
.include "../../../firmware/kernels/idt.inc"
.include "../../../firmware/kernels/task.inc"

main:
    call idt_init
    call task_init
    mov  dword ptr [tss + 4], STACK
    mov  dword ptr [tss + 8], USER_DS
    mov  eax, USER_DS
    push eax
    mov  eax, USER_STACKS
    push eax
    push 2
    mov  eax, USER_CS
    push eax
    mov  eax, program
    push eax
    iretd
program:
    mov  eax, SYS_EXIT
    int  SYSTEM
