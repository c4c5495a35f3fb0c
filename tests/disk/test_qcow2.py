"""qcow2 as docs/interop/qcow2.txt has it, and as QEMU does: what it writes we read, what we write it checks and reads."""

from __future__ import annotations

import random
import struct
import subprocess

import pytest

from emu.host.disk import ImageError, describe, open_image
from emu.host.disk.qcow2.create import create
from tests.disk.tools import SIZE, as_raw, checked, content, needs_qemu_img, qemu_img, write_some

pytestmark = needs_qemu_img

LAYOUTS = [
    "compat=0.10", "compat=0.10,cluster_size=512", "compat=1.1", "cluster_size=512", "cluster_size=2M", "refcount_bits=1",
    "refcount_bits=2,cluster_size=512", "refcount_bits=4,cluster_size=1k", "refcount_bits=8,cluster_size=4k",
    "refcount_bits=32", "refcount_bits=64,cluster_size=512", "lazy_refcounts=on", "preallocation=metadata",
    "preallocation=falloc,cluster_size=4k",
]


def made(path, options="", disk=None, *more):
    """A qcow2 image that QEMU made of the bytes `disk`, or an empty one."""
    options = ["-o", options] if options else []
    if disk is None:
        qemu_img("create", "-f", "qcow2", *options, *more, path, SIZE)
    else:
        raw = path.with_suffix(".raw")
        raw.write_bytes(disk)
        qemu_img("convert", "-O", "qcow2", *options, *more, raw, path)
    return path


def patch(path, offset, data):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def number(path, offset, form=">Q"):
    return struct.unpack_from(form, path.read_bytes(), offset)[0]


@pytest.mark.parametrize("options", [*LAYOUTS, "extended_l2=on", "extended_l2=on,cluster_size=16k"])
def test_an_image_of_qemu_reads_as_qemu_reads_it(options, tmp_path):
    disk = content()
    if "preallocation" in options:
        image = made(tmp_path / "a.qcow2", options)
        qemu_io(image, "write -P 7 100k 200k", "write -P 8 1M 512", "write -z 2M 64k")
        disk = as_raw(image)
    else:
        image = made(tmp_path / "a.qcow2", options, disk)
    with open_image(image) as medium:
        assert medium.size == SIZE
        assert medium.read(0, SIZE) == disk
        for at in range(0, SIZE - 5000, 40_001):
            assert medium.read(at, 5000) == disk[at:at + 5000]


@pytest.mark.parametrize("options", LAYOUTS)
def test_what_is_written_passes_qemus_check_and_reads_the_same_there(options, tmp_path):
    disk = bytearray(content())
    chance = random.Random(options)
    image = made(tmp_path / "a.qcow2", options, disk if "preallocation" not in options else None)
    if "preallocation" in options:
        disk = bytearray(SIZE)
    for _ in range(2):
        with open_image(image, write=True) as medium:
            write_some(medium, disk, chance)
        assert checked(image) == (0, 0)
        assert as_raw(image) == disk


@pytest.mark.parametrize("bits, order", [(9, 0), (9, 6), (12, 1), (16, 4), (21, 5), (10, 3)])
def test_a_new_image_is_as_good_as_one_of_qemus(bits, order, tmp_path):
    image, disk = tmp_path / "a.qcow2", bytearray(SIZE)
    create(str(image), SIZE, cluster_bits=bits, refcount_order=order)
    assert checked(image) == (0, 0)
    with open_image(image, write=True) as medium:
        write_some(medium, disk, random.Random(bits))
    assert checked(image) == (0, 0)
    assert as_raw(image) == disk


def test_the_refcount_table_grows_with_the_image(tmp_path):
    image = tmp_path / "a.qcow2"
    create(str(image), 16 << 20, cluster_bits=9, refcount_order=6)     # a table of one cluster counts 2 MiB
    disk = bytearray(random.Random(1).randbytes(16 << 20))
    with open_image(image, write=True) as medium:
        medium.write(0, disk)
    assert number(image, 56, ">I") > 4
    assert checked(image) == (0, 0)
    assert as_raw(image) == disk


@pytest.mark.parametrize("kind", ["zlib", "zstd"])
@pytest.mark.parametrize("cluster", ["512", "64k", "2M"])
def test_compressed_clusters_are_read_and_a_write_unpacks_them(kind, cluster, tmp_path):
    disk = bytearray(content(3))
    image = made(tmp_path / "a.qcow2", f"compression_type={kind},cluster_size={cluster}", disk, "-c")
    with open_image(image) as medium:
        assert medium.read(0, SIZE) == disk
        assert all(medium.read(at, 700) == disk[at:at + 700] for at in range(0, SIZE - 700, 99_999))
    with open_image(image, write=True) as medium:
        write_some(medium, disk, random.Random(4))
    assert checked(image) == (0, 0)
    assert as_raw(image) == disk


def test_a_cluster_of_zeros_hides_what_the_backing_file_has(tmp_path):
    disk = content(5)
    (tmp_path / "base.raw").write_bytes(disk)
    image = tmp_path / "a.qcow2"
    qemu_img("create", "-f", "qcow2", "-F", "raw", "-b", "base.raw", image)
    with open_image(image, write=True) as medium:
        medium.write(0, bytes(1 << 20))
        assert medium.read(0, SIZE) == bytes(1 << 20) + disk[1 << 20:]
    assert image.stat().st_size < 1 << 20
    assert as_raw(image) == bytes(1 << 20) + disk[1 << 20:]
    assert checked(image) == (0, 0)


def qemu_io(path, *commands, fails=False):
    done = subprocess.run(["qemu-io", *[word for command in commands for word in ("-c", command)], str(path)],
                          capture_output=True, text=True, timeout=60, check=False)
    assert fails or done.returncode == 0, done.stdout + done.stderr


def test_clusters_of_a_snapshot_are_copied_before_they_change(tmp_path):
    disk = bytearray(content(6))
    image = made(tmp_path / "a.qcow2", "", disk)
    chance = random.Random(6)
    kept = {}
    for name in ("one", "two"):
        qemu_img("snapshot", "-c", name, image)
        kept[name] = bytes(disk)
        with open_image(image, write=True) as medium:
            write_some(medium, disk, chance, 20)
        assert checked(image) == (0, 0)
        assert as_raw(image) == disk
    assert [(snapshot["id"], snapshot["name"]) for snapshot in describe(image)["snapshots"]] == [("1", "one"), ("2", "two")]
    for name, content_then in kept.items():
        qemu_img("snapshot", "-a", name, image)
        assert as_raw(image) == content_then
        with open_image(image) as medium:
            assert medium.read(0, SIZE) == content_then


# -- backing files

def test_the_name_of_a_backing_file_starts_at_the_image(tmp_path, monkeypatch):
    (tmp_path / "low").mkdir()
    (tmp_path / "high").mkdir()
    disk = content(7)
    (tmp_path / "low/base.raw").write_bytes(disk)
    qemu_img("create", "-f", "qcow2", "-F", "raw", "-b", "../low/base.raw", tmp_path / "high/a.qcow2")
    qemu_img("create", "-f", "qcow2", "-F", "qcow2", "-b", tmp_path / "high/a.qcow2", tmp_path / "b.qcow2")
    (tmp_path / "link.qcow2").symlink_to("high/a.qcow2")
    for name in ("b.qcow2", "high/a.qcow2", "link.qcow2"):
        with open_image(tmp_path / name) as medium:
            assert medium.read(0, SIZE) == disk
    monkeypatch.chdir(tmp_path / "high")
    with open_image("a.qcow2") as medium:
        assert medium.read(0, SIZE) == disk


@pytest.mark.parametrize("size", [1 << 20, 5 << 20])
def test_beyond_a_smaller_backing_file_lie_zeros(size, tmp_path):
    disk = content(8, size)
    (tmp_path / "base.raw").write_bytes(disk)
    image = tmp_path / "a.qcow2"
    qemu_img("create", "-f", "qcow2", "-F", "raw", "-b", "base.raw", image, SIZE)
    expected = bytearray(disk.ljust(SIZE, b"\0")[:SIZE])
    with open_image(image, write=True) as medium:
        assert medium.read(0, SIZE) == expected
        write_some(medium, expected, random.Random(8), 20)
    assert as_raw(image) == expected
    assert checked(image) == (0, 0)


def test_an_image_below_itself_is_refused(tmp_path):
    one, other = tmp_path / "one.qcow2", tmp_path / "other.qcow2"
    create(str(one), SIZE, backing="other.qcow2", backing_format="qcow2")
    create(str(other), SIZE, backing="one.qcow2", backing_format="qcow2")
    for name in (one, other):
        with pytest.raises(ImageError, match="lies below itself"):
            open_image(name)


def test_a_tower_of_images_has_an_end(tmp_path):
    for level in range(30):
        create(str(tmp_path / f"{level}"), SIZE, backing=f"{level + 1}", backing_format="qcow2")
    create(str(tmp_path / "30"), SIZE)
    with pytest.raises(ImageError, match="more than 16 images"):
        open_image(tmp_path / "0")
    with open_image(tmp_path / "16") as medium:
        assert medium.read(0, 512) == bytes(512)


@pytest.mark.parametrize("name, what", [
    ("gone.qcow2", "No such file"), ("nbd:localhost:10809", "only files"), ("json:{}", "only files"),
    ("/dev/zero", "not a file"),
])
def test_a_backing_file_that_cannot_be_is_said_by_name(name, what, tmp_path):
    create(str(tmp_path / "a.qcow2"), SIZE, backing=name)
    with pytest.raises(ImageError, match=what) as error:
        open_image(tmp_path / "a.qcow2")
    assert name in str(error.value)


# -- features

def test_a_dirty_image_is_repaired_before_it_is_written(tmp_path):
    image = made(tmp_path / "a.qcow2", "lazy_refcounts=on")
    qemu_io(image, "write -P 9 0 1M", "flush", "abort", fails=True)
    assert number(image, 72) & 1
    assert checked(image)[0] > 0                        # counts that are too low
    with open_image(image) as medium:
        assert medium.read(0, 1 << 20) == b"\x09" * (1 << 20)
    with open_image(image, write=True) as medium:
        medium.write(2 << 20, b"x" * 512)
    assert not number(image, 72) & 1
    assert checked(image) == (0, 0)
    assert as_raw(image)[:1 << 20] == b"\x09" * (1 << 20)


def test_a_corrupt_image_is_read_and_not_written(tmp_path):
    image = made(tmp_path / "a.qcow2", "", content())
    patch(image, 72, struct.pack(">Q", 2))
    with open_image(image) as medium:
        assert medium.read(0, SIZE) == content()
    with pytest.raises(ImageError, match="marked as corrupt"):
        open_image(image, write=True)


def test_leaked_clusters_are_taken_back_at_the_next_opening_for_writing(tmp_path):
    image = made(tmp_path / "a.qcow2", "", content())
    block = number(image, number(image, 48))
    size = image.stat().st_size
    patch(image, size + 10 * 65536 - 1, b"x")
    patch(image, block + 2 * (size // 65536 + 5), struct.pack(">4H", 1, 2, 0, 1))
    assert checked(image) == (0, 3)
    open_image(image).close()
    assert checked(image) == (0, 3)
    open_image(image, write=True).close()
    assert checked(image) == (0, 0)


def test_counts_that_are_too_low_are_refused_for_writing(tmp_path):
    image = made(tmp_path / "a.qcow2", "", content())
    patch(image, number(image, number(image, 48)) + 2 * 5, bytes(2))
    with pytest.raises(ImageError, match=r"is damaged .*counted 0 times.*qemu-img check"):
        open_image(image, write=True)


def test_what_clears_itself_is_cleared_by_the_first_write(tmp_path):
    image = made(tmp_path / "a.qcow2", "", content())
    qemu_img("bitmap", "--add", image, "changes")
    patch(image, 88, struct.pack(">Q", number(image, 88) | 1 << 40))
    open_image(image).close()
    assert number(image, 88) == 1 << 40 | 1
    with open_image(image, write=True) as medium:
        medium.write(0, b"x" * 512)
    assert number(image, 88) == 0
    assert checked(image) == (0, 0)


def test_what_is_not_read_here_is_refused_in_one_line(tmp_path):
    made(tmp_path / "luks")
    patch(tmp_path / "luks", 32, struct.pack(">I", 2))
    made(tmp_path / "external", f"data_file={tmp_path}/data")
    made(tmp_path / "unknown")
    patch(tmp_path / "unknown", 72, struct.pack(">Q", 1 << 33))
    qemu_img("create", "-f", "qcow", tmp_path / "qcow1", SIZE)
    made(tmp_path / "subclusters", "extended_l2=on")
    for name, what, write in (("luks", "encrypted", False), ("external", "another file", False), ("unknown", "bit 33", False),
                              ("qcow1", "version 1", False), ("subclusters", "can only be read", True)):
        with pytest.raises(ImageError, match=what) as error:
            open_image(tmp_path / name, write=write)
        assert str(error.value).startswith(str(tmp_path / name)) and "\n" not in str(error.value)


@pytest.mark.parametrize("offset, form, value, what", [
    (4, ">I", 4, "version 4"), (20, ">I", 8, "clusters of 2\\^8"), (20, ">I", 22, "clusters of 2\\^22"),
    (24, ">Q", 1 << 63, "L1 table is too small"), (24, ">Q", 1 << 40, "L1 table is too small"), (32, ">I", 3, "encrypted"),
    (36, ">I", 0xFFFFFFFF, "L1 table of"), (40, ">Q", 12345, "no place"), (40, ">Q", 1 << 40, "outside of the file"),
    (48, ">Q", 1 << 50, "outside of the file"), (48, ">Q", 0, "no place"), (56, ">I", 0, "no refcount table"),
    (56, ">I", 0xFFFFFFFF, "refcount table of"), (60, ">I", 0xFFFFFFFF, "snapshots"), (60, ">I", 5, "no place"),
    (96, ">I", 7, "reference counts"), (100, ">I", 96, "header of 96"), (100, ">I", 0xFFFFFFF8, "header of"),
    (104, ">B", 1, "compression"), (8, ">Q", 100000, "name of the backing file"),
])
def test_every_field_of_the_header_is_checked(offset, form, value, what, tmp_path):
    image = made(tmp_path / "a.qcow2")
    patch(image, offset, struct.pack(form, value))
    if offset == 8:
        patch(image, 16, struct.pack(">I", 8))
    with pytest.raises(ImageError, match=what):
        open_image(image)


@pytest.mark.parametrize("length", [0, 3, 60, 100, 70_000, 200_000, 300_000])
def test_a_file_that_is_cut_short_is_an_error_when_it_is_opened_or_read(length, tmp_path):
    image = made(tmp_path / "a.qcow2", "", random.Random(0).randbytes(SIZE))
    image.write_bytes(image.read_bytes()[:length])
    if length == 3:                                     # nothing of the format is left: a raw disk of one sector
        return
    try:
        medium = open_image(image)
    except ImageError:
        return
    told = []
    medium.base.on_trouble = told.append
    with medium, pytest.raises(OSError):
        medium.read(0, SIZE)
    assert told and str(image) in told[0]


def test_a_guest_cannot_write_into_the_tables_of_a_hostile_image(tmp_path):
    image = made(tmp_path / "a.qcow2", "", random.Random(0).randbytes(SIZE))     # one cluster less, one more: balanced
    l2 = number(image, number(image, 40)) & (1 << 56) - 1
    header = image.read_bytes()[:65536]
    for place in (number(image, 40), l2, number(image, 48), number(image, number(image, 48))):
        patch(image, l2, struct.pack(">Q", place | 1 << 63))
        with open_image(image, write=True) as medium, pytest.raises(OSError):
            medium.write(0, b"evil" * 128)
    assert image.read_bytes()[:65536] == header
