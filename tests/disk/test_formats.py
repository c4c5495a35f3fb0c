"""The formats that are only read: what QEMU writes in them we read as QEMU reads it, and what we do not read we say."""

from __future__ import annotations

import os
import random
import struct
import subprocess

import pytest

from emu.host.disk import ImageError, describe, open_image
from emu.host.disk.crc32c import crc32c
from tests.disk.tools import SIZE, as_raw, checked, content, needs_qemu_img, qemu_img, write_some

pytestmark = needs_qemu_img

KINDS = [
    ("vmdk", ""), ("vmdk", "subformat=monolithicFlat"), ("vmdk", "subformat=twoGbMaxExtentSparse"),
    ("vmdk", "subformat=twoGbMaxExtentFlat"), ("vmdk", "subformat=streamOptimized"), ("vmdk", "zeroed_grain=on"),
    ("vdi", ""), ("vdi", "static=on"), ("vpc", "force_size=on"), ("vpc", "subformat=fixed,force_size=on"), ("vpc", ""),
    ("vhdx", ""), ("vhdx", "subformat=fixed"), ("vhdx", "block_size=2M"),
]
OURS = {"vpc": "vhd"}


def made(path, kind, options="", disk=None):
    raw = path.parent / "made.raw"
    raw.write_bytes(content() if disk is None else disk)
    qemu_img("convert", "-O", kind, *(["-o", options] if options else []), raw, path)
    return path


def patch(path, offset, data):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


@pytest.mark.parametrize("kind, options", KINDS)
def test_an_image_reads_as_qemu_reads_it(kind, options, tmp_path):
    image = made(tmp_path / "image", kind, options)
    disk = bytearray(as_raw(image, kind))
    assert disk[:SIZE] == content()[:len(disk)]
    with open_image(image) as medium:
        assert medium.format == OURS.get(kind, kind)
        assert medium.size == len(disk)
        assert medium.read(0, len(disk)) == disk
        chance = random.Random(1)
        for _ in range(200):
            length = chance.choice((512, 4096, 65536, chance.randrange(1, 300_000)))
            at = chance.randrange(0, len(disk) - length)
            assert medium.read(at, length) == disk[at:at + length]
    assert describe(image)["virtual_size"] == len(disk)


@pytest.mark.parametrize("kind, options", KINDS)
def test_it_is_never_written_but_through_an_overlay(kind, options, tmp_path):
    image = made(tmp_path / "image", kind, options)
    files = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ImageError, match=f"a {OURS.get(kind, kind)} image can only be read; leave out --write"):
        open_image(image, write=True)
    disk = bytearray(as_raw(image, kind))
    with open_image(image) as medium:
        write_some(medium, disk, random.Random(1))
        assert medium.read(0, len(disk)) == disk
    disk = bytearray(as_raw(image, kind))
    for _ in range(2):
        with open_image(image, overlay=tmp_path / "overlay") as medium:
            write_some(medium, disk, random.Random(2))
    assert checked(tmp_path / "overlay") == (0, 0)
    with open_image(tmp_path / "overlay") as medium:
        assert medium.read(0, len(disk)) == disk
    assert as_raw(tmp_path / "overlay") == disk
    assert all(path.read_bytes() == data for path, data in files.items())


@pytest.mark.parametrize("kind", ["vmdk", "vdi", "vpc", "vhdx"])
@pytest.mark.parametrize("size", [1 << 40, 512, 1 << 30])
def test_an_empty_disk_of_any_size_is_zeros(kind, size, tmp_path):
    qemu_img("create", "-f", kind, *(["-o", "force_size=on"] if kind == "vpc" else []), tmp_path / "image", size)
    with open_image(tmp_path / "image") as medium:
        assert medium.size == size
        for at in (0, size // 1024 * 512, size - 512):
            assert medium.read(at, 512) == bytes(512)


@pytest.mark.parametrize("kind, options", [(kind, options) for kind, options in KINDS if "Flat" not in options])
def test_a_file_that_is_cut_short_is_an_error(kind, options, tmp_path):
    disk = random.Random(0).randbytes(SIZE)
    image = made(tmp_path / "image", kind, options, disk)
    name = next((path for path in tmp_path.iterdir() if "-s001" in path.name), image)
    whole = name.read_bytes()
    for length in (0, 100, 511, 600, 70_000, 140_000, 1 << 20, len(whole) - 1024, len(whole) - 300_000):
        if not 0 <= length < len(whole):
            continue
        name.write_bytes(whole[:length])
        try:
            medium = open_image(image)
        except ImageError as error:
            assert "\n" not in str(error)
            continue
        with medium:
            if medium.format == "raw":          # a fixed VHD without its footer; what is left of 100 bytes of a VDI
                assert kind == "vpc" or length < 512
                continue
            try:
                found = medium.read(0, medium.size)
            except OSError:
                continue
            assert length > len(whole) // 4 and found[:SIZE] == disk[:len(found)]      # what is missing was not needed


# -- VMDK

DESCRIPTOR = """# Disk DescriptorFile
version=1
CID=12345678
parentCID=ffffffff
createType="{kind}"

{extents}
ddb.virtualHWVersion = "4"
"""


def described(path, *extents, kind="monolithicFlat"):
    path.write_text(DESCRIPTOR.format(kind=kind, extents="\n".join(extents)))
    return path


def test_extents_lie_one_behind_the_other(tmp_path):
    (tmp_path / "one").write_bytes(b"1" * 1024)
    (tmp_path / "two").write_bytes(b"?" * 512 + b"2" * 1024)
    image = described(tmp_path / "a.vmdk", 'RW 2 FLAT "one" 0', "RW 3 ZERO", 'RW 2 FLAT "two" 1', 'RDONLY 1 FLAT "one"')
    with open_image(image) as medium:
        assert medium.read(0, medium.size) == b"1" * 1024 + bytes(1536) + b"2" * 1024 + b"1" * 512
        assert medium.read(900, 2000) == (b"1" * 1024 + bytes(1536) + b"2" * 1024)[900:2900]


@pytest.mark.parametrize("extent, what", [
    ('RW 4 FLAT "/etc/passwd" 0', "own directory"), ('RW 4 FLAT "../secret" 0', "own directory"),
    ('RW 4 FLAT "sub/secret" 0', "own directory"), ('RW 4 FLAT "link" 0', "own directory"),
    ('RW 4 FLAT "pipe" 0', "not a file"),
    ('RW 4 FLAT "gone" 0', "No such file"), ('RW 4 FLAT "a.vmdk" 0', "cut short"), ('RW 4 SPARSE "a.vmdk"', "not a sparse"),
    ('RW 4 FLAT "short" 0', "cut short"), ('RW 4 FLAT "short" 99999999999999', "cut short"),
    ('RW 4 FLAT "sh\0ort" 0', "names no|cannot be used"),
    ('RW 99999999999999999999 FLAT "short" 0', "an extent of"), ("RW 4 FLAT", "extent of type FLAT"),
    ('RW 4 VMFSRDM "short"', "VMFSRDM"),
    ('NOACCESS 4 FLAT "short" 0', "cannot be used"), ('RW x FLAT "short" 0', "cannot be used"), ("", "names no extent"),
    ("RW 0 ZERO", "names no extent"), ("\n".join(["RW 1 ZERO"] * 300), "more than 256 extents"),
])
def test_a_descriptor_shows_no_file_from_elsewhere(extent, what, tmp_path):
    home = tmp_path / "home"
    (home / "sub").mkdir(parents=True)
    for secret in (tmp_path / "secret", home / "sub/secret"):
        secret.write_bytes(b"s" * 4096)
    (home / "link").symlink_to("../secret")
    (home / "short").write_bytes(b"s" * 100)
    os.mkfifo(home / "pipe")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ImageError, match=what) as error:
        open_image(described(home / "a.vmdk", extent))
    assert "\n" not in str(error.value) and str(home) in str(error.value)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("old, new, what", [
    ("parentCID=ffffffff", "parentCID=12345678", "a delta over"), ("monolithicFlat", "vmfsSparse", "type 'vmfsSparse'"),
    ("monolithicFlat", "custom", "type 'custom'"),
])
def test_vmdks_that_are_not_read_are_said(old, new, what, tmp_path):
    (tmp_path / "one").write_bytes(b"1" * 1024)
    image = described(tmp_path / "a.vmdk", 'RW 2 FLAT "one" 0')
    image.write_text(image.read_text().replace(old, new))
    with pytest.raises(ImageError, match=what):
        open_image(image)


def test_a_bomb_among_the_grains_takes_no_more_than_a_grain(tmp_path):
    import zlib
    image = made(tmp_path / "image", "vmdk", "subformat=streamOptimized", random.Random(0).randbytes(SIZE))
    data = image.read_bytes()
    at = 512 * 128                              # the first grain that QEMU writes
    lba, length = struct.unpack_from("<QI", data, at)
    assert lba == 0 and length > 60_000
    bomb = zlib.compress(bytes(40 << 20), 9)
    assert len(bomb) < length
    patch(image, at + 8, struct.pack("<I", len(bomb)) + bomb)
    with open_image(image) as medium:
        assert medium.read(0, 65536) == bytes(65536)
        patch(image, at + 8 + 65536 + 8192, b"")
    patch(image, at + 8, struct.pack("<I", 1 << 31))
    with open_image(image) as medium, pytest.raises(OSError):
        medium.read(0, 512)


# -- VDI, VHD, VHDX

@pytest.mark.parametrize("kind, offset, data, what", [
    ("vdi", 0x44, struct.pack("<I", 0x20000), "version 2"), ("vdi", 0x4C, struct.pack("<I", 4), "a differencing image"),
    ("vdi", 0x168, struct.pack("<I", 4096), "sectors of 4096"), ("vdi", 0x178, bytes(4), "blocks of 0"),
    ("vdi", 0x170, struct.pack("<Q", 1 << 50), "a disk of"),
    ("vdi", 0x180, struct.pack("<I", 0xFFFFFFFF), "outside of the file"),
    ("vdi", 0x154, struct.pack("<I", 0xFFFFFFF0), "outside of the file"),
    ("vhdx", 0x10000, bytes(4096), None), ("vhdx", 0x30000, bytes(4096), None),
])
def test_headers_are_checked(kind, offset, data, what, tmp_path):
    image = made(tmp_path / "image", kind)
    patch(image, offset, data)
    if what is None:                            # there is a second one
        with open_image(image) as medium:
            assert medium.read(0, SIZE) == content()
        patch(image, offset + 0x10000, data)
        what = "are damaged"
    with pytest.raises(ImageError, match=what):
        open_image(image)


def resummed(path, offset, length, at, change, form="big", crc=False):
    """Change a header and make its checksum right again."""
    raw = bytearray(path.read_bytes()[offset:offset + length])
    change(raw)
    raw[at:at + 4] = bytes(4)
    raw[at:at + 4] = (crc32c(bytes(raw)) if crc else ~sum(raw) & 0xFFFFFFFF).to_bytes(4, form)
    patch(path, offset, raw)


@pytest.mark.parametrize("at, data, what", [
    (60, struct.pack(">I", 4), "a differencing VHD"), (60, struct.pack(">I", 7), "type 7"),
    (12, struct.pack(">I", 0x20000), "version 2"),
    (48, bytes(8), "a disk of 0"), (48, struct.pack(">Q", 1 << 60), "a disk of"),
    (48, struct.pack(">Q", 1 << 40), "too short"),
    (16, struct.pack(">Q", 1 << 60), "cannot be read"), (16, bytes(8), "header of the dynamic VHD"),
])
def test_the_footer_of_a_vhd_is_checked(at, data, what, tmp_path):
    image = made(tmp_path / "image", "vpc", "force_size=on")
    def change(raw):
        raw[at:at + len(data)] = data
    for offset in (0, image.stat().st_size - 512):
        resummed(image, offset, 512, 64, change)
    with pytest.raises(ImageError, match=what):
        open_image(image)


def test_a_vhd_whose_footer_is_gone_has_a_copy_of_it_in_front(tmp_path):
    image = made(tmp_path / "image", "vpc", "force_size=on")
    image.write_bytes(image.read_bytes()[:-512])
    with open_image(image) as medium:
        assert medium.read(0, SIZE) == content()
    patch(image, 30, b"x")
    with pytest.raises(ImageError, match="footer is damaged"):
        open_image(image)


def test_a_differencing_vhdx_is_said(tmp_path):
    image = made(tmp_path / "image", "vhdx")
    data = image.read_bytes()
    at = data.index(bytes.fromhex("3767a1ca36fa434db3b633f0aa44e76b"))         # File Parameters
    metadata = data.index(b"metadata")
    where = metadata + struct.unpack_from("<I", data, at + 16)[0]
    patch(image, where + 4, struct.pack("<I", 2))
    with pytest.raises(ImageError, match="a differencing VHDX"):
        open_image(image)


def test_what_a_crash_left_in_a_vhdxs_log_is_read(tmp_path):
    image = tmp_path / "image"
    qemu_img("create", "-f", "vhdx", image, 64 << 20)
    fresh = image.read_bytes()
    bat = fresh.index(bytes.fromhex("6677c22d23f600429d64115e9bfd4a08"))
    bat = struct.unpack_from("<Q", fresh, bat + 16)[0]
    subprocess.run(["qemu-io", "-c", "write -P 5 0 1M", "-c", "write -P 6 40M 1M", "-c", "flush", str(image)],
                   capture_output=True, timeout=60, check=True)
    disk = as_raw(image)
    after = image.read_bytes()
    assert after[bat:bat + 4096] != fresh[bat:bat + 4096]
    newest = after.rindex(b"loge")
    guid = after[newest + 32:newest + 48]

    def crash():
        """As if the log had reached the disk, and what it says not."""
        patch(image, bat, fresh[bat:bat + 4096])
        for offset in (0x10000, 0x20000):
            def name_the_log(raw):
                raw[48:64] = guid
            resummed(image, offset, 4096, 4, name_the_log, "little", crc=True)

    crash()
    before = image.read_bytes()
    with open_image(image) as medium:
        assert medium.read(0, 64 << 20) == disk
        assert medium.read((40 << 20) - 512, 1024) == bytes(512) + b"\6" * 512
    assert image.read_bytes() == before
    qemu_img("check", "-r", "all", image)
    assert as_raw(image) == disk
    crash()
    patch(image, newest + 5000, b"torn")
    with open_image(image) as medium:                   # an entry that is not whole was never followed
        assert medium.read(0, 64 << 20) == bytes(64 << 20)


def test_crc32c_of_the_rfc():
    assert crc32c(bytes(32)) == 0x8A9136AA               # RFC 3720, B.4
    assert crc32c(bytes(range(32))) == 0x46DD794E
