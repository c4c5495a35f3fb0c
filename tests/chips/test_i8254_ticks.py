"""8254: every mode against a counter that ticks, and snapshots in the middle of anything."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from emu.chips.i8254 import I8254
from tests.chips.test_i8254 import Timer, at


class Slow:
    """Counter 0, one CLK pulse after the other."""

    def __init__(self) -> None:
        self.now = self.pulse_number = 0
        self.rises: list[int] = []
        self.out = 0
        self.gate = 1
        self.control(0x30)

    def set(self, out: int) -> None:
        if out and not self.out:
            self.rises.append(self.now)
        self.out = out

    def control(self, value: int) -> None:
        self.word, self.access, self.mode, self.bcd = value & 0x3F, value >> 4 & 3, value >> 1 & 7, value & 1
        if self.mode > 5:
            self.mode -= 4
        self.modulus = 10000 if self.bcd else 65536
        self.cr = self.ce = self.odd = 0
        self.null, self.load, self.active, self.armed = 1, False, False, False
        self.low: int | None = None
        self.set(int(self.mode != 0))

    def write(self, value: int) -> None:
        if self.mode == 0:
            self.set(0)
        if self.access == 3 and self.low is None:
            self.low = value
            if self.mode == 0:
                self.active = self.load = False
            return
        value = {1: value, 2: value << 8, 3: value << 8 | (self.low or 0)}[self.access]
        self.low = None
        if self.bcd:
            value = int(f"{value:x}")
        fresh = not self.cr
        self.cr = value or self.modulus
        if self.mode in (2, 3):
            self.cr = max(self.cr, 2)
        self.null = 1
        self.load |= self.mode in (0, 4) or (self.mode in (2, 3) and fresh)

    def set_gate(self, level: int) -> None:
        if level == self.gate:
            return
        self.gate = level
        if level and self.mode in (1, 2, 3, 5) and self.cr:
            self.load = True
        if not level and self.mode in (2, 3):
            self.set(1)

    def reload(self) -> None:
        self.null = 0
        self.ce, self.odd = self.cr % self.modulus, self.cr & 1
        if self.mode == 3:
            self.ce -= self.odd

    def pulse(self) -> None:
        self.pulse_number += 1
        self.now = at(self.pulse_number)
        if self.load:
            self.load, self.active, self.armed = False, True, True
            self.reload()
            self.set(int(self.mode > 1))
            return
        if self.mode > 3:
            self.set(1)
        if not self.active or not (self.gate or self.mode in (1, 5)):
            return
        if self.mode == 2:
            if self.ce == 1:
                self.reload()
                self.set(1)
            else:
                self.ce = (self.ce - 1) % self.modulus
                self.set(int(self.ce != 1))
        elif self.mode == 3:
            if self.ce == (0 if self.odd and self.out else 2):
                self.set(1 - self.out)
                self.reload()
            else:
                self.ce = (self.ce - 2) % self.modulus
        else:
            self.ce = (self.ce - 1) % self.modulus
            if self.ce == 0 and self.armed:
                self.armed = False
                self.set(int(self.mode < 2))

    def count(self) -> int:
        return int(str(self.ce), 16) if self.bcd else self.ce


STEP = st.one_of(
    st.tuples(st.just("pulses"), st.integers(0, 40)),
    st.tuples(st.just("pulses"), st.integers(0, 3)),
    st.tuples(st.just("write"), st.integers(0, 9)),
    st.tuples(st.just("count"), st.integers(1, 12)),
    st.tuples(st.just("count"), st.integers(1, 3)),
    st.tuples(st.just("gate"), st.integers(0, 1)),
    st.tuples(st.just("control"), st.integers(0x10, 0x3F)))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([0x10, 0x30]), st.integers(0, 7), st.integers(0, 1), st.lists(STEP, max_size=30), st.integers(0, 800))
def test_every_mode_counts_as_a_counter_that_ticks(
    access: int, mode: int, bcd: int, steps: list[tuple[str, int]], phase: int,
) -> None:
    pit, lazy, slow = Timer(), I8254((0, 1, 2)), Slow()
    lazy.attach("lazy", pit.clock)                              # nothing wired: no alarms
    lazy.gate0(1)

    def both(name: str, value: int) -> None:
        pit.write(name, value)
        getattr(lazy, "write_" + name)(value)
        slow.now = pit.now
        slow.control(value) if name == "CONTROL" else slow.write(value)

    both("CONTROL", access | mode << 1 | bcd)
    for step, value in steps:
        if step == "pulses":
            pit.pulses(value)
            pit.advance(phase % (at(slow.pulse_number + value + 1) - pit.now))
            for _ in range(value):
                slow.pulse()
        elif step == "write":
            both("COUNTER0", value)
        elif step == "count":
            both("COUNTER0", value % 10)
            if slow.low is not None:
                both("COUNTER0", 0)
        elif step == "gate":
            pit.chip.gate0(value)
            lazy.gate0(value)
            slow.now = pit.now
            slow.set_gate(value)
        else:
            both("CONTROL", value)
        assert pit.chip.out(0) == lazy.out(0) == slow.out
        assert pit.rises == slow.rises
        both_status = []
        for chip in (pit.chip, lazy):
            chip.write_CONTROL(0xC2)
            both_status.append(chip.read_COUNTER0())
            value = chip.read_COUNTER0() << (8 if slow.access == 2 else 0)
            if slow.access == 3:
                value |= chip.read_COUNTER0() << 8
            assert value == slow.count() & (0xFF, 0xFF, 0xFF00, 0xFFFF)[slow.access]
        assert both_status == [slow.out << 7 | slow.null << 6 | slow.word] * 2


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 0xFF), st.integers(0, 3000)), max_size=60), st.integers(0, 60))
def test_a_restored_chip_goes_on_as_if_nothing_had_been(accesses: list[tuple[int, int, int]], cut: int) -> None:
    def run(pit: Timer, part: list[tuple[int, int, int]]) -> list[int]:
        seen = []
        for where, value, ns in part:
            pit.advance(ns)
            if where < 4:
                pit.bus.write[0x1000 + where << 4 | 1](value)
            elif where < 8:
                seen.append(pit.bus.read[0x1000 + where - 4 << 4 | 1]())
            else:
                (pit.chip.gate0, pit.chip.gate2)[where - 8](value & 1)
        return [*seen, len(pit.pins), *pit.rises]

    whole, early, late = Timer(), Timer(), Timer()
    run(early, accesses[:cut])
    state = early.chip.save()
    late.now = early.now
    late.chip.restore(state)
    assert late.chip.save() == state
    late.pins, late.rises = list(early.pins), list(early.rises)
    run(whole, accesses[:cut])
    assert run(whole, accesses[cut:]) == run(late, accesses[cut:])
    assert whole.chip.save() == late.chip.save()
