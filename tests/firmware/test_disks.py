"""INT 13h on disks that are out of the ordinary, on both boards: large, without DMA to the buffer, several of them.

[EDD] BIOS Enhanced Disk Drive Specification 3.0; [ATA] ATA/ATAPI-6.
"""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from emu.host.disk import open_image
from tests.firmware import caller, machines
from tests.firmware.caller import BUFFER, Answer, Call, call

FAR, BACK = 0x2000, 0x3000


def packet(count: int, offset: int, segment: int, block: int) -> bytes:
    return struct.pack("<BBHHHQ", 16, 0, count, offset, segment, block)


def sparse(path: Path, sectors: int, calls: dict[str, Call], content: bytes, marks: list[int]) -> None:
    """A disk that makes `calls`; the sectors `marks` hold their numbers."""
    with path.open("wb") as file:
        file.write(caller.image(calls, content, 1 << 20))
        file.truncate(sectors * 512)
        for sector in marks:
            file.seek(sector * 512)
            file.write(struct.pack("<Q", sector) * 64)


def run(where: str, calls: dict[str, Call], paths: list[Path]) -> dict[str, Answer]:
    if where == "ours":
        done = machines.on_ours(boot="c", disks=[open_image(path) for path in paths])
    else:
        done = machines.on_qemu(["-m", "32", *(word for path in paths for word in
                                               ("-drive", f"file={path},format=raw,snapshot=on"))])
    assert done.status == 0x21, done.serial
    return caller.answers(calls, done.debug)


@pytest.mark.parametrize("where", ["qemu", "ours"])
def test_blocks_behind_28_bits(where, tmp_path):
    """[ATA] 6.2: 48 bits of address; a command that begins below 2^28 and ends above takes them too."""
    border, last = 1 << 28, (300 << 30) // 512 - 1
    content = b"".join(packet(*row).ljust(16, b"\0") for row in (
        (4, 0, FAR, border - 2), (1, 0, FAR, last), (2, 0, FAR, last), (2, 0x800, FAR, border - 1),
        (1, 0, BACK, border + 8), (1, 0, FAR, border + 8)))
    calls = {
        "across": call(0x13, (FAR, 0, 2048), ax=0x4200, dx=0x80, ds=BUFFER, si=0),
        "last": call(0x13, (FAR, 0, 8), ax=0x4200, dx=0x80, ds=BUFFER, si=0x10),
        "past the last": call(0x13, ax=0x4200, dx=0x80, ds=BUFFER, si=0x20),
        "to an odd place": call(0x13, (FAR, 0x800, 1024), ax=0x4200, dx=0x80, ds=BUFFER, si=0x30),
        "write": call(0x13, ax=0x4300, dx=0x80, ds=BUFFER, si=0x40),
        "written": call(0x13, (FAR, 0, 16), ax=0x4200, dx=0x80, ds=BUFFER, si=0x50),
        "size": call(0x13, (BUFFER, 0x100, 26), ax=0x4800, dx=0x80, ds=BUFFER, si=0x100),
        "geometry": call(0x13, ax=0x0800, dx=0x80),
    }
    content = content.ljust(0x100, b"\0") + struct.pack("<H", 26)
    sparse(tmp_path / "hd", last + 1, calls, content, [*range(border - 2, border + 2), last])
    answers = run(where, calls, [tmp_path / "hd"])
    across = answers["across"].memory
    assert [across[at:at + 8] for at in range(0, 2048, 512)] == [struct.pack("<Q", border + n) for n in range(-2, 2)]
    assert struct.unpack("<Q", answers["last"].memory) == (last,)
    assert (answers["past the last"].ah, answers["past the last"].cf) == (1, 1)
    assert answers["to an odd place"].memory[:8] == struct.pack("<Q", border - 1)
    assert (answers["write"].ah, answers["write"].cf) == (0, 0)
    assert answers["written"].memory == bytes(16)
    assert struct.unpack("<Q", answers["size"].memory[16:24]) == (last + 1,)
    assert struct.unpack("<H", answers["size"].memory[2:4]) == (0,), "its geometry says nothing"
    answer = answers["geometry"]
    assert (answer.ch | (answer.cl & 0xC0) << 2, answer.cl & 63, answer.dh) == (1023, 63, 254)


@pytest.mark.parametrize("where", ["qemu", "ours"])
@pytest.mark.parametrize("offset", [0, 2, 0x1F, 0xFE01])
def test_every_way_to_the_buffer_brings_the_same(where, offset, tmp_path):
    """An odd address is no place for the bus master; a 64 KiB boundary in it is one for two descriptors."""
    sectors = range(2000, 2120)
    content = packet(120, offset, FAR, 2000) + packet(120, offset, FAR, 4000) + packet(120, 0, BACK, 4000)
    calls = {
        "read": call(0x13, ax=0x4200, dx=0x80, ds=BUFFER, si=0),
        "write": call(0x13, ax=0x4300, dx=0x80, ds=BUFFER, si=0x10),
        "read back": call(0x13, (BACK, 0, 120 * 512), ax=0x4200, dx=0x80, ds=BUFFER, si=0x20),
    }
    sparse(tmp_path / "hd", 8192, calls, content, list(sectors))
    answers = run(where, calls, [tmp_path / "hd"])
    assert [(answers[name].ah, answers[name].cf) for name in calls] == [(0, 0)] * 3
    assert answers["read back"].memory == b"".join(struct.pack("<Q", sector) * 64 for sector in sectors)


@pytest.mark.parametrize("where", ["qemu", "ours"])
def test_four_disks_have_their_numbers_and_the_first_two_their_tables(where, tmp_path):
    """[AT] the vectors 41h and 46h point to fixed disk parameter tables; [EDD] annex A: A0h marks a translated one."""
    sizes = [2048, 4096, 8192, 4 << 21]                         # the last has more than 1024 cylinders
    calls = {f"kind {n}": call(0x13, ax=0x1500, dx=0x80 + n) for n in range(5)}
    calls |= {f"geometry {n}": call(0x13, ax=0x0800, dx=0x80 + n) for n in range(4)}
    calls |= {f"sector of {n}": call(0x13, (FAR, 0, 8), ax=0x0201, cx=0x0003, dx=0x80 + n, es=FAR) for n in range(4)}
    calls["vectors"] = call(0x12, (0, 0x41 * 4, 24))
    calls["tables"] = call(0x12, (0x9F80, 0x3D, 32))
    paths = [tmp_path / f"hd{n}" for n in range(4)]
    order = [3, 0, 1, 2]
    for path, kind in zip(paths, order):
        with path.open("wb") as file:
            if kind == 3:
                file.write(caller.image(calls, b"", 1 << 20))
            file.truncate(sizes[kind] * 512)
            if kind != 3:
                file.seek(1024)
                file.write(struct.pack("<Q", kind))
    answers = run(where, calls, paths)
    assert [answers[f"kind {n}"].ah for n in range(5)] == [3, 3, 3, 3, 0]
    assert [answers[f"geometry {n}"].dl for n in range(4)] == [4] * 4
    assert [struct.unpack("<Q", answers[f"sector of {n}"].memory)[0] for n in (1, 2, 3)] == [0, 1, 2]
    vectors = struct.unpack("<HH16xHH", answers["vectors"].memory)
    assert vectors == (0x3D, 0x9F80, 0x4D, 0x9F80)
    first = answers["geometry 0"]
    cylinders, heads, mark, sectors, physical = struct.unpack_from("<HBBB4xH", answers["tables"].memory)
    assert (cylinders, heads) == ((first.ch | (first.cl & 0xC0) << 2) + 1, first.dh + 1)
    assert (mark, sectors) == (0xA0, 63)
    assert physical > 1024
    assert sum(answers["tables"].memory[:16]) & 0xFF == 0
