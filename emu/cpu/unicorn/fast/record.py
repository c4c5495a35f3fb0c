"""record: every block that runs leaves its number in a ring.  Not a technique, but the trace's place among the rewriters.

While a recorder is on (emu/cpu/unicorn/recorder.py), the head that budget.py or strings.py has made becomes a jump to a stub
of its own, which does the same work, leaves the block's number, and jumps back:

    48 81 6D F8 imm32   sub  qword [rbp - 8], cost          E9 rel32            jmp  stub
    79 07               jns  body                   ->  went:   E9 rel32        jmp  record
    E8 rel32            call spent                      call:   E8 rel32        call spent
    66 90               nop                                     EB F4           jmp  went
                    body:                               body:
                                                    stub:
                                                            48 81 6D F8 imm32   sub  qword [rbp - 8], cost
                                                            0F 88 rel32         js   call
                                                        record:
                                                            48 8B 45 B8         mov  rax, [rbp - 48h]
                                                            C7 00 imm32         mov  dword [rax], number
                                                            48 83 45 B8 04      add  qword [rbp - 48h], 4
                                                            E9 rel32            jmp  body

`spent` may leave the block for good, and finds it by its return address: so the call stays where it was.
A block that loads the stack pointer calls moves.py before it goes to its body.
The stub of a bulk REP (strings.py) tells its number first, in a word of the mailbox, for `bulk` to leave it once for each
element.  The ring has room for a slice: a block costs at least a nanosecond, and the recorder empties it whenever Python has
its turn.  A block's definition (PC, flags, size, bytes) goes to a second ring when it is made.  Stubs are given back when
the library empties its buffer: it then makes blocks from the buffer's start again.
"""

from __future__ import annotations

from emu.cpu.unicorn import mailbox as m
from emu.cpu.unicorn import moves
from emu.cpu.unicorn.fast.editor import Site
from emu.cpu.unicorn.layout import (
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
CALL, BACK = 10, 17         # in a head: its call of `spent` or `bulk`, its end

assert TRACE_AT == -0x48            # the displacement in these bytes


def source(site: Site, label: str) -> str:
    """See editor.py."""
    return f"""
        mov r14, {site.box:#x}
        cmp qword ptr [r14 + {m.RECORD:#x}], 0x0
        je {label}miss
        cmp rbx, [r14 + {m.LAST_BLOCK:#x}]
        mov [r14 + {m.LAST_BLOCK:#x}], rbx
        ja {label}later
        mov rax, [r14 + {m.STUBS:#x}]
        mov [r14 + {m.STUB_AT:#x}], rax
        mov rax, {1 << 48:#x}
        add [r14 + {m.ANEW:#x}], rax
    {label}later:
        mov rax, [r14 + {m.DEFINE_AT:#x}]
        add rax, {LARGEST:#x}
        cmp rax, [r14 + {m.DEFINE_END:#x}]
        jb {label}room
        call [r14 + {m.DRAIN:#x}]
    {label}room:
        mov r13, [r14 + {m.NUMBER:#x}]
        mov rdi, [rbx + {TB_CODE:#x}]
        mov rcx, [r14 + {m.STUB_AT:#x}]
        mov r8, rcx
        cmp byte ptr [rdi], {STRING_HEAD:#x}
        je {label}string
        cmp dword ptr [rdi], {BUDGET_HEAD:#x}
        jne {label}miss
        mov rax, [rdi]
        mov [rcx], rax
        mov word ptr [rcx + 0x8], 0x880f
        lea rax, [rdi + {CALL:#x}]
        lea rdx, [rcx + 0xe]
        sub rax, rdx
        mov [rcx + 0xa], eax
        mov rcx, rdx
        jmp {label}tail
    {label}string:
        mov word ptr [rcx], 0xb848
        lea rax, [r14 + {m.RECORDED:#x}]
        mov [rcx + 0x2], rax
        mov word ptr [rcx + 0xa], 0x00c7
        mov [rcx + 0xc], r13d
        mov byte ptr [rcx + 0x10], 0xe9
        lea rax, [rdi + {CALL:#x}]
        lea rdx, [rcx + 0x15]
        sub rax, rdx
        mov [rcx + 0x11], eax
        mov rcx, rdx
        mov eax, [rdi + 0x1]
        sub eax, {CALL:#x}
        mov byte ptr [rdi + {CALL:#x}], 0xe8
        mov [rdi + {CALL + 1:#x}], eax
    {label}tail:
        mov dword ptr [rcx], 0xb8458b48
        mov word ptr [rcx + 0x4], 0x00c7
        mov [rcx + 0x6], r13d
        mov dword ptr [rcx + 0xa], 0xb8458348
        mov byte ptr [rcx + 0xe], 0x4
        mov byte ptr [rcx + 0xf], 0xe9
        lea rdx, [rdi + {BACK:#x}]
        lea rsi, [rcx + 0x14]
        sub rdx, rsi
        mov [rcx + 0x10], edx
        mov [r14 + {m.STUB_AT:#x}], rsi
        lea rdx, [rdi + 0x5]
        sub r8, rdx
        mov byte ptr [rdi], 0xe9
        mov [rdi + 0x1], r8d
        lea rdx, [rdi + 0xa]
        sub rcx, rdx
        mov byte ptr [rdi + 0x5], 0xe9
        mov [rdi + 0x6], ecx
        mov word ptr [rdi + 0xf], 0xf4eb
        inc qword ptr [r14 + {m.NUMBER:#x}]
        {_define(label)}
        {moves.look(label)}
        jmp {label}hit
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
