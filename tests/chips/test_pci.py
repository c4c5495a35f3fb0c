"""PCIFunction and BAR.  [PCI] PCI Local Bus Specification 2.1, chapter 6."""

from __future__ import annotations

import pytest

from emu.bus import Bus
from emu.chips.pci import BAR, ROMBAR, SPACE, PCIFunction
from emu.clock import Clock
from emu.device import RW, R, Reg
from tests.chips.bench import Bench

IOSE, MSE, BME = 1, 2, 4


class Adapter(PCIFunction):
    VID = Reg(0x00, R, "vendor", size=2, reset=0x1234, block="config")
    PCICMD = Reg(0x04, RW, "command", "0 0 0 0 0 0 FBE SERRE WCC PER VPS MWI SCE BME MSE IOSE", size=2, block="config",
                 mask=IOSE | MSE | BME)
    BAR0 = BAR(0, "memory", 1 << 20, "memory", prefetch=True)
    BAR1 = BAR(1, "io", 16, "registers", shows="at")
    EXPROM = ROMBAR(1 << 16)
    INTPN = Reg(0x3D, R, "interrupt pin", reset=1, block="config")
    DATA = Reg(0, RW, "data")

    def __init__(self):
        self.told = []
        self.show = lambda device, block, space, base, length: self.told.append((block, space, base, length))

    def on_bar(self, bar, base):
        super().on_bar(bar, base)
        self.told.append((bar.name, base))


@pytest.fixture
def b():
    bench = Bench(Adapter)
    bench.chip.told.clear()
    return bench


def test_sizing_a_base_address_register_reads_back_the_bits_that_can_be_written(b):
    b.write("BAR0", 0xFFFFFFFF)
    b.write("BAR1", 0xFFFFFFFF)
    b.write("EXPROM", 0xFFFFFFFE)
    assert [b.read(name) for name in ("BAR0", "BAR1", "EXPROM")] == [0xFFF00008, 0xFFFFFFF1, 0xFFFF0000]


def test_the_kind_of_space_cannot_be_written(b):
    for name in "BAR0", "BAR1":
        b.write(name, 0)
    assert [b.read("BAR0"), b.read("BAR1")] == [8, 1]


def test_a_space_is_decoded_while_the_command_register_says_so(b):
    b.write("BAR0", 0xE0000000)
    b.write("BAR1", 0xC001)
    assert b.chip.told == []
    b.write("PCICMD", IOSE)
    assert b.chip.told == [("at", "io", 0xC000, 16), ("BAR1", 0xC000)]
    b.chip.told.clear()
    b.write("PCICMD", MSE)
    assert b.chip.told == [("BAR0", 0xE0000000), ("at", "io", None, 16), ("BAR1", None)]


def test_a_decoded_space_moves_with_its_register(b):
    b.write("PCICMD", IOSE | MSE)
    b.write("BAR0", 0xE0000000)
    b.write("BAR0", 0xE0000000)
    b.write("BAR0", 0xD0000000)
    assert b.chip.told == [("BAR0", 0xE0000000), ("BAR0", 0xD0000000)]


@pytest.mark.parametrize("name, value", [
    ("BAR0", 0),                # as after a reset
    ("BAR1", 0x10001),          # beyond what the processor can say
    ("BAR1", 0xFFFFFFF1),       # while it is sized
    ("BAR1", 0),
])
def test_a_space_that_cannot_be_reached_is_not_decoded(b, name, value):
    b.write("PCICMD", IOSE | MSE)
    b.write(name, value)
    assert b.chip.told == []


def test_the_expansion_rom_needs_its_own_enable_and_that_of_memory(b):
    b.write("EXPROM", 0xFEB00000)
    b.write("PCICMD", MSE)
    assert b.chip.told == []
    b.write("EXPROM", 0xFEB00001)
    assert b.chip.told == [("EXPROM", 0xFEB00000)]
    b.write("PCICMD", 0)
    assert b.chip.told[-1] == ("EXPROM", None)


def test_only_the_implemented_bits_of_the_command_register_can_be_set(b):
    b.write("PCICMD", 0xFFFF)
    assert b.read("PCICMD") == IOSE | MSE | BME


def test_writing_ones_clears_status_bits_and_only_those(b):
    b.chip.pcists = 0xF180
    b.write("PCISTS", 0x2000)
    assert b.read("PCISTS") == 0xD180
    address, _ = b.address("PCISTS")
    b.bus.write[address + 1 << 4 | 1](0x80)
    assert b.read("PCISTS") == 0x5180
    b.bus.write[address << 4 | 1](0xFF)
    assert b.read("PCISTS") == 0x5180                       # of the low byte, none is writable


def test_identity_cannot_be_written(b):
    b.write("VID", 0xFFFF)
    assert b.read("VID") == 0x1234


def test_the_interrupt_line_is_kept_for_software_where_there_is_a_pin(b):
    b.write("INTLN", 11)
    assert b.read("INTLN") == 11
    bare = Bench(PCIFunction)
    bare.write("INTLN", 11)
    assert bare.read("INTLN") == 0


def test_unimplemented_registers_read_0_and_drop_writes():
    chip, bus = Adapter(), Bus()
    chip.attach("adapter", Clock(lambda: 0))
    bus.place(chip, "config", 0x800, SPACE)
    bus.write[0x840 << 4 | 4](0xFFFFFFFF)
    bus.write[0x80C << 4 | 4](0xFFFFFFFF)
    assert [bus.read[0x800 + at << 4 | 4]() for at in (0x40, 0x0C, 0xFC, 0x00)] == [0, 0, 0, 0x1234]


def test_a_reset_decodes_nothing(b):
    b.write("PCICMD", MSE)
    b.write("BAR0", 0xE0000000)
    b.chip.told.clear()
    b.chip.reset()
    assert b.chip.told == [("BAR0", None)]
    assert (b.read("BAR0"), b.read("PCICMD")) == (8, 0)


def test_a_restored_function_shows_its_spaces_again(b):
    b.write("PCICMD", MSE | IOSE)
    b.write("BAR0", 0xE0000000)
    b.write("BAR1", 0xC000)
    saved = b.chip.save()
    other = Bench(Adapter)
    other.chip.told.clear()
    other.chip.restore(saved)
    assert other.chip.told == [("BAR0", 0xE0000000), ("at", "io", 0xC000, 16), ("BAR1", 0xC000), ("EXPROM", None)]
    other.chip.told.clear()
    other.write("PCICMD", MSE)
    assert other.chip.told == [("at", "io", None, 16), ("BAR1", None)]


@pytest.mark.parametrize("space, length", [("io", 2), ("io", 24), ("memory", 8), ("rom", 1024)])
def test_a_length_is_a_power_of_two_and_not_too_short(space, length):
    with pytest.raises(ValueError, match="no power of two"):
        BAR(0, space, length, "bad")
