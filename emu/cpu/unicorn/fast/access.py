"""access: a load or store looks in the TLB with nine instructions instead of eleven.

Translated code reaches memory through the TLB, in line; R is the register of the guest's address:

    mov  rdi, R                                             rorx rdi, R, 6          (BMI2; else as before)
    shr  rdi, 6
    and  rdi, [rbp - mask]                                  and  rdi, [rbp - mask]
    add  rdi, [rbp - table]                                 add  rdi, [rbp - table]
    lea  rsi, [R + size - 1]        or mov rsi, R           lea  rsi, [R + size - 1]
    and  rsi, page                                  ->      and  rsi, page
    cmp  rsi, [rdi + kind]                                  cmp  rsi, [rdi + kind]
    mov  rsi, R                                             jne  slow
    jne  slow                                               mov  rsi, [rdi + addend]
    add  rsi, [rdi + addend]                                mov  data, [rsi + R]    (or a store)
    mov  data, [rsi]
    ...
 slow: mov rdi, rbp                                  slow: mov rsi, R
    mov  edx, ...; lea rcx, back; call helper               mov  edx, ...; lea rcx, back; call a thunk

The mask of the TLB cuts off what RORX brings in from below.  The thunk does what the slow path has given up, mov rdi, rbp,
and calls the helper.  The bytes that come free are segment prefixes, which mean nothing here (AMD64 APM vol. 3, 1.2.4),
so nothing moves but within an access.  All is compared before anything is written.

Gain: a copy by MOV takes 0.95 of the time, a table that is walked (CRC) 0.97.
"""

from __future__ import annotations

from emu.cpu.unicorn.fast.direct import across
from emu.cpu.unicorn.fast.editor import Site, has_bmi2, search
from emu.cpu.unicorn.layout import TB_CODE, TB_CODE_SIZE, symbol

HELPERS = tuple(f"helper_{name}_mmu_x86_64" for name in (
    "ret_ldub", "le_lduw", "le_ldul", "le_ldq", "ret_stb", "le_stw", "le_stl", "le_stq"))
LEAST = 0x2F                    # bytes of the shortest sequence
PREFIX = 0x3E                   # DS


def _same(register: str, address: str, value: int, label: str) -> str:
    """Go to `label` unless the three bytes at `address` are `value`."""
    return f"""
        mov {register}, {address}
        and {register}, 0xffffff
        cmp {register}, {value:#x}
        jne {label}
    """


def _call(site: Site, helper: str) -> str:
    """Called, or with the return address pushed; RDI becomes negative: beside.py tells why."""
    return f"""
        {across(helper) if site.across else ""}
        sub rsp, 0x8
        mov rdi, rbp
        mov rax, {symbol(helper):#x}
        call rax
        or rdi, -0x1
        add rsp, 0x8
        ret
    """


def _target(site: Site, label: str) -> str:
    """r13 = the thunk for the helper at rax."""
    return "".join(f"""
        mov r13, {symbol(name):#x}
        cmp rax, r13
        mov r13, {site.code.place(_call(site, name)):#x}
        je {label}known
    """ for name in HELPERS) + f"jmp {label}next\n"


def _sequence(label: str) -> str:
    """Compare, from rdi on: r10d and r11d = R's low bits and the high one, rsi = the second `mov rsi, R`, r8d = its bytes."""
    return f"""
        cmp dword ptr [rdi + 0x3], 0x6efc148
        jne {label}next
        mov eax, [rdi]
        and eax, 0xf8fffe
        cmp eax, 0xf88b48
        jne {label}next
        {_same("eax", "[rdi + 0x7]", 0x7D2348, label + "next")}
        {_same("eax", "[rdi + 0xb]", 0x7D0348, label + "next")}
        movzx r10d, byte ptr [rdi + 0x2]
        and r10d, 0x7
        movzx r11d, byte ptr [rdi]
        and r11d, 0x1
        lea rsi, [rdi + 0xf]
        mov al, [rsi]
        and al, 0xfe
        cmp al, 0x48
        jne {label}next
        cmp byte ptr [rsi + 0x1], 0x8d
        je {label}lea
        cmp byte ptr [rsi + 0x1], 0x8b
        jne {label}next
        add rsi, 0x3
        jmp {label}and
    {label}lea:
        add rsi, 0x4
        cmp r10d, 0x4
        jne {label}and
        inc rsi
    {label}and:
        {_same("eax", "[rsi]", 0xE68148, label + "next")}
        mov eax, [rsi + 0x7]
        and eax, 0xffffff
        add rsi, 0xa
        cmp eax, 0x373b48
        je {label}compared
        cmp eax, 0x773b48
        jne {label}next
        inc rsi
    {label}compared:
        mov r8d, r10d
        shl r8d, 0x10
        or r8d, r11d
        or r8d, 0xf08b48
        mov eax, [rsi]
        and eax, 0xffffff
        cmp eax, r8d
        jne {label}next
        cmp word ptr [rsi + 0x3], 0x850f
        jne {label}next
        cmp dword ptr [rsi + 0x9], 0x20770348
        jne {label}next
    """


def _slow(label: str) -> str:
    """Compare the slow path: r9 = its start, rdx = the displacement of its call or jump, rax = where that leads."""
    return f"""
        movsxd r9, dword ptr [rsi + 0x5]
        lea r9, [rsi + r9 + 0x9]
        {_same("eax", "[r9]", 0xFD8B48, label + "next")}
        lea rdx, [r9 + 0x3]
        cmp byte ptr [rdx], 0xba
        jne {label}store
        {_same("eax", "[rdx + 0x5]", 0x0D8D48, label + "next")}
        cmp byte ptr [rdx + 0xc], 0xe8
        jne {label}next
        add rdx, 0xd
        jmp {label}target
    {label}store:
        mov al, [rdx]
        and al, 0xf0
        cmp al, 0x40
        jne {label}short
        inc rdx
    {label}short:
        cmp byte ptr [rdx], 0x8b
        jne {label}there
        mov al, [rdx + 0x1]
        and al, 0xf8
        cmp al, 0xd0
        jne {label}next
        add rdx, 0x2
    {label}there:
        cmp byte ptr [rdx], 0xb9
        jne {label}next
        {_same("eax", "[rdx + 0x5]", 0x058D4C, label + "next")}
        cmp word ptr [rdx + 0xc], 0x5041
        jne {label}next
        cmp byte ptr [rdx + 0xe], 0xe9
        jne {label}next
        add rdx, 0xf
    {label}target:
        movsxd rax, dword ptr [rdx]
        lea rax, [rdx + rax + 0x4]
    """


def _instruction(label: str) -> str:
    """Take the access itself, at rsi + 13, apart: r14 = opcode and ModRM; on the stack 66h, REX and 0Fh, or 0."""
    return f"""
        mov r14, [rsi + 0xd]
        mov dword ptr [rsp], 0x0
        cmp r14b, 0x66
        jne {label}rex
        mov byte ptr [rsp], 0x66
        shr r14, 0x8
    {label}rex:
        mov eax, r14d
        and al, 0xf0
        cmp al, 0x40
        jne {label}escape
        mov [rsp + 0x1], r14b
        shr r14, 0x8
    {label}escape:
        cmp r14b, 0xf
        jne {label}one
        mov byte ptr [rsp + 0x2], 0xf
        shr r14, 0x8
        mov eax, r14d
        and al, 0xf6
        cmp al, 0xb6
        jne {label}next
        jmp {label}modrm
    {label}one:
        cmp r14b, 0x8b
        je {label}modrm
        cmp r14b, 0x63
        je {label}modrm
        mov eax, r14d
        and al, 0xfe
        cmp al, 0x88
        jne {label}next
    {label}modrm:
        mov eax, r14d
        and eax, 0xc700
        cmp eax, 0x600
        jne {label}next
    """


def _write(label: str, bmi2: bool) -> str:
    """Nothing has been written so far."""
    rotate = f"""
        mov eax, r11d
        shl eax, 0xd
        xor eax, 0xf0fbe3c4
        mov [rdi], eax
        lea eax, [r10 + 0x6f8]
        mov [rdi + 0x4], ax
        mov byte ptr [rdi + 0x6], {PREFIX:#x}
    """ if bmi2 else ""
    return f"""
        {rotate}
        mov [r9], r8w
        shr r8d, 0x10
        mov [r9 + 0x2], r8b
        sub r13, rdx
        sub r13, 0x4
        mov [rdx], r13d
        mov eax, [rsi + 0x5]
        add eax, 0x3
        mov word ptr [rsi], 0x850f
        mov [rsi + 0x2], eax
        mov byte ptr [rsi + 0x6], {PREFIX:#x}
        add rsi, 0x7
        movzx eax, byte ptr [rsp + 0x1]
        test eax, eax
        jne {label}wide
        test r11d, r11d
        je {label}wide
        mov eax, 0x40
        jmp {label}move
    {label}wide:
        mov byte ptr [rsi], {PREFIX:#x}
        inc rsi
    {label}move:
        mov dword ptr [rsi], 0x20778b48
        add rsi, 0x4
        cmp byte ptr [rsp], 0x0
        je {label}no66
        mov byte ptr [rsi], 0x66
        inc rsi
    {label}no66:
        test eax, eax
        je {label}norex
        lea eax, [rax + r11*2]
        mov [rsi], al
        inc rsi
    {label}norex:
        cmp byte ptr [rsp + 0x2], 0x0
        je {label}no0f
        mov byte ptr [rsi], 0xf
        inc rsi
    {label}no0f:
        and r14d, 0x38ff
        or r14d, 0x400
        mov [rsi], r14w
        lea eax, [r10*8 + 0x6]
        mov [rsi + 0x2], al
        inc dword ptr [rsp + 0x8]
        lea rdi, [rsi + 0x2]
    """


def source(site: Site, label: str) -> str:
    """See editor.py."""
    return f"""
        mov dword ptr [rsp + 0x8], 0x0
        mov rdi, [rbx + {TB_CODE:#x}]
        mov rcx, [rbx + {TB_CODE_SIZE:#x}]
        add rcx, rdi
        sub rcx, {LEAST:#x}
        {search(label, 0xEFC1, 4)}
        {_sequence(label)}
        {_slow(label)}
        {_target(site, label)}
    {label}known:
        {_instruction(label)}
        {_write(label, has_bmi2(site))}
        jmp {label}next
    {label}none:
        cmp dword ptr [rsp + 0x8], 0x0
        je {label}miss
    """
