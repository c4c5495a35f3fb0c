"""Port92.  [P] IBM PS/2 Hardware Interface Technical Reference, "System Control Port A"."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.chips.port92 import PULSE, Port92
from tests.chips.bench import Bench


@pytest.fixture
def b():
    return Bench(Port92)


def test_bit_1_gates_a20(b):
    b.write("CONTROL", 2)
    assert b.read("CONTROL") == 2
    b.write("CONTROL", 0)
    assert b.pins == [("A20", 1), ("A20", 0)]


def test_bit_0_pulses_the_reset_line(b):
    b.write("CONTROL", 1)
    assert b.pins == [("RC", 1)]
    b.advance(PULSE)
    assert b.pins == [("RC", 1), ("RC", 0)]


def test_only_a_rise_of_bit_0_resets(b):
    b.write("CONTROL", 1)
    b.advance(PULSE)
    b.write("CONTROL", 3, 1)
    assert b.pins.count(("RC", 1)) == 1
    b.write("CONTROL", 0, 1)
    assert b.pins.count(("RC", 1)) == 2


def test_a20_is_set_before_the_reset(b):
    b.write("CONTROL", 3)
    assert b.pins == [("A20", 1), ("RC", 1)]


def test_a_board_may_reset_the_chip_from_its_reset_line(b):
    b.chip.rc.sinks.append(lambda level: level and b.chip.reset())
    b.write("CONTROL", 3)
    assert b.chip.save() == Bench(Port92).chip.save()


def test_the_lock_bit_stays_set(b):
    b.write("CONTROL", 8, 0)
    assert b.read("CONTROL") == 8


def test_reserved_bits_read_zero(b):
    b.write("CONTROL", 0xFE)
    assert b.read("CONTROL") == 0xCA


@given(st.lists(st.integers(0, 255)))
def test_a_restored_chip_equals_the_saved_one(values):
    one, two = Bench(Port92), Bench(Port92)
    one.write("CONTROL", *values)
    two.chip.restore(one.chip.save())
    assert two.chip.save() == one.chip.save()
    one.advance(PULSE)
    two.advance(PULSE)
    assert two.chip.save() == one.chip.save()
