# A planted bug: the IDT ends before the gate that the kernel needs; the gates of #UD, #GP and #DF were never written.

.include "../../../firmware/kernels/boot.inc"
.include "../../../firmware/kernels/serial.inc"
.include "../../../firmware/kernels/print.inc"
.include "../../../firmware/kernels/idt.inc"

main:
    call idt_init
    xor  eax, eax
    mov  [idt + 6 * 8], eax
    mov  [idt + 6 * 8 + 4], eax
    mov  [idt + 8 * 8], eax
    mov  [idt + 8 * 8 + 4], eax
    mov  [idt + 13 * 8], eax
    mov  [idt + 13 * 8 + 4], eax
    call work
    jmp  exit
work:
    push ebp
    mov  ebp, esp
    call deeper
    pop  ebp
    ret
deeper:
    push ebp
    mov  ebp, esp
    ud2
    pop  ebp
    ret
