"""VHD, Virtual PC's and Hyper-V's first format, for reading: fixed and dynamic images.

Source: Microsoft, Virtual Hard Disk Image Format Specification, 2006.  Refused: differencing images.
Not read: the bitmaps of sectors, which in a dynamic image say no more than that a sector is still zeros, as it is anyway.
"""

from __future__ import annotations

import struct

from emu.host.disk.file import File, ImageError
from emu.host.disk.mapped import Map, Mapped

COOKIE = b"conectix"

_FOOTER = struct.Struct(">8sIIQI4sIIQQHBBII")
_HEADER = struct.Struct(">8sQQIIII")
_FIXED, _DYNAMIC, _DIFFERENCING = 2, 3, 4
_CHS = (b"vpc ", b"qemu")       # programs whose disks end where their geometry does


def footer(file: File) -> bytes | None:
    """The footer, or its copy at the start of the file if that is what is left; None: this is no VHD.  Raises OSError."""
    for at in (file.size - 512, 0):
        if at >= 0:
            raw = file.read(at, 512)
            if raw.startswith(COOKIE) and _sum(raw, 64) == int.from_bytes(raw[64:68], "big"):
                return raw
    return None


def _sum(raw: bytes, at: int) -> int:
    """The ones' complement of the sum of all bytes but the checksum's own."""
    return ~(sum(raw) - sum(raw[at:at + 4])) & 0xFFFF_FFFF


class Vhd(Mapped):
    """A block lies behind its bitmap, at the sector that its entry of the table says."""

    format = "vhd"

    def __init__(self, file: File) -> None:
        raw = footer(file)
        if raw is None:
            raise ImageError(f"{file.path}: the VHD's footer is damaged")
        (_, _, version, header_at, _, creator, _, _, _, size, cylinders, heads, sectors, kind, _) = _FOOTER.unpack_from(raw)
        if version >> 16 != 1:
            raise ImageError(f"{file.path}: a VHD of version {version >> 16}, and only 1 can be read")
        if kind == _DIFFERENCING:
            raise ImageError(f"{file.path}: a differencing VHD; merge it into its parent first (Hyper-V: Merge-VHD)")
        if kind not in (_FIXED, _DYNAMIC):
            raise ImageError(f"{file.path}: a VHD of type {kind}, and only fixed and dynamic ones can be read")
        geometry = cylinders * heads * sectors * 512
        if creator in _CHS and geometry and (cylinders, heads, sectors) != (65535, 16, 255):
            size = geometry
        if not size or size % 512 or size > 1 << 56:
            raise ImageError(f"{file.path}: a disk of {size} bytes: the VHD's footer is damaged")
        if kind == _FIXED:
            if size > file.size:
                raise ImageError(f"{file.path}: a disk of {size} bytes in a file of {file.size}: the file is cut short")
            super().__init__(file, size, size)
            self.map = None
            return
        cookie, _, table, _, blocks, block, checksum = _HEADER.unpack_from(header := file.read(header_at, 1024))
        if cookie != b"cxsparse" or checksum != _sum(header, 36):
            raise ImageError(f"{file.path}: the header of the dynamic VHD is damaged")
        if block & block - 1 or not 1 << 12 <= block <= 1 << 28:
            raise ImageError(f"{file.path}: blocks of {block} bytes: the header of the dynamic VHD is damaged")
        if blocks * block < size or table + blocks * 4 > file.size:
            raise ImageError(f"{file.path}: the table of blocks is too short for the disk; the file is cut short or damaged")
        super().__init__(file, size, block)
        self.map = Map(file, table, blocks, "I", "big")
        self.bitmap = -(-block // 512 // 8 // 512) * 512

    def _where(self, number: int) -> int | None:
        if self.map is None:
            return 0
        sector = self.map[number]
        return None if sector == 0xFFFF_FFFF else sector * 512 + self.bitmap
