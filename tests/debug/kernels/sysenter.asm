# A planted bug: SYSENTER before anyone has written its MSRs.

.include "../../../firmware/kernels/boot.inc"
.include "../../../firmware/kernels/serial.inc"

main:
    mov  eax, 20
    mov  edx, esp
    sysenter
    jmp  exit
