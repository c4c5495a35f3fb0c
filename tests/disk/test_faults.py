"""A host that cannot: a full disk, an I/O error, places where nobody may write, others who have the image open."""

from __future__ import annotations

import errno
import os
import random
import resource
import subprocess
import sys

import pytest

from emu.host.disk import ImageError, describe, open_image
from emu.host.disk.file import File
from emu.host.disk.qcow2.create import create
from tests.disk.tools import SIZE, as_raw, checked, content, needs_qemu_img, qemu_img, write_some


class Fault:
    """Makes the nth call of File.write or File.sync fail, writing a part before."""

    def __init__(self, monkeypatch, number, code=errno.ENOSPC, sync=False):
        self.left, self.failed = number, 0
        write, flush = File.write, File.sync

        def failing_write(file, offset, data):
            self.left -= 1
            if not sync and self.left < 0:
                self.failed += 1
                os.pwrite(file.fd, memoryview(data)[:len(data) // 2 // 512 * 512], offset)
                raise OSError(code, os.strerror(code))
            write(file, offset, data)

        def failing_sync(file):
            if sync:
                self.left -= 1
                if self.left < 0:
                    self.failed += 1
                    file.failed = OSError(code, os.strerror(code))
                    raise file.failed
            flush(file)

        monkeypatch.setattr(File, "write", failing_write)
        monkeypatch.setattr(File, "sync", failing_sync)


@needs_qemu_img
@pytest.mark.parametrize("number, sync", [*((number, False) for number in (*range(12), 20, 40)),
                                          *((number, True) for number in range(8))])
def test_a_full_disk_is_an_error_for_the_guest_and_the_image_stays_valid(number, sync, tmp_path, monkeypatch):
    chance = random.Random(number)
    image, disk = tmp_path / "a.qcow2", bytearray(content(number))
    (tmp_path / "base.raw").write_bytes(disk)
    create(str(image), SIZE, cluster_bits=chance.choice((9, 12, 16)), backing="base.raw", backing_format="raw")
    medium = open_image(image, write=True)
    fault = Fault(monkeypatch, number, sync=sync)
    flushed, failures, may = bytearray(disk), 0, {}
    for _ in range(40):
        length = 512 * chance.randrange(1, 200)
        at = chance.randrange(0, (SIZE - length) // 512) * 512
        data = chance.randbytes(length)
        for sector in range(at, at + length, 512):
            may.setdefault(sector, {bytes(disk[sector:sector + 512])}).add(data[sector - at:sector - at + 512])
        try:
            medium.write(at, data)
            disk[at:at + length] = data
            if chance.random() < 0.2:
                medium.flush()
                flushed[:] = disk
        except OSError:
            failures += 1
    assert failures >= fault.failed > 0
    with pytest.raises(OSError):
        medium.close()
    monkeypatch.undo()
    assert checked(image)[0] == 0
    with open_image(image, write=True) as medium:
        found = medium.read(0, SIZE)
    for sector in range(0, SIZE, 512):
        assert found[sector:sector + 512] == flushed[sector:sector + 512] or found[sector:sector + 512] in may[sector]
    assert checked(image) == (0, 0)


@needs_qemu_img
def test_when_there_is_room_again_the_guest_goes_on(tmp_path, monkeypatch):
    image, disk = tmp_path / "a.qcow2", bytearray(SIZE)
    create(str(image), SIZE)
    with open_image(image, write=True) as medium:
        with pytest.MonkeyPatch.context() as patch:
            Fault(patch, 3)
            for at in range(0, 1 << 20, 65536):
                try:
                    medium.write(at, b"a" * 65536)
                    disk[at:at + 65536] = b"a" * 65536
                    medium.flush()
                except OSError:
                    pass
        write_some(medium, disk, random.Random(1))
    assert checked(image) == (0, 0)
    assert as_raw(image) == disk


def test_after_a_sync_that_failed_nothing_is_promised_any_more(tmp_path, monkeypatch):
    image = tmp_path / "a.qcow2"
    create(str(image), SIZE)
    medium = open_image(image, write=True)
    medium.write(0, b"x" * 512)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fdatasync", lambda fd: (_ for _ in ()).throw(OSError(errno.EIO, "broken")))
        with pytest.raises(OSError, match="broken"):
            medium.flush()
    for call in (medium.flush, lambda: medium.write(0, b"y" * 512), medium.close):
        with pytest.raises(OSError, match="broken"):
            call()


LIMITED = """
import resource, sys
from emu.host.disk import open_image
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
errors = 0
medium = open_image(sys.argv[1], write=sys.argv[2] == "write")
for at in range(0, 2 << 20, 65536):
    try:
        medium.write(at, b"z" * 65536)
    except OSError:
        errors += 1
        continue
    assert medium.read(at, 65536) == b"z" * 65536
try:
    medium.close()
except OSError:
    errors += 100
print(errors)
"""


@needs_qemu_img
@pytest.mark.parametrize("how", ["write", "scratch"])
def test_a_limit_on_the_size_of_files_is_an_io_error(how, tmp_path):
    image = tmp_path / "a.qcow2"
    create(str(image), SIZE)
    done = subprocess.run([sys.executable, "-c", LIMITED, image, how], capture_output=True, text=True, timeout=60, check=True)
    assert 10 <= int(done.stdout) < 100
    assert checked(image) == (0, 0)


def test_a_short_write_goes_on(tmp_path, monkeypatch):
    image, disk = tmp_path / "a.raw", bytearray(SIZE)
    image.write_bytes(disk)
    real_write, real_read = os.pwrite, os.pread
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: real_write(fd, memoryview(data)[:1000], at))
    monkeypatch.setattr(os, "pread", lambda fd, length, at: real_read(fd, min(length, 3000), at))
    for write in (True, False):
        with open_image(image, write=write) as medium:
            write_some(medium, disk, random.Random(1), 20)
            assert medium.read(0, SIZE) == disk
        disk = bytearray(image.read_bytes())


@pytest.mark.parametrize("name, what", [
    ("gone", "No such file"), ("", "No such file"), ("a\0b", "null"), (".", "a directory|not a file"), ("pipe", "not a file"),
    ("/dev/null", "not a file"), ("empty", "empty"), ("a" * 5000, "too long"),
])
@pytest.mark.parametrize("write", [False, True])
def test_what_is_no_image_is_said_in_one_line(name, what, write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    open("empty", "w").close()
    with pytest.raises(ImageError, match=f"(?i){what}") as error:
        open_image(name, write=write)
    assert "\n" not in str(error.value)


def test_an_overlay_where_nobody_may_write_is_said(tmp_path):
    (tmp_path / "a.raw").write_bytes(bytes(SIZE))
    with pytest.raises(ImageError, match="cannot be made: No such file"):
        open_image(tmp_path / "a.raw", overlay=tmp_path / "no/such.qcow2")
    with pytest.raises(ImageError, match="cannot be made"):
        open_image(tmp_path / "a.raw", overlay="/proc/overlay.qcow2")


# -- others

@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_two_writers_and_a_reader_beside_a_writer_are_refused(kind, tmp_path):
    image = tmp_path / "a"
    if kind == "raw":
        image.write_bytes(bytes(SIZE))
    else:
        create(str(image), SIZE)
    with open_image(image), open_image(image) as medium:
        assert medium.read(0, 512) == bytes(512)
        with pytest.raises(ImageError, match="another program uses it"):
            open_image(image, write=True)
    with open_image(image, write=True):
        for write in (True, False):
            with pytest.raises(ImageError, match="another program writes to it; end that one first"):
                open_image(image, write=write)
        with pytest.raises(ImageError, match="writes to it"):
            describe(image)
    open_image(image, write=True).close()


@needs_qemu_img
def test_qemu_and_we_keep_out_of_each_others_way(tmp_path):
    image = tmp_path / "a.qcow2"
    create(str(image), SIZE)
    with open_image(image, write=True):
        assert "lock" in qemu_img("info", image, fails=True)
    with open_image(image):
        qemu_img("info", image)
    with subprocess.Popen(["qemu-io", str(image)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        other.stdin.write("write 0 512\n")
        other.stdin.flush()
        while "wrote" not in other.stdout.readline():
            pass
        for write in (True, False):
            with pytest.raises(ImageError, match="another program writes to it"):
                open_image(image, write=write)
        other.stdin.close()
        other.wait()
    open_image(image, write=True).close()


def test_backing_files_are_locked_with_what_lies_over_them(tmp_path):
    base = tmp_path / "base.qcow2"
    create(str(base), SIZE)
    with open_image(base, overlay=tmp_path / "one"), open_image(base, overlay=tmp_path / "other"), \
            pytest.raises(ImageError, match="another program uses it"):
        open_image(base, write=True)


def test_a_refused_image_leaves_no_file_open(tmp_path):
    create(str(tmp_path / "a"), SIZE, backing="gone")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with pytest.raises(ImageError):
            open_image(tmp_path / "a")
        with pytest.raises(ImageError):
            open_image(tmp_path / "a", write=True)
        with pytest.raises(ImageError):
            open_image(tmp_path / "a", overlay=tmp_path / "b")
    assert len(os.listdir("/proc/self/fd")) == before
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 20
