"""One file of an image on the host: whole reads and writes, what is on the disk, and who else has it open.

Locks are QEMU's, so that the two keep out of each other's way: open file description locks on single bytes, 100 + n for
a permission that is used and 200 + n for one that nobody else may use (n: 0 read, 1 write, 3 resize).
Sources: pread(2), pwrite(2), fdatasync(2), fcntl(2) "Open file description locks".
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterator

_USED, _REFUSED = 100, 200
_READ, _WRITE, _RESIZE = 0, 1, 3
_F_OFD_GETLK, _F_OFD_SETLK = 36, 37                    # <fcntl.h>; the fcntl module does not name them before 3.13
_FLOCK = struct.Struct("hhqqi4x")                       # struct flock: type, whence, start, length, pid
_PIECE = 1 << 30                                        # Linux moves at most 2 GiB less a page at once


class ImageError(ValueError):
    """An image that cannot be used: one line for the user that says which file, what is wrong, what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def printable(text: str) -> str:
    """`text` with what a terminal would obey, and what is no character, written out: an image's names come from anywhere."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@contextlib.contextmanager
def becoming(file: File, path: str) -> Iterator[None]:
    """While an image is made of `file`: what goes wrong closes it, and an OSError is an ImageError about `path`."""
    try:
        yield
    except OSError as error:
        file.close()
        raise ImageError(f"{path}: cannot be read: {error.strerror or error}") from None
    except BaseException:
        file.close()
        raise


class File:
    """A file, or a block device, of `size` bytes.  Reading and writing raise OSError; opening raises ImageError."""

    def __init__(self, path: str, *, write: bool = False, lock: bool = True) -> None:
        self.path, self.writable = path, write
        self.failed: OSError | None = None
        try:
            # not blocking: a pipe must not hold us before it is looked at
            self.fd = os.open(path, (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        except (OSError, ValueError) as error:          # ValueError: a NUL in the name
            what = "cannot be opened for writing" if write else "cannot be opened"
            raise ImageError(f"{path}: {what}: {getattr(error, 'strerror', None) or error}") from None
        try:
            mode = os.fstat(self.fd).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
                raise ImageError(f"{path}: not a file, so it holds no image")
            self.regular = stat.S_ISREG(mode)
            self.size = os.lseek(self.fd, 0, os.SEEK_END)
            if lock:
                self._lock()
        except OSError as error:
            os.close(self.fd)
            raise ImageError(f"{path}: cannot be used: {error.strerror or error}") from None
        except BaseException:
            os.close(self.fd)
            raise

    def start(self, length: int = 512) -> bytes:
        """The first bytes; of a file that is shorter, zeros behind its end."""
        return self.read(0, min(length, self.size)).ljust(length, b"\0")

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes.  The last sector is filled up with zeros; behind it there is nothing (EIO)."""
        if offset + length > self.size and length and offset + length > -(-self.size // 512) * 512:
            raise OSError(errno.EIO, f"byte {offset + length - 1} is needed, and the file has {self.size}", self.path)
        data = os.pread(self.fd, length, offset)
        if len(data) == length:
            return data
        pieces = [data]
        done = len(data)
        while done < length:
            data = os.pread(self.fd, min(length - done, _PIECE), offset + done)
            if not data:
                data = bytes(length - done)
            pieces.append(data)
            done += len(data)
        return b"".join(pieces)

    def read_into(self, offset: int, place: memoryview) -> None:
        """As `read`, to a place."""
        if offset + len(place) > self.size or os.preadv(self.fd, [place], offset) < len(place):
            place[:] = self.read(offset, len(place))

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data`, or raise."""
        if self.failed:
            raise self.failed
        done = os.pwrite(self.fd, data, offset)
        while done < len(data):                         # a signal, a limit, a disk that gets full
            more = os.pwrite(self.fd, memoryview(data)[done:], offset + done)
            if not more:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.path)
            done += more
        self.size = max(self.size, offset + done)

    def truncate(self, size: int) -> None:
        """Make the file `size` bytes long, its new end zeros."""
        if self.failed:
            raise self.failed
        os.ftruncate(self.fd, size)
        self.size = size

    def sync(self) -> None:
        """All that was written is on the disk.  After a failure nobody knows what is, and nothing more is written."""
        if self.failed:
            raise self.failed
        try:
            os.fdatasync(self.fd)
        except OSError as error:
            self.failed = error
            raise

    def close(self) -> None:
        """Close, which unlocks; idempotent."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def _lock(self) -> None:
        used = (_READ, _WRITE, _RESIZE) if self.writable else (_READ,)
        refused = (_WRITE, _RESIZE)
        try:
            for byte in [_USED + n for n in used] + [_REFUSED + n for n in refused]:
                fcntl.fcntl(self.fd, _F_OFD_SETLK, _FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, byte, 1, 0))
            taken = [n for n in refused if self._held(_USED + n)] or [n for n in used if self._held(_REFUSED + n)]
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):    # a file system without locks
                return
            raise
        if taken:
            who = "writes to it" if not self.writable or (_WRITE in taken and self._held(_USED + _WRITE)) else "uses it"
            raise ImageError(f"{self.path}: another program {who}; end that one first")

    def _held(self, byte: int) -> bool:
        """Whether another open file has a lock on `byte`."""
        answer = fcntl.fcntl(self.fd, _F_OFD_GETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0))
        return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)


def sync_directory(path: str) -> None:
    """The name of a new file at `path` is on the disk.  Raises OSError."""
    fd = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
