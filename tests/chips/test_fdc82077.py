"""82077AA.  [I] Intel 82077AA data sheet, 290166-007."""

from __future__ import annotations

import pytest

from emu.chips import floppy
from emu.chips.fdc82077 import FDC82077
from tests.chips.bench import Bench
from tests.chips.fdcbench import (
    CB,
    READ,
    READ_ID,
    RQM,
    WRITE,
    Channel,
    Floppy,
    Medium,
    sector,
)


@pytest.fixture
def fdc():
    return Floppy(Medium())


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


@pytest.mark.parametrize("size, sectors", [
    (512, 18), (98_816, 18), (1_300_000, 18), (1440 << 10, 18), (1680 << 10, 21), (1_478_656, 36), (720 << 10, 9),
    (2880 << 10, 36)])
def test_an_image_of_no_known_size_is_a_usual_diskette(size, sectors):
    assert floppy.format_of(size).sectors == sectors


def test_what_is_larger_than_any_diskette_is_none():
    with pytest.raises(ValueError, match="no diskette"):
        floppy.format_of(2881 << 10)
    with pytest.raises(ValueError, match="no diskette"):
        Floppy(Medium()).chip.insert(0, Medium(4 << 20))


@pytest.mark.parametrize("kib, kind", [(160, 2), (360, 2), (720, 4), (1200, 2), (1440, 4), (2880, 5)])
def test_the_drive_of_a_diskette(kib, kind):
    assert floppy.drive_for(kib << 10) == kind
