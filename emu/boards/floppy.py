"""The floppy subsystem of the PC: two 8237A, their page registers, an 82077AA and its drives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emu.boards.board import Board
from emu.chips.dmapage import DMAPage
from emu.chips.fdc82077 import FDC82077
from emu.chips.floppy import D1440, drive_for
from emu.chips.i8237 import I8237, I8237Word
from emu.chips.media import Medium


def add_floppy(board: Board, irq: Any, diskettes: Sequence[Medium | None]) -> FDC82077:
    """Add the chips and wire them; a drive for each of up to two diskettes, None an empty one.

    Raises ValueError for a medium that is no diskette.
    """
    kinds = tuple(D1440 if medium is None else drive_for(medium.size) for medium in diskettes[:2])
    pages = board.add("dmapage", DMAPage, at=0x81)
    dma2 = board.add("dma2", I8237Word, board.read, board.write, lambda n: pages.page(n + 4), at=0xC0)
    dma1 = board.add("dma1", I8237, board.read, board.write, pages.page, lambda: dma2.cascades(0), at=0x00)
    fdc = board.add("fdc", FDC82077, dma1.channel(2), kinds, tuple(diskettes[:2]), at=0x3F0)
    board.wire(
        (fdc.drq,  dma1.dreq[2]),
        (dma1.hrq, dma2.dreq[0]),
        (fdc.intr, irq))
    return fdc


def cmos(fdc: FDC82077) -> dict[int, int]:
    """What a set-up leaves in the CMOS of the drives: cell 10h, and the bits of 14h (IBM AT Technical Reference)."""
    kinds = [unit.kind for unit in fdc.units[:2]]
    count = sum(kind > 0 for kind in kinds)
    return {0x10: kinds[0] << 4 | kinds[1], 0x14: (count - 1) << 6 | 1 if count else 0}


def open_cascade(board: Board) -> None:
    """What a BIOS leaves in the DMA controllers, as far as kernels count on it: channel 4 passes channels 0 to 3 on."""
    for port, value in ((0xD6, 0xC0), (0xD4, 0x00)):
        board.ports.write[port << 4 | 1](value)
