"""A guest that calls interrupts: a boot sector with a table of calls, which says what came back on port E9h.

A call is registers and an interrupt number; its answer the registers and flags afterwards, and some memory.  The guest's own
buffer is the segment BUFFER, whose first bytes a test may choose.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from emu.assembler import assemble
from tests.firmware.machines import START

BUFFER = 0x1000
CASES, CONTENT, END = 0x8200, 0x10000, 0x17C00
MOST = (CONTENT - CASES) // 64
NAMES = "eax", "ebx", "ecx", "edx", "esi", "edi", "ebp"
PROGRAM = f"""
start:
{START}
    sti
    cld
    mov byte ptr [drive], dl
    mov si, packet
    mov ah, 0x42
    int 0x13
    jc failed
    jmp next
failed:
    mov al, 0x3F
    out 0xF4, al
    hlt
drive: .byte 0
.align 4, 0
packet: .byte 16, 0
    .word {(END - 0x7E00) // 512}, 0x0000, 0x07E0
    .long 1, 0
.org 0x7DFE
    .word 0xAA55
next:
    mov si, word ptr [which]
    shl si, 6
    add si, {CASES}
    mov al, byte ptr [si]
    cmp al, 0
    jne call
    mov al, 0x10
    out 0xF4, al
    hlt
call:
    mov byte ptr [number], al
    mov ax, word ptr [si + 38]
    push ax
    mov ebx, dword ptr [si + 8]
    mov ecx, dword ptr [si + 12]
    mov edx, dword ptr [si + 16]
    mov edi, dword ptr [si + 24]
    mov ebp, dword ptr [si + 28]
    mov es, word ptr [si + 34]
    mov eax, dword ptr [si + 20]
    mov dword ptr [temporary], eax
    mov eax, dword ptr [si + 4]
    mov ds, word ptr [si + 32]
    mov esi, dword ptr cs:[temporary]
    popf
    .byte 0xCD
number: .byte 0
    mov dword ptr cs:[answer], eax
    mov dword ptr cs:[answer + 4], ebx
    mov dword ptr cs:[answer + 8], ecx
    mov dword ptr cs:[answer + 12], edx
    mov dword ptr cs:[answer + 16], esi
    mov dword ptr cs:[answer + 20], edi
    mov dword ptr cs:[answer + 24], ebp
    mov word ptr cs:[answer + 28], ds
    mov word ptr cs:[answer + 30], es
    pushf
    pop ax
    mov word ptr cs:[answer + 32], ax
    mov word ptr cs:[answer + 34], sp
    xor ax, ax
    mov ds, ax
    mov es, ax
    cld
    sti
    mov si, answer
    mov cx, 36
    mov dx, 0xE9
    rep outsb
    mov bx, word ptr [which]
    shl bx, 6
    add bx, {CASES}
    mov cx, word ptr [bx + 44]
    jcxz done
    mov si, word ptr [bx + 42]
    mov ds, word ptr [bx + 40]
    rep outsb
done:
    xor ax, ax
    mov ds, ax
    inc word ptr [which]
    jmp next
.align 4, 0
which: .word 0, 0
temporary: .long 0
answer: .fill 40, 1, 0
"""


@dataclass
class Call:
    """INT `number` with these registers (by name, 32 bits; ds, es, flags too); then `dump` (segment, offset, length)."""

    number: int
    registers: dict[str, int] = field(default_factory=dict)
    dump: tuple[int, int, int] = (0, 0, 0)


def call(number: int, dump: tuple[int, int, int] = (0, 0, 0), **registers: int) -> Call:
    """A Call; `ax`, `bx` ... stand for their long forms."""
    return Call(number, {name if len(name) == 3 or name in ("ds", "es") else "e" + name: value
                         for name, value in registers.items() if name != "flags"} | (
        {"flags": registers["flags"]} if "flags" in registers else {}), dump)


@dataclass
class Answer:
    """Registers, as attributes of their names; `cf`, `zf`; the memory that was asked for."""

    registers: dict[str, int]
    memory: bytes

    def __getattr__(self, name: str) -> int:
        registers = self.registers
        if name in registers:
            return registers[name]
        if name in ("cf", "zf"):
            return registers["flags"] >> (0 if name == "cf" else 6) & 1
        if "e" + name in registers:
            return registers["e" + name] & 0xFFFF
        if len(name) == 2 and name[0] in "abcd" and name[1] in "hl":
            return registers[f"e{name[0]}x"] >> (8 if name[1] == "h" else 0) & 0xFF
        raise AttributeError(name)


def image(calls: Mapping[str, Call], content: bytes = b"", size: int = 32 << 20) -> bytes:
    """A hard disk of `size` bytes whose boot sector makes the calls; `content` is put at BUFFER:0 before."""
    assert len(calls) < MOST
    assert len(content) <= END - CONTENT
    code = assemble(PROGRAM, 0x7C00, 16)
    disk = bytearray(size)
    disk[:len(code)] = code
    assert len(code) <= CASES - 0x7C00
    for number, one in enumerate(calls.values()):
        registers = one.registers
        record = struct.pack("<B3x7I4H3H", one.number, *(registers.get(name, 0) for name in NAMES),
                             registers.get("ds", 0), registers.get("es", 0), 0, registers.get("flags", 0x202), *one.dump)
        at = CASES - 0x7C00 + number * 64
        disk[at:at + len(record)] = record
    disk[CONTENT - 0x7C00:CONTENT - 0x7C00 + len(content)] = content
    return bytes(disk)


def answers(calls: Mapping[str, Call], said: bytes) -> dict[str, Answer]:
    """What the guest said, by the calls' names."""
    found, at = {}, 0
    for name, one in calls.items():
        values = struct.unpack_from("<7I4H", said, at)
        registers = dict(zip((*NAMES, "ds", "es", "flags", "sp"), values))
        at += 36
        found[name] = Answer(registers, said[at:at + one.dump[2]])
        at += one.dump[2]
    assert at == len(said), "the guest said something else too"
    return found
