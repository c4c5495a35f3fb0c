"""The printed data sheet and the assembly symbols of a board."""

from __future__ import annotations

from pathlib import Path

import pytest

from emu.bus import Bus
from emu.chips.uart16550 import UART16550
from emu.clock import Clock
from emu.datasheet import placements, ports_inc, render
from emu.device import RW, Device, In, Out, R, Reg, State, Timer
from emu.firmware import build


class Sample(Device):
    DATA = Reg(0, RW, "the data")
    STAT = Reg(1, R, "status", "BUSY 0 0 0 0 1 uP OK", reset=0x81)
    BACK = Reg(1, RW, "behind it", bank=2)
    WIDE = Reg(0, RW, "a wide one", "EN " + "0 " * 14 + "GO", size=2, block="mmio")
    KEPT = State(0, "what is kept")
    IR = In("requests", width=8)
    ONE = In("a request")
    INT = Out("to the processor")
    TICK = Timer("every now and then")

    def on_IR(self, pin, level):
        pass

    on_ONE = on_IR

    def on_TICK(self):
        pass


def made(cls, name, *args):
    chip = cls(*args)
    chip.attach(name, Clock(lambda: 0))
    return chip


@pytest.fixture
def sample():
    return made(Sample, "sample")


def test_a_data_sheet_shows_registers_pins_timers_and_state_in_columns(sample):
    assert render([(sample, {"at": 0x3F8, "mmio": 0xFEC0_0000})]) == """\
sample
======
The printed data sheet and the assembly symbols of a board.

registers at 0x3f8; (n) is seen while bank n is selected
  03f8  rw  DATA      00  the data
  03f9  r   STAT      81  status  BUSY  0  0  0  0  1  uP  OK
  03f9  rw  BACK (2)  00  behind it

registers of mmio at 0xfec00000
  fec00000  rw  WIDE  0000  a wide one  15 EN, 0 GO

inputs
  IR0-7  requests
  ONE    a request

outputs
  INT  to the processor

timers
  TICK  every now and then

state
  KEPT  what is kept
"""


def test_a_data_sheet_says_what_is_not_modelled():
    text = render([(made(UART16550, "com1", print), {"at": 0x3F8})])
    assert "\nNot modelled: the time that a byte takes to leave" in text
    assert "  03fd  r   LSR      60  line status " in text
    assert max(map(len, text.splitlines())) <= 120


def test_each_register_and_bit_that_is_placed_has_a_symbol(sample):
    assert ports_inc([(sample, {"at": 0x3F8})]) == """\
# Made by emu.datasheet from the declarations of the chips.

# sample: Sample
.set SAMPLE_DATA,      0x3F8
.set SAMPLE_STAT,      0x3F9
.set SAMPLE_STAT_BUSY, 0x80
.set SAMPLE_STAT_UP,   0x02
.set SAMPLE_STAT_OK,   0x01
.set SAMPLE_BACK,      0x3F9
"""


def test_a_chip_without_registers_has_no_symbols(sample):
    assert ports_inc([(sample, {})]).count("\n") == 1


def test_the_uart_has_the_symbols_that_firmware_uses():
    lines = ports_inc([(made(UART16550, "com1", print), {"at": 0x3F8})]).splitlines()
    symbols = dict(line.removeprefix(".set ").split(",") for line in lines if line.startswith(".set"))
    assert int(symbols["COM1_THR"], 16) == 0x3F8
    assert int(symbols["COM1_LSR_THRE"], 16) == 0x20
    assert int(symbols["COM1_LCR_DLAB"], 16) == 0x80


def test_a_symbol_that_two_chips_would_make_is_refused(sample):
    with pytest.raises(ValueError, match="sample and sample both make the symbol SAMPLE_DATA"):
        ports_inc([(sample, {"at": 0}), (sample, {"at": 8})])


def test_the_places_of_a_board_are_those_on_its_buses(sample):
    ports, mmio, other = Bus(), Bus(), made(Sample, "other")
    ports.place(sample, "at", 0x3F8)
    mmio.place(sample, "mmio", 0xFEC0_0000)
    assert placements([sample, other], ports, mmio) == [(sample, {"at": 0x3F8, "mmio": 0xFEC0_0000}), (other, {})]


def test_the_names_that_our_firmware_uses_are_those_of_the_chips():
    path = Path(__file__).parent.parent / "firmware" / "ports.inc"
    assert path.read_text() == build.ports(), "firmware/ports.inc is stale: python firmware/build.py --ports writes it"
