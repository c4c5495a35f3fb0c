"""What a loader hands to a board: bytes for memory, and the state in which the processor begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emu import x86

MemoryMap = Sequence[tuple[int, int, int]]  # (start, length in bytes, E820 type: 1 RAM, 2 reserved, 3 ACPI, ...)

CODE = 0x10  # the selectors that Linux asks for (__BOOT_CS, __BOOT_DS); Multiboot leaves them to the loader,
DATA = 0x18  # so one table serves every kind

GDT = b"".join((
    bytes(16),
    x86.encode_segment(x86.Segment(CODE, 0, 0xFFFF_FFFF, 0xC09B)),  # 32-bit code, readable; accessed already, so
    x86.encode_segment(x86.Segment(DATA, 0, 0xFFFF_FFFF, 0xC093)),  # that no load of it writes to the table
))


class BadImage(ValueError):
    """A file cannot be started.  The message is one line for the user: which file, what is wrong, what to do."""


@dataclass(frozen=True, slots=True)
class Screen:
    """The VGA text screen that the firmware leaves to the kernel: sizes and cursor in characters."""

    columns: int = 80
    rows: int = 25
    column: int = 0  # of the cursor
    row: int = 0
    mode: int = 3  # as INT 10h counts
    points: int = 16  # scan lines of a character


@dataclass(frozen=True, slots=True)
class Start:
    """How a machine begins with this file.  It is a plan: whoever has a machine carries it out, again at each restart.

    `mode` "real": the selectors are in `registers`, bases are 16 times that.  `mode` "protected": flat 32-bit segments
    from the table at `gdtr`, CS = `code`, DS ES FS GS SS = `data`, CR0.PE = 1, paging off, A20 on.  Interrupts are as
    EFLAGS says.  A later block is placed over an earlier one.  `mode` "firmware": the board's firmware finds the blocks
    in fw_cfg (emu.loaders.pieces) and does the rest.
    """

    kind: str  # "linux" | "multiboot" | "elf" | "flat"
    blocks: tuple[tuple[int, bytes], ...]  # (physical address, bytes); what must be cleared is there as zero bytes
    mode: str  # "real" | "protected" | "firmware"
    registers: Mapping[str, int]  # in the SDM's names, lower case; those not named are zero
    gdtr: tuple[int, int] | None = None  # (base, limit); the table is in one of the blocks
    code: int = 0
    data: int = 0


def protected(kind: str, blocks: Sequence[tuple[int, bytes]], gdt: int, **registers: int) -> Start:
    """A start in flat 32-bit protected mode; `gdt` is where GDT was placed among the blocks."""
    state = dict.fromkeys(("eax", "ebx", "ecx", "edx", "esi", "edi", "ebp", "esp", "eip"), 0)
    state |= {"eflags": 2, **registers}  # bit 1 is always set; IF = 0
    return Start(kind, tuple(blocks), "protected", state, (gdt, len(GDT) - 1), CODE, DATA)
