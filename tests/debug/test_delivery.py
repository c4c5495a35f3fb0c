"""The delivery on paper comes to what the processor did: the same next vector, and the same error code."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from emu.debug import state
from emu.debug.delivery import deliver
from emu.engine import Stop
from tests.cpu.guest import (
    ABSENT,
    CODE,
    CODE32,
    CODE64,
    DATA32,
    IDT,
    LONG,
    PAE,
    PAGED,
    PM16,
    PM32,
    READONLY,
    REAL,
    TSS,
    UDATA32,
    Guest,
)

HOLE = 0x3F0000                 # nothing is mapped there


def gate(**fields):
    return lambda guest: guest.gate(6, **fields)


def poked(address, value, size=4):
    return lambda guest: guest.poke(address, value, size)


def hole(guest):
    guest.r.rsp = HOLE


BROKEN = {          # what is broken -> (what to do, the ring of the fault, modes)
    "nothing": (lambda guest: None, 0, (REAL, PM16, PM32, PAGED, PAE, LONG)),
    "nothing, from ring 3": (lambda guest: None, 3, (PM32, PAGED, PAE, LONG)),
    "no such entry": (lambda guest: setattr(guest.r, "idtr", (IDT, 6 * 8 - 1)), 0, (PM16, PM32, PAGED, PAE, LONG)),
    "an empty gate": (lambda guest: guest.poke(IDT + 6 * (16 if guest.gates == 64 else 8), bytes(16)), 0, (PM32, PAE, LONG)),
    "not present": (gate(present=False), 0, (PM16, PM32, PAGED, PAE, LONG)),
    "a null selector": (gate(selector=0), 0, (PM32, PAGED, LONG)),
    "a selector of data": (gate(selector=DATA32), 0, (PM32, PAGED, LONG)),
    "a selector beyond the GDT": (gate(selector=0x7F8 + 8), 0, (PM32, PAGED, LONG)),
    "an absent code segment": (gate(selector=ABSENT), 0, (PM32,)),
    "a 32-bit segment in long mode": (gate(selector=CODE32), 0, (LONG,)),
    "a null SS0": (poked(TSS + 8, 0), 3, (PM32, PAGED, PAE)),
    "an SS0 of ring 3": (poked(TSS + 8, UDATA32), 3, (PM32, PAGED)),
    "a read-only SS0": (poked(TSS + 8, READONLY & ~3), 3, (PM32,)),
    "an SS0 beyond the GDT": (poked(TSS + 8, 0x800), 3, (PM32, PAGED)),
    "an ESP0 in a hole": (poked(TSS + 4, HOLE, 8), 3, (PAGED, PAE)),
    "an RSP0 in a hole": (poked(TSS + 4, HOLE, 8), 3, (LONG,)),
    "an IST in a hole": (lambda guest: (guest.gate(6, ist=1), guest.task(ist1=HOLE)), 0, (LONG,)),
    "the stack in a hole": (hole, 0, (PAGED, PAE, LONG)),
    "the IDT in a hole": (lambda guest: setattr(guest.r, "idtr", (HOLE, 0xFFF)), 0, (PAGED, PAE, LONG)),
}
CASES = [(what, mode) for what, (_, _, modes) in BROKEN.items() for mode in modes]


@pytest.mark.parametrize("what, mode", CASES)
def test_the_next_exception_is_the_one_on_paper(what, mode):
    breaks, ring, _ = BROKEN[what]
    guest = Guest(mode, "ud2", ring=ring)
    breaks(guest)
    machine = SimpleNamespace(registers=guest.r, engine=guest.engine, now=0)
    told = []
    guest.engine.watch(lambda: told.append(guest.engine.recent()[-1]))
    end = guest.run()
    first, *others = guest.engine.recent()
    assert first.vector == 6 and first.rip == CODE
    found = deliver(state.before(machine, first), 6)
    if what.startswith("nothing"):
        assert not others and not found.problem and end is Stop.DEAD
        assert found.handler == guest.r.cs.base + guest.r.rip - 1
        return
    assert found.problem and found.steps[-1] == found.wrong
    second = others[0]
    assert second.during == "exception" and told[0] == second
    assert found.raises == second.vector
    if second.vector != 14:
        assert found.error == second.error
    else:
        assert found.walk["linear"] == second.cr2


def test_int_n_from_ring_3_is_refused_as_on_paper():
    for mode, code in (PM32, CODE32), (LONG, CODE64):
        guest = Guest(mode, "int 0x41", ring=3)
        guest.gate(0x41, dpl=0)
        guest.run()
        first, second = guest.engine.recent()
        machine = SimpleNamespace(registers=guest.r, engine=guest.engine, now=0)
        found = deliver(state.before(machine, first), 0x41, software=True)
        assert (found.problem, found.raises, found.error) == ("gate-privilege", second.vector, second.error)
        assert (second.vector, second.error) == (13, 0x41 * 8 + 2) and guest.r.cs.selector == code
