"""CRC-32C (Castagnoli), as VHDX has it.  Source: RFC 3720, 12.1 and B.4."""

from __future__ import annotations

import functools


@functools.cache
def _table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ 0x82F6_3B78 * (byte & 1)
        table.append(byte)
    return table


def crc32c(data: bytes) -> int:
    """The checksum of `data`."""
    table, crc = _table(), 0xFFFF_FFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFF_FFFF
