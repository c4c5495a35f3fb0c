"""An ATA disk on a bench: commands, and the far end of its DMA."""

from __future__ import annotations

from emu.chips.atadisk import ATADisk
from tests.chips.drives import (
    DRDY,
    DSC,
    DriveBench,
    Huge,
    pull,
)

IDLE = DRDY | DSC
SECTORS = 2016                  # two cylinders
READ, READ_EXT, WRITE, WRITE_EXT, VERIFY, READ_DMA, WRITE_DMA = 0x20, 0x24, 0x30, 0x34, 0x40, 0xC8, 0xCA
READ_DMA_EXT, WRITE_DMA_EXT, WRITE_DMA_FUA, READ_MULTIPLE, WRITE_MULTIPLE, SET_MULTIPLE = 0x25, 0x35, 0x3D, 0xC4, 0xC5, 0xC6
FLUSH, SET_FEATURES, PARAMETERS = 0xE7, 0xEF, 0x91



def huge(sectors):
    return DriveBench(ATADisk, Huge(sectors))


def sectors(medium, first, count):
    return bytes(medium.data[first * 512:(first + count) * 512])


def dma_in(b, piece=1 << 16):
    data = b""
    while part := pull(b.chip, piece):
        data += part
    return data


def dma_out(b, data, piece=1 << 16):
    at = 0
    while b.chip.wanted:
        part = data[at:at + min(piece, b.chip.wanted)]
        b.chip.receive(part)
        at += len(part)
    return at
