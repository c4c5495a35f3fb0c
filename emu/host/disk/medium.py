"""What every image is: bytes from 0 to `size`, read and written in any pieces, whatever the file looks like inside."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Self

from emu.host.disk.file import File, printable

LARGEST = 1 << 56               # bytes of a disk: more can be said in no format that we write
ZEROS = bytes(1 << 21)


def quiet(message: str) -> None:
    """Nobody wants to hear it."""


class Image:
    """A medium.  `format` names the kind of file, `size` counts bytes; every method but `close` raises OSError.

    A subclass says how to read a piece; the rest is here.  `on_trouble` is told, once each, what a damaged image says.
    """

    format = ""

    def __init__(self, path: str, size: int, *, readonly: bool = True) -> None:
        self.path, self.size, self.readonly = path, size, readonly
        self.on_trouble: Callable[[str], None] = quiet
        self._told: set[str] = set()

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset` on."""
        self._inside(offset, length)
        data = self._piece(offset, length) if length else b""
        if len(data) == length:
            return data
        pieces, done = [data], len(data)
        while done < length:
            data = self._piece(offset + done, length - done)
            pieces.append(data)
            done += len(data)
        return b"".join(pieces)

    def read_into(self, offset: int, place: memoryview) -> None:
        """Fill `place` from `offset` on."""
        place[:] = self.read(offset, len(place))

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write `data`; a `read` shows it at once, the host's disk may have it later."""
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), self.path)

    def flush(self) -> None:
        """When this returns, all that was written before is on the host's disk."""

    def settle(self) -> None:
        """Flush, and leave nothing that `close()` would still write.  Raises OSError."""
        self.flush()

    def files(self) -> list[File]:
        """Every file that the medium is read from, those below it last."""
        return []

    def close(self) -> None:
        """Flush, and give everything back; idempotent.  Raises OSError if the last flush fails, closed all the same."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _piece(self, offset: int, length: int) -> bytes:
        """From one to `length` bytes from `offset` on, as many as come in one go; `length` is not 0."""
        raise NotImplementedError

    def _inside(self, offset: int, length: int) -> None:
        if offset < 0 or length < 0 or offset + length > self.size:
            raise OSError(errno.EINVAL, f"{length} bytes at {offset} are not inside of the {self.size} bytes", self.path)

    def _damaged(self, what: str) -> OSError:
        """An I/O error for the guest; its user is told why."""
        if what not in self._told and len(self._told) < 20:
            self._told.add(what)
            self.on_trouble(printable(f"{self.path}: {what}"))
        return OSError(errno.EIO, what, self.path)


class Raw(Image):
    """A file whose bytes are the disk's; the last sector is filled up with zeros.

    Of a disk that is only taken for raw, as nobody said so, the guest cannot make an image of another kind: `guard` is
    asked about a new first sector, and says no.
    """

    format = "raw"

    def __init__(self, file: File, *, guard: Callable[[bytes], bool] | None = None) -> None:
        super().__init__(file.path, -(-file.size // 512) * 512, readonly=not file.writable)
        self.file, self.guard, self.unsynced = file, guard, False

    def read(self, offset: int, length: int) -> bytes:
        """As Image.read, without a detour."""
        self._inside(offset, length)
        return self.file.read(offset, length) if length else b""

    def read_into(self, offset: int, place: memoryview) -> None:
        """As Image.read_into, without a detour."""
        self._inside(offset, len(place))
        self.file.read_into(offset, place)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """As Image.write.  Raises OSError."""
        if self.readonly:
            super().write(offset, data)
        self._inside(offset, len(data))
        if offset < 512 and self.guard is not None:
            first = bytearray(self.file.start())
            first[offset:offset + len(data)] = bytes(data[:512 - offset])
            if not self.guard(bytes(first)):
                raise self._damaged("the guest writes what would make this raw disk another kind of image; "
                                    "if it may, say that the image is raw")
        self.unsynced = True
        self.file.write(offset, data)

    def files(self) -> list[File]:
        """As Image.files."""
        return [self.file]

    def flush(self) -> None:
        """As Image.flush.  Raises OSError."""
        if self.unsynced:
            self.file.sync()
            self.unsynced = False

    def close(self) -> None:
        """As Image.close."""
        try:
            if self.file.fd >= 0:
                self.flush()
        finally:
            self.file.close()


class Zeros(Image):
    """A disk that was never written: what lies below an image without a backing file."""

    format = "zeros"

    def _piece(self, offset: int, length: int) -> bytes:
        return ZEROS[:length] if length <= len(ZEROS) else bytes(length)
