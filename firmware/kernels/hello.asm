# hello: the smallest kernel.  It is loaded at 1 MiB, says hello on the serial line and leaves through the exit port.

.include "boot.inc"
.include "serial.inc"
.include "print.inc"

main:
    say  "hello: 32-bit protected mode, from 1 MiB\n"
    mov  al, OK
    jmp  exit
