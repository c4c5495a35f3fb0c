"""PNG files of true-colour pixels.  Source: W3C, Portable Network Graphics (PNG) Specification, second edition."""

from __future__ import annotations

import struct
import zlib


def encode(width: int, height: int, rgb: bytes) -> bytes:
    """A PNG of `width` x `height` pixels, three bytes each, row by row."""
    row = 3 * width
    lines = b"".join(b"\0" + rgb[at:at + row] for at in range(0, row * height, row))        # filter type 0: as it is
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(lines, 6)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
