"""LOCK (F0h): #UD but before the few instructions that may have it, with memory as their destination (SDM vol. 2A, LOCK).

The library looks only at some of them, runs the others as if the prefix were not there, and ends the process at LOCK with BT,
BTS, BTR or BTC of a register: it stores to an address that it has not computed.  So its decoder, when it has met the prefix,
looks ahead here.  The bytes are read one by one, and only as far as they belong to the instruction, so a page that is missing
is told where the decoder would have told it.

Not modelled: in a build of the library that we do not know, nothing of this is changed.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

from emu.cpu.unicorn.layout import CPU_ENV, CPU_OPAQUE, HF_CS64, HFLAGS, symbol

DECODER_START, DECODER_NEXT = 0x38, 0x40        # DisasContext: where the instruction begins, which byte is read next
LONGEST = 15                                    # bytes of an instruction
PREFIX = 0x80                                   # in the table; no instruction is allowed with /7 alone
ANY = 0xFF


def _allowed() -> ctypes.Array[ctypes.c_uint8]:
    """opcode, or 100h + opcode behind 0Fh -> a bit for each value of ModRM.reg with which it may have LOCK."""
    table = (ctypes.c_uint8 * 0x200)()
    for prefix in (0x26, 0x2E, 0x36, 0x3E, *range(0x40, 0x50), 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3):
        table[prefix] = PREFIX
    for opcode in range(0x00, 0x38, 8):         # ADD OR ADC SBB AND SUB XOR; CMP, the eighth, only reads
        table[opcode] = table[opcode + 1] = ANY
    for opcode in range(0x80, 0x84):
        table[opcode] = 0x7F
    table[0x86] = table[0x87] = ANY             # XCHG
    table[0xF6] = table[0xF7] = 0x0C            # NOT NEG
    table[0xFE] = table[0xFF] = 0x03            # INC DEC
    for opcode in (0xAB, 0xB0, 0xB1, 0xB3, 0xBB, 0xC0, 0xC1):      # BTS CMPXCHG BTR BTC XADD
        table[0x100 + opcode] = ANY
    table[0x1BA] = 0xE0                         # BTS BTR BTC with an immediate operand
    table[0x1C7] = 0x02                         # CMPXCHG8B CMPXCHG16B
    return table


ALLOWED = _allowed()


def _fetch() -> str:
    """EAX: the guest's byte at RBP, which goes on."""
    return f"""
        mov rax, rbp
        sub rax, [rbx + {DECODER_START:#x}]
        cmp rax, {LONGEST:#x}
        jae legal
        mov rdi, [rsp + 0x28]
        mov rsi, rbp
        mov rax, {symbol("cpu_ldub_code_x86_64"):#x}
        call rax
        movzx eax, al
        inc rbp
    """


def lock_prefix(_: int) -> str:
    """In the decoder, where it notes the prefix.  Its frame has the DisasContext and env on top; R13D are the prefixes it has
    seen, R14D how many bytes of them.  LOCK MOV CR0 is AMD's way to CR8, and left to the library.
    """
    return f"""
        or r13d, 0x4
        add r14d, 0x1
        mov rdi, [rsp + 0x8]
        cmp qword ptr [rdi + {CPU_OPAQUE - CPU_ENV:#x}], 0x0
        je next
        push rbx
        push rbp
        push r12
        sub rsp, 0x8
        mov rbx, [rsp + 0x20]
        mov rbp, [rbx + {DECODER_NEXT:#x}]
        mov r12, {ctypes.addressof(ALLOWED):#x}
    prefixes:
        {_fetch()}
        cmp eax, 0xf
        je two
        movzx ecx, byte ptr [r12 + rax]
        cmp ecx, {PREFIX:#x}
        jne operand
        and eax, 0xf0
        cmp eax, 0x40
        jne prefixes
        mov rdi, [rsp + 0x28]
        test dword ptr [rdi + {HFLAGS:#x}], {HF_CS64:#x}
        jne prefixes
        jmp illegal
    two:
        {_fetch()}
        movzx ecx, byte ptr [r12 + rax + 0x100]
        and eax, 0xfd
        cmp eax, 0x20
        je legal
    operand:
        mov r12d, ecx
        test ecx, ecx
        je illegal
        {_fetch()}
        cmp eax, 0xc0
        jae illegal
        shr eax, 0x3
        and eax, 0x7
        bt r12d, eax
        jc legal
    illegal:
        mov [rbx + {DECODER_NEXT:#x}], rbp
        add rsp, 0x8
        pop r12
        pop rbp
        pop rbx
        mov r11, {symbol("decoder_illegal"):#x}
        jmp r11
    legal:
        add rsp, 0x8
        pop r12
        pop rbp
        pop rbx
    next:
        mov r11, {symbol("decoder_next"):#x}
        jmp r11
    """


# The entry ends in a relative jump: the way to the original work is decoder_next, and the trampoline is not used.
ENTRIES: dict[str, tuple[bytes, Callable[[int], str]]] = {
    "decoder_lock": (bytes.fromhex("4183cd04 4183c601 e92bfeffff"), lock_prefix),
}
