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

.include "commands.inc"
.include "programs.inc"
.include "fat.inc"
.include "console.inc"

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
