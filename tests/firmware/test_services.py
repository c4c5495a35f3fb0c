"""What the services answer: beside SeaBIOS where a standard says what must come, and by the books where we know better.

[AT] IBM PC AT Technical Reference; [RBIL] Ralf Brown's Interrupt List; [EDD] Phoenix Enhanced Disk Drive 3.0;
[PCIBIOS] PCI BIOS 2.1; [APM] Advanced Power Management 1.2; [ACPI] ACPI 2.0, section 15.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from emu.host.disk import open_image, open_readonly
from tests.firmware import caller, machines
from tests.firmware.caller import BUFFER, Answer, Call, call

FAR = 0x2000                    # another segment that nobody uses
SMAP = 0x534D4150
HEAD = (FAR, 0, 64)             # what is looked at of a buffer there
DISK = 64 << 20                 # bytes; every sector from 900 on holds its number


def packet(count: int, offset: int, segment: int, block: int, size: int = 16) -> bytes:
    return struct.pack("<BBHHHQ", size, 0, count, offset, segment, block)


def descriptor(base: int) -> bytes:
    return struct.pack("<HHBBBB", 0xFFFF, base & 0xFFFF, base >> 16 & 0xFF, 0x93, 0, base >> 24)


CONTENT = bytearray(0x800)      # of the guest's own buffer
for at, data in {
    0x100: packet(4, 0, FAR, 1000), 0x110: packet(127, 0, FAR, 1000), 0x120: packet(1, 0, FAR, 10**7),
    0x130: packet(2, 0xFFF0, FAR, 2000), 0x140: packet(1, 0, FAR, 1500), 0x150: packet(1, 0, FAR, 16, 8),
    0x160: packet(3, 0, FAR, 40), 0x200: struct.pack("<H", 0x42), 0x280: struct.pack("<H", 0x1A),
    0x300: struct.pack("<H", 0x19),
    0x410: descriptor(BUFFER * 16 + 0x100) + descriptor(0x200000), 0x440: descriptor(0x200000) + descriptor(0x30000),
}.items():
    CONTENT[at:at + len(data)] = data

# What is compared with SeaBIOS: the call, and the names of what must be the same (`memory`: all that was dumped).
SAME: dict[str, tuple[Call, str]] = {
    "equipment": (call(0x11), "ax"),
    "keyboard intercept leaves CF": (call(0x15, ax=0x4F1E, flags=0x203), "ax cf"),
    "no such function of INT 15h": (call(0x15, ax=0x6700), "ah cf"),
    "E820 wants SMAP": (call(0x15, eax=0xE820, ecx=20, es=BUFFER), "cf ah"),
    "E820 wants 20 bytes": (call(0x15, eax=0xE820, edx=SMAP, ecx=19, es=BUFFER), "cf ah"),
    "E820 ends": (call(0x15, eax=0xE820, edx=SMAP, ecx=20, ebx=100, es=BUFFER), "cf ah"),
    "A20 is on": (call(0x15, ax=0x2402), "ax cf"),
    "A20's ways": (call(0x15, ax=0x2403), "ah bx cf"),
    "A20 off": (call(0x15, ax=0x2400), "ah cf"),
    "A20 is off": (call(0x15, ax=0x2402), "ax cf"),
    "A20 on": (call(0x15, ax=0x2401), "ah cf"),
    "wait": (call(0x15, ax=0x8600, cx=0, dx=5000), "cf"),
    "event": (call(0x15, ax=0x8300, cx=0, dx=20000, es=BUFFER), "cf"),
    "wait during an event": (call(0x15, ax=0x8600, cx=0, dx=30000), "ah cf"),
    "event ended": (call(0x15, ax=0x8301), "cf"),
    "block up": (call(0x15, ax=0x8700, cx=32, es=BUFFER, si=0x400), "ah cf"),
    "block down": (call(0x15, (0x3000, 0, 64), ax=0x8700, cx=32, es=BUFFER, si=0x430), "ah cf memory"),
    "APM is there": (call(0x15, ax=0x5300), "ax bx cx cf"),
    "APM connects": (call(0x15, ax=0x5301), "cf"),
    "APM power": (call(0x15, ax=0x530A, bx=1), "bx cx cf"),
    "APM has no event": (call(0x15, ax=0x530B), "ah cf"),
    "APM version": (call(0x15, ax=0x530E, cx=0x0102), "ax cf"),
    "APM disconnects": (call(0x15, ax=0x5304), "cf"),
    "disk reset": (call(0x13, ax=0x0000, dx=0x80), "ah cf"),
    "disk status": (call(0x13, ax=0x0100, dx=0x80), "ah cf"),
    "disk read": (call(0x13, HEAD, ax=0x0204, cx=0x0501, dx=0x0180, es=FAR), "ax cf memory"),
    "disk read of 128": (call(0x13, (FAR, 0xFE00, 64), ax=0x0280, cx=0x0501, dx=0x0180, es=FAR), "ax cf memory"),
    "disk read of none": (call(0x13, ax=0x0200, cx=0x0001, dx=0x80, es=FAR), "ah cf"),
    "disk read of sector 0": (call(0x13, ax=0x0201, cx=0x0000, dx=0x80, es=FAR), "ah cf"),
    "disk read past the last cylinder": (call(0x13, ax=0x0201, cx=0xFFFF, dx=0x80, es=FAR), "ah cf"),
    "disk status after an error": (call(0x13, ax=0x0100, dx=0x80), "ah cf"),
    "disk write": (call(0x13, ax=0x0302, cx=0x0A01, dx=0x80, es=FAR), "ax cf"),
    "disk verify": (call(0x13, ax=0x0404, cx=0x0001, dx=0x80, es=FAR), "ah cf"),
    "disk geometry": (call(0x13, ax=0x0800, dx=0x80), "ah dx cl cf"),
    "disk set up": (call(0x13, ax=0x0900, dx=0x80), "ah cf"),
    "disk seek": (call(0x13, ax=0x0C00, cx=0x0001, dx=0x80), "ah cf"),
    "disk ready": (call(0x13, ax=0x1000, dx=0x80), "ah cf"),
    "disk recalibrate": (call(0x13, ax=0x1100, dx=0x80), "ah cf"),
    "disk test": (call(0x13, ax=0x1400, dx=0x80), "ah cf"),
    "disk that is not there": (call(0x13, ax=0x0201, cx=1, dx=0x85, es=FAR), "ah cf"),
    "disk function that is not there": (call(0x13, ax=0x2200, dx=0x80), "ah cf"),
    "EDD": (call(0x13, ax=0x4100, bx=0x55AA, dx=0x80), "ah bx cx cf"),
    "EDD read": (call(0x13, HEAD, ax=0x4200, dx=0x80, ds=BUFFER, si=0x100), "ah cf memory"),
    "EDD read of 127": (call(0x13, (FAR, 0xFC00, 64), ax=0x4200, dx=0x80, ds=BUFFER, si=0x110), "ah cf memory"),
    "EDD read across a segment's end": (call(0x13, (0x2FFF, 0, 64), ax=0x4200, dx=0x80, ds=BUFFER, si=0x130), "ah cf memory"),
    "EDD read outside": (call(0x13, ax=0x4200, dx=0x80, ds=BUFFER, si=0x120), "ah cf"),
    "EDD write": (call(0x13, ax=0x4300, dx=0x80, ds=BUFFER, si=0x140), "ah cf"),
    "EDD verify": (call(0x13, ax=0x4400, dx=0x80, ds=BUFFER, si=0x100), "ah cf"),
    "EDD seek": (call(0x13, ax=0x4700, dx=0x80, ds=BUFFER, si=0x100), "ah cf"),
    "EDD parameters of 26 bytes": (call(0x13, (BUFFER, 0x280, 30), ax=0x4800, dx=0x80, ds=BUFFER, si=0x280), "ah cf memory"),
    "EDD parameters do not fit": (call(0x13, ax=0x4800, dx=0x80, ds=BUFFER, si=0x300), "ah cf"),
    "CD with EDD": (call(0x13, ax=0x4100, bx=0x55AA, dx=0xE0), "ah bx cx cf"),
    "CD read": (call(0x13, HEAD, ax=0x4200, dx=0xE0, ds=BUFFER, si=0x160), "ah cf memory"),
    "CD has no sectors of 512 bytes": (call(0x13, ax=0x0201, cx=1, dx=0xE0, es=FAR), "ah cf"),
    "floppy geometry": (call(0x13, ax=0x0800, dx=0), "ah bx cx dx cf"),
    "floppy read": (call(0x13, HEAD, ax=0x0202, cx=0x0101, dx=0x0100, es=FAR), "ax cf memory"),
    "floppy read across 64 KiB": (call(0x13, ax=0x0202, cx=0x0101, dx=0x0100, bx=0xFF00, es=FAR), "ah cf"),
    "floppy write": (call(0x13, ax=0x0301, cx=0x4F02, dx=0x0100, es=FAR), "ax cf"),
    "floppy verify": (call(0x13, ax=0x0401, cx=0x4F02, dx=0x0100, es=FAR), "ah cf"),
    "floppy reset": (call(0x13, ax=0x0000, dx=0), "ah cf"),
    "no key": (call(0x16, ax=0x0100), "zf"),
    "no key of 101": (call(0x16, ax=0x1100), "zf"),
    "shifts": (call(0x16, ax=0x0200), "al"),
    "a key is put": (call(0x16, ax=0x0500, cx=0x1E61), "al"),
    "a key waits": (call(0x16, ax=0x0100), "ax zf"),
    "the key": (call(0x16, ax=0x0000), "ax"),
    "a grey key is put": (call(0x16, ax=0x0500, cx=0x48E0), "al"),
    "the grey key waits, for old programs": (call(0x16, ax=0x0100), "ax zf"),
    "the grey key": (call(0x16, ax=0x1000), "ax"),
    "the grey slash is put": (call(0x16, ax=0x0500, cx=0xE02F), "al"),
    "the grey slash, for old programs": (call(0x16, ax=0x0000), "ax"),
    "the grey enter is put": (call(0x16, ax=0x0500, cx=0xE00D), "al"),
    "the grey enter, for old programs": (call(0x16, ax=0x0000), "ax"),
    "the keyboard's name": (call(0x16, ax=0x0A00), "bx"),
    "RTC time": (call(0x1A, ax=0x0200), "ch cl cf"),
    "RTC date": (call(0x1A, ax=0x0400), "cx dx cf"),
    "RTC alarm": (call(0x1A, ax=0x0600, cx=0x1200, dx=0x3000), "cf"),
    "RTC alarm again": (call(0x1A, ax=0x0600, cx=0x1200, dx=0x3000), "cf"),
    "RTC alarm off": (call(0x1A, ax=0x0700), "cf"),
    "RTC alarm anew": (call(0x1A, ax=0x0600, cx=0x1200, dx=0x3000), "cf"),
    "RTC alarm off again": (call(0x1A, ax=0x0700), "cf"),
    "PCI BIOS": (call(0x1A, ax=0xB101), "ax bx cl edx cf"),
    "PCI device": (call(0x1A, ax=0xB102, cx=0x7010, dx=0x8086, si=0), "ah bx cf"),
    "PCI device, the second": (call(0x1A, ax=0xB102, cx=0x7010, dx=0x8086, si=1), "ah cf"),
    "PCI class": (call(0x1A, ax=0xB103, ecx=0x030000, si=0), "ah bx cf"),
    "PCI read byte": (call(0x1A, ax=0xB108, bx=0x0009, di=0x0A), "ah cl cf"),
    "PCI read word": (call(0x1A, ax=0xB109, bx=0x0009, di=0x0A), "ah cx cf"),
    "PCI read double word": (call(0x1A, ax=0xB10A, bx=0x0009, di=0x08), "ah ecx cf"),
    "PCI write byte": (call(0x1A, ax=0xB10B, bx=0x000B, cx=5, di=0x3C), "ah cf"),
    "PCI written byte": (call(0x1A, ax=0xB108, bx=0x000B, di=0x3C), "ah cl cf"),
    "no such function of the PCI BIOS": (call(0x1A, ax=0xB1FF), "ah cf"),
    "COM1's status": (call(0x14, ax=0x0300, dx=0), "ah"),
    "COM1 set": (call(0x14, ax=0x00E3, dx=0), "ah"),
    "mouse is set up": (call(0x15, ax=0xC205, bx=0x0300), "ah cf"),
    "mouse is reset": (call(0x15, ax=0xC201), "ah bx cf"),
    "mouse rate": (call(0x15, ax=0xC202, bx=0x0500), "ah cf"),
    "mouse resolution": (call(0x15, ax=0xC203, bx=0x0300), "ah cf"),
    "mouse type": (call(0x15, ax=0xC204), "ah bh cf"),
    "mouse scaling": (call(0x15, ax=0xC206, bx=0x0100), "ah cf"),
    "mouse has a handler": (call(0x15, ax=0xC207, bx=0x0500, es=BUFFER), "ah cf"),
    "mouse on": (call(0x15, ax=0xC200, bx=0x0100), "ah cf"),
    "mouse status": (call(0x15, ax=0xC206), "ah bl cl dl cf"),
    "mouse off": (call(0x15, ax=0xC200, bx=0x0000), "ah cf"),
}
# What only we are asked, with what must come of it.
OURS: dict[str, tuple[Call, dict[str, int]]] = {
    # [RBIL] the registers' numbers of sectors are what INT 13h AH=08h can reach
    "disk kind": (call(0x13, ax=0x1500, dx=0x80), {"ah": 3, "cx": 0x0001, "dx": 0xFFE0, "cf": 0}),
    "no disk's kind": (call(0x13, ax=0x1500, dx=0x85), {"ah": 0, "cf": 0}),
    "disk cylinders": (call(0x13, ax=0x0800, dx=0x80), {"ch": 129, "cl": 63, "dh": 15, "dl": 1, "bl": 0}),
    # [EDD] 3
    "EDD wants 55AA": (call(0x13, ax=0x4100, bx=0x55AB, dx=0x80), {"ah": 1, "cf": 1}),
    "EDD wants a packet of 16": (call(0x13, ax=0x4200, dx=0x80, ds=BUFFER, si=0x150), {"ah": 1, "cf": 1}),
    "EDD disk cannot be ejected": (call(0x13, ax=0x4600, dx=0x80), {"ah": 0xB2, "cf": 1}),
    "CD locks": (call(0x13, ax=0x4500, dx=0xE0), {"ax": 0x0001, "cf": 0}),
    "CD is locked": (call(0x13, ax=0x4502, dx=0xE0), {"ax": 0x0001, "cf": 0}),
    "CD that is locked does not eject": (call(0x13, ax=0x4600, dx=0xE0), {"ah": 0xB1, "cf": 1}),
    "CD unlocks": (call(0x13, ax=0x4501, dx=0xE0), {"ax": 0x0000, "cf": 0}),
    "CD was not locked": (call(0x13, ax=0x4501, dx=0xE0), {"ah": 0xB0, "cf": 1}),
    "CD cannot be written": (call(0x13, ax=0x4300, dx=0xE0, ds=BUFFER, si=0x160), {"ah": 3, "cf": 1}),
    "CD has not changed": (call(0x13, ax=0x4900, dx=0xE0), {"ah": 0, "cf": 0}),
    # [AT]
    "floppy has a change line": (call(0x13, ax=0x1500, dx=0), {"ah": 2, "cf": 0}),
    "floppy has no sector 32": (call(0x13, ax=0x0201, cx=0x0020, dx=0, es=FAR), {"ax": 0x0400, "cf": 1}),
    "floppy: more than two tracks of 36": (call(0x13, ax=0x0249, cx=1, dx=0, es=FAR), {"ah": 1, "cf": 1}),
    "floppy has still no sector 32": (call(0x13, ax=0x0201, cx=0x0020, dx=0, es=FAR), {"ax": 0x0400, "cf": 1}),
    "floppy's last status": (call(0x13, ax=0x0100, dx=0), {"ah": 4, "cf": 1}),
    "floppy has not changed": (call(0x13, ax=0x1600, dx=0), {"ah": 0, "cf": 0}),
    "floppy to be formatted": (call(0x13, ax=0x1800, cx=0x4F12, dx=0), {"ah": 0, "es": 0xF000, "di": 0xEFC7, "cf": 0}),
    "floppy cannot be formatted so": (call(0x13, ax=0x1800, cx=0x4F24, dx=0), {"ah": 0x0C, "cf": 1}),
    "no second floppy": (call(0x13, ax=0x1500, dx=1), {"ah": 0, "cf": 0}),
    "system table": (call(0x15, (0xF000, 0xE6F5, 8), ax=0xC000), {"ah": 0, "es": 0xF000, "bx": 0xE6F5, "cf": 0}),
    "Ticks are set": (call(0x1A, ax=0x0100, cx=0x12, dx=0x3456), {"ah": 0}),
    "Ticks": (call(0x1A, ax=0x0000), {"cx": 0x12, "al": 0}),
    # [PCIBIOS] 3
    "PCI vendor FFFF": (call(0x1A, ax=0xB102, cx=1, dx=0xFFFF, si=0), {"ah": 0x83, "cf": 1}),
    "PCI word that is none": (call(0x1A, ax=0xB109, bx=9, di=0x0B), {"ah": 0x87, "cf": 1}),
    "PCI double word that is none": (call(0x1A, ax=0xB10D, bx=9, di=0x02), {"ah": 0x87, "cf": 1}),
    # [APM] 4.6
    "APM knows no such device": (call(0x15, ax=0x5300, bx=1), {"ah": 9, "cf": 1}),
    "APM is not connected": (call(0x15, ax=0x530B), {"ah": 3, "cf": 1}),
    "APM connects 32-bit": (call(0x15, ax=0x5303), {"ax": 0xE000, "ebx": 0x220, "cx": 0xF000, "cf": 0}),
    "APM is connected": (call(0x15, ax=0x5301), {"ah": 7, "cf": 1}),
    "APM disconnects again": (call(0x15, ax=0x5304), {"cf": 0}),
    # [RBIL]
    "Mouse of no packets": (call(0x15, ax=0xC205, bx=0), {"ah": 2, "cf": 1}),
    "Mouse resolution that is none": (call(0x15, ax=0xC203, bx=0x0400), {"ah": 2, "cf": 1}),
    "Mouse function that is none": (call(0x15, ax=0xC208), {"ah": 1, "cf": 1}),
    "Mouse without a handler": (call(0x15, ax=0xC207, es=0, bx=0), {"ah": 0, "cf": 0}),
    "Mouse wants a handler": (call(0x15, ax=0xC200, bx=0x0100), {"ah": 5, "cf": 1}),
    "COM4 that is none": (call(0x14, ax=0x0300, dx=3), {"ax": 0x0300}),
}
CALLS = {name: row[0] for name, row in (*SAME.items(), *OURS.items())}
CALLS |= {f"map {n}": call(0x15, (BUFFER, 0, 20), eax=0xE820, edx=SMAP, ebx=n, ecx=20, es=BUFFER) for n in range(6)}


@pytest.fixture(scope="module")
def media(tmp_path_factory) -> Iterator[Path]:
    """A directory with a disk that makes the calls, a floppy and a CD."""
    place: Path = tmp_path_factory.mktemp("media")
    disk = bytearray(caller.image(CALLS, bytes(CONTENT), DISK))
    for name, size, first, count in ("fd", 512, 0, 2880), ("cd", 2048, 0, 100):
        (place / name).write_bytes(b"".join(struct.pack("<I", n | size << 20) * (size // 4) for n in range(first, count)))
    for sector in range(900, 6000):
        disk[sector * 512:sector * 512 + 512] = struct.pack("<I", sector) * 128
    (place / "hd").write_bytes(disk)
    yield place
    for name in "hd", "fd", "cd":
        (place / name).unlink()


def answers(place: Path, bios: Path | None) -> dict[str, Answer]:
    done = machines.on_qemu([
        "-m", "64", "-boot", "c", "-rtc", "base=2026-03-04T05:06:07", "-drive", f"file={place}/hd,format=raw,snapshot=on",
        "-drive", f"file={place}/fd,format=raw,if=floppy,snapshot=on",
        "-drive", f"file={place}/cd,format=raw,media=cdrom,readonly=on"], bios=bios, seconds=60)
    assert done.status == 0x21, f"the guest got no further than {len(done.debug)} bytes\n{done.serial}"
    return caller.answers(CALLS, done.debug)


@pytest.fixture(scope="module")
def ours(media) -> dict[str, Answer]:
    return answers(media, None)


@pytest.fixture(scope="module")
def seabios(media) -> dict[str, Answer]:
    if not machines.SEABIOS.is_file():
        pytest.skip("the package seabios is not installed")
    return answers(media, machines.SEABIOS)


@pytest.fixture(scope="module")
def board(media) -> dict[str, Answer]:
    """Of our BIOS on our own board."""
    disk, floppy, disc = open_image(media / "hd"), open_image(media / "fd"), open_readonly(media / "cd")
    done = machines.on_ours(boot="c", rtc=datetime(2026, 3, 4, 5, 6, 7), disks=[disk], floppies=[floppy], cdrom=disc)
    assert done.status == 0x21, f"the guest got no further than {len(done.debug)} bytes\n{done.serial}"
    return caller.answers(CALLS, done.debug)


@pytest.mark.parametrize("name", SAME)
def test_seabios_answers_the_same(name, ours, seabios):
    for what in SAME[name][1].split():
        assert getattr(ours[name], what) == getattr(seabios[name], what), what


@pytest.mark.parametrize("name", OURS)
def test_by_the_books(name, ours):
    for what, value in OURS[name][1].items():
        assert getattr(ours[name], what) == value, what


@pytest.mark.parametrize("name", [*SAME, *OURS])
def test_our_board_answers_as_qemus(name, ours, board):
    for what in SAME[name][1].split() if name in SAME else OURS[name][1]:
        assert getattr(board[name], what) == getattr(ours[name], what), what


@pytest.mark.parametrize("name", CALLS)
def test_a_call_keeps_what_it_does_not_return_in(name, ours):
    """Segments, ESI and EBP are nobody's result; the stack is where it was."""
    one, answer = CALLS[name], ours[name]
    assert (answer.ds, answer.sp) == (one.registers.get("ds", 0), 0x7C00)
    if name != "APM connects 32-bit":
        assert answer.esi == one.registers.get("esi", 0)
    assert answer.ebp == 0


def test_data_read_is_the_disks(ours):
    assert ours["EDD read"].memory == struct.pack("<I", 1000) * 16
    assert ours["EDD read of 127"].memory == struct.pack("<I", 1126) * 16
    assert ours["EDD read across a segment's end"].memory == struct.pack("<I", 2000) * 16
    assert ours["CD read"].memory == struct.pack("<I", 40 | 2048 << 20) * 16
    assert ours["floppy read"].memory == struct.pack("<I", 2 * 18 + 18 | 512 << 20) * 16
    assert ours["disk read"].memory == struct.pack("<I", (5 * 16 + 1) * 63) * 16
    assert ours["disk read of 128"].memory == struct.pack("<I", (5 * 16 + 1) * 63 + 127) * 16


def test_the_map_has_every_byte_of_ram_once(ours):
    entries = []
    for number in range(6):
        answer = ours[f"map {number}"]
        if answer.cf:
            break
        assert (answer.eax, answer.ecx) == (SMAP, 20)
        entries.append(struct.unpack("<QQI", answer.memory))
        if not answer.ebx:
            break
        assert answer.ebx == number + 1
    ends = sorted((base, base + length) for base, length, _ in entries)
    assert all(first[1] <= second[0] for first, second in pairwise(ends))
    assert sum(length for base, length, kind in entries if kind == 1 and base < 64 << 20) > (62 << 20) + (600 << 10)
    assert max(base + length for base, length, kind in entries if kind == 1) < 64 << 20
    assert (0xE0000, 0x20000, 2) in entries


def test_the_parameters_of_edd_name_the_drives_place(tmp_path):
    """[EDD] 4.2: 66 bytes: geometry, size, DPTE, and the path with a sum of 0."""
    calls = {"48": call(0x13, (BUFFER, 0x200, 66), ax=0x4800, dx=0x80, ds=BUFFER, si=0x200)}
    path = tmp_path / "hd"
    path.write_bytes(caller.image(calls, bytes(CONTENT), DISK))
    done = machines.on_qemu(["-m", "32", "-drive", f"file={path},format=raw,if=none,id=d",
                             "-device", "ide-hd,drive=d,bus=ide.1,unit=1"])
    memory = caller.answers(calls, done.debug)["48"].memory
    size, flags, cylinders, heads, sectors, blocks, block, _, _ = struct.unpack_from("<HHIIIQHHH", memory)
    assert (size, flags, blocks, block) == (0x42, 2, DISK // 512, 512)
    assert (cylinders, heads, sectors) == (130, 16, 63)
    assert memory[30:34] == b"\xDD\xBE\x24\x00"
    assert memory[36:48] == b"PCI ATA     "
    assert memory[48:52] == bytes([0, 1, 1, 1])
    assert memory[56] == 1
    assert sum(memory[30:66]) & 0xFF == 0
