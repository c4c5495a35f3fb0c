# A Multiboot kernel that does nothing but leave its own code: OUT to port 80h, COUNT times.  Marks as program.asm has them.
.org 0x100000
.code32
.set MAGIC, 0x1badb002
.set FLAGS, 0x10003
header:
    .long MAGIC, FLAGS, 0 - MAGIC - FLAGS
    .long header, header, end, end, start
start:
    mov edx, 0xe9
    mov al, 1
    out dx, al
    mov ecx, COUNT
leave_again:
    out 0x80, al
    dec ecx
    jnz leave_again
    mov al, 2
    out dx, al
    mov al, 'a'
    mov ecx, 48
zeros:
    out dx, al
    dec ecx
    jnz zeros
    mov al, 3
    out dx, al
    hlt
end:
