# snake: a game in one boot sector.  Arrows steer, Esc leaves (INT 19h), a key starts anew after the end.
#
# The text screen is the only map: what is at the head's next place decides.  A place is an offset in the screen's memory,
# and a ring of 2,048 of them is the body.  All it asks of a BIOS: INT 10h mode, INT 16h keys, the tick count at 0040:006C.

.org 0x7C00
.code16

.set RING,    0x8000        # words; BX is where the head's is, BP the tail's
.set MASK,    0x0FFE
.set TICKS,   0x046C        # of the BIOS, 18.2 a second
.set SCREEN,  0xB800
.set COLUMNS, 80
.set LINE,    2 * COLUMNS
.set WALL,    0x01DB        # attribute, character
.set BODY,    0x0AFE
.set APPLE,   0x0C04
.set MIDDLE,  12 * LINE + COLUMNS

start:
    cli
    xor  ax, ax
    mov  ds, ax
    mov  ss, ax
    mov  sp, 0x7C00
    .byte 0xEA              # jmp 0:game: some BIOSes start a boot sector at 07C0:0000
    .word game, 0
game:
    sti
    cld
    mov  ax, 0x0003         # 80 x 25, cleared
    int  0x10
    mov  ah, 0x01
    mov  cx, 0x2000         # no cursor
    int  0x10
    mov  ax, SCREEN
    mov  es, ax

    mov  si, title          # line 0: the title, and later the score
    xor  di, di
    mov  ah, 0x0F
.title:
    lodsb
    stosw
    cmp  di, title_cells
    jne  .title
    mov  ax, WALL           # walls around lines 1 to 24
    mov  di, LINE
    mov  cx, COLUMNS
    rep  stosw
    mov  cx, 22
.sides:
    stosw
    mov  es:[di + LINE - 4], ax
    add  di, LINE - 2
    loop .sides
    mov  cx, COLUMNS
    rep  stosw

    xor  ax, ax
    mov  [score], ax
    mov  word ptr [step], 2
    mov  byte ptr [grow], 3
    mov  bx, ax
    mov  bp, ax
    mov  di, MIDDLE
    mov  [RING], di
    mov  word ptr es:[di], BODY
    jmp  .apple

.turn:
    mov  ax, [TICKS]        # two ticks a step
    add  ax, 2
.wait:
    hlt
    cmp  ax, [TICKS]
    jns  .wait
.keys:
    mov  ah, 0x01
    int  0x16
    jz   .move
    xor  ax, ax
    int  0x16
    cmp  ah, 0x01           # Esc
    je   leave
    mov  al, ah             # AH: the scan code
    mov  si, keys
    mov  cx, 4
.which:
    cmp  al, [si]
    je   .steer
    add  si, 3
    loop .which
    jmp  .keys
.steer:
    mov  dx, [si + 1]
    mov  ax, dx
    add  ax, [step]         # not back into the neck
    jz   .keys
    mov  [step], dx
    jmp  .keys

.move:
    mov  di, [RING + bx]
    add  di, [step]
    mov  ax, es:[di]
    cmp  al, 0x20           # nothing there
    je   .free
    cmp  ax, APPLE
    jne  over
    add  byte ptr [grow], 4
    inc  word ptr [score]
    call forward
    mov  ax, [score]        # three digits
    mov  di, score_at
    mov  cl, 10
    std
.digit:
    div  cl
    xchg al, ah
    add  al, 0x30
    push ax
    mov  ah, 0x0E
    stosw
    pop  ax
    mov  al, ah
    xor  ah, ah
    cmp  di, score_at - 6
    jne  .digit
    cld
.apple:
    mov  ax, [seed]         # a linear congruential generator, stirred by the time of the apple before
    add  ax, [TICKS]
    imul ax, ax, 25173
    add  ax, 13849
    mov  [seed], ax
    xor  dx, dx
    mov  cx, 23 * COLUMNS
    div  cx
    mov  di, dx
    add  di, di
    add  di, 2 * LINE
    cmp  byte ptr es:[di], 0x20
    jne  .apple
    mov  word ptr es:[di], APPLE
    jmp  .turn

.free:
    call forward
    cmp  byte ptr [grow], 0
    je   .tail
    dec  byte ptr [grow]
    jmp  .turn
.tail:
    mov  di, [RING + bp]
    mov  word ptr es:[di], 0x0720
    add  bp, 2
    and  bp, MASK
    jmp  .turn

over:
    mov  si, ended
    mov  di, 12 * LINE + COLUMNS - 18
    mov  ah, 0x4F
.next:
    lodsb
    stosw
    cmp  si, ended_end
    jne  .next
    xor  ax, ax
    int  0x16
    cmp  ah, 0x01
    je   leave
    jmp  game
leave:
    mov  ax, 0x0003
    int  0x10
    int  0x19

forward:                    # the head goes on to DI
    mov  word ptr es:[di], BODY
    add  bx, 2
    and  bx, MASK
    mov  [RING + bx], di
    ret

keys:                       # scan code, step
    .byte 0x48
    .word -LINE
    .byte 0x50
    .word LINE
    .byte 0x4B
    .word -2
    .byte 0x4D
    .word 2
title:
    .ascii "snake: arrows, Esc           000"
.set title_cells, 64
.set score_at, 62
ended:
    .ascii "  the end: a key  "
ended_end:
seed:  .word 0x5EED
score: .word 0
step:  .word 0
grow:  .byte 0
    .org 0x7DFE
    .word 0xAA55
