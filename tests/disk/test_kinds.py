"""What a file is, told from its content: as the positional IMAGE is attached."""

from __future__ import annotations

import struct

import pytest

from emu.firmware import build
from emu.host.disk import ImageError, what
from emu.host.disk.kinds import FLOPPIES
from emu.host.disk.qcow2.create import create
from tests.disk.tools import needs_qemu_img, qemu_img

MIB = 1 << 20


def partitioned(size=8 * MIB, code=b""):
    sector = bytearray(512)
    sector[:len(code)] = code
    sector[446:462] = struct.pack("<B3xB3xII", 0x80, 0x83, 63, 2048)
    sector[510:] = b"\x55\xAA"
    return bytes(sector) + bytes(size - 512)


def with_multiboot(data, at=1024):
    return data[:at] + struct.pack("<III", 0x1BADB002, 0, -0x1BADB002 & 0xFFFFFFFF) + data[at + 12:]


BOOTS = bytes(510) + b"\x55\xAA"
VOLUME = bytes(32768) + b"\1CD001\1" + bytes(2041)

FILES = {
    "a disk with a partition": (partitioned(), "disk"),
    "one with GRUB on it, which has a Multiboot header": (with_multiboot(partitioned()), "disk"),
    "a disk without partitions that boots": (BOOTS + bytes(4 * MIB - 512), "disk"),
    "a blank disk": (bytes(4 * MIB), "disk"),
    "a disk with a file system and nothing to boot": (bytes(1080) + b"\x53\xEF" + bytes(8 * MIB - 1082), "disk"),
    "a disc": (VOLUME, "cdrom"),
    "a disc that boots from a stick, too": (partitioned()[:512] + VOLUME[512:], "cdrom"),
    "a disc of UDF": (VOLUME.replace(b"CD001", b"BEA01"), "cdrom"),
    "a floppy": (BOOTS + bytes(1474560 - 512), "floppy"),
    "a blank floppy": (bytes(1474560), "floppy"),
    "a Linux kernel": (BOOTS + b"\0\0HdrS" + bytes(5 * MIB), "kernel"),
    "a Multiboot kernel": (with_multiboot(bytes(300 * 1024)), "kernel"),
    "an ELF kernel": (b"\x7FELF" + bytes(8 * MIB), "kernel"),
    "a flat program": (b"\xEB\xFE", "kernel"),
    "a boot sector alone": (BOOTS, "kernel"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_told_by_its_content(name, tmp_path):
    data, kind = FILES[name]
    (tmp_path / "file").write_bytes(data)
    assert what(tmp_path / "file") == kind


@pytest.mark.parametrize("size", FLOPPIES)
def test_the_sizes_of_floppies(size, tmp_path):
    (tmp_path / "file").write_bytes(BOOTS + bytes(size - 512))
    assert what(tmp_path / "file") == "floppy"


@pytest.mark.parametrize("name", build.names())
def test_our_own_kernels_are_kernels(name, tmp_path):
    (tmp_path / "file").write_bytes(build.kernel(name))
    assert what(tmp_path / "file") == "kernel"


@needs_qemu_img
@pytest.mark.parametrize("kind", ["qcow2", "vmdk", "vdi", "vpc", "vhdx"])
@pytest.mark.parametrize("options", [[], ["subformat=fixed"]])
def test_an_image_of_any_format_is_a_disk(kind, options, tmp_path):
    if options and kind not in ("vpc", "vhdx"):
        options = []
    qemu_img("create", "-f", kind, *(["-o", *options] if options else []), tmp_path / "file", 4 * MIB)
    assert what(tmp_path / "file") == "disk"


def test_it_is_told_while_another_program_writes(tmp_path):
    from emu.host.disk import open_image
    create(str(tmp_path / "file"), 4 * MIB)
    with open_image(tmp_path / "file", write=True):
        assert what(tmp_path / "file") == "disk"


def test_what_is_no_file_is_said(tmp_path):
    for name in (tmp_path, tmp_path / "gone", "/dev/null"):
        with pytest.raises(ImageError):
            what(name)
