"""Floppies of our own: a boot sector alone, or a FAT12 volume of 1.44 MB with files behind one.

FAT12: Microsoft, FAT: General Overview of On-Disk Format, version 1.03.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

SIZE, SECTOR = 1440 << 10, 512


def alone(boot: bytes) -> bytes:
    """A disk of one boot sector."""
    return boot.ljust(SIZE, b"\0")


def fat12(boot: bytes, files: Mapping[str, bytes]) -> bytes:
    """A disk that begins with `boot`, whose sectors and parameters (BPB) are there; `files` by 8.3 name, in their order.

    One sector a cluster.  Raises ValueError if they do not fit.
    """
    reserved, fats, entries, total, _, fat_size = struct.unpack_from("<HBHHBH", boot, 14)
    root = reserved + fats * fat_size
    first = root + entries * 32 // SECTOR
    chain, directory, data = [0xFF0, 0xFFF], b"", b""
    for name, content in files.items():
        stem, _, suffix = name.upper().partition(".")
        clusters = -(-len(content) // SECTOR)
        start = len(chain) if clusters else 0
        chain += [*range(start + 1, start + clusters), 0xFFF] if clusters else []
        directory += struct.pack("<8s3sB10xHHHI", stem.encode().ljust(8), suffix.encode().ljust(3), 0x20, 0, 0x5C21,
                                 start, len(content))
        data += content.ljust(clusters * SECTOR, b"\0")
    if len(directory) > entries * 32 or len(chain) > total - first:
        raise ValueError("the files do not fit on the floppy")
    image = bytearray(total * SECTOR)
    image[:len(boot)] = boot
    chain += [0] * (len(chain) % 2)
    table = b"".join((low | high << 12).to_bytes(3, "little") for low, high in zip(chain[::2], chain[1::2], strict=True))
    for i in range(fats):
        at = (reserved + i * fat_size) * SECTOR
        image[at:at + len(table)] = table
    image[root * SECTOR:root * SECTOR + len(directory)] = directory
    image[first * SECTOR:first * SECTOR + len(data)] = data
    return bytes(image)
