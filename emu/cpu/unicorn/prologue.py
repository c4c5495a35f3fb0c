"""How many bytes of a function's start a jump may overwrite, in a build whose code we do not know by heart.

Understood is what compilers begin a function with, and what means the same anywhere: pushes, moves, tests and arithmetic
between registers, immediate operands and memory that is not relative to RIP (SDM vol. 2A, 2.1).  All else, a jump or a call
above all, ends the search without a result.
"""

from __future__ import annotations

JUMP = 13                       # bytes of `mov r11, target; jmp r11`

# opcode -> bytes of the immediate operand behind ModRM, its SIB byte and displacement
_MODRM = {opcode: 0 for base in range(0x00, 0x40, 8) for opcode in (base, base + 1, base + 2, base + 3)} | {
    0x63: 0, 0x84: 0, 0x85: 0, 0x88: 0, 0x89: 0, 0x8A: 0, 0x8B: 0, 0x8D: 0, 0x80: 1, 0x83: 1, 0xC6: 1, 0x81: 4, 0xC7: 4,
    0xC1: 1, 0x6B: 1}
_MODRM_0F = {0xB6: 0, 0xB7: 0, 0xBE: 0, 0xBF: 0, 0xAF: 0, 0x10: 0, 0x11: 0, 0x28: 0, 0x29: 0, 0x57: 0, 0xEF: 0, 0x6E: 0}


def whole(code: bytes, least: int = JUMP) -> int:
    """The length of the instructions that cover the first `least` bytes; 0 if one of them is not understood."""
    at = 0
    while at < least:
        length = _length(code[at:])
        if not length:
            return 0
        at += length
    return at if at <= len(code) else 0


def _length(code: bytes) -> int:
    code += bytes(16)
    at = wide = 0
    if code.startswith(b"\xF3\x0F\x1E\xFA"):              # endbr64
        return 4
    if code[at] in (0x66, 0xF2, 0xF3):
        at += 1
    if code[at] & 0xF0 == 0x40:                             # REX
        wide = code[at] & 8
        at += 1
    opcode, at = code[at], at + 1
    if opcode & 0xF8 == 0x50 or opcode == 0x90:             # push r, nop
        return at
    if opcode & 0xF8 == 0xB8 and code[0] != 0x66:           # mov r, imm
        return at + (8 if wide else 4)
    if opcode == 0x0F:
        opcode, at = code[at], at + 1
        immediate = _MODRM_0F.get(opcode)
    else:
        immediate = _MODRM.get(opcode)
    if immediate is None or (immediate == 4 and code[0] == 0x66):
        return 0
    mode, rm = code[at] >> 6, code[at] & 7
    at += 1
    if mode == 0 and rm == 5:                               # relative to RIP
        return 0
    if mode != 3 and rm == 4:
        if mode == 0 and code[at] & 7 == 5:                 # SIB without a base: disp32
            at += 4
        at += 1
    return at + (0, 1, 4, 0)[mode] + immediate
