"""Where the guest's writes go: nowhere, into an overlay, into the image; and raw disks."""

from __future__ import annotations

import os
import random

import pytest

from emu.host.disk import ImageError, describe, open_image, open_readonly
from emu.host.disk.qcow2.create import create
from emu.host.disk.scratch import Scratch
from tests.disk.tools import SIZE, as_raw, checked, content, needs_qemu_img, qemu_img, write_some


@pytest.fixture
def raw(tmp_path):
    path = tmp_path / "disk.raw"
    path.write_bytes(content())
    return path


def test_by_default_the_image_does_not_change(raw, tmp_path):
    disk = bytearray(content())
    before = raw.stat()
    with open_image(raw) as medium:
        assert not medium.readonly
        write_some(medium, disk, random.Random(1))
        medium.flush()
        assert medium.read(0, SIZE) == disk
    assert raw.read_bytes() == content() and raw.stat().st_mtime_ns == before.st_mtime_ns
    with open_image(raw) as medium:
        assert medium.read(0, SIZE) == content()


def test_the_overlay_that_dies_has_no_name(raw, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "room"))
    (tmp_path / "room").mkdir()
    with open_image(raw) as medium:
        medium.write(0, b"x" * 512)
        assert os.listdir(tmp_path / "room") == []
    monkeypatch.setenv("TMPDIR", str(tmp_path / "gone"))
    with pytest.raises(ImageError, match="no place for what the guest writes"):
        open_image(raw)


def test_the_changes_of_a_dying_overlay_make_the_same_disk_again(raw):
    disk = bytearray(content())
    with open_image(raw) as medium, open_image(raw) as other:
        assert isinstance(medium, Scratch)
        write_some(medium, disk, random.Random(2))
        end = 0
        for at, data in medium.changes():
            assert at >= end and 0 < len(data) <= 1 << 20
            end = at + len(data)
            other.write(at, data)
        assert other.read(0, SIZE) == disk


@needs_qemu_img
@pytest.mark.parametrize("where", ["beside", "elsewhere"])
def test_an_overlay_lives_on_and_is_an_image_of_qemus(where, raw, tmp_path):
    disk = bytearray(content())
    overlay = tmp_path / "overlay.qcow2" if where == "beside" else tmp_path / "else/where.qcow2"
    overlay.parent.mkdir(exist_ok=True)
    for _ in range(3):
        with open_image(raw, overlay=overlay) as medium:
            assert medium.read(0, SIZE) == disk
            write_some(medium, disk, random.Random(3), 20)
        assert checked(overlay) == (0, 0)
        assert as_raw(overlay) == disk
    assert raw.read_bytes() == content()
    assert describe(overlay)["backing"] == ("disk.raw" if where == "beside" else str(raw))
    assert "version 3" in str(describe(overlay)) or describe(overlay)["version"] == 3


def test_an_overlay_of_another_image_is_refused(raw, tmp_path):
    other = tmp_path / "other.raw"
    other.write_bytes(content(1))
    open_image(other, overlay=tmp_path / "overlay").close()
    with pytest.raises(ImageError, match=r"an overlay of .*other\.raw, not of .*disk\.raw"):
        open_image(raw, overlay=tmp_path / "overlay")
    create(str(tmp_path / "alone"), SIZE)
    with pytest.raises(ImageError, match="an overlay of no image"):
        open_image(raw, overlay=tmp_path / "alone")
    with pytest.raises(ImageError, match="not an overlay but a raw image"):
        open_image(raw, overlay=other)
    with pytest.raises(ImageError, match="cannot both"):
        open_image(raw, overlay=tmp_path / "overlay", write=True)
    assert other.read_bytes() == content(1)


def test_an_overlay_of_an_overlay(raw, tmp_path):
    disk = bytearray(content())
    with open_image(raw, overlay=tmp_path / "one") as medium:
        write_some(medium, disk, random.Random(4), 20)
    with open_image(tmp_path / "one", overlay=tmp_path / "two") as medium:
        write_some(medium, disk, random.Random(5), 20)
    with open_image(tmp_path / "two") as medium:
        assert medium.read(0, SIZE) == disk


def test_written_through_the_image_has_it(raw):
    disk = bytearray(content())
    with open_image(raw, write=True) as medium:
        write_some(medium, disk, random.Random(1))
    assert raw.read_bytes() == disk


@pytest.mark.parametrize("size", [1, 511, 513, 1000])
def test_the_last_sector_of_a_raw_disk_is_filled_up_with_zeros(size, tmp_path):
    image = tmp_path / "a.raw"
    image.write_bytes(b"x" * size)
    with open_image(image) as medium:
        assert medium.size == -(-size // 512) * 512
        assert medium.read(0, medium.size) == (b"x" * size).ljust(medium.size, b"\0")
    with open_image(image, write=True) as medium:
        medium.write(medium.size - 512, b"y" * 512)
    assert image.read_bytes()[-512:] == b"y" * 512


def test_a_raw_disk_does_not_become_another_format_by_what_a_guest_writes(raw, tmp_path):
    create(str(tmp_path / "evil"), SIZE, backing="/etc/shadow", backing_format="raw")
    evil = (tmp_path / "evil").read_bytes()[:65536]
    told = []
    with open_image(raw, write=True) as medium:
        medium.on_trouble = told.append
        with pytest.raises(OSError):
            medium.write(0, evil)
        with pytest.raises(OSError):
            medium.write(0, evil[:4])
        medium.write(512, evil)
    assert len(told) == 1 and str(raw) in told[0]
    assert describe(raw)["format"] == "raw"
    with open_image(raw, write=True, kind="raw") as medium:
        medium.write(0, evil)                       # its user said that it is raw, and will say so again
    with open_image(raw, kind="raw") as medium:
        assert medium.read(0, 512) == evil[:512]


def test_the_overlay_of_a_raw_disk_stays_over_a_raw_disk(raw, tmp_path):
    create(str(tmp_path / "evil"), SIZE, backing="/etc/shadow", backing_format="raw")
    with open_image(raw, kind="raw", overlay=tmp_path / "overlay") as medium:
        medium.write(0, (tmp_path / "evil").read_bytes()[:512])
    assert describe(tmp_path / "overlay")["backing_format"] == "raw"


@pytest.mark.parametrize("how", ["write", "default", "overlay", "readonly"])
def test_what_is_outside_of_the_disk_is_an_error(how, raw, tmp_path):
    medium = {"write": lambda: open_image(raw, write=True), "default": lambda: open_image(raw),
              "overlay": lambda: open_image(raw, overlay=tmp_path / "o"), "readonly": lambda: open_readonly(raw)}[how]()
    with medium:
        assert medium.read(SIZE, 0) == b"" and medium.read(0, 0) == b""
        for offset, length in ((SIZE, 1), (SIZE - 512, 1024), (-1, 2), (0, SIZE + 1), (1 << 70, 1)):
            with pytest.raises(OSError):
                medium.read(offset, length)
            with pytest.raises(OSError):
                medium.write(offset, b"x" * min(length, 4096) if length < SIZE else bytes(length))
        if how == "readonly":
            assert medium.readonly
            with pytest.raises(OSError):
                medium.write(0, b"x")
        else:
            medium.write(0, b"")
            medium.write(3, b"abc")
            assert medium.read(2, 5)[1:4] == b"abc"


@needs_qemu_img
def test_the_description_says_what_qemu_img_says(tmp_path):
    image = tmp_path / "a.qcow2"
    create(str(tmp_path / "base"), SIZE)
    options = "cluster_size=4k,compression_type=zstd"
    qemu_img("create", "-f", "qcow2", "-F", "qcow2", "-b", "base", "-o", options, image, 5 << 30)
    found = describe(image)
    assert found["format"] == "qcow2" and found["virtual_size"] == 5 << 30 and found["cluster_size"] == 4096
    assert found["backing"] == "base" and found["backing_format"] == "qcow2" and found["compression"] == "zstd"
    assert found["snapshots"] == [] and found["file_size"] == image.stat().st_size
