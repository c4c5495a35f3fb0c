"""sums: what each register is above another one, told from translated code; beside.py asks.

A walk from one access to the next knows the few instructions that TCG puts there, and forgets all at any other.  It keeps
for each register, on the editor's stack, two i32: where it comes from, as a number times 4 and a form, and what was added.
"""

from __future__ import annotations

from emu.cpu.unicorn.fast.editor import Site

LEADER = 0x18                   # on the stack: the access that may be followed, or 0
REGISTERS = 0x30
PLAIN, CUT, MIXED = 0, 1, 2     # the form of a sum: of 64 bits; cut to 32 at last; cut before something was added
# Kinds of instructions
UNKNOWN, READS, TO_REG, TO_RM, TO_RM_8, TO_RM_32, MOVE, LEA, IMMEDIATE, STORE_32 = range(10)
ONE_BYTE = {
    **dict.fromkeys((0x39, 0x3B, 0x85), READS), 0x89: TO_RM, 0x8B: MOVE, 0x8D: LEA, 0xC7: STORE_32,
    **dict.fromkeys((0x03, 0x0B, 0x23, 0x2B, 0x33, 0x63), TO_REG), **dict.fromkeys((0x01, 0x09, 0x21, 0x29, 0x31), TO_RM),
    **dict.fromkeys((0x83, 0xC1), TO_RM_8), 0x81: TO_RM_32, **dict.fromkeys(range(0xB8, 0xC0), IMMEDIATE),
}
TWO_BYTES = {**dict.fromkeys((0xAF, 0xB6, 0xB7, 0xBE, 0xBF), TO_REG), **dict.fromkeys(range(0x90, 0xA0), TO_RM)}


def _kinds() -> bytes:
    """The kind of each opcode, and of each behind 0Fh."""
    return bytes(kinds.get(opcode, UNKNOWN) for kinds in (ONE_BYTE, TWO_BYTES) for opcode in range(256))


def forget(label: str) -> str:
    """Nothing is known of any register, and no access can be followed."""
    return f"""
        mov qword ptr [rsp + {LEADER:#x}], 0x0
        mov ecx, 0x10
    {label}:
        add r8d, 0x4
        mov [rsp + rcx*8 + {REGISTERS - 8:#x}], r8
        dec ecx
        jne {label}
    """


def decode(site: Site, label: str) -> str:
    """Take the instruction at rdi apart: eax = its kind, r11d = ModRM's mod, edx = REX, r13d and r14d = registers of ModRM's
    reg and r/m, r10 = ModRM's address; rdi = what follows ModRM and displacement.
    """
    return f"""
        movzx eax, byte ptr [rdi]
        xor edx, edx
        mov ecx, eax
        and ecx, 0xf0
        cmp ecx, 0x40
        jne {label}opcode
        mov edx, eax
        inc rdi
        movzx eax, byte ptr [rdi]
    {label}opcode:
        mov rcx, {site.code.put(_kinds()):#x}
        cmp al, 0xf
        jne {label}kind
        inc rdi
        movzx eax, byte ptr [rdi]
        add rcx, 0x100
    {label}kind:
        movzx r14d, byte ptr [rdi]
        movzx eax, byte ptr [rcx + rax]
        cmp eax, {UNKNOWN:#x}
        je {label}unknown
        lea r10, [rdi + 0x1]
        cmp eax, {IMMEDIATE:#x}
        je {label}immediate
        movzx r11d, byte ptr [r10]
        mov r13d, r11d
        mov r14d, r11d
        shr r13d, 0x3
        shr r11d, 0x6
        lea rdi, [r10 + 0x1]
        je {label}unknown
        and r13d, 0x7
        and r14d, 0x7
        cmp r11d, 0x3
        je {label}registers
        cmp r14d, 0x4
        jne {label}nosib
        cmp byte ptr [rdi], 0x24
        jne {label}unknown
        inc rdi
    {label}nosib:
        inc rdi
        cmp r11d, 0x1
        je {label}registers
        add rdi, 0x3
    {label}registers:
        lea ecx, [rdx + rdx]
        and ecx, 0x8
        or r13d, ecx
        lea ecx, [rdx*8]
        and ecx, 0x8
        or r14d, ecx
    """


def follow(label: str) -> str:
    """Note what the instruction does: r13d becomes the register that is new, and unknown."""
    return f"""
        cmp eax, {READS:#x}
        je {label}walk
        cmp eax, {TO_REG:#x}
        je {label}new
        cmp eax, {MOVE:#x}
        je {label}move
        cmp eax, {LEA:#x}
        je {label}lea
        cmp eax, {TO_RM_8:#x}
        je {label}imm8
        cmp eax, {TO_RM:#x}
        je {label}rm
        add rdi, 0x4
        cmp eax, {TO_RM_32:#x}
        je {label}rm
        cmp r11d, 0x3
        je {label}unknown
        jmp {label}walk
    {label}imm8:
        inc rdi
        mov cl, [r10]
        and cl, 0xf8
        cmp cl, 0xc0
        jne {label}rm
        test edx, 0x8
        je {label}rm
        cmp byte ptr [r10 - 0x1], 0x83
        jne {label}rm
        mov r13d, r14d
        movsx ecx, byte ptr [r10 + 0x1]
        jmp {label}sum
    {label}rm:
        cmp r11d, 0x3
        jne {label}walk
        mov r13d, r14d
        jmp {label}new
    {label}move:
        cmp r11d, 0x3
        jne {label}new
        mov rcx, [rsp + r14*8 + {REGISTERS:#x}]
        test edx, 0x8
        jne {label}set
        and ecx, 0xfffffffc
        mov rax, 0xffffffff00000000
        and rax, [rsp + r14*8 + {REGISTERS:#x}]
        or rcx, rax
        or rcx, {CUT:#x}
        jmp {label}set
    {label}lea:
        test edx, 0x8
        je {label}new
        cmp r11d, 0x1
        jne {label}new
        movsx ecx, byte ptr [rdi - 0x1]
    {label}sum:
        mov eax, [rsp + r14*8 + {REGISTERS:#x}]
        add ecx, [rsp + r14*8 + {REGISTERS + 4:#x}]
        test eax, 0x3
        je {label}plain
        and eax, 0xfffffffc
        or eax, {MIXED:#x}
    {label}plain:
        shl rcx, 0x20
        or rcx, rax
    {label}set:
        mov [rsp + r13*8 + {REGISTERS:#x}], rcx
        jmp {label}written
    {label}immediate:
        lea rdi, [r10 + 0x4]
        test edx, 0x8
        jne {label}unknown
        mov r13d, r14d
        and r13d, 0x7
        and edx, 0x1
        lea r13d, [r13 + rdx*8]
    {label}new:
        add r8d, 0x4
        mov [rsp + r13*8 + {REGISTERS:#x}], r8
    {label}written:
        and r13d, 0xe
        cmp r13d, 0x6
        jne {label}walk
        mov qword ptr [rsp + {LEADER:#x}], 0x0
        jmp {label}walk
    """
