# A planted bug: only the gate of #UD was forgotten.  The kernel lives long enough to say that it got a #GP.

.include "../../../firmware/kernels/boot.inc"
.include "../../../firmware/kernels/serial.inc"
.include "../../../firmware/kernels/print.inc"
.include "../../../firmware/kernels/idt.inc"

main:
    call idt_init
    and  word ptr [idt + 6 * 8 + 4], 0x7FFF     # P = 0
    ud2
