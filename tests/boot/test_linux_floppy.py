"""Linux's floppy driver on the 82077AA and the 8237A: it finds a drive, reads the whole diskette, writes to it."""

from __future__ import annotations

import gzip
import hashlib

import pytest

from emu.boards.pc import PC
from emu.host.recipes import initrd
from tests.boards.test_floppy import DISKETTE
from tests.boot import APT, fetched
from tests.chips.drives import Medium

pytestmark = [pytest.mark.boot, APT]
INIT = b"""\
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t devtmpfs dev /dev
insmod /floppy.ko; sleep 1
cat /proc/dma
sha256sum /dev/fd0
dd if=/bin/busybox of=/dev/fd0 bs=18k count=4 seek=10; sync
blockdev --flushbufs /dev/fd0; echo 3 > /proc/sys/vm/drop_caches
sha256sum /dev/fd0
dmesg | grep -E "82077|error"
echo all do""ne
sleep 1000
"""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_linux_reads_and_writes_a_diskette(tmp_path):
    busybox = fetched("busybox-i386").files["file"].read_bytes()
    module = fetched("floppy-module-i386").files["file"].read_bytes()
    kernel = fetched("debian-i386").files["kernel"]
    members = [(name, initrd.DIRECTORY, b"", (0, 0)) for name in ("bin", "dev", "proc", "tmp")]
    members += [("dev/console", initrd.DEVICE, b"", (5, 1)), ("bin/busybox", initrd.FILE, busybox, (0, 0)),
                ("floppy.ko", initrd.FILE, module, (0, 0)), ("init", initrd.FILE, INIT, (0, 0))]
    (tmp_path / "initrd").write_bytes(gzip.compress(initrd.archive(iter(members)), 1))
    medium = Medium(DISKETTE)
    with PC(128 << 20, floppies=(medium,)) as m:
        m.load(kernel, initrd=str(tmp_path / "initrd"), append="console=ttyS0")
        m.run_until("all done", seconds=120)
        said = m.text
    assert "FDC 0 is a post-1991 82077" in said and "2: floppy" in said and "error" not in said
    assert said.index(sha256(DISKETTE)) < said.index(sha256(bytes(medium.data)))
    assert medium.data[10 * 18432:14 * 18432] == busybox[:4 * 18432]
