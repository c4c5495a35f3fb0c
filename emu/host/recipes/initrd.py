"""An initial RAM disk of one static BusyBox and one script: the smallest Linux that answers at a prompt.

The archive is "newc" cpio (Documentation/driver-api/early-userspace/buffer-format.rst of Linux), written here so that it
has no times, owners or inodes of this machine in it: the same BusyBox gives the same file.
"""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Iterator

from . import Kitchen

DIRECTORY, FILE, LINK, DEVICE = 0o040755, 0o100755, 0o120777, 0o020600
SCRIPT = """\
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
echo "GUEST-INIT-OK $(uname -srm)"
echo "SUM $(seq 1 20000 | md5sum)"
exec setsid -c sh </dev/console >/dev/console 2>&1
"""


def archive(members: Iterator[tuple[str, int, bytes, tuple[int, int]]]) -> bytes:
    """A newc archive of (name, mode, content, device) members."""
    made = bytearray()

    def add(number: int, name: str, mode: int, data: bytes, device: tuple[int, int]) -> None:
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name) + 1, 0)
        made.extend(b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0")
        made.extend(bytes(-len(made) % 4) + data)
        made.extend(bytes(-len(made) % 4))

    for number, (name, mode, data, device) in enumerate(members, 1):
        add(number, name, mode, data, device)
    add(0, "TRAILER!!!", 0, b"", (0, 0))
    return bytes(made)


def with_busybox(busybox: bytes) -> bytes:
    """The archive, compressed."""
    def members() -> Iterator[tuple[str, int, bytes, tuple[int, int]]]:
        for name in ("bin", "dev", "proc", "sys", "tmp"):
            yield name, DIRECTORY, b"", (0, 0)
        yield "dev/console", DEVICE, b"", (5, 1)
        yield "bin/busybox", FILE, busybox, (0, 0)
        yield "bin/sh", LINK, b"busybox", (0, 0)
        yield "init", FILE, SCRIPT.encode(), (0, 0)

    return gzip.compress(archive(members()), 9, mtime=0)


def busybox(kitchen: Kitchen) -> None:
    """kernel: Debian's own; initrd: this one.  The architecture is in the members' names: kernel-i386, initrd-i386.gz."""
    for member, target in kitchen.wanted.items():
        role, _, architecture = member.removesuffix(".gz").partition("-")
        if role == "kernel":
            shutil.copyfile(kitchen.find(f"debian-{architecture}", "kernel"), target)
        else:
            target.write_bytes(with_busybox(kitchen.find(f"busybox-{architecture}", "file").read_bytes()))
