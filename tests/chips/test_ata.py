"""An ATA channel.  [ATA] T13/1410D, 7.1 and 9.16."""

from __future__ import annotations

import pytest

from emu.chips.ata import ATAChannel
from emu.chips.atadisk import ATADisk
from emu.chips.atapicd import ATAPICDROM
from tests.chips.drives import BSY, DRDY, DRQ, DSC, SECOND, SRST, DriveBench, Memory, pull

IDLE = DRDY | DSC
NAMES = ("ERROR", "COUNT", "LBAL", "LBAM", "LBAH", "DEVICE", "STATUS", "ASTATUS")


class Channel(DriveBench):
    """A channel; its drives share the bench's time."""

    def __init__(self, *drives):
        self.drives = drives
        super().__init__(ATAChannel, *drives)

    def advance(self, ns):
        for i, drive in enumerate(filter(None, self.drives)):
            if not drive.name:
                drive.attach(f"drive {i}", self.clock)
                drive.intrq.sinks.append(lambda level: self.pins.append(("INTRQ", level)))
        super().advance(ns)

    @property
    def intrq(self):
        return max(drive.intrq.level for drive in self.drives)


def disk(number=0, other=False, fill=0):
    medium = Memory(1 << 20)
    medium.data[:] = bytes([fill]) * len(medium.data)
    return ATADisk(medium, number, other)


@pytest.fixture
def two():
    return Channel(disk(0, True, 0xAA), disk(1, True, 0xBB))


def test_an_empty_channel_reads_as_its_pull_down_leaves_it():
    b = Channel(None, None)
    for device in 0x00, 0x10:
        b.write("DEVICE", device)
        b.write("COMMAND", 0xEC)
        assert [b.read(name) for name in NAMES] == [0x7F] * len(NAMES)
        assert [b.read("DATA"), b.read("DATA32")] == [0x7F7F, 0x7F7F7F7F]
    b.write("COMMAND", 0x90)
    b.write("DEVCTL", SRST)
    assert b.read("STATUS") & BSY == 0 and b.pins == []


def test_device_0_that_is_alone_answers_for_device_1_but_for_its_status():
    b = Channel(disk(), None)
    b.write("DEVICE", 0x10)
    b.write("COUNT", 0x55)
    b.write("LBAL", 0xAA)
    assert [b.read(name) for name in ("COUNT", "LBAL", "DEVICE")] == [0x55, 0xAA, 0xB0]
    assert [b.read("STATUS"), b.read("ASTATUS")] == [0, 0]


def test_a_command_to_an_absent_device_1_is_ignored():
    b = Channel(disk(), None)
    b.command(0xEC, device=0x10)
    assert b.interrupts() == 0 and b.read("STATUS") == 0
    b.write("DEVICE", 0)
    assert b.read("STATUS") == IDLE


def test_a_diagnosis_that_is_given_to_an_absent_device_1_is_device_0s():
    b = Channel(disk(), None)
    b.command(0x90, device=0x10)
    assert b.interrupts() == 1 and b.read("STATUS") == IDLE and b.read("DEVICE") == 0xA0


def test_nobody_answers_for_an_absent_device_0():
    b = Channel(None, disk(1))
    assert b.read("STATUS") == 0x7F
    b.write("DEVICE", 0x10)
    assert b.read("STATUS") == IDLE


def test_both_devices_hear_each_write_and_the_selected_one_answers(two):
    two.write("LBAM", 0x12)
    two.write("DEVICE", 0x10)
    assert two.read("LBAM") == 0x12
    two.command(0x20, count=1, device=0x50)
    assert two.words() == b"\xBB" * 512
    two.command(0x20, count=1, device=0x40)
    assert two.words() == b"\xAA" * 512
    assert [drive.status for drive in two.drives] == [IDLE, IDLE]


def test_each_device_has_registers_of_its_own_once_it_has_worked(two):
    two.command(0x20, count=1, lba=0x030201, device=0x40)       # beyond the end
    two.read("STATUS")
    two.write("DEVICE", 0x10)
    assert two.read("ERROR") == 1
    two.write("DEVICE", 0x00)
    assert two.read("ERROR") == 0x10


def test_the_interrupt_pin_is_the_selected_devices(two):
    two.command(0xE5, device=0)
    assert two.intrq == 1
    two.write("DEVICE", 0x10)
    assert two.intrq == 0
    two.write("DEVICE", 0x00)
    assert two.intrq == 1


def test_a_software_reset_is_for_both_and_selects_device_0(two):
    two.write("DEVICE", 0x10)
    two.write("DEVCTL", SRST)
    assert [drive.status for drive in two.drives] == [BSY, BSY]
    two.write("DEVCTL", 0)
    two.advance(SECOND)
    assert two.read("DEVICE") == 0xA0 and two.read("STATUS") == IDLE
    two.write("DEVICE", 0x10)
    assert two.read("STATUS") == IDLE


def test_a_diagnosis_is_of_both_and_device_0_tells(two):
    two.command(0x90, device=0x10)
    assert two.interrupts() == 1 and two.read("DEVICE") == 0xA0
    assert [two.read("STATUS"), two.read("ERROR")] == [IDLE, 1]


def test_nothing_is_written_or_selected_while_the_selected_device_works(two):
    two.command(0x20, count=1, lba=5, device=0x40, wait=False)
    two.write("DEVICE", 0x10)
    two.write("LBAL", 99)
    two.advance(SECOND)
    assert two.read("STATUS") == IDLE | DRQ and two.read("DEVICE") == 0xE0 and two.read("LBAL") == 5


def test_data_moves_by_dma_to_and_from_the_selected_device(two):
    channel = two.chip
    assert not channel.wanted and pull(channel, 512) == b""
    two.command(0xC8, count=2, device=0x50)
    assert two.drives[1].dmarq.level == 1 and not channel.wanted
    assert pull(channel, 2000) == b"\xBB" * 1024 and two.drives[1].dmarq.level == 0
    two.command(0xCA, count=2, device=0x50)
    assert channel.wanted == 1024 and pull(channel, 512) == b""
    channel.receive(b"\xCC" * 1024)
    assert two.drives[1].medium.data[:1024] == b"\xCC" * 1024 and two.drives[0].medium.data[0] == 0xAA


def test_the_block_of_data_is_the_selected_devices(two):
    assert two.chip.block_DATA("r") is None
    two.command(0x20, count=1, device=0x50)
    block = two.chip.block_DATA("r")
    assert bytes(block) == b"\xBB" * 510
    two.chip.moved_DATA("r", 510)
    assert two.read("DATA") == 0xBBBB and two.read("STATUS") == IDLE


def test_a_disk_and_a_cd_rom_tell_themselves_apart_by_their_signatures():
    b = Channel(disk(0, True), ATAPICDROM(None, 1, True))
    assert [b.read("LBAM"), b.read("LBAH")] == [0, 0]
    b.write("DEVICE", 0x10)
    assert [b.read("LBAM"), b.read("LBAH"), b.read("STATUS")] == [0x14, 0xEB, 0]


def test_a_device_reset_reaches_a_packet_device_that_is_busy():
    b = Channel(ATAPICDROM(Memory(1 << 20)), None)
    b.command(0xA0, device=0, wait=False)
    assert b.read("STATUS") & DRQ
    b.write("COMMAND", 0x08)
    assert [b.read("STATUS"), b.read("LBAM"), b.read("LBAH")] == [0, 0x14, 0xEB] and b.interrupts() == 0
