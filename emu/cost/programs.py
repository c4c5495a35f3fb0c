"""The machine code: one source (program.asm), as an ELF file for Linux and, behind kernel.asm, as a Multiboot kernel.

ELF: Tool Interface Standard, Executable and Linking Format 1.2, and the AMD64 supplement of System V.
"""

from __future__ import annotations

import functools
import struct
from pathlib import Path

HERE = Path(__file__).parent
CODE, DATA, WORDS = 0x400000, 0x600000, 0x800000             # as program.asm has it
DATA_END = WORDS + (64 << 20) + (2 << 20)
DISK = 65 << 20                # bytes of the disk that `io` needs
KERNEL, ARGUMENTS, ENTRY64, TABLES, GDT = 0x3FE000, 0x3FE600, 0x3FE200, 0x3F0000, 0x3FE440       # as kernel.asm has it


@functools.cache
def code() -> bytes:
    """The program's bytes, at CODE."""
    from emu.assembler import assemble_file
    return assemble_file(HERE / "program.asm", bits=64)


@functools.cache
def elf() -> bytes:
    """The program as a static executable: its code, and memory of zeros."""
    body = code()
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 2, 62, 1, CODE + 0x1000, 64, 0, 0, 64, 56, 2, 64, 0, 0)
    segments = struct.pack("<IIQQQQQQ", 1, 5, 0x1000, CODE, CODE, len(body), len(body), 0x1000)
    segments += struct.pack("<IIQQQQQQ", 1, 6, 0, DATA, DATA, 0, DATA_END - DATA, 0x1000)
    header = header.replace(struct.pack("<Q", CODE + 0x1000), struct.pack("<Q", CODE))
    return (header + segments).ljust(0x1000, b"\0") + body


@functools.cache
def _kernel(by_iret: bool) -> bytes:
    from emu.assembler import assemble_file
    return assemble_file(HERE / "kernel.asm", {"BY_IRET": int(by_iret)})


def kernel(workload: int, rounds: int, by_iret: bool = False) -> bytes:
    """A Multiboot kernel that runs one workload; loaded at KERNEL, as it stands."""
    made = bytearray(_kernel(by_iret))
    made[ARGUMENTS - KERNEL:ARGUMENTS - KERNEL + 1] = b"%d" % workload
    text = b"%d" % rounds
    made[ARGUMENTS - KERNEL + 16:ARGUMENTS - KERNEL + 16 + len(text)] = text
    made = made[:CODE - KERNEL].ljust(CODE - KERNEL, b"\0") + code()
    struct.pack_into("<2I", made, 20, KERNEL + len(made), KERNEL + len(made))      # load_end, bss_end
    return bytes(made)
