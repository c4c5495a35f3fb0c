"""What a file is to a PC: a disk, a disc, a diskette, or a kernel that needs none."""

from __future__ import annotations

import os
import struct
from typing import Literal

from emu.host.disk.file import File, ImageError
from emu.host.disk.opening import probe

Kind = Literal["disk", "cdrom", "floppy", "kernel"]

FLOPPIES = (163840, 184320, 327680, 368640, 737280, 1228800, 1474560, 1720320, 1763328, 2949120)       # bytes

_DESCRIPTORS = 32768            # of a volume, from this byte on: ECMA-119 6.2.1, ECMA-167 2/8.1
_SMALLEST = 1 << 20             # bytes of a disk without a boot sector
_TABLE = 446                    # of partitions, in the first sector


def what(path: str | os.PathLike[str]) -> Kind:
    """What the file `path` is, by its content.  Raises ImageError."""
    name = os.fspath(path)
    file = File(name, lock=False)
    try:
        if probe(file) != "raw":
            return "disk"
        start = file.start(_DESCRIPTORS + 2048)
        return _raw(start, file.size)
    except OSError as error:
        raise ImageError(f"{name}: cannot be read: {error.strerror or error}") from None
    finally:
        file.close()


def _raw(start: bytes, size: int) -> Kind:
    if start[_DESCRIPTORS + 1:_DESCRIPTORS + 6] in (b"CD001", b"BEA01"):
        return "cdrom"
    if start.startswith(b"\x7FELF") or start[0x202:0x206] == b"HdrS":          # ELF, Linux
        return "kernel"
    if size in FLOPPIES:
        return "floppy"
    boots = start[510:512] == b"\x55\xAA"
    if boots and size % 512 == 0 and _partitioned(start, size):
        return "disk"           # a boot loader on it may well have a Multiboot header: so this is looked at first
    if _multiboot(start[:8192]) or size < _SMALLEST or size % 512:
        return "kernel"
    return "disk" if boots or not any(start) or size >= 4 * _SMALLEST else "kernel"


def _partitioned(start: bytes, size: int) -> bool:
    """Whether there is a table with a partition in it, and nothing that is none."""
    entries = [start[at:at + 16] for at in range(_TABLE, _TABLE + 64, 16)]
    used = [entry for entry in entries if any(entry)]
    return bool(used) and all(entry[0] in (0, 0x80) and entry[4] and any(entry[8:12]) | any(entry[12:16]) for entry in used) \
        and any(int.from_bytes(entry[8:12], "little") * 512 < size for entry in used)


def _multiboot(start: bytes) -> bool:
    """Whether a Multiboot 1 header is in the first 8 KiB (Multiboot Specification 3.1.1)."""
    for at in range(0, len(start) - 11, 4):
        magic, flags, checksum = struct.unpack_from("<III", start, at)
        if magic == 0x1BAD_B002 and not (magic + flags + checksum) & 0xFFFF_FFFF:
            return True
    return False
