"""System control port B."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from emu.chips.port61 import Port61
from tests.chips.bench import Bench


def port(out2: int = 0) -> Bench:
    return Bench(Port61, lambda: out2)


def test_bit_0_is_the_gate_of_timer_2_and_bit_1_enables_the_speaker() -> None:
    bench = port()
    bench.write("NMISC", 0x03)
    bench.write("NMISC", 0x03)
    bench.write("NMISC", 0x01)
    assert bench.pins == [("GATE2", 1), ("SPKR", 1), ("SPKR", 0)]
    assert bench.chip.gate2.level == 1


def test_bits_0_to_3_read_as_written_and_the_others_cannot_be_written() -> None:
    bench = port()
    bench.write("NMISC", 0xFF)
    assert bench.read("NMISC") == 0x0F


def test_bit_4_toggles_with_each_refresh_request() -> None:
    bench = port()
    levels = []
    for _ in range(1000):
        levels.append(bench.read("NMISC") >> 4 & 1)
        bench.advance(1000)
    changes = sum(a != b for a, b in pairwise(levels))
    assert changes == 999_000 // 15_085                 # each 15.085 us


def test_bit_5_is_out2_at_the_time_of_the_read() -> None:
    level = 1
    bench = Bench(Port61, lambda: level)
    assert bench.read("NMISC") == 0x20
    level = 0
    assert bench.read("NMISC") == 0x00


@given(st.lists(st.integers(0, 0xFF)))
def test_restore_is_the_inverse_of_save(values: list[int]) -> None:
    bench, other = port(), port()
    for value in values:
        bench.write("NMISC", value)
        assert bench.read("NMISC") & 0xCF == value & 0x0F
    other.chip.restore(bench.chip.save())
    assert other.chip.save() == bench.chip.save()
    assert other.read("NMISC") == bench.read("NMISC")


def test_reset_is_power_on() -> None:
    bench = port()
    fresh = bench.chip.save()
    bench.write("NMISC", 0x0F)
    bench.chip.reset()
    assert bench.chip.save() == fresh
