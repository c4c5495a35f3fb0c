"""PIIX3, function 0.  [I] Intel 82371SB data sheet, 290550."""

from __future__ import annotations

import pytest

from emu.chips.piix3 import PIIX3, ROUTES
from tests.chips.bench import Bench


@pytest.fixture
def b():
    return Bench(PIIX3)


def test_the_header_is_that_of_an_isa_bridge_of_several_functions(b):
    assert [b.read(name) for name in ("VID", "DID", "CLASSC", "HEDT", "PCICMD", "PCISTS", "INTPN")] == [
        0x8086, 0x7000, 0x060100, 0x80, 0x0007, 0x0200, 0]


def test_io_memory_and_master_cannot_be_turned_off(b):
    b.write("PCICMD", 0)
    assert b.read("PCICMD") == 7


def test_after_a_reset_no_pirq_is_routed(b):
    for pin in b.chip.pirq:
        pin(1)
    assert b.pins == []
    assert [b.read(f"PIRQRC{n}") for n in "ABCD"] == [0x80] * 4


@pytest.mark.parametrize("number", sorted(ROUTES))
def test_a_pirq_goes_to_the_interrupt_that_its_register_names(b, number):
    b.write("PIRQRCC", number)
    b.chip.pirq[2](1)
    b.chip.pirq[1](1)
    b.chip.pirq[2](0)
    assert b.pins == [(f"IRQ{number}", 1), (f"IRQ{number}", 0)]


@pytest.mark.parametrize("number", sorted(set(range(16)) - ROUTES))
def test_a_reserved_route_is_none(b, number):
    b.write("PIRQRCA", number)
    b.chip.pirq[0](1)
    assert b.pins == []


def test_an_interrupt_is_asserted_while_any_pirq_of_it_is(b):
    b.write("PIRQRCA", 11)
    b.write("PIRQRCD", 11)
    b.chip.pirq[0](1)
    b.chip.pirq[3](1)
    b.chip.pirq[0](0)
    assert b.pins == [("IRQ11", 1)]
    b.chip.pirq[3](0)
    assert b.pins == [("IRQ11", 1), ("IRQ11", 0)]


def test_a_level_moves_with_its_route(b):
    b.chip.pirq[1](1)
    b.write("PIRQRCB", 10)
    b.write("PIRQRCB", 5)
    b.write("PIRQRCB", 0x85)
    assert b.pins == [("IRQ10", 1), ("IRQ5", 1), ("IRQ10", 0), ("IRQ5", 0)]


def test_the_reserved_bits_of_a_route_read_0(b):
    b.write("PIRQRCA", 0xFF)
    assert b.read("PIRQRCA") == 0x8F


def test_a_rise_of_rcpu_resets_hard_or_soft_as_srst_says(b):
    b.write("RCR", 2)
    assert b.pins == []
    b.write("RCR", 6, 6)
    assert b.pins == [("CPURST", 1), ("CPURST", 0)]
    b.write("RCR", 0, 4)
    assert b.pins[2:] == [("INIT", 1), ("INIT", 0)]


def test_reset_control_reads_back_without_its_reserved_bits(b):
    b.write("RCR", 0xFB)
    assert b.read("RCR") == 2


def test_defaults_of_what_is_stored(b):
    names = "IORT", "XBCS", "TOM", "MBIRQ0", "PCSC", "SMICNTL", "FTMR", "APICBASE"
    assert [b.read(name) for name in names] == [0x4D, 0x0003, 0x02, 0x80, 0x0002, 0x08, 0x0F, 0]
    b.write("XBCS", 0xFFFF)
    assert b.read("XBCS") == 0x07FF
