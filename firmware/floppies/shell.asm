# shell: a small operating system in real mode, on a FAT12 floppy of 1.44 MB.  It lists, shows and runs files.
#
# The boot sector loads the rest from the reserved sectors behind it.  All is asked of the BIOS: INT 10h, 11h, 12h, 13h, 14h, 15h,
# 16h, 19h, 1Ah.  The screen and COM1 show the same, and either keyboard types.
#
#   0000:7C00  boot sector, with the volume's parameters      1000:0000  FAT       1000:2000  root directory
#   0000:7E00  the shell                                      2000:0000  a program: PSP, and its .COM file at 0100h

.org 0x7C00
.code16

.set RESERVED, 16           # sectors: this one and the shell
.set TRACK,    18
.set HEADS,    2
.set FAT_SIZE, 9
.set FATS,     2
.set ENTRIES,  224          # of the root directory, 32 bytes each
.set ROOT,     RESERVED + FATS * FAT_SIZE
.set DATA,     ROOT + ENTRIES * 32 / 512
.set TABLES,   0x1000
.set ROOT_AT,  0x2000
.set PROGRAM,  0x2000

boot:
    jmp  boot_start
    .org 0x7C03
    .ascii "EMUSHELL"       # FAT: General Overview of On-Disk Format 1.03, the BPB
    .word 512
    .byte 1
    .word RESERVED
    .byte FATS
    .word ENTRIES
    .word 2880
    .byte 0xF0
    .word FAT_SIZE, TRACK, HEADS
    .long 0, 0
    .byte 0, 0, 0x29
    .long 0x20260101
    .ascii "NO NAME    FAT12   "
boot_start:
    cli
    xor  ax, ax
    mov  ds, ax
    mov  es, ax
    mov  ss, ax
    mov  sp, 0x7C00
    .byte 0xEA              # jmp 0:boot_load
    .word boot_load, 0
boot_load:
    sti
    cld
    mov  [drive], dl
    mov  ax, 1
    mov  bx, 0x7E00
.next:
    call read_sector
    jc   .bad
    inc  ax
    add  bx, 512
    cmp  ax, RESERVED
    jne  .next
    jmp  shell
.bad:
    mov  si, boot_failed
    call print
    xor  ax, ax
    int  0x16
    int  0x19

# Sector AX (counted from 0) to ES:BX; CF on failure, after three tries.
read_sector:
    pusha
    mov  di, 3
.again:
    pusha
    xor  dx, dx
    mov  cx, TRACK
    div  cx
    mov  cl, dl
    inc  cl                 # sectors count from 1
    mov  dh, al
    and  dh, 1
    shr  ax, 1
    mov  ch, al
    mov  dl, [drive]
    mov  ax, 0x0201
    int  0x13
    popa
    jnc  .done
    pusha
    xor  ax, ax
    mov  dl, [drive]
    int  0x13
    popa
    dec  di
    jnz  .again
    stc
.done:
    popa
    ret

# The text at DS:SI, up to a zero.
print:
    lodsb
    test al, al
    jz   .done
    call put
    jmp  print
.done:
    ret

# AL to the screen and to COM1; a newline is CR and LF.
put:
    cmp  al, 10
    jne  put_raw
    mov  al, 13
    call put_raw
    mov  al, 10
put_raw:
    pusha
    push ax
    mov  ah, 0x0E
    mov  bx, 0x0007
    int  0x10
    pop  ax
    mov  ah, 0x01
    xor  dx, dx
    int  0x14
    popa
    ret

drive:       .byte 0
boot_failed: .asciz "cannot read the disk\n"
    .org 0x7DFE
    .word 0xAA55

    .org 0x7E00
shell:
    mov  ax, 0x00E3         # COM1: 9600, 8N1
    xor  dx, dx
    int  0x14
    mov  si, hello
    call print
    call load_tables
    jc   failed
    call install
prompt:
    mov  si, prompt_text
    call print
    call get_line
    mov  si, line
    call skip_blanks
    cmp  byte ptr [si], 0
    je   prompt
    mov  di, commands
.next:
    push si
.compare:
    mov  al, [di]
    test al, al
    jz   .end_of_name
    cmp  al, [si]
    jne  .other
    inc  si
    inc  di
    jmp  .compare
.end_of_name:
    cmp  byte ptr [si], 0x20
    ja   .other
    pop  bx                 # of the saved SI: SI is behind the word
    call skip_blanks
    mov  bx, [di + 1]
    jmp  bx
.other:
    pop  si
.skip:
    mov  al, [di]
    inc  di
    test al, al
    jnz  .skip
    add  di, 2
    cmp  byte ptr [di], 0
    jne  .next
    call parse_name         # no command: a program?
    mov  byte ptr [name + 8], 'C'
    mov  word ptr [name + 9], 0x4D4F
    call find
    jnc  run_found
    mov  si, no_command
    call print
    jmp  prompt

failed:
    push cs
    pop  ds
    mov  si, disk_failed
    call print
    jmp  prompt

commands:
    .asciz "help"
    .word help
    .asciz "dir"
    .word dir
    .asciz "type"
    .word type
    .asciz "mem"
    .word mem
    .asciz "time"
    .word time
    .asciz "reboot"
    .word reboot
    .asciz "off"
    .word off
    .byte 0

help:
    mov  si, help_text
    call print
    jmp  prompt

reboot:
    mov  ax, 0x0040
    mov  ds, ax
    mov  word ptr [0x72], 0x1234        # a warm start
    .byte 0xEA
    .word 0xFFF0, 0xF000

# APM 1.2: connect the real-mode interface, say which version we know, set the power state of all devices to off.
off:
    mov  ax, 0x5301
    xor  bx, bx
    int  0x15
    mov  ax, 0x530E
    xor  bx, bx
    mov  cx, 0x0102
    int  0x15
    mov  ax, 0x5307
    mov  bx, 0x0001
    mov  cx, 0x0003
    int  0x15
    mov  si, no_power
    call print
    jmp  prompt

mem:
    int  0x12
    call print_number
    mov  si, mem_low
    call print
    mov  ah, 0x88
    int  0x15
    jc   .done
    call print_number
    mov  si, mem_high
    call print
.done:
    jmp  prompt

time:
    mov  ah, 0x02
    int  0x1A
    jc   .none
    mov  al, ch
    call print_bcd
    mov  al, ':'
    call put
    mov  al, cl
    call print_bcd
    mov  al, ':'
    call put
    mov  al, dh
    call print_bcd
    mov  al, 10
    call put
.none:
    jmp  prompt

dir:
    mov  ax, TABLES
    mov  es, ax
    mov  di, ROOT_AT
    xor  bp, bp
.entry:
    mov  al, es:[di]
    test al, al
    jz   .end
    cmp  al, 0xE5           # deleted
    je   .next
    test byte ptr es:[di + 11], 0x08    # the label, and parts of long names
    jnz  .next
    mov  si, di
    mov  cx, 11
.letter:
    mov  al, es:[si]
    call put
    inc  si
    cmp  cx, 4
    jne  .no_dot
    mov  al, 0x20
    call put
.no_dot:
    loop .letter
    mov  al, 0x20
    call put
    mov  ax, es:[di + 28]
    call print_number
    mov  al, 10
    call put
    inc  bp
.next:
    add  di, 32
    cmp  di, ROOT_AT + ENTRIES * 32
    jne  .entry
.end:
    push cs
    pop  es
    mov  ax, bp
    call print_number
    mov  si, files
    call print
    jmp  prompt

type:
    call parse_name
    call find
    jc   not_found
    call load_file
    jc   failed
    mov  ax, PROGRAM
    mov  ds, ax
    mov  si, 0x100
.next:
    test cx, cx
    jz   .done
    lodsb
    cmp  al, 13
    je   .skip
    call put
.skip:
    dec  cx
    jmp  .next
.done:
    push cs
    pop  ds
    jmp  prompt

not_found:
    mov  si, no_file
    call print
    jmp  prompt

run_found:
    call load_file
    jc   failed
    mov  [stack], sp
    mov  ax, PROGRAM
    mov  es, ax
    mov  word ptr es:[0], 0x20CD        # the PSP begins with INT 20h, so that a RET ends the program
    mov  ds, ax
    cli
    mov  ss, ax
    mov  sp, 0xFFFC
    sti
    mov  word ptr [0xFFFC], 0
    push ax
    mov  ax, 0x100
    push ax
    .byte 0xCB              # retf

# INT 20h, and INT 21h AH = 00h, 02h, 09h, 4Ch: what the simplest .COM programs ask for.
terminate:
    xor  ax, ax
    mov  ds, ax
    mov  es, ax
    cli
    mov  ss, ax
    mov  sp, [stack]
    sti
    cld
    jmp  prompt

services:
    sti
    cld
    cmp  ah, 0x4C
    je   terminate
    test ah, ah
    jz   terminate
    cmp  ah, 0x02
    je   .character
    cmp  ah, 0x09
    je   .string
    .byte 0xCF              # iret
.character:
    push ax
    mov  al, dl
    call put_raw
    pop  ax
    .byte 0xCF
.string:
    push ax
    push si
    mov  si, dx
.next:
    lodsb
    cmp  al, 0x24           # a dollar ends it
    je   .done
    call put_raw
    jmp  .next
.done:
    pop  si
    pop  ax
    .byte 0xCF

install:
    mov  word ptr [0x20 * 4], terminate
    mov  word ptr [0x20 * 4 + 2], 0
    mov  word ptr [0x21 * 4], services
    mov  word ptr [0x21 * 4 + 2], 0
    ret

# The FAT and the root directory to TABLES; CF on failure.
load_tables:
    mov  ax, TABLES
    mov  es, ax
    mov  ax, RESERVED
    xor  bx, bx
    mov  cx, FAT_SIZE
    call read_sectors
    jc   .done
    mov  ax, ROOT
    mov  bx, ROOT_AT
    mov  cx, DATA - ROOT
    call read_sectors
.done:
    push cs
    pop  es
    ret

# CX sectors from AX on to ES:BX; CF on failure.
read_sectors:
    call read_sector
    jc   .done
    inc  ax
    add  bx, 512
    loop read_sectors
    clc
.done:
    ret

# `name` from the word at SI: eight letters and three, padded with blanks, upper case.
parse_name:
    mov  di, name
    mov  cx, 11
    mov  al, 0x20
    rep  stosb
    mov  di, name
.next:
    lodsb
    cmp  al, 0x20
    jbe  .done
    cmp  al, '.'
    je   .dot
    cmp  al, 'a'
    jb   .store
    cmp  al, 'z'
    ja   .store
    and  al, 0xDF
.store:
    cmp  di, name + 11
    je   .next
    stosb
    jmp  .next
.dot:
    mov  di, name + 8
    jmp  .next
.done:
    ret

# The directory entry that is called `name`: its first cluster in AX, its size in CX (64 KiB at most); CF if there is none.
find:
    mov  ax, TABLES
    mov  es, ax
    mov  di, ROOT_AT
.entry:
    cmp  byte ptr es:[di], 0
    je   .none
    test byte ptr es:[di + 11], 0x18
    jnz  .next
    push di
    mov  si, name
    mov  cx, 11
    repe cmpsb
    pop  di
    je   .found
.next:
    add  di, 32
    cmp  di, ROOT_AT + ENTRIES * 32
    jne  .entry
.none:
    push cs
    pop  es
    stc
    ret
.found:
    mov  ax, es:[di + 26]
    mov  cx, es:[di + 28]
    push cs
    pop  es
    clc
    ret

# The file of clusters from AX on, CX bytes, to PROGRAM:0100; CX is kept; CF on failure.
load_file:
    push cx
    mov  dx, PROGRAM + 0x10
.next:
    cmp  ax, 2
    jb   .end               # an empty file has no cluster
    cmp  ax, 0xFF8
    jae  .end
    cmp  dx, 0x3000 - 0x20  # a chain without an end
    ja   .bad
    push ax
    add  ax, DATA - 2
    mov  es, dx
    xor  bx, bx
    call read_sector
    pop  ax
    jc   .bad
    add  dx, 0x20
    mov  bx, TABLES         # FAT12: entry n is 12 bits from byte n * 3 / 2 on
    mov  es, bx
    mov  bx, ax
    shr  bx, 1
    pushf
    add  bx, ax
    mov  ax, es:[bx]
    popf
    jnc  .even
    shr  ax, 4
.even:
    and  ax, 0xFFF
    jmp  .next
.bad:
    stc
    jmp  .done
.end:
    clc
.done:
    push cs
    pop  es
    pop  cx
    ret

# A line from either keyboard, with backspace, zero-ended in `line`.
get_line:
    mov  di, line
.next:
    mov  ah, 0x01
    int  0x16
    jnz  .key
    mov  ah, 0x03
    xor  dx, dx
    int  0x14
    test ah, 0x01           # data ready
    jz   .idle
    mov  ah, 0x02
    int  0x14
    jmp  .typed
.idle:
    hlt
    jmp  .next
.key:
    xor  ax, ax
    int  0x16
.typed:
    cmp  al, 13
    je   .done
    cmp  al, 8
    je   .back
    cmp  al, 0x7F
    je   .back
    cmp  al, 0x20
    jb   .next
    cmp  di, line + 63
    je   .next
    stosb
    call put
    jmp  .next
.back:
    cmp  di, line
    je   .next
    dec  di
    mov  al, 8
    call put
    mov  al, 0x20
    call put
    mov  al, 8
    call put
    jmp  .next
.done:
    xor  al, al
    stosb
    mov  al, 10
    jmp  put

skip_blanks:
    cmp  byte ptr [si], 0x20
    jne  .done
    inc  si
    jmp  skip_blanks
.done:
    ret

# AX in decimal.
print_number:
    pusha
    mov  bx, 10
    xor  cx, cx
.divide:
    xor  dx, dx
    div  bx
    push dx
    inc  cx
    test ax, ax
    jnz  .divide
.digit:
    pop  ax
    add  al, '0'
    call put
    loop .digit
    popa
    ret

print_bcd:
    push ax
    shr  al, 4
    add  al, '0'
    call put
    pop  ax
    and  al, 0x0F
    add  al, '0'
    jmp  put

hello:       .asciz "\nshell: real mode, FAT12. Type help.\n"
prompt_text: .asciz "A> "
help_text:   .ascii "dir          the files\ntype FILE    shows one\nNAME         runs NAME.COM\nmem, time    ask the BIOS\n"
             .asciz "reboot, off  leave\n"
no_command:  .asciz "no such command or program\n"
no_file:     .asciz "no such file\n"
no_power:    .asciz "this machine does not turn itself off\n"
disk_failed: .asciz "the disk cannot be read\n"
files:       .asciz " files\n"
mem_low:     .asciz " KiB below 640 KiB\n"
mem_high:    .asciz " KiB above 1 MiB\n"
stack:       .word 0
name:        .ascii "           "
line:        .fill 64, 1, 0
    .org 0x9C00
