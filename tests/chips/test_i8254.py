"""8254: the data sheet's sentences."""

from __future__ import annotations

import pytest

from emu.chips.i8254 import CLOCK_HZ, I8254
from tests.chips.bench import Bench


def at(pulse: int) -> int:
    """When CLK pulse `pulse` is."""
    return -(-pulse * 10**9 // CLOCK_HZ)


class Timer(Bench):
    """An 8254 whose three gates are wired and high, moved in CLK pulses; `rises` are the times at which OUT0 rose."""

    def __init__(self, gates: tuple[int, ...] = (0, 1, 2)) -> None:
        super().__init__(I8254, gates)
        self.rises: list[int] = []
        self.chip.out0.sinks.append(lambda level: self.rises.append(self.now) if level else None)
        for pin in (self.chip.gate0, self.chip.gate1, self.chip.gate2):
            pin(1)

    def pulses(self, n: int) -> None:
        self.advance(at(self.now * CLOCK_HZ // 10**9 + n) - self.now)

    def outs(self, n: int, channel: int = 0) -> str:
        """OUT after each of the next n pulses."""
        levels = ""
        for _ in range(n):
            self.pulses(1)
            levels += str(self.chip.out(channel))
        return levels

    def counts(self, n: int) -> list[int]:
        """The counting element of counter 0 after each of the next n pulses."""
        values = []
        for _ in range(n):
            self.pulses(1)
            values.append(self.count())
        return values

    def count(self) -> int:
        """Counter 0's, in two bytes."""
        self.write("CONTROL", 0x00)
        return self.read("COUNTER0") | self.read("COUNTER0") << 8

    def load(self, mode: int, count: int, bcd: int = 0) -> None:
        self.write("CONTROL", 0x30 | mode << 1 | bcd)
        self.write("COUNTER0", count & 0xFF, count >> 8)

    def status(self, channel: int = 0) -> int:
        self.write("CONTROL", 0xE0 | 2 << channel)
        return self.read(f"COUNTER{channel}")


@pytest.fixture
def pit() -> Timer:
    return Timer()


# Mode 0

def test_mode_0_out_goes_high_n_plus_1_clk_pulses_after_the_initial_count_is_written(pit: Timer) -> None:
    pit.load(0, 4)
    assert pit.outs(7) == "0000111"
    assert pit.rises == [at(5)]


def test_mode_0_counts_on_after_the_terminal_count(pit: Timer) -> None:
    pit.load(0, 2)
    assert pit.counts(5) == [2, 1, 0, 0xFFFF, 0xFFFE]


def test_mode_0_gate_low_disables_counting_and_has_no_effect_on_out(pit: Timer) -> None:
    pit.load(0, 3)
    pit.pulses(2)
    pit.chip.gate0(0)
    assert pit.counts(3) == [2, 2, 2]
    pit.chip.gate0(1)
    assert pit.counts(3) == [1, 0, 0xFFFF]
    pit.chip.gate0(0)
    assert pit.chip.out(0) == 1


def test_mode_0_a_count_written_while_gate_is_low_is_still_loaded(pit: Timer) -> None:
    pit.chip.gate0(0)
    pit.load(0, 3)
    assert pit.counts(3) == [3, 3, 3]
    assert pit.status() == 0x30
    pit.chip.gate0(1)
    assert pit.outs(3) == "001"            # N pulses after the gate, not N + 1


def test_mode_0_writing_the_first_byte_of_a_new_count_stops_counting_and_sets_out_low_at_once(pit: Timer) -> None:
    pit.load(0, 2)
    pit.pulses(5)
    pit.write("COUNTER0", 5)
    assert pit.chip.out(0) == 0
    assert len(set(pit.counts(3))) == 1
    pit.write("COUNTER0", 0)
    assert pit.counts(3) == [5, 4, 3]


# Mode 1

def test_mode_1_a_trigger_loads_the_counter_and_sets_out_low_on_the_next_clk_pulse(pit: Timer) -> None:
    pit.load(1, 3)
    assert pit.outs(3) == "111"
    pit.chip.gate0(0)
    pit.chip.gate0(1)
    assert pit.chip.out(0) == 1
    assert pit.outs(5) == "00011"


def test_mode_1_is_retriggerable(pit: Timer) -> None:
    pit.load(1, 3)
    for _ in range(3):
        pit.chip.gate0(0)
        pit.chip.gate0(1)
        assert pit.outs(2) == "00"
    assert pit.outs(2) == "01"


def test_mode_1_a_new_count_does_not_affect_the_current_one_shot_unless_retriggered(pit: Timer) -> None:
    pit.load(1, 3)
    pit.chip.gate0(0)
    pit.chip.gate0(1)
    pit.pulses(1)
    pit.write("COUNTER0", 5, 0)
    assert pit.status() & 0x40
    assert pit.outs(3) == "001"
    pit.chip.gate0(0)
    pit.chip.gate0(1)
    assert pit.outs(6) == "000001"


# Mode 2

def test_mode_2_out_is_low_for_one_clk_pulse_each_n(pit: Timer) -> None:
    pit.load(2, 3)
    assert pit.chip.out(0) == 1
    assert pit.outs(9) == "110110110"
    assert pit.rises[1:] == [at(4), at(7)]


def test_mode_2_a_pulse_is_two_levels_on_the_pin(pit: Timer) -> None:
    pit.load(2, 3)
    pit.pins.clear()
    pit.pulses(7)
    assert [level for name, level in pit.pins if name == "OUT0"] == [0, 1, 0, 1]


def test_mode_2_the_pulses_never_drift(pit: Timer) -> None:
    pit.load(2, 1193)
    pit.rises.clear()
    pit.advance(10**9)
    assert pit.rises == [at(1 + 1193 * i) for i in range(1, 1001)]


def test_mode_2_writing_a_new_count_does_not_affect_the_current_period(pit: Timer) -> None:
    pit.load(2, 4)
    pit.pulses(2)
    pit.write("COUNTER0", 3, 0)
    assert pit.status() & 0x40
    assert pit.counts(6) == [2, 1, 3, 2, 1, 3]
    assert not pit.status() & 0x40


def test_mode_2_gate_low_sets_out_high_at_once_and_a_trigger_reloads(pit: Timer) -> None:
    pit.load(2, 3)
    pit.pulses(3)
    assert pit.chip.out(0) == 0
    pit.chip.gate0(0)
    assert pit.chip.out(0) == 1
    assert pit.outs(4) == "1111"
    pit.chip.gate0(1)
    assert pit.counts(4) == [3, 2, 1, 3]


# Mode 3

def test_mode_3_even_counts_are_high_and_low_for_n_over_2(pit: Timer) -> None:
    pit.load(3, 4)
    assert pit.outs(8) == "11001100"
    assert Timer.counts(pit, 4) == [4, 2, 4, 2]


def test_mode_3_odd_counts_are_high_for_n_plus_1_over_2_and_low_for_n_minus_1_over_2(pit: Timer) -> None:
    pit.load(3, 5)
    assert pit.outs(10) == "1110011100"
    assert pit.counts(5) == [4, 2, 0, 4, 2]


def test_mode_3_a_new_count_is_loaded_at_the_end_of_the_current_half_cycle(pit: Timer) -> None:
    pit.load(3, 8)
    pit.pulses(2)
    pit.write("COUNTER0", 4, 0)
    assert pit.outs(8) == "11001100"


def test_mode_3_gate_low_sets_out_high_at_once(pit: Timer) -> None:
    pit.load(3, 4)
    pit.pulses(3)
    assert pit.chip.out(0) == 0
    pit.chip.gate0(0)
    assert pit.chip.out(0) == 1
    assert pit.outs(4) == "1111"
    pit.chip.gate0(1)
    assert pit.outs(5) == "11001"


# Modes 4 and 5

def test_mode_4_out_strobes_low_n_plus_1_clk_pulses_after_the_count_is_written(pit: Timer) -> None:
    pit.load(4, 3)
    assert pit.outs(6) == "111011"
    assert pit.rises[1:] == [at(5)]
    pit.advance(at(70000))
    assert len(pit.rises) == 2                                  # once only, though the counter wraps


def test_mode_4_a_new_count_is_loaded_on_the_next_clk_pulse(pit: Timer) -> None:
    pit.load(4, 3)
    pit.pulses(2)
    pit.write("COUNTER0", 2)                                    # the first byte has no effect
    pit.pulses(1)
    pit.write("COUNTER0", 0)
    assert pit.outs(4) == "1101"


def test_mode_4_gate_disables_counting_and_has_no_effect_on_out(pit: Timer) -> None:
    pit.load(4, 2)
    pit.pulses(3)
    pit.chip.gate0(0)
    assert pit.chip.out(0) == 0
    assert pit.outs(2) == "11"
    pit.chip.gate0(1)
    assert pit.outs(3) == "111"


def test_mode_4_the_strobe_ends_after_one_clk_pulse_whatever_is_written_in_it(pit: Timer) -> None:
    pit.load(4, 2)
    pit.pulses(3)
    pit.rises.clear()
    pit.write("COUNTER0", 5)
    pit.chip.gate0(0)
    assert pit.chip.out0.level == 0
    pit.pulses(1)
    assert pit.rises == [at(4)]


def test_mode_0_a_first_byte_cancels_a_count_that_is_not_loaded_yet(pit: Timer) -> None:
    pit.load(0, 2)
    pit.write("COUNTER0", 1)
    assert pit.outs(6) == "000000"


def test_mode_5_out_strobes_low_n_plus_1_clk_pulses_after_the_trigger(pit: Timer) -> None:
    pit.load(5, 3)
    assert pit.outs(3) == "111"
    pit.chip.gate0(0)
    pit.chip.gate0(1)
    pit.chip.gate0(0)                                           # GATE has no further effect
    assert pit.outs(6) == "111011"


# Counts

@pytest.mark.parametrize("bcd, modulus", [(0, 0x10000), (1, 10000)])
def test_a_count_of_0_is_the_maximum(pit: Timer, bcd: int, modulus: int) -> None:
    pit.load(2, 0, bcd)
    pit.rises.clear()
    pit.pulses(1)
    assert pit.count() == 0
    pit.pulses(1)
    assert pit.count() == (0x9999 if bcd else 0xFFFF)
    pit.advance(at(2 * modulus + 1) - pit.now)
    assert pit.rises == [at(1 + modulus), at(1 + 2 * modulus)]


def test_bcd_counts_in_four_decades(pit: Timer) -> None:
    pit.load(0, 0x1001, bcd=1)
    assert pit.counts(4) == [0x1001, 0x1000, 0x0999, 0x0998]


@pytest.mark.parametrize("access, first, written", [(1, 0x0012, 0x12), (2, 0x1200, 0x12)])
def test_a_one_byte_count_leaves_the_other_byte_0(pit: Timer, access: int, first: int, written: int) -> None:
    pit.write("CONTROL", access << 4)
    pit.write("COUNTER0", written)
    pit.pulses(2)
    count = first - 1
    assert pit.read("COUNTER0") == (count & 0xFF if access == 1 else count >> 8)
    assert pit.read("COUNTER0") == (count & 0xFF if access == 1 else count >> 8)


def test_least_significant_byte_first_then_most_significant_byte(pit: Timer) -> None:
    pit.load(2, 0x1234)
    pit.pulses(1)
    assert [pit.read("COUNTER0") for _ in range(3)] == [0x34, 0x12, 0x34]


def test_programming_a_counter_resets_its_byte_order_and_its_latches(pit: Timer) -> None:
    pit.load(2, 0x1234)
    pit.pulses(1)
    pit.read("COUNTER0")
    pit.write("CONTROL", 0xC2)
    pit.write("COUNTER0", 0x99)
    pit.load(2, 0x5678)
    pit.pulses(1)
    assert [pit.read("COUNTER0"), pit.read("COUNTER0")] == [0x78, 0x56]


# Latches

def test_a_latched_count_is_held_until_it_is_read(pit: Timer) -> None:
    pit.load(2, 0x1234)
    pit.pulses(1)
    pit.write("CONTROL", 0x00)
    pit.pulses(0x40)
    pit.write("CONTROL", 0x00)                                  # the second latch command is ignored
    assert [pit.read("COUNTER0"), pit.read("COUNTER0")] == [0x34, 0x12]
    assert pit.read("COUNTER0") == 0xF4


def test_the_read_back_command_latches_several_counters(pit: Timer) -> None:
    for n in range(3):
        pit.write("CONTROL", n << 6 | 0x14)
        pit.write(f"COUNTER{n}", 0x20 + n)
    pit.pulses(1)
    pit.write("CONTROL", 0xDE)
    pit.pulses(5)
    assert [pit.read(f"COUNTER{n}") for n in range(3)] == [0x20, 0x21, 0x22]
    assert [pit.read(f"COUNTER{n}") for n in range(3)] == [0x1B, 0x1C, 0x1D]


def test_if_count_and_status_are_latched_the_first_read_returns_the_status(pit: Timer) -> None:
    pit.load(2, 0x1234)
    pit.pulses(1)
    pit.write("CONTROL", 0xC2)
    assert [pit.read("COUNTER0") for _ in range(3)] == [0xB4, 0x34, 0x12]


def test_a_latched_status_is_held_until_it_is_read(pit: Timer) -> None:
    pit.load(0, 2)
    pit.write("CONTROL", 0xE2)
    pit.pulses(9)
    pit.write("CONTROL", 0xE2)
    assert pit.read("COUNTER0") == 0x70
    assert pit.status() == 0xB0


def test_the_null_count_is_1_until_the_count_is_loaded(pit: Timer) -> None:
    pit.write("CONTROL", 0x34)
    assert pit.status() & 0x40
    pit.write("COUNTER0", 9, 0)
    assert pit.status() & 0x40
    pit.pulses(1)
    assert not pit.status() & 0x40


def test_the_status_shows_the_mode_as_it_was_written(pit: Timer) -> None:
    for control in range(0x10, 0x40):
        pit.write("CONTROL", 0x80 | control)
        assert pit.status(2) & 0x3F == control


# The chip

def test_a_gate_that_is_not_wired_is_high() -> None:
    pit = Bench(I8254)
    pit.write("CONTROL", 0x34, 0xB4)
    pit.write("COUNTER0", 3, 0)
    pit.write("COUNTER2", 3, 0)
    pit.advance(at(3))
    assert [pit.chip.out(0), pit.chip.out(2)] == [0, 1]


def test_an_alarm_is_only_set_for_an_output_that_is_wired() -> None:
    pit = Bench(I8254, (0, 1, 2))
    for out in pit.chip.outs:
        out.sinks.clear()
    pit.write("CONTROL", 0x34)
    pit.write("COUNTER0", 3, 0)
    assert pit.clock.next() is None


def test_asking_for_out_changes_nothing(pit: Timer) -> None:
    pit.load(2, 3)
    pit.now = at(8)
    state = pit.chip.save()
    pit.rises.clear()
    assert pit.chip.out(0) == 1
    assert (pit.chip.save(), pit.rises) == (state, [])


@pytest.mark.parametrize("now, edges, due", [(at(35), 3, at(41)), (at(31), 3, at(41)), (at(31) - 1, 2, at(31))])
def test_a_late_alarm_loses_no_edge(pit: Timer, now: int, edges: int, due: int) -> None:
    pit.load(2, 10)
    pit.rises.clear()
    pit.now = now
    pit.write("COUNTER0", 0)                                    # something is written before the alarm could ring
    assert len(pit.rises) == edges
    assert pit.chip.edge0.due == due


def test_reset_is_power_on(pit: Timer) -> None:
    fresh = pit.chip.save()
    pit.load(2, 0x1234)
    pit.read("COUNTER0")
    pit.chip.reset()
    assert pit.chip.save() == fresh
