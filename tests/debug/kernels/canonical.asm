# A planted bug: a return address that was overwritten by something else, and is not canonical.

.include "../../../firmware/kernels/boot.inc"
.include "../../../firmware/kernels/serial.inc"
.include "long.inc"

main_64:
    mov  eax, 0x10
    mov  ss, eax
    mov  rsp, STACK
    call work
    hlt
work:
    mov  rax, 0x4142434445464748
    mov  [rsp], rax
    ret
