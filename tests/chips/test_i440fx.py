"""I440FX.  [I] Intel 82441FX data sheet, 290549; [PCI] PCI Local Bus Specification 2.1, 3.2.2.3 and chapter 6."""

from __future__ import annotations

import pytest

from emu.chips.i440fx import I440FX, SEGMENTS, boundaries
from emu.chips.pci import PCIFunction
from emu.clock import Clock
from emu.device import RW, R, Reg
from tests.chips.bench import Bench

MIB = 1 << 20
ENABLE = 1 << 31
CONFADD, CONFDATA = 0x1000, 0x1004              # where the bench places the block


class Adapter(PCIFunction):
    VID = Reg(0x00, R, "vendor", size=2, reset=0xABCD, block="config")
    DID = Reg(0x02, R, "device", size=2, reset=0x1234, block="config")
    SCRATCH = Reg(0x40, RW, "scratch", size=4, block="config")


class Bridge(Bench):
    """The bench with configuration cycles, and a log of what goes to DRAM."""

    def __init__(self, memory=64 * MIB):
        self.dram = []
        super().__init__(I440FX, memory, lambda *told: self.dram.append(told))
        self.base["at"] = CONFADD
        self.adapter = Adapter()
        self.adapter.attach("adapter", Clock(lambda: 0))
        self.chip.plug(self.adapter, 3, 1)

    def port(self, address, size=4):
        return self.bus.read[address << 4 | size]()

    def out(self, address, value, size=4):
        self.bus.write[address << 4 | size](value)

    def config(self, register, size=4, device=0, function=0, bus=0):
        self.out(CONFADD, ENABLE | bus << 16 | device << 11 | function << 8 | register & 0xFC)
        return self.port(CONFDATA + (register & 3), size)


@pytest.fixture
def b():
    return Bridge()


# Configuration mechanism #1

def test_confdata_is_the_register_that_confadd_names(b):
    assert b.config(0, device=3, function=1) == 0x1234ABCD
    assert b.config(0) == 0x12378086
    b.config(0x40, device=3, function=1)
    b.out(CONFDATA, 0x11223344)
    assert b.adapter.scratch == 0x11223344


def test_confdata_is_read_and_written_by_bytes_and_half_words(b):
    b.adapter.scratch = 0x44332211
    assert [b.config(0x40 + i, 1, 3, 1) for i in range(4)] == [0x11, 0x22, 0x33, 0x44]
    assert [b.config(0x40 + i, 2, 3, 1) for i in range(3)] == [0x2211, 0x3322, 0x4433]
    b.out(CONFDATA + 3, 0x99, 1)
    b.out(CONFDATA + 1, 0xBBAA, 2)
    assert b.adapter.scratch == 0x99BBAA11


def test_confadd_is_a_double_word_and_nothing_narrower(b):
    b.out(CONFADD, 0x80001940)
    b.out(CONFADD, 0xFF, 1)
    b.out(CONFADD + 2, 0xFFFF, 2)
    assert b.port(CONFADD) == 0x80001940
    assert [b.port(CONFADD, 1), b.port(CONFADD + 1, 1), b.port(CONFADD, 2)] == [0xFF, 0xFF, 0xFFFF]


def test_the_reserved_bits_of_confadd_read_0(b):
    b.out(CONFADD, 0xFFFFFFFF)
    assert b.port(CONFADD) == 0x80FFFFFC


def test_without_the_enable_bit_there_is_no_configuration_cycle(b):
    b.out(CONFADD, 0x00000000)
    assert b.port(CONFDATA) == 0xFFFFFFFF
    b.out(CONFDATA, 0x0147)
    assert b.config(4, 2) == 0x0006
    assert not b.read("PCISTS") & 0x2000


@pytest.mark.parametrize("where", [{"device": 3}, {"device": 5}, {"bus": 1}, {"function": 1}])
def test_a_function_that_is_not_there_reads_all_ones_and_is_a_master_abort(b, where):
    assert b.config(0, **where) == 0xFFFFFFFF
    assert b.config(0, 1, **where) == 0xFF
    b.out(CONFDATA, 0, 1)
    assert b.read("PCISTS") == 0x2280
    b.write("PCISTS", 0x2000)
    assert b.read("PCISTS") == 0x0280


def test_what_a_function_does_not_implement_reads_0(b):
    assert b.config(0x44, device=3, function=1) == 0


# The header

def test_the_bridge_is_a_master_and_answers_in_memory_always(b):
    b.write("PCICMD", 0)
    assert b.read("PCICMD") == 0x0006
    b.write("PCICMD", 0xFFFF)
    assert b.read("PCICMD") == 0x0146


def test_the_header(b):
    assert b.config(0x08) == 0x06000002
    assert b.config(0x0C) == 0
    assert b.config(0x2C) == 0x11001AF4
    assert b.config(0x3C) == 0


# Programmable attribute map

def test_after_a_reset_the_segments_go_to_pci(b):
    assert sorted(b.dram) == sorted((address, length, False, False) for _, _, address, length in SEGMENTS)


@pytest.mark.parametrize("register, shift, address, length", [
    ("PAM0", 4, 0xF0000, 0x10000), ("PAM1", 0, 0xC0000, 0x4000), ("PAM1", 4, 0xC4000, 0x4000),
    ("PAM2", 0, 0xC8000, 0x4000), ("PAM2", 4, 0xCC000, 0x4000), ("PAM3", 0, 0xD0000, 0x4000),
    ("PAM3", 4, 0xD4000, 0x4000), ("PAM4", 0, 0xD8000, 0x4000), ("PAM4", 4, 0xDC000, 0x4000),
    ("PAM5", 0, 0xE0000, 0x4000), ("PAM5", 4, 0xE4000, 0x4000), ("PAM6", 0, 0xE8000, 0x4000),
    ("PAM6", 4, 0xEC000, 0x4000),
])
def test_two_bits_of_a_segment_say_which_accesses_go_to_dram(b, register, shift, address, length):
    for value, reads, writes in (1, True, False), (2, False, True), (3, True, True), (0, False, False):
        b.dram.clear()
        b.write(register, value << shift)
        assert b.dram == [(address, length, reads, writes)]


def test_of_segments_that_stay_as_they_are_nothing_is_told(b):
    b.write("PAM1", 0x33)
    b.dram.clear()
    b.write("PAM1", 0x33)
    b.write("PAM1", 0x31)
    assert b.dram == [(0xC0000, 0x4000, True, False)]


def test_the_reserved_bits_of_an_attribute_register_read_0(b):
    b.write("PAM0", 0xFF)
    b.write("PAM6", 0xFF)
    assert [b.read("PAM0"), b.read("PAM6")] == [0x30, 0x33]


@pytest.mark.parametrize("value, hole", [(0x40, (0x80000, 0x20000)), (0x80, (0xF00000, 0x100000))])
def test_a_hole_in_dram_goes_to_pci(b, value, hole):
    b.dram.clear()
    b.write("FDHC", value)
    b.write("FDHC", 0)
    assert b.dram == [(*hole, False, False), (*hole, True, True)]


def test_a_reset_takes_the_segments_from_dram(b):
    b.write("PAM0", 0x30)
    b.dram.clear()
    b.chip.reset()
    assert b.dram == [(0xF0000, 0x10000, False, False)]


def test_a_restored_bridge_tells_all_again(b):
    b.write("PAM0", 0x30)
    b.write("FDHC", 0x40)
    other = Bridge()
    other.dram.clear()
    other.chip.restore(b.chip.save())
    assert len(other.dram) == 15
    assert (0xF0000, 0x10000, True, True) in other.dram and (0x80000, 0x20000, False, False) in other.dram


# Other registers

@pytest.mark.parametrize("memory, ends", [
    (8, [1] * 8), (64, [8] * 8), (256, [32] * 8), (384, [32] + [48] * 7), (1024, [32, 64, 96] + [128] * 5),
    (4, [1] * 8), (1 << 20, [32, 64, 96, 128, 160, 192, 224, 255]),
])
def test_the_row_boundaries_are_those_of_the_memory(memory, ends):
    b = Bridge(memory * MIB)
    assert [b.read(f"DRB{i}") for i in range(8)] == ends == boundaries(memory * MIB)
    b.write("DRB0", 0x55)
    assert b.read("DRB0") == 0x55


def test_locked_smram_is_closed_and_stays_as_it_is_until_a_reset(b):
    assert b.read("SMRAM") == 0x02
    b.write("SMRAM", 0x4F)
    assert b.read("SMRAM") == 0x4A
    b.write("SMRAM", 0x5A)
    assert b.read("SMRAM") == 0x1A
    b.write("SMRAM", 0x40)
    assert b.read("SMRAM") == 0x1A
    b.chip.reset()
    assert b.read("SMRAM") == 0x02


def test_a_rise_of_rcpu_resets(b):
    b.write("TRC", 0x02)
    assert b.pins == []
    b.write("TRC", 0x06, 0x06)
    assert b.pins == [("RST", 1), ("RST", 0)]
