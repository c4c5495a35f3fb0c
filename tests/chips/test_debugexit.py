"""QEMU's isa-debug-exit."""

from __future__ import annotations

import pytest

from emu.chips.debugexit import DebugExit
from tests.chips.bench import Bench


@pytest.mark.parametrize(("size", "value"), [(1, 0x10), (2, 0x1234), (4, 0x12345678), (1, 0)])
def test_the_status_is_the_value_doubled_plus_one(size, value):
    left = []
    b = Bench(DebugExit, left.append)
    address, _ = b.address("CODE")
    b.bus.write[address << 4 | size](value)
    assert left == [value << 1 | 1]


def test_it_reads_zero():
    b = Bench(DebugExit, lambda status: None)
    b.write("CODE", 7)
    assert b.read("CODE") == 0
