"""The IDE subsystem of the PC: two ATA channels with disks and a CD-ROM drive, and the PIIX3's function for them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from emu.boards.board import BadBoard, Board
from emu.chips.ata import ATAChannel
from emu.chips.atadisk import ATADisk
from emu.chips.atadrive import Drive
from emu.chips.atapicd import ATAPICDROM
from emu.chips.atasectors import CYLINDERS, HEADS, TRACK
from emu.chips.media import Medium
from emu.chips.pci import IO, Show
from emu.chips.piix3ide import PIIX3IDE

PORTS = ((0x1F0, 0x3F6), (0x170, 0x376))        # command and control block of each channel
CDROM = 2                                       # the secondary master, as on QEMU's boards
MOST = 4
MULTIPLE = 16                                   # sectors of a DRQ block, as BIOSes set it
TYPE_47 = 47                                    # a disk whose shape stands in the CMOS


def add_ide(board: Board, show: Show, irqs: tuple[Any, Any], disks: Sequence[Medium] = (),
            cdrom: Medium | None = None) -> PIIX3IDE:
    """Add the chips, named ide, ata1, ata2, hd0 to hd3 and cd; wire their interrupts to `irqs`, `show` their ports.

    The disks are primary master and slave, secondary slave; a fourth one takes the place of the CD-ROM drive, which is
    otherwise there even without a disc.  Raises BadBoard when there is no place for all.
    """
    if len(disks) > MOST or (len(disks) == MOST and cdrom is not None):
        raise BadBoard(f"{len(disks)} disks{' and a CD-ROM' if cdrom else ''}: there is room for {MOST} drives")
    places = range(MOST) if len(disks) == MOST else (0, 1, 3)
    media: dict[int, Medium] = dict(zip(places, disks))
    drives: list[Drive | None] = []
    for place in range(MOST):
        number, pair = place % 2, place ^ 1
        other = pair in media or (pair == CDROM and CDROM not in media)
        if place in media:
            drives.append(board.add(f"hd{place}", ATADisk, media[place], number, other, f"EMU{place + 1:05}"))
        elif place == CDROM:
            drives.append(board.add("cd", ATAPICDROM, cdrom, number, other))
        else:
            drives.append(None)
    channels = board.add("ata1", ATAChannel, *drives[:2]), board.add("ata2", ATAChannel, *drives[2:])

    def decode(n: int, on: bool) -> None:
        for block, base in zip(("at", "control"), PORTS[n]):
            show(channels[n], block, IO, base if on else None, 0)

    ide = board.add("ide", PIIX3IDE, channels, board.read, board.fill, decode)
    for place, drive in enumerate(drives):
        if drive is not None:
            n = place // 2
            board.wire((drive.intrq, irqs[n]), (drive.intrq, ide.irq[n]), (drive.dmarq, ide.dmarq[n]))
    return ide


def open_ide(board: Board) -> None:
    """What a BIOS leaves, as far as kernels count on it: ports decoded, the drives ready, READ MULTIPLE set."""
    ide = board.chips["ide"]
    for register in PIIX3IDE.IDETIMP, PIIX3IDE.IDETIMS:
        ide.writer(register)(register.IDE)
    for drive in board.chips.values():
        if isinstance(drive, Drive):
            drive.work.off()
            drive.ready()
        if isinstance(drive, ATADisk):
            drive.multiple = MULTIPLE


def boot_order(board: Board, kind: type[Drive]) -> list[tuple[int, int]]:
    """(channel, device) of the drives of a kind."""
    return [(n, device.number) for n in (0, 1) for device in board.chips[f"ata{n + 1}"].there if isinstance(device, kind)]


def cmos(board: Board) -> dict[int, int]:
    """What a set-up leaves in the CMOS of the first two disks: cells 12h, 19h to 2Ch, and 39h of the Bochs BIOS."""
    cells = {0x12: 0, 0x39: 0}
    for n, first in (0, 0x1B), (1, 0x24):
        disk = board.chips.get(f"hd{n}")
        if isinstance(disk, ATADisk):
            cells[0x12] |= 0xF0 >> 4 * n
            cells[0x19 + n] = TYPE_47
            cells[0x39] |= 1 << 2 * n                   # translated by LBA
            cylinders = min(disk.sectors // (HEADS * TRACK), CYLINDERS)
            shape = struct.pack("<HBHBHB", cylinders, HEADS, 0xFFFF, 0xC0 | (HEADS > 8) << 3, cylinders, TRACK)
            cells.update(enumerate(shape, first))
    return cells
