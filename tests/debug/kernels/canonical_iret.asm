# A planted bug: IRETQ to an address that is not canonical.

.include "../../../firmware/kernels/boot.inc"
.include "../../../firmware/kernels/serial.inc"
.include "long.inc"

main_64:
    mov  eax, 0x10
    mov  ss, eax
    mov  rsp, STACK
    push 0x10
    mov  eax, STACK
    push rax
    push 2
    push 8
    mov  rax, 0x0000900000000000
    push rax
    iretq
