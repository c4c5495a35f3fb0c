"""Ticks that the engine takes by itself are those that Python takes, whatever comes between; and most need no Python."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emu import snapshot
from emu.assembler import assemble
from emu.boards.ticks import Ticker
from emu.boards.tiny import Tiny
from emu.chips.i8259 import AEOI, I8259
from emu.machine import End
from tests.chips.bench import Bench
from tests.chips.test_i8254 import Timer, at
from tests.fast.boards import Maker, state

ENDS = (
    "", "mov al, 0x20; out 0x20, al", "mov al, 0x60; out 0x20, al", "mov al, 0xA0; out 0x20, al",
    "mov al, 0x61; out 0x20, al; mov al, 0x20; out 0x20, al")
BODIES = (
    "", "in al, 0x20; add dl, al", "mov al, 0xFF; out 0x21, al; mov al, 0; out 0x21, al",
    "mov al, 0; out 0x43, al; in al, 0x40; add dh, al; in al, 0x40; add dh, al", "mov al, 'x'; out 0xE9, al",
    "mov al, 'y'; push dx; mov dx, 0x3F8; out dx, al; pop dx", "sti", "mov al, 0x0B; out 0x20, al", "rdtsc; add si, ax",
    "push cx; mov cx, 300; b: loop b; pop cx", "mov al, 0xF4; out 0x40, al; mov al, 1; out 0x40, al",
    "mov al, 0x36; out 0x43, al; mov al, 0; out 0x40, al; mov al, 4; out 0x40, al",
    "mov al, 0x34; out 0x43, al; mov al, 90; out 0x40, al; mov al, 0; out 0x40, al", "in al, 0x21; out 0x21, al",
    "mov al, 0x68; out 0x20, al", "mov al, 0xC0; out 0x20, al")
WAITS = (
    "", "in al, 0x20; or bl, al", "hlt", "in al, 0x61", "mov al, 0x0A; out 0x20, al",
    "push cx; mov cx, 200; c: loop c; pop cx",
    "mov al, 'z'; out 0xE9, al", "pushf; popf", "out 0xED, al",
    "cli; mov al, 0; out 0x43, al; in al, 0x40; add dh, al; in al, 0x40; add dh, al; sti",
    "push dx; mov dx, 0x3FB; in al, dx; add bh, al; mov dx, 0x3F9; mov al, 2; out dx, al; pop dx")
ICW4S = 1, 1, 1, 1 | AEOI, 0x11


def program(period: int, icw4: int, wait: list[str], body: list[str], end: str) -> bytes:
    """A boot sector with a timer handler at INT 8 that counts to 60 in CX."""
    unique = iter(range(99))

    def made(lines: list[str]) -> str:
        """With labels that differ."""
        out = []
        for line in lines:
            name = f"l{next(unique)}"
            for label in "b", "c":
                line = line.replace(f"{label}: loop {label}", f"{name}: loop {name}")
            out.append(line)
        return "\n".join(out)

    start = assemble(f"""
        cli
        mov word ptr [0x20], 0x7D80
        mov word ptr [0x22], 0
        mov word ptr [0x30], 0x7DF0
        mov word ptr [0x32], 0
        mov al, 0x11; out 0x20, al; mov al, 8; out 0x21, al; mov al, 4; out 0x21, al; mov al, {icw4}; out 0x21, al
        mov al, 0xEE; out 0x21, al
        mov al, 0x34; out 0x43, al; mov al, {period & 0xFF}; out 0x40, al; mov al, {period >> 8}; out 0x40, al
        xor cx, cx; xor dx, dx; xor bx, bx; xor si, si
        sti
    a:  {made(wait)}
        cmp cx, 60
        jb a
        cli
        hlt
    """, 0x7C00, 16)
    handler = assemble(f"push ax\n inc cx\n {made(body)}\n {end}\n pop ax\n iret", 0x7D80, 16)
    serial = assemble("push ax; mov al, 0x20; out 0x20, al; pop ax; iret", 0x7DF0, 16)
    return start.ljust(0x180) + handler.ljust(0x70) + serial


@pytest.fixture(scope="module")
def made():
    with pytest.MonkeyPatch.context() as patch:
        maker = Maker(patch)
        yield maker
        maker.close()


@pytest.fixture
def whole(monkeypatch):
    """How many ticks were whole, of each call."""
    ticks, before = [], Ticker.ticked
    monkeypatch.setattr(Ticker, "ticked", lambda self, n, stage: (ticks.append(n), before(self, n, stage))[1])
    return ticks


def close(made):
    made.close()
    made.machines.clear()


def ended(machine, slices: int = 0) -> tuple:
    """The guest's end, and all that there is then."""
    limit = 20_000_000
    if slices:
        for time in range(slices, limit, slices):
            if machine.run(time) is not End.TIME:
                break
    end = machine.run(limit)
    r = machine.registers
    return end, r.rcx, r.rdx, r.rbx, r.rsi, state(machine)


@pytest.mark.parametrize("end", ENDS[1:3])
def test_ticks_need_no_python(made, whole, end):
    image = program(1193, 1, [""], [""], end)
    times = [ended(made(fast, image)) for fast in ("none", "ports", "all")]
    close(made)
    assert times[0][0] is End.TIME or times[0][0] is End.HALTED
    assert times[0] == times[1] == times[2]
    assert sum(whole) >= 15 and len(whole) <= 6


@pytest.mark.parametrize("fast", ["ports,ticks", "all"])
def test_a_poll_with_interrupts_off_sees_the_request_when_it_comes(made, fast):
    image = program(500, 1, ["cli; d: inc bx; in al, 0x20; test al, 1; jz d; sti; nop"], [""], ENDS[1])
    polls = [ended(made(technique, image)) for technique in ("none", fast)]
    close(made)
    assert polls[0] == polls[1] and polls[0][1] >= 40 and polls[0][3] > 5000


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([2, 5, 40, 119, 500, 1193]), st.sampled_from(ICW4S), st.lists(st.sampled_from(WAITS), max_size=3),
       st.lists(st.sampled_from(BODIES), max_size=3), st.sampled_from(ENDS), st.sampled_from([0, 0, 333_333, 70_001]))
def test_whatever_comes_between_the_run_is_the_plain_one(made, period, icw4, wait, body, end, slices):
    image = program(period, icw4, wait, body, end)
    plain, fast = ended(made("none", image, board=Tiny)), ended(made("all", image, board=Tiny), slices)
    close(made)
    assert plain == fast


def test_a_snapshot_in_the_middle_goes_on(monkeypatch, whole, tmp_path):
    monkeypatch.setenv("EMU_FAST", "all")
    with Tiny() as one:
        one.load(program(119, 1, [""], [""], ENDS[1]))
        one.run(3_141_592)
        snapshot.save(one, tmp_path / "one")
        assert sum(whole) > 20
        with_it = ended(one)
    monkeypatch.setenv("EMU_FAST", "none")
    with snapshot.load(tmp_path / "one") as other:
        assert ended(other) == with_it


def test_an_alarm_between_two_ticks_rings_at_its_time(made):
    image, heard = program(1193, 1, [""], [""], ENDS[1]), []
    for fast in "none", "all":
        machine, times = made(fast, image, board=Tiny), []
        alarm = machine.clock.alarm(lambda machine=machine, times=times: times.append((machine.now, list(machine.irqs))))
        for time in 2_500_000, 7_123_456:
            machine.run(time - 1_000_000)
            alarm.at(time)
            machine.run(time + 100_000)
        heard.append(times)
    close(made)
    assert heard[0] == heard[1] and len(heard[0]) == 2
    assert heard[0][1][1][0] > heard[0][0][1][0] > 0


# What the chips say

OPERATIONS = st.lists(st.tuples(st.sampled_from(["ICW4", "OCW2", "OCW3", "IMR", "ELCR", "raise", "inta"]),
                                st.integers(0, 255)), max_size=12)


@settings(max_examples=300, deadline=None)
@given(OPERATIONS, st.integers(0, 7))
def test_a_cycle_of_the_8259A_leaves_it_as_it_was(operations, level):
    bench = Bench(I8259, {})
    pic = bench.chip
    for value in 0x11, 0x08, 0x04, 0x01:
        bench.write("ICW1" if value == 0x11 else "ICW2" if value == 8 else "ICW3" if value == 4 else "ICW4", value)
    for name, value in operations:
        if name == "raise":
            pic.ir[value & 7](value >> 7)
        elif name == "inta":
            pic.acknowledge()
        elif name == "ICW4":
            bench.write("ICW1", 0x13)
            bench.write("ICW2", 0x08)
            bench.write("ICW4", value & 0x1F)
        elif name == "OCW2":
            bench.write("OCW2", value & 0xE7)
        elif name == "OCW3":
            bench.write("OCW3", value & 0x67 | 8)
        else:
            bench.write(name, value)
    pic.ir[level](1)
    pic.acknowledge()
    bench.write("OCW2", 0x20)
    cycle = pic.cycle(level)
    if cycle is not None:
        before = pic.save()
        pic.ir[level](0)
        pic.ir[level](1)
        assert pic.int.level == 1
        assert pic.acknowledge() == cycle[0]
        bench.write("OCW2", cycle[1])
        assert pic.save() == before
    else:
        ready = bool(pic.irr & pic.open or pic.isr)
        assert (ready or not pic.open >> level & 1 or pic.icw4 & AEOI or pic.ocw3 & 0x20 or pic.slaves >> level & 1
                or pic.sense >> level & 1), "there is a reason"


@pytest.mark.parametrize("count", [2, 119, 1193, 65535])
def test_edges_of_the_8254_that_passed_are_those_that_rang(count):
    rung, passed = Timer(), Timer()
    for t in rung, passed:
        t.load(2, count)
        t.advance(at(4 * count))
    assert passed.chip.pulses() == rung.chip.pulses() and passed.chip.pulses()[1] == count
    rung.advance(at(5 * count))
    passed.chip.passed(len(rung.rises) - len(passed.rises))
    assert passed.chip.save() == rung.chip.save()
    assert rung.chip.edge0.due > rung.now
