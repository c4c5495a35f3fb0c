"""beside: a load or store beside the last one, from the same register, asks the TLB nothing.

access.py has left RDI at the TLB's entry of the last access and RSI at what must be added to an address of its page.  The
next access may have both if it is of the same kind, lies at most REACH bytes above, and nothing in between touches them:

    lea rsi, [R + size - 1]                         lea rsi, [R + distance + size' - 1]
    ... an access at R                              ... an access at R
    rorx rdi, R', 6                                 test rdi, rdi
    and rdi, [rbp - mask]                           js   slow
    add rdi, [rbp - table]                  ->      mov  data, [rsi + R']   (or a store)
    lea rsi, [R' + size' - 1]                       jmp  short back
    ...                                             ...
    mov  data, [rsi + R']                           ...
 back:                                           back:

The first access now asks whether the last byte of both is in the page of its own first.  If not, or if the page is no plain
memory, it takes its slow path, whose thunk (access.py) leaves RDI negative: then the second takes its own.  So each does
what it did before, and in the same order.

That R' = R + distance is proved from the code in between, by a walk over it (sums.py).  No jump leads in between: at a label
TCG has nothing in registers, so R' would come from memory, and be unknown.

Gain: a copy by MOV takes 0.75 of the time.
"""

from __future__ import annotations

from emu.cpu.unicorn.fast import sums
from emu.cpu.unicorn.fast.editor import Site, search
from emu.cpu.unicorn.fast.sums import LEADER, MIXED, REGISTERS
from emu.cpu.unicorn.layout import TB_CODE, TB_CODE_SIZE

HEAD = 17                       # bytes of a block's head, see budget.py
SEQUENCE = 0x2F                 # bytes of the shortest access, see access.py
REACH = 63                      # bytes: the farther, the more often the first access crosses the end of its page
# On the stack, beside what sums.py has there: blocks' accesses that were joined, what is behind the last access, and of the
# access that may be followed: what must be alike, its register's sum
COUNT, BEHIND, KEY, FROM, ABOVE = 0x8, 0x10, 0x20, 0x24, 0x28


def _access(label: str) -> str:
    """Take the access at r9 apart: r13d = R, r14d = size - 1, r10 = the byte where LEA has it, or 0, esi = what must be
    alike, r11 = the slow path, rdi = the access itself, rcx = what is behind it.
    """
    return f"""
        movzx r13d, byte ptr [r9 + 0x4]
        and r13d, 0x7
        lea rdi, [r9 + 0x12]
        xor r10d, r10d
        xor r14d, r14d
        cmp byte ptr [r9 + 0x10], 0x8b
        je {label}one
        cmp r13d, 0x4
        jne {label}short
        inc rdi
    {label}short:
        mov r10, rdi
        movzx r14d, byte ptr [rdi]
        inc rdi
    {label}one:
        movzx eax, byte ptr [r9 + 0x1]
        not eax
        shr eax, 0x2
        and eax, 0x8
        or r13d, eax
        movzx esi, byte ptr [r9 + 0xa]
        add rdi, 0xa
        cmp byte ptr [rdi - 0x1], 0x37
        je {label}load
        inc rdi
        or esi, 0x100
    {label}load:
        movsxd r11, dword ptr [rdi + 0x2]
        lea r11, [rdi + r11 + 0x6]
        add rdi, 0x7
        cmp byte ptr [rdi], 0x48
        je {label}addend
        inc rdi
    {label}addend:
        add rdi, 0x4
        lea rax, [r11 + 0xf]
        cmp byte ptr [r11 + 0x3], 0xba
        je {label}back
    {label}value:
        inc rax
        cmp byte ptr [rax - 0xd], 0xb9
        jne {label}value
        dec rax
    {label}back:
        movsxd rcx, dword ptr [rax - 0x4]
        add rcx, rax
    """


def _join(label: str) -> str:
    """Let the access do without the TLB if it lies beside the leader; or else it is the next leader."""
    return f"""
        cmp qword ptr [rsp + {LEADER:#x}], 0x0
        je {label}lead
        cmp esi, [rsp + {KEY:#x}]
        jne {label}lead
        mov eax, [rsp + r13*8 + {REGISTERS:#x}]
        cmp eax, [rsp + {FROM:#x}]
        jne {label}lead
        mov eax, [rsp + r13*8 + {REGISTERS + 4:#x}]
        sub eax, [rsp + {ABOVE:#x}]
        cmp eax, {REACH:#x}
        ja {label}lead
        add eax, r14d
        cmp eax, {REACH:#x}
        ja {label}lead
        mov rdx, [rsp + {LEADER:#x}]
        cmp al, [rdx]
        jbe {label}within
        mov [rdx], al
    {label}within:
        mov rax, [rdi]
        mov dword ptr [r9], 0xfff8548
        mov byte ptr [r9 + 0x4], 0x88
        lea rdx, [r9 + 0x9]
        sub r11, rdx
        mov [r9 + 0x5], r11d
        mov [rdx], rax
        mov rax, rcx
        sub rax, rdi
        add rdx, rax
        mov byte ptr [rdx], 0xeb
        lea eax, [rcx - 0x2]
        sub eax, edx
        mov [rdx + 0x1], al
        inc dword ptr [rsp + {COUNT:#x}]
        jmp {label}joined
    {label}lead:
        mov [rsp + {KEY:#x}], esi
        mov rax, [rsp + r13*8 + {REGISTERS:#x}]
        mov [rsp + {FROM:#x}], rax
        and eax, {MIXED:#x}
        xor edx, edx
        test eax, eax
        cmovne r10, rdx
        mov [rsp + {LEADER:#x}], r10
    {label}joined:
    """


def _loaded(label: str) -> str:
    """What a load has loaded is unknown; rdi is the access."""
    return f"""
        test esi, 0x100
        jne {label}stored
        xor edx, edx
        cmp byte ptr [rdi], 0x66
        jne {label}rex
        inc rdi
    {label}rex:
        mov al, [rdi]
        and al, 0xf0
        cmp al, 0x40
        jne {label}norex
        movzx edx, byte ptr [rdi]
        inc rdi
    {label}norex:
        cmp byte ptr [rdi], 0xf
        jne {label}plainload
        inc rdi
    {label}plainload:
        movzx eax, byte ptr [rdi + 0x1]
        shr eax, 0x3
        and eax, 0x7
        and edx, 0x4
        lea eax, [rax + rdx*2]
        add r8d, 0x4
        mov [rsp + rax*8 + {REGISTERS:#x}], r8
        and eax, 0xe
        cmp eax, 0x6
        jne {label}stored
        mov qword ptr [rsp + {LEADER:#x}], 0x0
    {label}stored:
    """


def source(site: Site, label: str) -> str:
    """See editor.py.  r8 is the last number that a register has got."""
    return f"""
        mov dword ptr [rsp + {COUNT:#x}], 0x0
        xor r8d, r8d
        {sums.forget(label + "first")}
        mov rdi, [rbx + {TB_CODE:#x}]
        add rdi, {HEAD:#x}
        mov [rsp + {BEHIND:#x}], rdi
    {label}find:
        mov rcx, [rbx + {TB_CODE_SIZE:#x}]
        add rcx, [rbx + {TB_CODE:#x}]
        sub rcx, {SEQUENCE:#x}
        {search(label, 0xF0FB, 2)}
        mov ax, [rdi]
        and ax, 0xdfff
        cmp ax, 0xc3c4
        jne {label}next
        mov rax, [rdi + 0x3]
        shl rax, 0x8
        or rax, 0x70000
        mov rdx, 0x7d23483e06fff000
        cmp rax, rdx
        jne {label}next
        mov r9, rdi
        mov rdi, [rsp + {BEHIND:#x}]
    {label}walk:
        cmp rdi, r9
        je {label}here
        ja {label}unknown
        {sums.decode(site, label)}
        {sums.follow(label)}
    {label}unknown:
        {sums.forget(label + "again")}
    {label}here:
        {_access(label)}
        {_join(label)}
        {_loaded(label)}
        mov [rsp + {BEHIND:#x}], rcx
        mov rdi, rcx
        jmp {label}find
    {label}none:
        cmp dword ptr [rsp + {COUNT:#x}], 0x0
        je {label}miss
    """
