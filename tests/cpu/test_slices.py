"""A run may be cut anywhere: no block runs twice, and the state, the time and the count of blocks stay the same."""

from __future__ import annotations

import random

import pytest

from emu.engine import Stop
from tests.cpu.guest import CODE, DATA, HALTED, LONG, PAGED, PM32, TABLES, Guest

BUFFER, COPY = 0x100000, 0x110000
WORK = """
    mov {b}x, 0xA000
    mov {b}p, {rounds}
again:
    mov {a}x, 1
    lock xadd [{b}x], {a}x
    inc dword ptr [{b}x + 8]
    mov {d}i, {buffer}
    mov {c}x, 3
    mov dx, 0x170
    cld
    rep insw
    mov {s}i, {buffer}
    mov {d}i, {copy}
    mov {c}x, 7
    rep movsb
    fld1
    fadd qword ptr [{b}x + 16]
    fstp qword ptr [{b}x + 16]
    rdtsc
    in al, 0x71
    out 0xE9, al
    int 0x31
    push {a}x
    pop qword ptr [{b}x + 24]
    dec {b}p
    jnz again
    cli
    hlt
"""


def work(guest, mode, rounds=400, model="qemu64") -> Guest:
    """Every kind of instruction that would show it if it ran twice; reads of port 71h and 170h count themselves."""
    names = {x: ("r" if mode == LONG else "e") + x for x in "abcds"}
    source = WORK.format(**names, rounds=rounds, buffer=BUFFER, copy=COPY)
    if mode != LONG:
        source = source.replace("pop qword ptr", "pop dword ptr")
    one = guest(mode, source, model=model, flags=0x202)
    one.code("inc dword ptr [{}]; {}".format(names["b"] + "x + 12", "iretq" if mode == LONG else "iretd"), 0x6000)
    one.code("inc dword ptr [{}]; {}".format(names["b"] + "x + 32", "iretq" if mode == LONG else "iretd"), 0x6100)
    one.gate(0x31, 0x6000)
    one.gate(0x41, 0x6100)
    one.reads = 0

    def count(mask):
        def read():
            one.reads += 1
            return one.reads & mask
        return read

    one.on_in(0x71, count(0xFF))
    one.on_in(0x170, count(0xFFFF), 2)
    return one


def outcome(one):
    """All that a guest can have changed; registers in architectural terms."""
    state = one.engine.save()
    return state, bytes(one.ram), one.reads, one.engine.counters(), one.engine.now()


def whole(guest, mode):
    one = work(guest, mode)
    assert one.run(10**9) in HALTED
    assert one.peek(DATA) == one.peek(DATA + 8) == one.peek(DATA + 12) == 400 and one.reads == 1600
    return outcome(one)


@pytest.mark.parametrize("mode", [PM32, PAGED, LONG])
def test_five_thousand_stops_at_random_budgets_change_nothing(guest, mode):
    rng = random.Random(mode)
    one, stops = work(guest, mode), 0
    while one.run(rng.choice((1, 7, 10, 11, 60, 200, 1500))) is Stop.DUE:
        stops += 1
    assert outcome(one) == whole(guest, mode)
    assert stops > 1700


@pytest.mark.parametrize("mode", [PM32, LONG])
def test_a_stop_asked_in_every_callback_changes_nothing(guest, mode):
    one, stops = work(guest, mode), 0
    read = one.ports.read[0x71 << 4 | 1]
    insw = one.ports.read[0x170 << 4 | 2]
    one.on_in(0x71, lambda: (one.engine.stop(), read())[1])
    one.on_in(0x170, lambda: (one.engine.stop(), insw())[1], 2)
    one.on_out(0xE9, lambda value: one.engine.stop())
    one.engine.due(10**9)
    while one.engine.run() is Stop.ASKED:
        stops += 1
    one.engine.due(one.engine.now())
    ours, theirs = outcome(one), whole(guest, mode)
    assert ours == theirs
    assert stops >= 1200


@pytest.mark.parametrize("mode", [PM32, LONG])
def test_kicks_by_an_INTR_that_is_gone_again_change_nothing(guest, mode):
    one = work(guest, mode)
    read = one.ports.read[0x71 << 4 | 1]
    one.on_in(0x71, lambda: (one.engine.intr(1), one.engine.intr(0), read())[2])
    assert one.run(10**9) in HALTED
    assert outcome(one) == whole(guest, mode)


def test_a_due_that_is_moved_in_a_callback_is_exact(guest):
    one = work(guest, PM32)
    at = []

    def out(value):
        one.engine.due(one.engine.now() + 5000)

    one.on_out(0xE9, out)
    one.engine.due(10**9)
    while one.engine.run() is Stop.DUE:
        at.append(one.engine.now())
        one.engine.due(one.engine.now() + 10**6)
    ours = outcome(one)
    assert ours[1:] == whole(guest, PM32)[1:]


@pytest.mark.parametrize("mode", [PM32, LONG])
def test_interrupts_at_the_same_times_give_the_same_run_however_it_is_cut(guest, mode):
    def run(cut):
        rng, one = random.Random(1), work(guest, mode)
        due, stop = 0, Stop.DUE
        while stop is Stop.DUE:
            due += rng.randrange(500, 20_000)
            while stop is Stop.DUE and one.engine.now() < due:
                one.engine.due(min(due, one.engine.now() + cut))
                stop = one.engine.run()
            one.interrupt(0x41)
        one.engine.due(10**9)
        return outcome(one)

    left_alone = run(10**9)
    assert left_alone[3]["interrupts"][0x41] > 20
    assert run(10) == run(333) == left_alone


@pytest.mark.parametrize("fast", ["none", "all"])
def test_a_cut_after_a_store_into_the_block_that_runs_changes_no_count(fast, monkeypatch):
    monkeypatch.setenv("EMU_FAST", fast)

    def blocks(cut: int) -> int:
        one = Guest(PM32, "nop; mov byte ptr [ebx], 0x40; nop; hlt", flags=2)
        one.r.rbx = CODE + 4
        assert any(one.run(cut) is not Stop.DUE for _ in range(100))
        count = one.engine.counters()["blocks"]
        one.engine.close()
        return count

    assert blocks(10) == blocks(10_000)


def test_a_handler_that_cannot_be_fetched_does_not_hold_the_host():
    """Each #PF makes the next one, on the same stack of the TSS, and no block ever begins."""
    guest = Guest(LONG, "mov rax, [0x300000]")
    guest.gate(14, 0x7F0000000000, ist=1)
    assert guest.run(20_000) is Stop.DUE and 20_000 <= guest.engine.now() < 21_000
    assert guest.engine.counters()["exceptions"] == {14: 40}
    assert guest.run(20_000) is Stop.DUE and guest.engine.counters()["exceptions"] == {14: 80}


@pytest.mark.parametrize("fast", ["none", "all"])
def test_a_guest_that_changes_each_block_it_is_in_lets_the_host_in_between(fast, monkeypatch):
    """`add [ebx], al` 400 times, on the last of them: the host translates them all, again and again."""
    monkeypatch.setenv("EMU_FAST", fast)

    def run(cut: int, leave: bool) -> tuple[int, dict, bytes]:
        one, looks, cuts = Guest(PM32, "add byte ptr [ebx], al;" * 400 + "hlt", flags=2), [], 0
        one.engine._look = lambda: (looks.append(one.engine.now()), leave)[1]
        one.r.rbx, one.r.rax = CODE + 2 * 399, 0
        while one.run(cut) not in HALTED:
            cuts += 1
        found = one.engine.save(), bytes(one.ram)
        one.engine.close()
        assert 2 <= len(looks) <= 8 and looks == sorted(set(looks))
        assert cuts > 40 if cut < 10**9 else cuts == leave * len(looks)
        return found

    assert run(10**9, False) == run(170, False) == run(10**9, True)


def test_a_guest_that_lets_the_host_in_after_a_HLT_is_awake():
    one = Guest(PM32, "sti; hlt; cli;" + "add byte ptr [ebx], al;" * 400 + "ud2")
    one.gate(0x20, TABLES - 0x100)
    one.code("iretd", TABLES - 0x100)
    one.r.rbx, one.r.rax = CODE + 3 + 2 * 399, 0
    one.interrupt(0x20)
    assert one.exception() == 6 and one.acknowledged == 1
    one.engine.close()
