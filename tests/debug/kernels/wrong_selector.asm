# A planted bug: a selector that is none of ours goes to FS.  There is no IDT yet.

.include "../../../firmware/kernels/boot.inc"
.include "../../../firmware/kernels/serial.inc"

main:
    mov  ecx, 0x48
    mov  fs, ecx
    jmp  exit
