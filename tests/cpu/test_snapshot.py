"""save() and restore(): another engine goes on as the first would have, from any point."""

from __future__ import annotations

import json
import random

import pytest

from emu.engine import Stop
from tests.cpu.guest import CODE, DATA, HALTED, LONG, PAGED, PM32, REAL
from tests.cpu.test_slices import outcome, work


@pytest.mark.parametrize("mode, model", [(PM32, "qemu64"), (LONG, "qemu64"), (LONG, "core2duo"), (PM32, "pentium3")])
def test_a_snapshot_at_any_point_goes_on_in_another_engine_as_the_first_does(guest, mode, model):
    rng, one = random.Random(model), work(guest, mode, 100, model)
    while one.run(rng.randrange(1000, 40_000)) is Stop.DUE:
        state = json.loads(json.dumps(one.engine.save()))
        other = work(guest, mode, 100, model)
        other.ram[:] = one.ram
        other.reads = one.reads
        other.engine.restore(state)
        assert json.loads(json.dumps(other.engine.save())) == state
        one.engine.close()
        one = other
    first = work(guest, mode, 100, model)
    first.run(10**9)
    for one_part, other_part in zip(outcome(one), outcome(first), strict=True):
        assert one_part == other_part


def test_a_snapshot_holds_every_register(guest):
    one = guest(LONG, "fld1; fldpi; fld1; fstp st(2); ud2")
    values = {"dr0": 0x1234, "dr1": 0x5678, "dr2": 1, "dr3": 2, "dr6": 0xFFFF4FF1, "dr7": 0x402, "cr2": 0x1122334455,
              "fcw": 0x27F, "mxcsr": 0x7FA0}
    one.run(10)
    for name, value in values.items():
        setattr(one.r, name, value)
    one.r.xmm = [bytes([i]) * 16 for i in range(16)]
    for number in (0x174, 0x175, 0x176, 0xC0000081, 0xC0000082, 0xC0000083, 0xC0000084, 0xC0000102, 0xC0000103, 0x277):
        one.r.set_msr(number, 0x10203 + number & 0xFFFFF)
    for i in range(8, 16):
        setattr(one.r, f"r{i}", i << 60 | i)
    state = one.engine.save()
    other = guest(REAL)
    other.engine.restore(state)
    assert other.engine.save() == state
    for name, value in values.items():
        assert getattr(other.r, name) == value, name
    assert other.r.tr == one.r.tr and other.r.cs == one.r.cs and other.r.fs == one.r.fs


@pytest.mark.parametrize("fcw, result", [(0x37F, 1), (0xB7F, 2), (0x77F, 1)], ids=["nearest", "up", "down"])
def test_the_rounding_of_the_x87_is_that_of_the_restored_control_word(guest, fcw, result):
    one = guest(PM32, "jmp go; go: fld qword ptr [ebx]; fistp dword ptr [ebx + 8]; hlt")
    one.poke(DATA, bytes.fromhex("333333333333f33f"))           # 1.2
    one.r.rbx, one.r.fcw = DATA, fcw
    one.run(1)
    other = guest(PM32)
    other.ram[:] = one.ram
    other.engine.restore(one.engine.save())
    assert other.run() in HALTED
    assert other.peek(DATA + 8) == result


@pytest.mark.parametrize("source", ["nop; sti; nop; nop", "sti; hlt; nop"], ids=["in the STI shadow", "in HLT"])
def test_a_snapshot_keeps_the_shadow_and_the_sleep(guest, source):
    one = guest(PM32, source)
    stop = one.run(1000 if "hlt" in source else 10)
    state = one.engine.save()
    assert stop is (Stop.HLT if "hlt" in source else Stop.DUE)
    assert (state["shadow"], state["activity"]) == ((0, "hlt") if "hlt" in source else (1, "active"))
    other = guest(PM32, source)
    other.ram[:] = one.ram
    other.engine.restore(state)
    other.interrupt(0x41)
    frame = other.frame()
    assert (frame.vector, frame.ip) == (0x41, CODE + (2 if "hlt" in source else 3))


@pytest.mark.parametrize("mode", [REAL, PM32, PAGED, LONG])
@pytest.mark.parametrize("iopl", [0, 3])
def test_IOPL_TF_and_VM_are_those_of_the_restored_flags_only(guest, mode, iopl):
    one = guest(LONG, "nop", flags=0x3102)
    other = guest(mode, "nop; nop; ud2", flags=2)
    clean = other.engine.save()
    other.engine.restore(one.engine.save())
    other.engine.restore(clean)
    assert other.frame().vector == 6
