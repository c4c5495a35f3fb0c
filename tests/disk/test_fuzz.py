"""Damaged and hostile images of every format: one clear line or an I/O error, soon, in little memory, and nothing else."""

from __future__ import annotations

import os
import resource
import struct
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emu.host.disk import ImageError, describe, open_image, what
from emu.host.disk.qcow2.create import create
from tests.disk.tools import content, needs_qemu_img, qemu_img

pytestmark = needs_qemu_img

SECONDS = 4.0                   # of the processor that one image may take
MEMORY = 300 << 20              # bytes that all of them may
SIZE = 1 << 20

IMAGES = {
    "qcow2": ("qcow2", "cluster_size=4k"), "qcow2-v2": ("qcow2", "compat=0.10,cluster_size=512"),
    "qcow2-small": ("qcow2", "cluster_size=512,refcount_bits=1"), "qcow2-compressed": ("qcow2", "compression_type=zstd"),
    "qcow2-subclusters": ("qcow2", "extended_l2=on,cluster_size=16k"), "qcow2-snapshot": ("qcow2", "cluster_size=4k"),
    "vmdk": ("vmdk", ""), "vmdk-stream": ("vmdk", "subformat=streamOptimized"),
    "vmdk-flat": ("vmdk", "subformat=monolithicFlat"),
    "vdi": ("vdi", ""), "vhd": ("vpc", ""), "vhdx": ("vhdx", "log_size=1M,block_size=1M"),
}

NUMBERS = st.one_of(
    st.sampled_from([0, 1, 2, 3, 7, 0x7F, 0xFF, 0x200, 0xFFFF, 0x10000, 1 << 20, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 40,
                     1 << 55, 1 << 62, 1 << 63, (1 << 63) - 1, (1 << 64) - 1]),
    st.integers(0, 300).map(lambda n: n * 512), st.integers(0, 40).map(lambda n: n * 4096 | 1 << 63),
    st.integers(0, (1 << 64) - 1))
CHANGE = st.tuples(st.integers(0, 1 << 16), st.sampled_from([1, 2, 4, 8]), st.sampled_from(["<", ">"]), NUMBERS)


@pytest.fixture(scope="module", params=IMAGES)
def image(request, tmp_path_factory):
    """(a directory, the image's bytes, the places in it that are worth a change)."""
    path = tmp_path_factory.mktemp(request.param)
    kind, options = IMAGES[request.param]
    disk = content(1, SIZE)
    disk[100 << 10:] = bytes(len(disk) - (100 << 10))
    (path / "raw").write_bytes(disk)
    name = path / "image"
    compressed = ["-c"] if "compressed" in request.param else []
    qemu_img("convert", "-O", kind, *compressed, *(["-o", options] if options else []), path / "raw", name)
    if "snapshot" in request.param:
        qemu_img("snapshot", "-c", "s", name)
        with open_image(name, write=True) as medium:
            medium.write(0, b"x" * 8192)
    return path, name.read_bytes(), places(request.param, name.read_bytes())


def places(kind, data):
    """Offsets of fields: the headers, and where tables are."""
    found = list(range(min(1024, len(data) - 8)))
    if kind.startswith("qcow2"):
        l1, table = (struct.unpack_from(">Q", data, at)[0] for at in (40, 48))
        block, = struct.unpack_from(">Q", data, table)
        l2 = struct.unpack_from(">Q", data, l1)[0] & (1 << 56) - 512
        for start in (l1, table, block, l2, struct.unpack_from(">Q", data, 64)[0]):
            found += range(start, min(start + 128, len(data) - 8)) if start else []
        return found * 3 + list(range(120)) * 20
    if kind == "vhdx":
        items = data.index(b"metadata")
        for start in (0x10000, 0x20000, 0x30000, 0x40000, items + 32, items + 0x10000, 3 << 20):
            found += range(start, min(start + 128, len(data) - 8))
        return found
    return found + list(range(len(data) - 1024, len(data) - 8)) if kind != "vmdk-flat" else found


def harm(data, where, changes, cut):
    harmed = bytearray(data)
    for at, width, order, value in changes:
        at = where[at % len(where)]
        harmed[at:at + width] = (value & (1 << 8 * width) - 1).to_bytes(width, "big" if order == ">" else "little")
    return bytes(harmed[:cut % len(data)] if cut else harmed)


def mend(kind, data):
    """Make checksums right, so that what is behind them is looked at."""
    from emu.host.disk.crc32c import crc32c
    harmed = bytearray(data)
    if kind == "vhd":
        for at, length, place in ((0, 512, 64), (512, 1024, 36), (len(data) - 512, 512, 64)):
            if 0 <= at <= len(data) - length:
                raw = harmed[at:at + length]
                raw[place:place + 4] = bytes(4)
                harmed[at + place:at + place + 4] = struct.pack(">I", ~sum(raw) & 0xFFFFFFFF)
    elif kind == "vhdx":
        for at, length in ((0x10000, 4096), (0x20000, 4096), (0x30000, 65536), (0x40000, 65536)):
            if at + length <= len(data):
                harmed[at + 4:at + 8] = bytes(4)
                harmed[at + 4:at + 8] = struct.pack("<I", crc32c(bytes(harmed[at:at + length])))
    return bytes(harmed)


def use(medium, write):
    """What a guest would do; only OSError is allowed to come of it."""
    def tried(action, *arguments):
        try:
            return action(*arguments)
        except OSError:
            return None

    size = medium.size
    for at in (0, 4096, 65536, 100_000, size // 2, size - 70_000, size - 512):
        if 0 <= at < size:
            tried(medium.read, at, min(size - at, 70_000))
    if write:
        for number, at in enumerate((0, 512, 4096 - 512, 65536 - 512, 99_840, size // 1024 * 512, size - 512)):
            if 0 <= at <= size - 1024:
                data = bytes([number + 1]) * 1024
                if tried(medium.write, at, data) is None and tried(medium.flush) is None:
                    tried(medium.read, at, 1024)


def attack(image, changes, cut, mended):
    path, data, where = image
    kind = path.name.rstrip("0123456789")
    name = path / "harmed"
    harmed = harm(data, where, changes, cut)
    if mended:
        harmed = mend(kind, harmed)
    os.path.exists(name) and os.unlink(name)        # none that is still locked
    name.write_bytes(harmed)
    began = time.process_time()
    for look in (describe, what):
        try:
            look(name)
        except ImageError as error:
            assert "\n" not in str(error)
    for write in (False, True):
        try:
            medium = open_image(name, write=write)
        except ImageError as error:
            assert "\n" not in str(error)
            continue
        try:
            use(medium, write)
        finally:
            try:
                medium.close()
            except OSError:
                assert write
        if not write:
            assert name.read_bytes() == harmed
        elif medium.format == "qcow2":
            assert name.read_bytes()[:72].startswith(harmed[:48])       # the guest's data got into no header
    assert time.process_time() - began < SECONDS


def fuzz(image, examples):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    open_files = len(os.listdir("/proc/self/fd"))

    @settings(max_examples=examples, deadline=None, database=None, derandomize=examples < 1000,
              suppress_health_check=list(HealthCheck))
    @given(st.lists(CHANGE, min_size=1, max_size=4), st.just(0) | st.just(0) | st.integers(0, 1 << 22), st.booleans())
    def run(changes, cut, mended):
        attack(image, changes, cut, mended)

    run()
    assert len(os.listdir("/proc/self/fd")) == open_files
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MEMORY


def test_a_damaged_image_is_an_error_and_nothing_worse(image):
    fuzz(image, 25 if image[0].name.startswith("vhdx") else 60)       # its checksums take their time


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_many_damaged_images(image):
    fuzz(image, 3000)


@given(st.binary(max_size=2048),
       st.sampled_from([b"", b"QFI\xFB", b"KDMV", b"conectix", b"vhdxfile", b"# Disk DescriptorFile\n"]))
@settings(max_examples=150, deadline=None, database=None, derandomize=True)
def test_noise_is_no_image_or_a_raw_one(tmp_path_factory, data, magic):
    name = tmp_path_factory.getbasetemp() / "noise"
    name.write_bytes(magic + data)
    for look in (describe, what, lambda name: open_image(name).close()):
        try:
            look(name)
        except ImageError as error:
            assert "\n" not in str(error)


LINES = st.lists(st.sampled_from([
    'RW 4 FLAT "image-flat.vmdk" 0', 'RW 4 FLAT "image-flat.vmdk" 99999999999999999999999', "RW 18446744073709551616 ZERO",
    "RW 1 ZERO", 'createType="monolithicFlat"', "parentCID=ffffffff", "parentCID=", 'RW 4 FLAT "/dev/zero" 0',
    'RW 4 FLAT "." 0', 'RW 4 FLAT "" 0', 'RW 4 SPARSE "harmed"', 'createType="streamOptimized"', "\0", "\xff=\xff",
    'RW 4 FLAT "\udcff" 0']), max_size=12)


@given(LINES)
@settings(max_examples=150, deadline=None, database=None, derandomize=True)
def test_any_lines_of_a_descriptor(tmp_path_factory, lines):
    name = tmp_path_factory.getbasetemp() / "harmed"
    (tmp_path_factory.getbasetemp() / "image-flat.vmdk").write_bytes(bytes(4096))
    name.write_bytes("\n".join(["# Disk DescriptorFile", *lines]).encode("utf-8", "surrogateescape"))
    try:
        with open_image(name) as medium:
            use(medium, False)
    except ImageError as error:
        assert "\n" not in str(error)


# -- what is hostile by its size

def sparse(path, size, *pieces):
    with open(path, "wb") as file:
        file.truncate(size)
        for at, data in pieces:
            file.seek(at)
            file.write(data)
    return path


def header(bits, size, l1, l1_entries, table, clusters, snapshots=0, snapshot_table=0, order=4):
    return struct.pack(">4sIQIIQIIQQIIQQQQII", b"QFI\xFB", 3, 0, 0, bits, size, 0, l1_entries, l1, table, clusters, snapshots,
                       snapshot_table, 0, 0, 0, order, 104)


def hostile(path):
    """Images that are valid field by field, and huge where it costs us most."""
    mib, entries = 1 << 20, 4 << 20
    every = struct.pack(">Q", 3 * 65536 | 1 << 63)
    yield sparse(path / "one-l2-for-all", 200 * mib, (0, header(16, 64 * entries, 128 * mib, entries, 65536, 1)),
                 (65536, struct.pack(">Q", 2 * 65536)), (128 * mib, every * entries), (3 * 65536, b"\x80" * 8))
    yield sparse(path / "one-block-for-all", 64 * mib, (0, header(16, mib, 3 * 65536, 1, mib, 128)),
                 (mib, struct.pack(">Q", 2 * 65536) * mib), (2 * 65536, b"\0\1" * 32768))
    yield sparse(path / "many-blocks", 1 << 40, (0, header(16, mib, 3 * 65536, 1, mib, 128)),
                 (mib, b"".join(struct.pack(">Q", (1000 + n) * 65536) for n in range(mib))))
    yield sparse(path / "all-sparse", 1 << 42, (0, header(9, 64 << 30, 1 << 40, 2 * mib, 512, 16000)))
    snapshot = struct.pack(">QIHHIIQII", 128 * mib, entries, 1, 0, 0, 0, 0, 0, 0) + b"1" + bytes(7)
    yield sparse(path / "many-snapshots", 200 * mib, (0, header(16, mib, 3 * 65536, 1, 65536, 1, 65536, mib)),
                 (65536, struct.pack(">Q", 2 * 65536)), (mib, snapshot * 65536), (128 * mib, every * entries))
    yield sparse(path / "dirty", 1 << 42, (0, header(9, 64 << 30, 1 << 40, 2 * mib, 512, 16000)), (72, struct.pack(">Q", 1)))
    tables = b"".join(struct.pack(">Q", (1 << 33) + n * 512 | 1 << 63) for n in range(2 * mib))
    yield sparse(path / "many-tables", 1 << 35, (0, header(9, 64 << 30, 1 << 31, 2 * mib, 512, 8000)), (1 << 31, tables))
    vmdk = struct.pack("<4sIIQQQQIQQQB4sH", b"KDMV", 1, 3, 1 << 37, 8, 0, 0, 65536, 1, 1, 1, 0, b"\n \r\n", 0)
    yield sparse(path / "vmdk", 1 << 41, (0, vmdk))
    footer = bytearray(struct.pack(">8sIIQI4sIIQQHBBII", b"conectix", 2, 0x10000, 512, 0, b"win ", 0, 0, 1 << 55, 1 << 55,
                                   65535, 16, 255, 3, 0)).ljust(512, b"\0")
    footer[64:68] = struct.pack(">I", ~sum(footer) & 0xFFFFFFFF)
    head = bytearray(struct.pack(">8sQQIIII", b"cxsparse", 0, 4096, 0x10000, 0xFFFFFFFF, 1 << 28, 0)).ljust(1024, b"\0")
    head[36:40] = struct.pack(">I", ~sum(head) & 0xFFFFFFFF)
    yield sparse(path / "vhd", 1 << 40, (0, footer), (512, head), ((1 << 40) - 512, footer))
    vdi = bytes(64) + struct.pack("<IIIII256xIIIIIIIQIIII", 0xBEDA107F, 0x10001, 0x190, 1, 0, 512, 1 << 30, 0, 0, 0, 512, 0,
                                  1 << 42, 1 << 20, 0, 1 << 22, 0)
    yield sparse(path / "vdi", 1 << 40, (0, vdi), (512, struct.pack("<I", 3) * mib))


def test_what_is_huge_is_refused_or_used_soon_and_in_little_memory(tmp_path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name in hostile(tmp_path):
        for write in (False, True):
            began = time.process_time()
            try:
                with open_image(name, write=write) as medium:
                    use(medium, write)
                describe(name)
            except ImageError as error:
                assert "\n" not in str(error)
            assert time.process_time() - began < 3 * SECONDS, name
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 2 * MEMORY


def test_a_bomb_in_a_compressed_cluster_takes_no_more_than_a_cluster(tmp_path):
    import zlib
    image = tmp_path / "bomb"
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    bomb = packer.compress(bytes(100 << 20)) + packer.flush()
    create(str(image), 1 << 30, cluster_bits=21)
    data = bytearray(image.read_bytes().ljust(8 << 21, b"\0"))
    l1, = struct.unpack_from(">Q", data, 40)
    data[l1:l1 + 8] = struct.pack(">Q", 6 << 21 | 1 << 63)
    shift = 62 - (21 - 8)
    data[6 << 21:(6 << 21) + 8] = struct.pack(">Q", 7 << 21 | (len(bomb) // 512 + 1) << shift | 1 << 62)
    data[7 << 21:(7 << 21) + len(bomb)] = bomb
    image.write_bytes(data)
    with open_image(image) as medium:
        assert medium.read(0, 2 << 20) == bytes(2 << 20)
