"""qemu-img and qemu-io, which know every format: what they make we read, and what we make they check."""

from __future__ import annotations

import json
import random
import shutil
import subprocess

import pytest

SIZE = (3 << 20) + 3 * 512          # of the disks here: no whole number of clusters of any size but 512

needs_qemu_img = pytest.mark.skipif(not shutil.which("qemu-img") or not shutil.which("qemu-io"),
                                    reason="qemu-img is not installed (Debian: qemu-utils)")


def qemu_img(*arguments, fails=False):
    """The output of qemu-img."""
    done = subprocess.run(["qemu-img", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)
    assert fails or done.returncode == 0, done.stderr
    return done.stderr + done.stdout if fails else done.stdout


def checked(path):
    """What `qemu-img check` says of an image: (errors, leaked clusters)."""
    done = subprocess.run(["qemu-img", "check", "--output=json", str(path)], capture_output=True, text=True, timeout=60,
                          check=False)
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert not found.get("check-errors"), done.stderr
    return found.get("corruptions", 0), found.get("leaks", 0)


def as_raw(path, kind=None):
    """The bytes that QEMU finds on the disk."""
    out = path.parent / (path.name + ".as-raw")
    qemu_img("convert", *(["-f", kind] if kind else []), "-O", "raw", path, out)
    return out.read_bytes()


def content(seed=0, size=SIZE):
    """A disk with runs of noise, zeros and text, as disks have them."""
    chance, disk = random.Random(seed), bytearray(size)
    for _ in range(40):
        length = 512 * chance.choice((1, 3, 8, 100, 300))
        at = chance.randrange(0, (size - length) // 512) * 512
        text = b"disk " * (length // 5) + bytes(length % 5)
        disk[at:at + length] = chance.choice((chance.randbytes(length), bytes(length), text))
    return disk


def write_some(medium, disk, chance, count=60):
    """Random writes, on the medium and on the bytes it should be; each is read back, with what lies beside it."""
    size = len(disk)
    for _ in range(count):
        length = 512 * chance.choice((1, 2, 8, 128, 256, chance.randrange(1, 400)))
        at = chance.randrange(0, (size - length) // 512 + 1) * 512
        data = bytes(length) if chance.random() < 0.2 else chance.randbytes(length)
        medium.write(at, data)
        disk[at:at + length] = data
        if chance.random() < 0.1:
            medium.flush()
        start, end = max(at - 1000, 0), min(at + length + 1000, size)
        assert medium.read(start, end - start) == disk[start:end]
