"""PIIX4, function 3.  [I] Intel 82371AB data sheet, 290562; [ACPI] ACPI 1.0b, 4.7."""

from __future__ import annotations

import pytest

from emu.chips.piix4pm import ACPI_DISABLE, ACPI_ENABLE, CLOCK_HZ, HALF, PIIX4PM, SECOND
from tests.chips.bench import Bench

TMROF, GBL, PWRBTN = 1 << 0, 1 << 5, 1 << 8
SCI_EN, SUS_EN = 1 << 0, 1 << 13
TOGGLE = -(-HALF * SECOND // CLOCK_HZ)          # ns to the first change of bit 23


@pytest.fixture
def b():
    return Bench(PIIX4PM)


def shown(b):
    told = []
    b.chip.show = lambda device, block, space, base, length: told.append((block, space, base, length))
    return told


# Where the registers are

def test_the_header(b):
    assert [b.read(name) for name in ("VID", "DID", "CLASSC", "PCICMD", "PCISTS", "INTPN")] == [
        0x8086, 0x7113, 0x068000, 0, 0x0280, 1]


def test_the_power_management_registers_are_at_pmba_while_pmiose_is_set(b):
    told = shown(b)
    b.write("PMBA", 0x0600)
    assert told == [] and b.read("PMBA") == 0x0601
    b.write("PMREGMISC", 1)
    b.write("PMBA", 0xB000)
    b.write("PMREGMISC", 0)
    assert told == [("pm", "io", 0x0600, 64), ("pm", "io", 0xB000, 64), ("pm", "io", None, 64)]


def test_the_bits_of_pmba_outside_of_the_base_read_as_the_data_sheet_says(b):
    b.write("PMBA", 0xFFFFFFFF)
    assert b.read("PMBA") == 0x0000FFC1
    b.write("SMBBA", 0xFFFFFFFF)
    assert b.read("SMBBA") == 0x0000FFF1


def test_the_smbus_host_needs_its_enable_and_that_of_io(b):
    told = shown(b)
    b.write("SMBBA", 0x0700)
    b.write("SMBHSTCFG", 1)
    assert told == []
    b.write("PCICMD", 1)
    b.write("SMBHSTCFG", 0)
    assert told == [("smbus", "io", 0x0700, 16), ("smbus", "io", None, 16)]


def test_a_reset_hides_them_and_a_restore_shows_them(b):
    b.write("PMBA", 0x0600)
    b.write("PMREGMISC", 1)
    saved, told = b.chip.save(), shown(b)
    b.chip.reset()
    b.chip.restore(saved)
    assert told == [("pm", "io", None, 64), ("pm", "io", 0x0600, 64), ("smbus", "io", None, 16)]


# The timer

def test_the_timer_counts_24_bits_at_3579545_Hz(b):
    b.advance(SECOND)
    assert b.read("PMTMR") == 3_579_545
    b.advance(4 * SECOND)
    assert b.read("PMTMR") == 5 * 3_579_545 - (1 << 24)


def test_the_timer_cannot_be_written(b):
    b.advance(1000)
    b.write("PMTMR", 0)
    assert b.read("PMTMR") == 3


def test_tmrof_is_set_by_either_change_of_bit_23(b):
    b.advance(TOGGLE - 1)
    assert not b.read("PMSTS") & TMROF
    b.advance(1)
    assert b.read("PMSTS") & TMROF
    b.write("PMSTS", TMROF)
    assert not b.read("PMSTS") & TMROF
    b.advance(TOGGLE)
    assert b.read("PMSTS") & TMROF


def test_the_timer_interrupts_where_it_is_enabled(b):
    b.write("PMCNTRL", SCI_EN)
    b.write("PMEN", TMROF)
    b.advance(TOGGLE - 1)
    assert b.pins == []
    b.advance(1)
    assert b.pins == [("SCI", 1)]
    b.write("PMSTS", TMROF)
    assert b.pins == [("SCI", 1), ("SCI", 0)]
    b.advance(TOGGLE)
    assert b.pins[2:] == [("SCI", 1)]


def test_without_sci_en_there_is_no_sci(b):
    b.write("PMEN", TMROF | PWRBTN)
    b.advance(TOGGLE)
    b.chip.pwrbtn(1)
    assert b.pins == [] and b.clock.next() is None
    b.write("PMCNTRL", SCI_EN)
    assert b.pins == [("SCI", 1)]


# Events and control

def test_the_power_button_sets_its_status_when_it_is_pressed(b):
    b.write("PMCNTRL", SCI_EN)
    b.write("PMEN", PWRBTN)
    b.chip.pwrbtn(1)
    b.write("PMSTS", PWRBTN)
    b.chip.pwrbtn(0)
    assert b.pins == [("SCI", 1), ("SCI", 0)]


def test_a_status_byte_clears_only_its_own_bits(b):
    b.chip.pmsts = PWRBTN | GBL
    address, _ = b.address("PMSTS")
    b.bus.write[address << 4 | 1](0xFF)
    assert b.read("PMSTS") == PWRBTN
    b.bus.write[address + 1 << 4 | 1](0x01)
    assert b.read("PMSTS") == 0


def test_general_purpose_events_interrupt_as_they_are_enabled(b):
    b.write("PMCNTRL", SCI_EN)
    b.chip.gpsts = 1 << 9
    b.write("GPEN", 1 << 8)
    assert b.pins == []
    b.write("GPEN", 1 << 9)
    b.write("GPSTS", 1 << 9)
    assert b.pins == [("SCI", 1), ("SCI", 0)] and b.read("GPSTS") == 0


def test_suspend_of_type_0_switches_the_power_off(b):
    b.write("PMCNTRL", SUS_EN | SCI_EN)
    assert b.pins == [("SUSC", 1), ("SUSC", 0)]
    assert b.read("PMCNTRL") == SCI_EN


@pytest.mark.parametrize("kind", range(1, 8))
def test_other_suspends_do_nothing(b, kind):
    b.write("PMCNTRL", SUS_EN | kind << 10)
    assert b.pins == [] and b.read("PMCNTRL") == kind << 10


def test_acpi_is_enabled_and_disabled_by_apmc(b):
    b.write("APMC", ACPI_ENABLE)
    assert b.read("PMCNTRL") == SCI_EN
    b.write("APMC", 0x55)
    assert b.read("PMCNTRL") == SCI_EN and b.read("APMC") == 0x55
    b.write("APMC", ACPI_DISABLE)
    assert b.read("PMCNTRL") == 0


def test_apms_is_for_the_firmware(b):
    b.write("APMS", 0xA5)
    assert b.read("APMS") == 0xA5


def test_apmc_en_is_set_as_by_a_firmware_that_has_set_up_its_smi(b):
    assert b.read("DEVACTB") == 1 << 25


# SMBus

def test_a_transaction_without_a_device_ends_with_dev_err(b):
    b.write("SMBHSTADD", 0xA1)
    b.write("SMBHSTCNT", 0x48)
    assert b.read("SMBHSTSTS") == 0x04 and b.read("SMBHSTCNT") == 0x08
    b.write("SMBHSTSTS", 0xFF)
    assert b.read("SMBHSTSTS") == 0


def test_its_end_interrupts_by_irq9_where_that_is_asked_for(b):
    b.write("SMBHSTCNT", 0x41)
    assert b.pins == []
    b.write("SMBHSTCFG", 0x09)
    assert b.pins == [("SCI", 1)]
    b.write("SMBHSTSTS", 0x04)
    assert b.pins == [("SCI", 1), ("SCI", 0)]


def test_kill_ends_with_failed(b):
    b.write("SMBHSTCNT", 0x42)
    assert b.read("SMBHSTSTS") == 0x10
