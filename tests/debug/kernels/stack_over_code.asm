# A planted bug: a recursion without an end.  The stack grows down into the image, and the code that runs is overwritten.

.include "../../../firmware/kernels/boot.inc"
.include "../../../firmware/kernels/serial.inc"

main:
    mov  eax, 0xFFFFFFFF
    call descend
    jmp  exit
descend:
    push eax
    push eax
    push eax
    call descend
    add  esp, 12
    ret
