"""Files that appear whole or not at all: written under another name beside the place, and renamed at the end."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from typing import IO


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A binary file to write; at the end of the block it is at `path`, after an exception nothing has changed there.

    What is not a plain file (a pipe, /dev/null) is written in place.  Raises OSError.
    """
    if _special(path):
        with open(path, "wb") as special:
            yield special
        return
    place = os.path.realpath(path)
    file, scratch = _scratch(place)
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, place)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(scratch)
        raise


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise OSError if `replacing(path)` could not begin."""
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if _special(path):
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return
    file, scratch = _scratch(os.path.realpath(path))
    file.close()
    os.unlink(scratch)


def _special(path: str | os.PathLike[str]) -> bool:
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _scratch(place: str) -> tuple[IO[bytes], str]:
    """A new file beside `place`, with the permissions that an ordinary one would get."""
    descriptor, scratch = tempfile.mkstemp(prefix=f".{os.path.basename(place)[:200]}.", dir=os.path.dirname(place))
    mask = os.umask(0)
    os.umask(mask)
    os.fchmod(descriptor, 0o666 & ~mask)
    return os.fdopen(descriptor, "wb"), scratch
