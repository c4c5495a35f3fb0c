"""82077AA.  [I] Intel 82077AA data sheet, 290166-007."""

from __future__ import annotations

import pytest

from emu.chips import floppy
from emu.chips.fdc82077 import FDC82077
from emu.chips.floppysectors import LOST
from tests.chips.bench import Bench

READ, WRITE, VERIFY, FORMAT, READ_ID, READ_TRACK = 0x46, 0x45, 0x56, 0x4D, 0x4A, 0x42
MT, RQM, DIO, NONDMA, CB = 0x80, 0x80, 0x40, 0x20, 0x10


class Medium:
    """Sectors that hold their own number."""

    def __init__(self, size=1440 << 10, readonly=False):
        self.size, self.readonly, self.broken, self.flushed = size, readonly, False, 0
        self.data = bytearray(b"".join(i.to_bytes(2, "little") * 256 for i in range(size // 512)))

    def read(self, offset, length):
        if self.broken:
            raise OSError("broken")
        assert offset >= 0 and offset + length <= self.size
        return bytes(self.data[offset:offset + length])

    def write(self, offset, data):
        if self.broken:
            raise OSError("broken")
        assert not self.readonly and offset >= 0 and offset + len(data) <= self.size
        self.data[offset:offset + len(data)] = data
        self.flushed = 0

    def flush(self):
        self.flushed = 1


class Channel:
    """A DMA channel with `room` bytes to its terminal count."""

    def __init__(self):
        self.memory, self.room, self.at, self.open = bytearray(), 0, 0, True

    def program(self, data=b"", length=0):
        self.memory, self.room, self.at = bytearray(data), length or len(data), 0

    def put(self, data):
        if not self.open:
            return 0, False
        length = min(len(data), self.room)
        self.memory += data[:length]
        self.room -= length
        return length, not self.room

    def get(self, length):
        if not self.open:
            return b"", False
        length = min(length, self.room)
        self.at, self.room = self.at + length, self.room - length
        return bytes(self.memory[self.at - length:self.at]), not self.room


class Floppy(Bench):
    """The controller out of its reset, motors on, 500 kbit/s."""

    def __init__(self, medium=None, kinds=(floppy.D1440, floppy.D1440)):
        self.dma, self.medium = Channel(), medium
        super().__init__(FDC82077, self.dma, kinds, (medium,))
        self.write("DOR", 0x00)
        self.write("DOR", 0x1C)
        for drive in range(4):
            assert self.command(8) == [0xC0 | drive, 0]
        self.write("CCR", 0)
        self.command(3, 0xDF, 0x02)
        self.pins.clear()

    def send(self, *values):
        for value in values:
            assert self.read("MSR") & (RQM | DIO) == RQM
            self.write("FIFO", value)

    def results(self):
        out = []
        while self.read("MSR") & (RQM | DIO | CB) == RQM | DIO | CB:
            out.append(self.read("FIFO"))
        return out

    def command(self, *values, wait=1_000_000_000):
        self.send(*values)
        self.advance(wait)
        return self.results()

    def seek(self, cylinder, drive=0):
        self.command(0x0F, drive, cylinder)
        assert self.command(8) == [0x20 | drive, cylinder]


@pytest.fixture
def fdc():
    return Floppy(Medium())


def sector(n):
    return n.to_bytes(2, "little") * 256


# Registers and resets

def test_after_power_on_the_chip_is_held_in_reset():
    bench = Bench(FDC82077, Channel(), (floppy.D1440,))
    assert [bench.read("DOR"), bench.read("MSR")] == [0, 0]
    bench.write("FIFO", 0x10)
    bench.write("DOR", 0x0C)
    assert [bench.read("DOR"), bench.read("MSR")] == [0x0C, RQM]
    assert bench.chip.intr.level == 1


@pytest.mark.parametrize("how", ["DOR", "DSR"])
def test_a_reset_ends_with_an_interrupt_and_four_changed_ready_lines(fdc, how):
    fdc.seek(5)
    if how == "DOR":
        fdc.write("DOR", 0x18, 0x1C)
    else:
        fdc.write("DSR", 0x80)
        assert fdc.read("DOR") == 0x1C                      # [I] DSR's reset clears itself
    assert fdc.chip.intr.level == 1 and fdc.read("MSR") == RQM
    assert fdc.command(8) == [0xC0, 0]
    assert fdc.chip.intr.level == 0
    assert [fdc.command(8) for _ in range(4)] == [[0xC1, 0], [0xC2, 0], [0xC3, 0], [0x80]]


def test_a_reset_turns_polling_on_and_implied_seeks_off(fdc):
    fdc.command(0x94)
    fdc.command(0x13, 0, 0x57, 0x20)                        # EIS, POLL
    fdc.write("DSR", 0x80)
    assert fdc.chip.intr.level == 1
    assert [fdc.command(8)[0] for _ in range(4)] == [0xC0, 0xC1, 0xC2, 0xC3]
    assert fdc.command(0x0E)[8:] == [0x07, 0x20]


def test_dmagate_gates_the_interrupt(fdc):
    fdc.write("DOR", 0x14)
    fdc.command(7, 0)
    assert fdc.chip.intr.level == 0
    fdc.write("DOR", 0x1C)
    assert fdc.chip.intr.level == 1


def test_status_registers_a_and_b(fdc):
    assert fdc.read("SRA") & 0xC0 == 0x00                   # DRV2 is active low: two drives
    fdc.command(7, 0)
    assert fdc.read("SRA") & 0xC0 == 0x80
    fdc.write("DOR", 0x3D)
    assert fdc.read("SRB") == 0xE3
    assert Floppy(kinds=(floppy.D1440,)).read("SRA") & 0x40


def test_the_tape_drive_register_keeps_two_bits(fdc):
    fdc.write("TDR", 0xFF)
    assert fdc.read("TDR") == 3


def test_the_disk_change_line_falls_when_a_step_finds_a_diskette(fdc):
    assert fdc.read("DIR") == 0x80
    fdc.command(7, 0)                                       # at track 0 already: no step
    assert fdc.read("DIR") == 0x80
    fdc.command(8)
    fdc.seek(1)
    assert fdc.read("DIR") == 0x00
    fdc.chip.insert(0, None)
    fdc.seek(2)
    assert fdc.read("DIR") == 0x80
    fdc.chip.insert(0, Medium())
    assert fdc.read("DIR") == 0x80
    fdc.seek(1)
    assert fdc.read("DIR") == 0x00
    fdc.write("DOR", 0x2D)
    assert fdc.read("DIR") == 0x80                          # the other drive's


# Commands without a diskette

def test_version_says_enhanced_controller(fdc):
    assert fdc.command(0x10) == [0x90]


@pytest.mark.parametrize("code", [0x00, 0x01, 0x11, 0x18, 0x1F, 0x22, 0x33, 0xCD, 0xFF])
def test_an_invalid_command_returns_80h(fdc, code):
    assert fdc.command(code) == [0x80]
    assert fdc.chip.intr.level == 0 and fdc.read("MSR") == RQM


def test_msr_shows_a_command_being_received(fdc):
    fdc.send(0x03)
    assert fdc.read("MSR") == RQM | CB
    fdc.send(0xDF, 0x02)
    assert fdc.read("MSR") == RQM


def test_seek_moves_the_head_and_interrupts(fdc):
    fdc.send(0x0F, 0, 40)
    assert fdc.read("MSR") == RQM | 0x01 and fdc.chip.intr.level == 0
    fdc.advance(10**9)
    assert fdc.read("MSR") == RQM and fdc.chip.intr.level == 1
    assert fdc.command(8) == [0x20, 40]
    assert fdc.chip.intr.level == 0 and fdc.command(8) == [0x80]


def test_seeks_of_several_drives_overlap(fdc):
    fdc.send(0x0F, 0, 40)
    fdc.send(0x0F, 1, 20)
    assert fdc.read("MSR") == RQM | 0x03
    fdc.advance(10**9)
    assert [fdc.command(8), fdc.command(8), fdc.command(8)] == [[0x21, 20], [0x20, 40], [0x80]]


def test_relative_seek(fdc):
    fdc.seek(10)
    fdc.command(0xCF, 0, 5)
    assert fdc.command(8) == [0x20, 15]
    fdc.command(0x8F, 0, 7)
    assert fdc.command(8) == [0x20, 8]
    assert fdc.command(READ_ID, 0)[3] == 8


def test_recalibrate_goes_to_track_0(fdc):
    fdc.seek(79)
    assert fdc.command(4, 0) == [0x28]
    fdc.command(7, 0)
    assert fdc.command(8) == [0x20, 0]
    assert fdc.command(4, 0) == [0x38]


def test_recalibrate_of_an_absent_drive_finds_no_track_0(fdc):
    fdc.command(7, 2)
    assert fdc.command(8) == [0x72, 0]                      # [I] EC, abnormal termination


def test_sense_drive_status(fdc):
    assert fdc.command(4, 5) == [0x3D]
    assert Floppy(Medium(readonly=True)).command(4, 0) == [0x78]


def test_dumpreg_tells_what_was_configured(fdc):
    fdc.seek(3)
    fdc.seek(7, drive=1)
    fdc.command(0x03, 0xA5, 0x02)
    fdc.command(0x12, 0x80 | 0x14 | 0x03)
    fdc.command(0x13, 0, 0x57, 0x20)
    assert fdc.command(0x94) == [0x10]
    assert fdc.command(0x0E) == [3, 7, 0, 0, 0xA5, 0x02, 0, 0x80 | 0x17, 0x57, 0x20]
    assert fdc.command(0x14) == [0x00]


def test_lock_keeps_the_fifo_parameters_through_a_software_reset(fdc):
    for lock, wanted in ((0x94, [0x0F, 0x20]), (0x14, [0x20, 0x00])):
        fdc.command(0x13, 0, 0x0F, 0x20)
        fdc.command(lock)
        fdc.write("DSR", 0x80)
        for _ in range(4):
            fdc.command(8)
        assert fdc.command(0x0E)[8:] == wanted


def test_without_ow_perpendicular_leaves_the_drives(fdc):
    fdc.command(0x12, 0x80 | 0x3C)
    fdc.command(0x12, 0x03)
    assert fdc.command(0x0E)[7] == 0x3F
    fdc.write("DSR", 0x80)
    for _ in range(4):
        fdc.command(8)
    assert fdc.command(0x0E)[7] == 0x3C                     # [I] a software reset clears GAP and WGATE


def test_powerdown_mode_returns_its_parameter(fdc):
    assert fdc.command(0x17, 0x05) == [0x05]


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


# Diskettes

@pytest.mark.parametrize("kib, kind, rate, cylinders, sectors", [
    (360, floppy.D1200, 1, 40, 9), (360, floppy.D360, 2, 40, 9), (720, floppy.D1440, 2, 80, 9),
    (1200, floppy.D1200, 0, 80, 15), (1440, floppy.D1440, 0, 80, 18), (1440, floppy.D2880, 0, 80, 18),
    (2880, floppy.D2880, 3, 80, 36)])
def test_diskettes_are_told_by_their_size(kib, kind, rate, cylinders, sectors):
    fdc = Floppy(Medium(kib << 10), (kind,))
    for wrong in {0, 1, 2, 3} - {rate}:
        fdc.write("CCR", wrong)
        assert fdc.command(READ_ID, 0)[:2] == [0x40, 0x01]
    fdc.write("CCR", rate)
    fdc.seek(cylinders - 1)
    fdc.dma.program(length=512)
    assert fdc.command(READ, 4, cylinders - 1, 1, sectors, 2, sectors, 0x1B, 0xFF)[:3] == [4, 0, 0]
    assert fdc.dma.memory == sector(cylinders * 2 * sectors - 1)
    fdc.seek(cylinders)
    assert fdc.command(READ_ID, 0)[:2] == [0x40, 0x01]


def test_a_drive_cannot_read_a_diskette_of_higher_density():
    fdc = Floppy(Medium(2880 << 10), (floppy.D1440,))
    assert fdc.command(READ_ID, 0)[:2] == [0x40, 0x01]


def test_a_short_image_is_blank_behind_its_end():
    fdc = Floppy(Medium(1_300_000 // 512 * 512))
    fdc.seek(79)
    fdc.dma.program(length=512)
    assert fdc.command(READ, 0, 79, 0, 1, 2, 18, 0x1B, 0xFF)[:3] == [0, 0, 0]
    assert fdc.dma.memory == bytes(512)
    fdc.dma.program(b"x" * 512)
    assert fdc.command(WRITE, 0, 79, 0, 1, 2, 18, 0x1B, 0xFF)[:2] == [0x50, 0]


def test_what_is_larger_than_any_diskette_is_none():
    with pytest.raises(ValueError, match="no diskette"):
        floppy.format_of(2881 << 10)
    with pytest.raises(ValueError, match="no diskette"):
        Floppy(Medium()).chip.insert(0, Medium(4 << 20))


@pytest.mark.parametrize("kib, kind", [(160, 2), (360, 2), (720, 4), (1200, 2), (1440, 4), (2880, 5)])
def test_the_drive_of_a_diskette(kib, kind):
    assert floppy.drive_for(kib << 10) == kind
