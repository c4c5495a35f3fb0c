"""Media that cannot be read or written: INT 13h says so, and goes on.   [AT] 5 "INT 13h"; [EDD] 3"""

from __future__ import annotations

import struct

import pytest

from tests.firmware import caller, machines
from tests.firmware.caller import BUFFER, call

FAR = 0x2000
UNCORRECTABLE, NOT_FOUND, PROTECTED = 0x10, 0x04, 0x03


class Damaged:
    """A medium of which a part cannot be read, and of which nothing can be written."""

    def __init__(self, data: bytes, bad: range, readonly: bool = False) -> None:
        self.data, self.bad, self.readonly = data, bad, readonly
        self.size = len(data)

    def read(self, offset: int, length: int) -> bytes:
        if offset < self.bad.stop and self.bad.start < offset + length:
            raise OSError("a bad place")
        return self.data[offset:offset + length]

    def write(self, offset: int, data: bytes) -> None:
        raise OSError("no room left")

    def flush(self) -> None:
        pass


def packet(count: int, offset: int, block: int) -> bytes:
    return struct.pack("<BBHHHQ", 16, 0, count, offset, FAR, block)


CALLS = {
    "disk, by DMA": call(0x13, ax=0x4200, dx=0x80, ds=BUFFER, si=0x00),
    "disk, by PIO": call(0x13, (BUFFER, 0x10, 4), ax=0x4200, dx=0x80, ds=BUFFER, si=0x10),
    "disk, by cylinders": call(0x13, ax=0x0208, cx=0x0201, dx=0x80, es=FAR),
    "disk, before it": call(0x13, ax=0x4200, dx=0x80, ds=BUFFER, si=0x20),
    "disk, written": call(0x13, ax=0x4300, dx=0x80, ds=BUFFER, si=0x20),
    "disk, reset": call(0x13, ax=0x0000, dx=0x80),
    "disk, after the reset": call(0x13, ax=0x4200, dx=0x80, ds=BUFFER, si=0x20),
    "CD": call(0x13, ax=0x4200, dx=0xE0, ds=BUFFER, si=0x30),
    "CD, odd": call(0x13, ax=0x4200, dx=0xE0, ds=BUFFER, si=0x40),
    "CD, before it": call(0x13, ax=0x4200, dx=0xE0, ds=BUFFER, si=0x50),
    "CD, behind its end": call(0x13, ax=0x4200, dx=0xE0, ds=BUFFER, si=0x60),
    "floppy": call(0x13, ax=0x0201, cx=0x0501, dx=0x00, es=FAR),
    "floppy, before it": call(0x13, ax=0x0201, cx=0x0001, dx=0x00, es=FAR),
    "floppy, written": call(0x13, ax=0x0301, cx=0x0001, dx=0x00, es=FAR),
}
CONTENT = b"".join([packet(40, 0, 2000), packet(40, 1, 2000), packet(4, 0, 1900), packet(4, 0, 50), packet(4, 1, 50),
                    packet(4, 0, 20), packet(1, 0, 10**6)])


@pytest.fixture(scope="module")
def answers() -> dict[str, caller.Answer]:
    disk = caller.image(CALLS, CONTENT, 4 << 20)
    bad = 2020 * 512
    disc = Damaged(bytes(100 * 2048), range(52 * 2048, 53 * 2048))
    done = machines.on_ours(
        boot="c", disks=[Damaged(disk, range(bad, bad + 4096))], cdrom=disc, floppies=[
            Damaged(bytes(1474560), range(5 * 36 * 512, 5 * 36 * 512 + 1), readonly=True)])
    assert done.status == 0x21, done.serial
    return caller.answers(CALLS, done.debug)


@pytest.mark.parametrize(("name", "status"), [
    ("disk, by DMA", UNCORRECTABLE), ("disk, by PIO", UNCORRECTABLE), ("disk, by cylinders", UNCORRECTABLE),
    ("CD", UNCORRECTABLE), ("CD, odd", UNCORRECTABLE), ("CD, behind its end", NOT_FOUND), ("floppy, written", PROTECTED),
])
def test_an_error_has_its_status(answers, name, status):
    assert (answers[name].ah, answers[name].cf) == (status, 1)


@pytest.mark.parametrize("name", ["disk, before it", "disk, reset", "disk, after the reset", "CD, before it",
                                  "floppy, before it"])
def test_what_can_be_read_still_is(answers, name):
    assert (answers[name].ah, answers[name].cf) == (0, 0)


@pytest.mark.parametrize("name", ["floppy", "disk, written"])
def test_an_error_is_one(answers, name):
    assert answers[name].cf == 1
    assert answers[name].ah != 0


def test_the_packet_says_how_far_it_came(answers):
    """[EDD] 3.2: the count of blocks that were read; by PIO in DRQ blocks of sixteen sectors, of which the second failed."""
    assert struct.unpack("<BBH", answers["disk, by PIO"].memory) == (16, 0, 16)
