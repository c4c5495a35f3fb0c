"""VDI, VirtualBox's own format, for reading: fixed and dynamic images.

Source: VirtualBox's VDICore.h as described in QEMU's block/vdi.c.  Refused: differencing and undo images.
"""

from __future__ import annotations

import errno
import struct

from emu.host.disk.file import File, ImageError
from emu.host.disk.mapped import Map, Mapped

SIGNATURE = struct.pack("<I", 0xBEDA_107F)
SIGNATURE_AT = 0x40

_FIELDS = struct.Struct("<IIII256xIIIIIIIQIIII")        # from 44h on
_KINDS = {3: "an undo image", 4: "a differencing image"}


class Vdi(Mapped):
    """A block lies at `data` plus its number in the file times a block's size; FFFFFFFEh and FFFFFFFFh are no numbers."""

    format = "vdi"

    def __init__(self, file: File) -> None:
        (version, _, kind, _, table, data, _, _, _, sector, _, size, block, extra, blocks,
         _) = _FIELDS.unpack(file.read(SIGNATURE_AT + 4, _FIELDS.size))
        if version >> 16 != 1:
            raise ImageError(f"{file.path}: a VDI image of version {version >> 16}, and only 1 can be read")
        if kind not in (1, 2):
            what = _KINDS.get(kind, f"a VDI image of type {kind}")
            raise ImageError(f"{file.path}: {what}, and only fixed and dynamic ones can be read; "
                             "clone it with VBoxManage clonemedium")
        if sector != 512 or not 1 << 12 <= block <= 1 << 26 or block % 512 or extra % 512 or extra > 1 << 26:
            raise ImageError(f"{file.path}: sectors of {sector}, blocks of {block} + {extra} bytes: the header is damaged")
        if not size or size > blocks * block:
            raise ImageError(f"{file.path}: a disk of {size} bytes in {blocks} blocks of {block}: the header is damaged")
        if table < 0x180 or table + 4 * blocks > file.size or (data > file.size and kind == 2):
            raise ImageError(f"{file.path}: the table of blocks ends outside of the file; the file is cut short or damaged")
        super().__init__(file, -(-size // 512) * 512, block)
        self.data, self.extra, self.blocks = data, extra, blocks
        self.map = Map(file, table, blocks, "I")

    def _where(self, number: int) -> int | None:
        entry: int = self.map[number]
        if entry >= 0xFFFF_FFFE:
            return None
        if entry >= self.blocks:
            raise OSError(errno.EIO, f"block {number} is said to be number {entry} of {self.blocks} in the file")
        return int(self.data + entry * (self.block + self.extra) + self.extra)
