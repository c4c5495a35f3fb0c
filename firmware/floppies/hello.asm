# hello.com: a program for the shell.  It is loaded at 0100h of its own segment, and all segment registers lead there.

.org 0x100
.code16

    mov  ah, 0x09
    mov  dx, text
    int  0x21
    int  0x20
text: .ascii "hello from a .COM program\r\n$"
