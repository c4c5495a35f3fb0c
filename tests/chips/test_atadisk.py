"""An ATA disk.  [ATA] T13/1410D, ATA/ATAPI-6; [ATA-4] T13/1153D."""

from __future__ import annotations

import struct

import pytest

from emu.chips.atadisk import ATADisk
from tests.chips.atabench import (
    IDLE,
    READ,
    READ_DMA,
    SECTORS,
    SET_FEATURES,
    SET_MULTIPLE,
    VERIFY,
    WRITE,
    WRITE_DMA,
    dma_in,
    dma_out,
    huge,
    sectors,
)
from tests.chips.bench import Bench
from tests.chips.drives import (
    ABRT,
    BSY,
    ERR,
    NIEN,
    SECOND,
    SRST,
    UNC,
    DriveBench,
    Memory,
    pull,
)


@pytest.fixture
def medium():
    return Memory(SECTORS * 512)


@pytest.fixture
def b(medium):
    return DriveBench(ATADisk, medium)


# Reset

def test_after_power_on_it_is_busy_and_then_shows_its_signature(medium):
    b = Bench(ATADisk, medium)
    assert b.read("STATUS") == BSY
    b.advance(SECOND)
    assert b.read("STATUS") == IDLE
    assert [b.read(name) for name in ("ERROR", "COUNT", "LBAL", "LBAM", "LBAH", "DEVICE")] == [1, 1, 1, 0, 0, 0xA0]
    assert b.pins == []


def test_a_software_reset_ends_what_was_under_way_without_an_interrupt(b):
    b.command(READ, count=4)
    b.write("DEVCTL", SRST)
    assert b.read("STATUS") == BSY and b.chip.intrq.level == 0
    b.advance(SECOND)
    assert b.read("STATUS") == BSY
    b.pins.clear()
    b.write("DEVCTL", 0)
    b.advance(SECOND)
    assert b.read("STATUS") == IDLE and b.pins == []
    assert [b.read(name) for name in ("ERROR", "COUNT", "LBAL", "LBAM", "LBAH")] == [1, 1, 1, 0, 0]


def test_a_diagnosis_ends_with_an_interrupt_of_device_0(b):
    b.command(0x90)
    assert b.interrupts() == 1
    assert [b.read(name) for name in ("STATUS", "ERROR", "COUNT", "LBAL")] == [IDLE, 1, 1, 1]


def test_device_1_tells_nothing_of_its_diagnosis(medium):
    b = DriveBench(ATADisk, medium, 1, True)
    b.command(0x90, device=0x50)
    assert b.interrupts() == 0 and b.read("STATUS") == IDLE


# Interrupts

def test_reading_status_ends_the_interrupt_and_reading_alternate_status_does_not(b):
    b.command(0xE5)
    assert b.read("ASTATUS") == IDLE and b.chip.intrq.level == 1
    assert b.read("STATUS") == IDLE and b.chip.intrq.level == 0


def test_nien_releases_the_pin_and_keeps_the_interrupt_pending(b):
    b.write("DEVCTL", NIEN)
    b.command(0xE5)
    assert b.interrupts() == 0
    b.write("DEVCTL", 0)
    assert b.interrupts() == 1


def test_only_the_selected_device_drives_the_pin(b):
    b.command(0xE5)
    b.write("DEVICE", 0x10)
    assert b.chip.intrq.level == 0
    b.write("DEVICE", 0x00)
    assert b.chip.intrq.level == 1


def test_a_new_command_ends_the_interrupt_of_the_last(b):
    b.command(0xE5)
    b.write("COMMAND", 0xE5)
    assert b.chip.intrq.level == 0 and b.read("STATUS") == BSY


def test_a_command_while_another_runs_is_lost(b, medium):
    b.command(READ, count=1, lba=5)
    b.write("COMMAND", 0xE5)
    assert b.pio_in(1) == sectors(medium, 5, 1)


# Other commands

def test_verify_reads_the_medium_and_moves_nothing(b, medium):
    assert b.command(VERIFY, count=5, lba=4) == IDLE and medium.log == [("r", 4 * 512, 5 * 512)]
    medium.bad = {6}
    assert b.command(0x42, count=5, lba=4, ext=True) == IDLE | ERR
    assert b.read("ERROR") == UNC and b.lba(ext=True) == 6


@pytest.mark.parametrize("command", [0x10, 0x1F, 0x70, 0x7F])
def test_recalibrate_and_seek_end_well(b, command):
    assert b.command(command, lba=100) == IDLE and b.read("ERROR") == 0


def test_the_last_address_is_told(b):
    b.command(0xF8)
    assert b.lba() == SECTORS - 1
    b.command(0x27, ext=True)
    assert b.lba(ext=True) == SECTORS - 1
    b = huge(1 << 30)
    b.command(0xF8)
    assert b.lba() == 0x0FFFFFFE
    b.command(0x27, ext=True)
    assert b.lba(ext=True) == (1 << 30) - 1


@pytest.mark.parametrize(("commands", "mode"), [((0xE0, 0x94), 0x00), ((0xE2, 0x96), 0x00), ((0xE1, 0x95, 0xE3, 0x97), 0x80)])
def test_check_power_mode_tells_the_mode_and_a_read_leaves_it(b, commands, mode):
    for command in commands:
        for check in 0xE5, 0x98:
            b.command(command)
            b.command(check)
            assert b.read("COUNT") == mode
        b.command(READ, count=1)
        b.pio_in(1)
        b.command(0xE5)
        assert b.read("COUNT") == 0xFF


def test_only_a_reset_ends_sleep(b):
    b.command(0xE6)
    b.read("STATUS")
    b.command(0xE5)
    assert b.interrupts() == 0
    b.write("DEVCTL", SRST)
    b.write("DEVCTL", 0)
    b.advance(SECOND)
    b.command(0xE5)
    assert b.interrupts() == 1 and b.read("COUNT") == 0xFF


@pytest.mark.parametrize(("mode", "words"), [(0x20, (0x0107, 0x003F)), (0x22, (0x0407, 0x003F)), (0x40, (0x0007, 0x013F)),
                                             (0x45, (0x0007, 0x203F)), (0x0C, (0x0007, 0x003F)), (0x00, (0x0007, 0x003F))])
def test_a_transfer_mode_is_selected(b, mode, words):
    assert b.command(SET_FEATURES, features=3, count=mode) == IDLE
    told = b.identify()
    assert (told[63], told[88]) == words


@pytest.mark.parametrize("mode", [0x0D, 0x10, 0x23, 0x46, 0x80, 0xFF])
def test_a_transfer_mode_that_is_not_there_is_aborted(b, mode):
    assert b.command(SET_FEATURES, features=3, count=mode) == IDLE | ERR and b.read("ERROR") == ABRT


def test_a_feature_that_is_not_there_is_aborted(b):
    for feature in 0x00, 0x05, 0x42, 0x85, 0xFE:
        assert b.command(SET_FEATURES, features=feature) == IDLE | ERR


def test_a_software_reset_reverts_the_settings_only_if_that_is_enabled(b):
    for feature, multiple, enabled in (0x66, 0x0110, 0x4008), (0xCC, 0, 0x4068):
        b.command(SET_FEATURES, features=0x82)
        b.command(SET_FEATURES, features=0x55)
        b.command(SET_MULTIPLE, count=16)
        b.command(SET_FEATURES, features=feature)
        b.write("DEVCTL", SRST)
        b.write("DEVCTL", 0)
        b.advance(SECOND)
        told = b.identify()
        assert (told[59], told[85]) == (multiple, enabled)


# IDENTIFY DEVICE

def swapped(words):
    return struct.pack(f">{len(words)}H", *words).decode()


def test_the_words_that_say_what_it_is(medium):
    b = DriveBench(ATADisk, medium, serial="SN 42", model="A DISK", firmware="9.8")
    told = b.identify()
    assert b.read("STATUS") == IDLE
    assert told[0] == 0x0040 and told[2] == 0xC837
    assert (told[1], told[3], told[6]) == (2, 16, 63)
    assert swapped(told[10:20]) == "SN 42".ljust(20)
    assert swapped(told[23:27]) == "9.8".ljust(8)
    assert swapped(told[27:47]) == "A DISK".ljust(40)
    assert told[47] == 0x8010 and told[49] == 0x2F00 and told[50] == 0x4000 and told[53] == 7
    assert told[54:59] == (2, 16, 63, 2016, 0)
    assert told[60:62] == (SECTORS, 0) and told[100:104] == (SECTORS, 0, 0, 0)
    assert told[64] == 3 and told[65:69] == (120,) * 4
    assert told[80] == 0x0070
    assert told[82:88] == (0x4068, 0x7400, 0x4040, 0x4068, 0x3400, 0x4040)


def test_all_bytes_sum_up_to_0(b):
    told = b.identify()
    assert told[255] & 0xFF == 0xA5 and sum(struct.pack("<256H", *told)) & 0xFF == 0


@pytest.mark.parametrize(("sectors", "cylinders", "lba28", "lba48"), [
    (16 * 63 * 16383, 16383, 16 * 63 * 16383, 16 * 63 * 16383),
    (0x10000000, 16383, 0x0FFFFFFF, 0x10000000),
    (0x123456789A, 16383, 0x0FFFFFFF, 0x123456789A)])
def test_sizes_that_the_older_words_cannot_say(sectors, cylinders, lba28, lba48):
    told = huge(sectors).identify()
    assert told[1] == told[54] == cylinders
    assert told[60] | told[61] << 16 == lba28
    assert told[100] | told[101] << 16 | told[102] << 32 == lba48


@pytest.mark.parametrize(("number", "other", "word"), [(0, False, 0x604B), (0, True, 0x603B), (1, True, 0x6B00)])
def test_the_cable_has_80_conductors(medium, number, other, word):
    b = DriveBench(ATADisk, medium, number, other)
    b.command(0xEC, device=0x40 | number << 4)
    assert struct.unpack("<256H", b.pio_in(1))[93] == word


def test_a_part_of_a_sector_at_the_end_is_not_seen():
    b = DriveBench(ATADisk, Memory(5 * 512 + 100))
    assert b.identify()[60] == 5
    assert b.command(READ, count=1, lba=5) & ERR


# Snapshots

@pytest.mark.parametrize("command", [READ, WRITE, READ_DMA, WRITE_DMA])
def test_a_transfer_goes_on_after_a_restore(b, medium, command):
    b.command(command, count=4, lba=20)
    if command == READ:
        b.words(300)
    if command == WRITE:
        b.put(bytes(range(200)))
    if command == READ_DMA:
        pull(b.chip, 700)
    if command == WRITE_DMA:
        b.chip.receive(bytes(range(200)))
    other = DriveBench(ATADisk, medium)
    other.now = b.now
    other.chip.restore(b.chip.save())
    for bench in b, other:
        if command == READ:
            assert bench.words(724) == sectors(medium, 20, 4)[600:]
        if command == WRITE:
            bench.put(bytes(1848))
            bench.advance(SECOND)
            assert sectors(medium, 20, 1) == bytes(range(200)) + bytes(312)
        if command == READ_DMA:
            assert dma_in(bench) == sectors(medium, 20, 4)[700:]
        if command == WRITE_DMA:
            dma_out(bench, bytes(1848))
            assert sectors(medium, 20, 1) == bytes(range(200)) + bytes(312)
        assert bench.read("STATUS") == IDLE
    assert other.chip.save() == b.chip.save()
