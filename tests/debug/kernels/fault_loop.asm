# A planted bug: the handler of #PF does nothing, and returns to the same instruction for ever.

.include "../../../firmware/kernels/boot.inc"
.include "../../../firmware/kernels/serial.inc"
.include "../../../firmware/kernels/print.inc"
.include "../../../firmware/kernels/idt.inc"
.include "../../../firmware/kernels/paging.inc"

main:
    call idt_init
    call paging_init
    mov  dword ptr [handlers + 14 * 4], on_fault
    mov  eax, [0x12345678]
    jmp  exit
on_fault:
    ret
