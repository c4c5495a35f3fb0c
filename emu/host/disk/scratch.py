"""What a guest writes on a disk that is not to change: kept in a file without a name, and gone with the run."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator

from emu.host.disk.file import File, ImageError
from emu.host.disk.medium import Image

BLOCK = 4096                    # what is copied when a part of it is written
_GROUP = 1 << 22                # bytes of disk whose blocks are marked together
_MARKS = _GROUP // BLOCK


class Scratch(Image):
    """Writes over `base`, which stays as it is and is closed with this one.

    A block that was written lies in the file at its place on the disk; `marks` has a byte for each block of the groups that
    were written.  Nothing is promised to outlive the run, so a flush has nothing to do.
    """

    def __init__(self, base: Image, directory: str | None = None) -> None:
        super().__init__(base.path, base.size, readonly=False)
        self.base, self.format = base, base.format
        self.marks: dict[int, bytearray] = {}
        self.fd = -1
        where = directory or os.environ.get("TMPDIR") or "/var/tmp"       # /tmp may be memory
        try:
            self.fd, name = tempfile.mkstemp(prefix="emu-disk-", dir=where)
            os.unlink(name)
        except OSError as error:
            raise ImageError(f"{where}: no place for what the guest writes: {error.strerror or error}") from None

    def read_into(self, offset: int, place: memoryview) -> None:
        """As Image.read_into; what lies in groups that nobody wrote comes from the base."""
        last = (offset + len(place) - 1) // _GROUP
        if any(group in self.marks for group in range(offset // _GROUP, last + 1)):
            super().read_into(offset, place)
        else:
            self.base.read_into(offset, place)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """As Image.write.  Raises OSError."""
        view = memoryview(data)
        self._inside(offset, len(view))
        if not view:
            return
        end = offset + len(view)
        first, last = offset - offset % BLOCK, end + -end % BLOCK
        head = tail = b""
        if first < offset:
            head = self.read(first, offset - first)
        if last > end:
            tail = self.read(end, min(last, self.size) - end)
        if head or tail:
            view = memoryview(b"".join((head, view, tail)))
        self._store(first, view)
        for group in range(first // _GROUP, (last - 1) // _GROUP + 1):
            marks = self.marks.get(group)
            if marks is None:
                marks = self.marks[group] = bytearray(_MARKS)
            start = max(first - group * _GROUP, 0) // BLOCK
            stop = min(last - group * _GROUP, _GROUP) // BLOCK
            marks[start:stop] = b"\1" * (stop - start)

    def close(self) -> None:
        """As Image.close; what was written is gone."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        self.marks.clear()
        self.base.close()

    def files(self) -> list[File]:
        """As Image.files."""
        return self.base.files()

    def changes(self) -> Iterator[tuple[int, bytes]]:
        """(offset, bytes) of all that was written, in order, in pieces of at most 1 MiB.  Raises OSError."""
        for group in sorted(self.marks):
            at, marks = 0, self.marks[group]
            while (start := marks.find(1, at)) >= 0:
                at = marks.find(0, start)
                at = min(_MARKS if at < 0 else at, start + (1 << 20) // BLOCK)
                begin = group * _GROUP + start * BLOCK
                yield begin, self._fetch(begin, min(group * _GROUP + at * BLOCK, self.size) - begin)

    def _store(self, offset: int, view: memoryview) -> None:
        done = 0
        while done < len(view):
            more = os.pwrite(self.fd, view[done:], offset + done)
            if not more:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            done += more

    def _fetch(self, offset: int, length: int) -> bytes:
        data = os.pread(self.fd, length, offset)
        while len(data) < length:
            more = os.pread(self.fd, length - len(data), offset + len(data))
            if not more:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            data += more
        return data

    def _piece(self, offset: int, length: int) -> bytes:
        group, within = divmod(offset, _GROUP)
        length = min(length, _GROUP - within)
        marks = self.marks.get(group)
        if marks is None:
            return self.base.read(offset, length)
        block, end = within // BLOCK, -(-(within + length) // BLOCK)
        written = marks[block]
        other = marks.find(0 if written else 1, block, end)
        if other >= 0:
            length = min(length, other * BLOCK - within)
        return self._fetch(offset, length) if written else self.base.read(offset, length)
