"""The engine remembers the last exceptions and interrupts, whether anyone records or not; and somebody may watch."""

from __future__ import annotations

import pytest

from emu.engine import Stop
from tests.cpu.guest import CODE, CODE32, CODE64, IDT, LONG, PAGED, PM32, STACK0, Guest

BAD = 0x300000                  # maps nothing


def handler(guest, source, address):
    guest.code(source, address)
    return address


def test_an_exception_is_remembered_with_the_processor_before_its_delivery():
    guest = Guest(PAGED, f"mov eax, 0x1234; mov ebx, {BAD}; mov [ebx + 4], eax")
    guest.run()
    (fault,) = guest.engine.recent()
    assert (fault.kind, fault.vector, fault.error, fault.cr2) == ("exception", 14, 2, BAD + 4)
    assert fault.rip == guest.peek(guest.r.rsp + 4) == guest.read_frame(14).ip
    assert (fault.cs, fault.cpl, fault.during) == (CODE32, 0, "") and fault.bits == 32
    assert fault.general["rax"] == 0x1234 and fault.general["rbx"] == BAD and fault.general["rsp"] == STACK0
    assert fault.cr0 & 1 << 31 and fault.cr3 == guest.r.cr3 and guest.engine.happened() == (1, 0)


def test_all_registers_of_64_bits_are_remembered():
    names = ["rax", "rcx", "rdx", "rbx", "rbp", "rsi", "rdi", *(f"r{i}" for i in range(8, 16))]
    guest = Guest(LONG, "; ".join(f"mov {name}, {(i + 1) << 56 | i:#x}" for i, name in enumerate(names)) + "; ud2")
    guest.run()
    (fault,) = guest.engine.recent()
    assert {name: fault.general[name] for name in names} == {name: (i + 1) << 56 | i for i, name in enumerate(names)}
    assert fault.cs == CODE64 and fault.efer & 1 << 10 and fault.vector == 6


def test_kinds_and_order():
    guest = Guest(PM32, "int 0x41; hlt")
    guest.gate(0x41, handler(guest, "sti; nop; nop; ud2", 0x9800))
    guest.interrupt(0x30)
    guest.gate(0x30, handler(guest, "iretd", 0x9900))
    guest.run()
    assert [(h.kind, h.vector, h.number) for h in guest.engine.recent()] == [
        ("software interrupt", 0x41, 0), ("interrupt", 0x30, 1), ("exception", 6, 2)]


def test_the_rings_wrap_and_ticks_wash_out_no_fault():
    guest = Guest(PM32, "ud2")
    guest.gate(6, handler(guest, "add dword ptr [esp], 2; iretd", 0x9900))
    guest.code("mov ecx, 200; again: ud2; loop again; hlt")
    guest.run()
    recent = guest.engine.recent()
    assert len(recent) == 64 and recent[-1].number == 199 and recent[-1].general["rcx"] == 1
    assert guest.engine.happened() == (200, 0)
    guest.interrupt(*[0x30] * 100)
    guest.gate(0x30, handler(guest, "iretd", 0x9A00))
    guest.r.rip, guest.r.rflags = handler(guest, "again: jmp again", 0x9B00), 0x202
    guest.run(100_000)
    assert [h.number for h in guest.engine.recent()][:64] == [h.number for h in recent]
    assert guest.engine.happened() == (200, 100)


@pytest.mark.parametrize("watch", [False, True])
def test_a_fault_during_a_delivery_is_told_and_changes_no_run(watch):
    guest = Guest(PM32, "ud2")
    guest.poke(IDT + 8 * 6, 0, 8)
    seen = []
    if watch:
        guest.engine.watch(lambda: seen.append((guest.engine.recent()[-1].vector, guest.r.rip)))
    assert guest.run() is Stop.DEAD
    assert seen == ([(13, CODE)] if watch else [])
    assert guest.engine.now() == 1020 and guest.engine.recent()[-1].during == "exception"


def test_vectors_that_are_watched_are_told_each_time():
    guest = Guest(PM32, "int 0x41; int 0x80; int 0x42; int 0xC3; hlt")
    for vector in 0x41, 0x42, 0x80, 0xC3:
        guest.gate(vector, handler(guest, "iretd", 0x9A00))
    seen = []
    guest.engine.watch(lambda: seen.append(guest.engine.recent()[-1].vector), frozenset({0x41, 0x80, 0xC3}))
    guest.run()
    assert seen == [0x41, 0x80, 0xC3]
    guest.engine.watch(None)
    guest.r.rip = CODE
    guest.run()
    assert seen == [0x41, 0x80, 0xC3]


def test_what_a_watcher_raises_comes_out_of_run():
    guest = Guest(PM32, "ud2")
    guest.engine.watch(lambda: 1 / 0, frozenset({6}))
    with pytest.raises(ZeroDivisionError):
        guest.run()


def test_of_another_past_nothing_is_remembered():
    guest = Guest(PM32, "ud2")
    state = guest.engine.save()
    guest.run()
    guest.engine.restore(state)
    assert guest.engine.recent() == [] and guest.engine.happened() == (0, 0)
