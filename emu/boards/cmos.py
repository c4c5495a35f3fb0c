"""What a set-up leaves in the CMOS memory of a PC, for firmware old and new.

Sources: IBM AT Technical Reference, 1984, "Real-time clock/CMOS RAM information"; for 34h to 3Dh and 5Bh to 5Fh SeaBIOS,
src/hw/rtc.h, and the Bochs BIOS.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from emu.boards.board import LOW_END, MIB
from emu.chips.mc146818 import MC146818, bcd

BOOT = {"a": 1, "c": 2, "d": 3, "n": 4}         # cells 38h and 3Dh: the codes of floppy, disk, CD-ROM, network
COPROCESSOR, MOUSE = 0x02, 0x04                 # cell 14h
TYPE_47 = 0xF0                                  # cell 12h: the first disk's type is in 19h (where it is 47)


def fill(rtc: MC146818, memory: int, start: datetime, boot: str, more: Mapping[int, int]) -> None:
    """Equipment, sizes of `memory` (bytes), century, boot order, and the checksum; `more` is of the drives."""
    extended = min((memory - MIB) // 1024, 0xFFFF)
    above16 = max(min(memory, LOW_END) - 16 * MIB, 0) // 65536
    above4g = max(memory - LOW_END, 0) // 65536
    codes = [BOOT[device] for device in boot[:3]] + [0, 0, 0]
    cells = {
        0x15: 640 & 0xFF, 0x16: 640 >> 8,
        0x17: extended & 0xFF, 0x18: extended >> 8, 0x30: extended & 0xFF, 0x31: extended >> 8,
        0x32: bcd(start.year // 100), 0x34: above16 & 0xFF, 0x35: above16 >> 8,
        0x38: codes[2] << 4, 0x3D: codes[1] << 4 | codes[0],
        0x5B: above4g & 0xFF, 0x5C: above4g >> 8 & 0xFF, 0x5D: above4g >> 16}
    for cell, value in {**cells, **more, 0x14: COPROCESSOR | MOUSE | more.get(0x14, 0)}.items():
        rtc.cmos(cell, value)
    checksum = sum(rtc.cells[0x10:0x2E])
    rtc.cmos(0x2E, checksum >> 8)
    rtc.cmos(0x2F, checksum & 0xFF)
