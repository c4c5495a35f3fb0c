"""What the formats that are only read have in common: a table that says where each block of the disk lies in the file."""

from __future__ import annotations

import errno
import sys
from array import array
from collections import OrderedDict
from typing import Literal

from emu.host.disk.file import File
from emu.host.disk.medium import Image

_CHUNK = 8192                   # entries that are read together
_CHUNKS = 256                   # that are kept: 16 MiB of entries of 64 bits


class Map:
    """`count` entries of 32 (I) or 64 (Q) bits from `offset` of the file on; read when they are needed."""

    def __init__(self, file: File, offset: int, count: int, form: Literal["I", "Q"],
                 order: Literal["little", "big"] = "little") -> None:
        self.file, self.offset, self.count, self.form, self.order = file, offset, count, form, order
        self.size = array(form).itemsize
        self.chunks: OrderedDict[int, array[int]] = OrderedDict()
        self.last, self.entries = -1, array(form)

    def __getitem__(self, index: int) -> int:
        """Raises OSError, also for an entry that is not there."""
        number, at = divmod(index, _CHUNK)
        if number != self.last:
            self._turn(number)
        try:
            return self.entries[at]
        except IndexError:
            raise OSError(errno.EIO, f"entry {index} is needed, and the table has {self.count}", self.file.path) from None

    def _turn(self, number: int) -> None:
        entries = self.chunks.get(number)
        if entries is None:
            count = min(_CHUNK, self.count - number * _CHUNK)
            entries = array(self.form)
            if count > 0:
                entries.frombytes(self.file.read(self.offset + number * _CHUNK * self.size, count * self.size))
            if self.order != sys.byteorder:
                entries.byteswap()
            if len(self.chunks) >= _CHUNKS:
                self.chunks.popitem(last=False)
            self.chunks[number] = entries
        else:
            self.chunks.move_to_end(number)
        self.last, self.entries = number, entries


class Mapped(Image):
    """An image whose blocks of `block` bytes lie where `_where` says."""

    def __init__(self, file: File, size: int, block: int) -> None:
        super().__init__(file.path, size)
        self.file, self.block = file, block

    def close(self) -> None:
        """As Image.close."""
        self.file.close()

    def files(self) -> list[File]:
        """As Image.files."""
        return [self.file]

    def _where(self, number: int) -> int | None:
        """Where block `number` lies in the file; None: nowhere, it is zeros.  Raises OSError."""
        raise NotImplementedError

    def _piece(self, offset: int, length: int) -> bytes:
        number, within = divmod(offset, self.block)
        have = self.block - within
        try:
            where = self._where(number)
            following = where
            while have < length:
                number += 1
                if following is not None:
                    following += self.block
                if self._where(number) != following:
                    break
                have += self.block
            length = min(length, have)
            return bytes(length) if where is None else self.file.read(where + within, length)
        except OSError as error:
            raise self._damaged(error.strerror or str(error)) from error
