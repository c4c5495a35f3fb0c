"""record: every block that runs leaves its number in a ring.  Not a technique, but the trace's place among the rewriters.

While a recorder is on (emu/cpu/unicorn/recorder.py), the head that budget.py or strings.py has made becomes one that leaves
the block's number where the next one goes, and calls `begin`, which moves that place, charges the block, and comes back:

    48 81 6D F8 imm32   sub  qword [rbp - 8], cost          48 8B 55 B8     mov  rdx, [rbp - 48h]
    79 07               jns  body                   ->      C7 02 imm32     mov  dword [rdx], number
    E8 rel32 66 90      call spent; nop                     66 90           nop
                                                            E8 rel32        call begin
                    body:                               body:

    E8 rel32            call bulk                           E8 rel32        call bulk
    EB 0A               jmp  body                   ->      B8 imm32        mov  eax, number
    (rest of the head)                                      E8 rel32 66 90  call leave; nop

A block that does not run has left its number in vain: the place has not moved, and the next one's goes there.  A call and a
return cost as much as two jumps to a stub of the block's own and back, but no cache lines and no memory.
A block that loads the stack pointer calls a `begin` that goes on to moves.py.
`bulk` (strings.py) finds the number behind its call, and leaves it once for each element.  The ring has room for a slice: a
block costs at least a nanosecond, and the recorder empties it whenever Python has its turn.  A block's definition (PC, flags,
size, bytes) goes to a second ring when it is made.
"""

from __future__ import annotations

from emu.cpu.unicorn import mailbox as m
from emu.cpu.unicorn import moves
from emu.cpu.unicorn.fast.editor import Site, spent
from emu.cpu.unicorn.layout import (
    BUDGET,
    CPU_ENV,
    TB_CFLAGS,
    TB_CODE,
    TB_CS_BASE,
    TB_FLAGS,
    TB_PC,
    TB_SIZE,
    TRACE_AT,
    symbol,
)

BUDGET_HEAD, STRING_HEAD = 0xF86D8148, 0xE8        # what the head begins with
DEFINITION = 48             # bytes before the code: number, size, pc, cs_base, flags, cflags, position, bytes that follow
LARGEST = DEFINITION + (1 << 16) + 8
HEAD = 17                   # bytes of a head

assert TRACE_AT == -0x48            # the displacement in these bytes


def source(site: Site, label: str) -> str:
    """See editor.py."""
    begin = site.code.place(_begin(site, "ret"))
    leave = site.code.place(_leave("ret"))
    moving, leaving = (site.code.place(_begin(site, f"mov rax, {site.code.place(then):#x}\n jmp rax"))
                       for then in (moves.moving(site.box), moves.leaving(site.box)))
    return f"""
        mov r14, {site.box:#x}
        cmp qword ptr [r14 + {m.RECORD:#x}], 0x0
        je {label}miss
        mov rax, [r14 + {m.DEFINE_AT:#x}]
        add rax, {LARGEST:#x}
        cmp rax, [r14 + {m.DEFINE_END:#x}]
        jb {label}room
        call [r14 + {m.DRAIN:#x}]
    {label}room:
        mov r13, [r14 + {m.NUMBER:#x}]
        mov rdi, [rbx + {TB_CODE:#x}]
        cmp byte ptr [rdi], {STRING_HEAD:#x}
        je {label}string
        cmp dword ptr [rdi], {BUDGET_HEAD:#x}
        jne {label}miss
        mov dword ptr [rdi], 0xb8558b48
        mov word ptr [rdi + 0x4], 0x02c7
        mov [rdi + 0x6], r13d
        mov dword ptr [rdi + 0xa], 0xe89066
        mov rax, {begin:#x}
        lea rdx, [rdi + {HEAD:#x}]
        sub rax, rdx
        mov [rdi + {HEAD - 4:#x}], eax
        jmp {label}headed
    {label}string:
        mov byte ptr [rdi + 0x5], 0xb8
        mov [rdi + 0x6], r13d
        mov byte ptr [rdi + 0xa], 0xe8
        mov rax, {leave:#x}
        lea rdx, [rdi + 0xf]
        sub rax, rdx
        mov [rdi + 0xb], eax
        mov word ptr [rdi + 0xf], 0x9066
    {label}headed:
        inc qword ptr [r14 + {m.NUMBER:#x}]
        {_define(label)}
        {moves.look(label, f"[rdi + {HEAD - 4:#x}]", HEAD, moving, leaving)}
        jmp {label}hit
    """


def _leave(then: str) -> str:
    """Called from a block's head: the number in eax goes to the ring."""
    return f"""
        mov rdx, [rbp - {-TRACE_AT:#x}]
        mov [rdx], eax
        add qword ptr [rbp - {-TRACE_AT:#x}], 0x4
        {then}
    """


def _begin(site: Site, then: str) -> str:
    """Called from a block's head, which has left its number.  When there was no budget at first, it leaves it again: the ring
    may have been emptied since."""
    return f"""
        add qword ptr [rbp - {-TRACE_AT:#x}], 0x4
        sub qword ptr [rbp + {BUDGET}], {site.cost:#x}
        js late
        {then}
    late:
        sub qword ptr [rbp - {-TRACE_AT:#x}], 0x4
        call spent
        mov rax, [rsp]
        mov eax, [rax - {HEAD - 6:#x}]
        {_leave(then)}
    spent:
        {spent(site, 2)}
    """


def _define(label: str) -> str:
    """Leave the definition of block rbx, number r13, and its bytes, which lie in one page or in two."""
    return f"""
        mov r8, [r14 + {m.DEFINE_AT:#x}]
        movzx r9d, word ptr [rbx + {TB_SIZE:#x}]
        mov [r8], r13d
        mov [r8 + 0x4], r9d
        mov rax, [rbx + {TB_PC:#x}]
        mov [r8 + 0x8], rax
        mov rdx, [rbx + {TB_CS_BASE:#x}]
        mov [r8 + 0x10], rdx
        mov edx, [rbx + {TB_FLAGS:#x}]
        mov [r8 + 0x18], edx
        mov edx, [rbx + {TB_CFLAGS:#x}]
        mov [r8 + 0x1c], edx
        mov rdx, [r12 + {CPU_ENV + TRACE_AT:#x}]
        mov [r8 + 0x20], rdx
        mov qword ptr [r8 + 0x28], 0x0
        lea rdx, [r8 + {DEFINITION:#x}]
        mov [r14 + {m.DEFINE_AT:#x}], rdx
        mov r13, rax
    {label}piece:
        mov eax, r13d
        and eax, 0xfff
        mov ecx, 0x1000
        sub ecx, eax
        cmp ecx, r9d
        cmova ecx, r9d
        test ecx, ecx
        je {label}defined
        push r8
        push r9
        push rcx
        sub rsp, 0x8
        mov qword ptr [rsp], 0x0
        lea rdi, [r12 + {CPU_ENV:#x}]
        mov rsi, r13
        mov rdx, rsp
        mov rax, {symbol("get_page_addr_code_hostp_x86_64"):#x}
        call rax
        pop rsi
        pop rcx
        pop r9
        pop r8
        test rsi, rsi
        je {label}defined
        mov rdi, [r14 + {m.DEFINE_AT:#x}]
        add [r8 + 0x28], rcx
        add r13, rcx
        sub r9d, ecx
        rep movsb
        mov [r14 + {m.DEFINE_AT:#x}], rdi
        jmp {label}piece
    {label}defined:
        mov rax, [r14 + {m.DEFINE_AT:#x}]
        add rax, 0x7
        and rax, -0x8
        mov [r14 + {m.DEFINE_AT:#x}], rax
    """
