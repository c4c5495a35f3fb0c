"""How sectors go to and from a diskette.  [I] Intel 82077AA data sheet, 290166-007."""

from __future__ import annotations

import pytest

from emu.chips.floppysectors import LOST
from tests.chips.fdcbench import (
    CB,
    DIO,
    FORMAT,
    MT,
    NONDMA,
    READ,
    READ_ID,
    READ_TRACK,
    RQM,
    VERIFY,
    WRITE,
    Floppy,
    Medium,
    sector,
)


@pytest.fixture
def fdc():
    return Floppy(Medium())


# Reading and writing by DMA

def test_read_data_ends_with_the_terminal_count(fdc):
    fdc.seek(1)
    fdc.dma.program(length=1024)
    fdc.send(READ, 4, 1, 1, 3, 2, 18, 0x1B, 0xFF)
    assert fdc.read("MSR") == CB and fdc.chip.drq.level == 1
    fdc.advance(10**9)
    assert fdc.chip.intr.level == 1 and fdc.chip.drq.level == 0 and fdc.read("MSR") == RQM | DIO | CB
    fdc.read("FIFO")
    assert fdc.chip.intr.level == 0                         # [I] the first result byte resets INT
    assert fdc.results() == [0, 0, 1, 1, 5, 2]
    assert fdc.dma.memory == sector(56) + sector(57)


@pytest.mark.parametrize("mt, head, r, length, wanted", [       # [I] table 5-6: result C H R N
    (0, 0, 1, 512, [0, 0, 2, 2]), (0, 0, 18, 512, [1, 0, 1, 2]),
    (0, 1, 1, 512, [0, 1, 2, 2]), (0, 1, 18, 512, [1, 1, 1, 2]),
    (MT, 0, 1, 512, [0, 0, 2, 2]), (MT, 0, 18, 512, [0, 1, 1, 2]),
    (MT, 1, 1, 512, [0, 1, 2, 2]), (MT, 1, 18, 512, [1, 0, 1, 2])])
def test_the_address_in_the_result_is_of_the_next_sector(fdc, mt, head, r, length, wanted):
    fdc.dma.program(length=length)
    result = fdc.command(READ | mt, head << 2, 0, head, r, 2, 18, 0x1B, 0xFF)
    assert result[1:] == [0, 0, *wanted] and result[0] & 0xC0 == 0


def test_multi_track_goes_on_at_the_other_side(fdc):
    fdc.dma.program(length=36 * 512)
    assert fdc.command(READ | MT, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF) == [4, 0, 0, 1, 0, 1, 2]
    assert fdc.dma.memory == fdc.medium.data[:36 * 512]


@pytest.mark.parametrize("mt, last", [(0, 18), (MT, 36)])
def test_a_read_without_a_terminal_count_ends_with_end_of_cylinder(fdc, mt, last):
    fdc.dma.program(length=40 * 512)
    result = fdc.command(READ | mt, 0, 0, 0, 17, 2, 18, 0x1B, 0xFF)
    assert result[0] & 0xC0 == 0x40 and result[1] == 0x80
    assert len(fdc.dma.memory) == (last - 16) * 512


def test_a_terminal_count_within_a_sector_ends_the_command(fdc):
    fdc.dma.program(length=100)
    assert fdc.command(READ, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF) == [0, 0, 0, 0, 0, 2, 2]
    assert fdc.dma.memory == sector(0)[:100]


def test_write_data(fdc):
    data = bytes(range(256)) * 4
    fdc.dma.program(data)
    assert fdc.command(WRITE, 0, 0, 0, 2, 2, 18, 0x1B, 0xFF) == [0, 0, 0, 0, 0, 4, 2]
    assert fdc.medium.data[512:1536] == data
    assert fdc.medium.flushed


def test_the_rest_of_a_sector_is_written_with_zeros(fdc):
    fdc.dma.program(b"x" * 100)
    fdc.command(WRITE, 0, 0, 0, 2, 2, 18, 0x1B, 0xFF)
    assert fdc.medium.data[512:1024] == b"x" * 100 + bytes(412)


def test_a_write_to_a_protected_diskette_sets_not_writable(fdc):
    fdc.medium.readonly = True
    fdc.dma.program(bytes(512))
    assert fdc.command(WRITE, 0, 0, 0, 2, 2, 18, 0x1B, 0xFF) == [0x40, 0x02, 0, 0, 0, 2, 2]


@pytest.mark.parametrize("c, h, r, n, st1, st2", [
    (0, 0, 19, 2, 0x04, 0), (0, 0, 0, 2, 0x04, 0), (0, 1, 1, 2, 0x04, 0), (0, 0, 1, 3, 0x04, 0),
    (1, 0, 1, 2, 0x04, 0x10), (0xFF, 0, 1, 2, 0x04, 0x12 & 0x02)])
def test_a_sector_that_is_not_on_the_track_is_no_data(fdc, c, h, r, n, st1, st2):
    fdc.dma.program(length=512)
    assert fdc.command(READ, 0, c, h, r, n, 18, 0x1B, 0xFF) == [0x40, st1, st2, c, h, r, n]


def test_an_implied_seek_goes_to_the_cylinder_first(fdc):
    fdc.command(0x13, 0, 0x60, 0)
    fdc.dma.program(length=512)
    assert fdc.command(READ, 0, 9, 0, 1, 2, 18, 0x1B, 0xFF) == [0x20, 0, 0, 9, 0, 2, 2]
    assert fdc.dma.memory == sector(9 * 36)
    assert fdc.read("DIR") == 0


def test_a_dma_channel_that_does_not_serve_is_an_overrun(fdc):
    fdc.dma.open = False
    for code in READ, WRITE:
        assert fdc.command(code, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF)[:2] == [0x40, 0x10]


def test_a_medium_that_cannot_be_read_is_a_data_error(fdc):
    fdc.medium.broken = True
    fdc.dma.program(length=512)
    assert fdc.command(READ, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF) == [0x40, 0x20, 0x20, 0, 0, 1, 2]


def test_a_medium_that_cannot_be_written_is_an_equipment_check(fdc):
    fdc.medium.broken = True
    fdc.dma.program(bytes(512))
    assert fdc.command(WRITE, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF)[:2] == [0x50, 0]


@pytest.mark.parametrize("why", ["no diskette", "motor off", "no drive", "rate", "FM"])
def test_without_an_address_mark_the_command_ends_after_a_while(fdc, why):
    drive, code = 2 if why == "no drive" else 0, READ
    if why == "no diskette":
        fdc.chip.insert(0, None)
    if why == "motor off":
        fdc.write("DOR", 0x0C)
    if why == "rate":
        fdc.write("CCR", 2)
    if why == "FM":
        code = 0x06
    fdc.dma.program(length=512)
    fdc.send(code, drive, 0, 0, 1, 2, 18, 0x1B, 0xFF)
    fdc.advance(LOST - 1)
    assert fdc.read("MSR") == CB
    fdc.advance(1)
    assert fdc.results() == [0x40 | drive, 0x01, 0, 0, 0, 1, 2]


def test_read_id_meets_one_sector_after_another(fdc):
    fdc.seek(3)
    first, second = fdc.command(READ_ID, 4), fdc.command(READ_ID, 4)
    assert first[:5] == second[:5] == [4, 0, 0, 3, 1]
    assert second[5] == first[5] % 18 + 1 and first[6] == 2


def test_read_track_reads_from_the_index_on_and_compares_only(fdc):
    fdc.dma.program(length=5 * 512)
    result = fdc.command(READ_TRACK, 0, 0, 0, 1, 2, 5, 0x1B, 0xFF)
    assert result[:3] == [0, 0, 0] and fdc.dma.memory == fdc.medium.data[:5 * 512]
    fdc.dma.program(length=5 * 512)
    result = fdc.command(READ_TRACK, 0, 7, 0, 1, 2, 5, 0x1B, 0xFF)
    assert result[:2] == [0x40, 0x04] and fdc.dma.memory == fdc.medium.data[:5 * 512]


def test_verify_reads_without_a_transfer(fdc):
    fdc.dma.open = False
    assert fdc.command(VERIFY, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF)[:3] == [0, 0, 0]
    assert fdc.command(VERIFY, 0, 0, 0, 1, 2, 19, 0x1B, 0xFF)[:2] == [0x40, 0x04]
    assert fdc.command(VERIFY | MT, 0x80, 0, 0, 1, 2, 18, 0x1B, 36)[:3] == [4, 0, 0]        # EC: SC sectors
    fdc.medium.broken = True
    assert fdc.command(VERIFY, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF)[:2] == [0x40, 0x20]


def test_format_track_fills_the_sectors_whose_ids_it_is_given(fdc):
    fdc.seek(2)
    fdc.dma.program(b"".join(bytes([2, 1, r, 2]) for r in range(1, 19)))
    assert fdc.command(FORMAT, 4, 2, 18, 0x6C, 0xF6)[:3] == [4, 0, 0]
    assert fdc.medium.data[90 * 512:108 * 512] == b"\xF6" * 18 * 512
    assert fdc.medium.data[89 * 512:90 * 512] == sector(89)
    fdc.medium.readonly = True
    assert fdc.command(FORMAT, 4, 2, 18, 0x6C, 0xF6)[:2] == [0x44, 0x02]


# Without DMA

def test_the_processor_reads_sectors_byte_by_byte(fdc):
    fdc.command(0x03, 0xDF, 0x03)
    fdc.send(READ, 0, 0, 0, 17, 2, 18, 0x1B, 0xFF)
    assert fdc.read("MSR") == NONDMA | CB
    data = bytearray()
    for _ in range(2):
        fdc.advance(10**6)
        assert fdc.chip.intr.level == 1
        while fdc.read("MSR") == RQM | DIO | NONDMA | CB:
            data.append(fdc.read("FIFO"))
    assert data == sector(16) + sector(17)
    assert fdc.read("MSR") == RQM | DIO | CB
    assert fdc.results() == [0x40, 0x80, 0, 1, 0, 1, 2]     # nobody drives TC


def test_the_processor_writes_sectors_byte_by_byte(fdc):
    fdc.command(0x03, 0xDF, 0x03)
    fdc.send(WRITE, 0, 0, 0, 18, 2, 18, 0x1B, 0xFF)
    fdc.advance(10**6)
    assert fdc.chip.intr.level == 1
    for i in range(512):
        assert fdc.read("MSR") == RQM | NONDMA | CB
        fdc.write("FIFO", i & 0xFF)
    assert fdc.results() == [0x40, 0x80, 0, 1, 0, 1, 2]
    assert fdc.medium.data[17 * 512:18 * 512] == bytes(range(256)) * 2
