"""moves: each load of the stack pointer outside of ring 3, for a recorder: what it was before, and what it is behind.

A task switch is such a load, and nothing else tells which task goes on.  Where the bytes of a new block look like one, its
head (fast/record.py) calls `moving`, which keeps the stack pointer and kicks: the next block's head then leads to
editor.spent, and there `seen` leaves the event, before the block has begun.  The block goes on if nobody else has kicked; a
kick only has the main loop look at the pins, so the run stays the same.  Where the pointer stays near there is no event:
most bytes that look like a load are none.

Looked for are MOV to SP from memory or another register than BP, XCHG, LSS, POP SP behind another POP, and LEAVE before RET,
which counts if BP is 4 KiB away; not MOV of an immediate.  The pointer is linear: SP and the base of SS.
"""

from __future__ import annotations

from emu.cpu.unicorn import mailbox as m
from emu.cpu.unicorn.events import EVENT_STACK, event
from emu.cpu.unicorn.layout import BUDGET, CPU_ENV, SEGMENT_SIZE, SEGS, TB_CODE, TB_FLAGS

RSP, RBP = 0x20, 0x28
SS_BASE = SEGS + 2 * SEGMENT_SIZE + 8
DEFINITION = 48                 # bytes of a block's definition before its code, the last eight of which tell how many follow
NEAR = 64                       # bytes: two tasks' stacks are further apart
ALONE = 3                       # MOVING, where nobody else has kicked (1: somebody had, or has since)
FRAME = 4096                    # bytes that a function's frame may have


def look(label: str, call: str, end: int, moving: int, leaving: int) -> str:
    """Have the head, at rdi, of the block that was defined at r8 call `moving` or `leaving` if it loads the stack pointer;
    rbx is the TranslationBlock, `call` the displacement of the head's call, `end` where that ends.  A REP has none."""
    return f"""
        mov eax, [rbx + {TB_FLAGS:#x}]
        and eax, 0x3
        cmp eax, 0x3
        je {label}still
        lea rsi, [r8 + {DEFINITION:#x}]
        mov r10, rsi
        mov rdi, [r8 + {DEFINITION - 8:#x}]
        add rdi, rsi
        mov cl, 0x58
    {label}byte:
        lea rax, [rsi + 0x1]
        cmp rax, rdi
        jae {label}last
        movzx eax, word ptr [rsi]
        mov dl, ah
        and dl, 0x38
        cmp al, 0x8b
        je {label}load
        cmp al, 0x89
        je {label}store
        cmp al, 0x5c
        je {label}pop
        cmp al, 0x87
        je {label}exchange
        cmp al, 0x94
        je {label}short
        cmp al, 0xb2
        je {label}far
    {label}next:
        mov cl, al
        inc rsi
        jmp {label}byte
    {label}load:
        cmp ah, 0xe5
        je {label}next
        and cl, 0xf4
        cmp cl, 0x44
        je {label}next
        cmp dl, 0x20
        je {label}moving
        jmp {label}next
    {label}store:
        cmp ah, 0xec
        je {label}next
        and cl, 0xf1
        cmp cl, 0x41
        je {label}next
        and ah, 0xc7
        cmp ah, 0xc4
        je {label}moving
        jmp {label}next
    {label}exchange:
        cmp dl, 0x20
        je {label}moving
        and ah, 0xc7
        cmp ah, 0xc4
        je {label}moving
        jmp {label}next
    {label}short:
        cmp cl, 0x0f
        jne {label}moving
        jmp {label}next
    {label}far:
        cmp cl, 0x0f
        jne {label}next
        cmp dl, 0x20
        je {label}moving
        jmp {label}next
    {label}pop:
        and cl, 0xf8
        cmp cl, 0x58
        je {label}moving
        jmp {label}next
    {label}last:
        lea rax, [rdi - 0x2]
        cmp rax, r10
        jb {label}still
        cmp word ptr [rax], 0xc3c9
        jne {label}still
        mov rdx, {leaving:#x}
        jmp {label}call
    {label}moving:
        mov rdx, {moving:#x}
    {label}call:
        mov rdi, [rbx + {TB_CODE:#x}]
        lea rax, [rdi + {end:#x}]
        sub rdx, rax
        mov {call}, edx
    {label}still:
    """


def moving(box: int) -> str:
    """Called at the start of a block that loads the stack pointer, with rbp = env: keep it, and kick."""
    return f"""
        mov rax, {box:#x}
        mov rdx, [rbp + {RSP:#x}]
        add rdx, [rbp + {SS_BASE:#x}]
        mov [rax + {m.MOVED_FROM:#x}], rdx
        mov qword ptr [rax + {m.MOVING:#x}], 0x1
        mov rdx, {(1 << 64) - m.KICK // 2:#x}
        cmp [rbp + {BUDGET}], rdx
        jl kicked
        mov qword ptr [rax + {m.MOVING:#x}], {ALONE:#x}
        mov rdx, {m.KICK:#x}
        sub [rbp + {BUDGET}], rdx
    kicked:
        ret
    """


def leaving(box: int) -> str:
    """The same for a block that ends in LEAVE and RET."""
    return f"""
        mov rax, [rbp + {RBP:#x}]
        sub rax, [rbp + {RSP:#x}]
        cmp rax, {FRAME:#x}
        jae far
        ret
    far:
        {moving(box)}
    """


def seen(box: int, label: str) -> str:
    """At a block's head, with rbp = env: leave the event if the block before has loaded the stack pointer.  rsp is a multiple
    of 16; all but rbp may change."""
    return f"""
        mov rax, {box:#x}
        cmp qword ptr [rax + {m.MOVING:#x}], 0x0
        je {label}still
        mov qword ptr [rax + {m.MOVING:#x}], 0x0
        mov rdx, [rbp + {RSP:#x}]
        add rdx, [rbp + {SS_BASE:#x}]
        sub rdx, [rax + {m.MOVED_FROM:#x}]
        add rdx, {NEAR:#x}
        cmp rdx, {2 * NEAR:#x}
        jbe {label}still
        lea rbx, [rbp - {CPU_ENV:#x}]
        xor esi, esi
        {event(EVENT_STACK, label + "still", f'''
        mov edx, {0xFFFFFF00 | EVENT_STACK:#x}
        mov [r9 + 0x10], rdx
        mov qword ptr [r9 + 0x18], 0x0
        mov rdx, [rbp + {RSP:#x}]
        add rdx, [rbp + {SS_BASE:#x}]
        mov [r9 + 0x20], rdx
        mov qword ptr [r9 + 0x28], 0x0
        mov rdx, [rax + {m.MOVED_FROM:#x}]
        mov [r9 + 0x30], rdx
        mov qword ptr [r9 + 0x38], 0x0
        ''')}
    """
