"""The 256 words that a device tells of itself: [ATA] T13/1410D, 8.15 IDENTIFY DEVICE and 8.16 IDENTIFY PACKET DEVICE.

Not modelled: words of feature sets that the devices do not have are 0.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

LBA28 = 0x0FFF_FFFF             # sectors that 28 bits address: [ATA] 6.2
VERSIONS, MINOR = 0x0070, 0x0019                # ATA/ATAPI-4 to -6; T13/1410D revision 3a
PIO_MODES, MWDMA_MODES, UDMA_MODES = 0x03, 0x07, 0x3F
CYCLE = 120                     # ns: of PIO mode 4 and multiword DMA mode 2
CHECKED = 0x4000                # a word that has 01 in its upper bits is valid


def text(value: str, words: int) -> list[int]:
    """ASCII, filled with spaces, the first character in the upper half of the first word ([ATA] 3.2.9)."""
    data = value.encode("ascii", "replace")[:2 * words].ljust(2 * words)
    return list(struct.unpack(f">{words}H", data))


def modes(mode: int, first: int, supported: int) -> int:
    """Word 63 or 88: which modes there are, and which is selected."""
    selected = mode - first
    return supported | (1 << selected + 8 if 0 <= selected < 8 else 0)


def reset_result(number: int, other: bool) -> int:
    """Word 93: a cable of 80 conductors, device numbers by jumper, nothing has failed."""
    if number:
        return CHECKED | 0x2000 | 0x0B00
    return CHECKED | 0x2000 | 0x0B | (0x30 if other else 0x40)      # PDIAG- and DASP- seen, or it answers for device 1


def sealed(words: Mapping[int, int]) -> bytes:
    """The 512 bytes of these words, with the integrity word that makes all bytes' sum 0."""
    data = bytearray(struct.pack("<256H", *(words.get(i, 0) for i in range(256))))
    data[510] = 0xA5
    data[511] = -sum(data[:511]) & 0xFF
    return bytes(data)


def common(number: int, other: bool, dma_mode: int, names: tuple[str, str, str]) -> dict[int, int]:
    """The words that disks and packet devices have alike; `names`: model, serial number, firmware."""
    model, serial, firmware = names
    words = {
        50: CHECKED, 53: 0x0007,
        63: modes(dma_mode, 0x20, MWDMA_MODES), 64: PIO_MODES, 65: CYCLE, 66: CYCLE, 67: CYCLE, 68: CYCLE,
        80: VERSIONS, 81: MINOR,
        88: modes(dma_mode, 0x40, UDMA_MODES), 93: reset_result(number, other),
    }
    for first, value, length in (10, serial, 10), (23, firmware, 4), (27, model, 20):
        words.update(enumerate(text(value, length), first))
    return words
