"""Hardware interrupts and NMI: SDM vol. 3A, 6.6 to 6.8; HLT: vol. 2A."""

from __future__ import annotations

import pytest

from emu.engine import Stop
from tests.cpu.guest import CODE, COMPAT, DATA, HALTED, LONG, PAGED, PM16, PM32, PROTECTED, REAL, STACK0, STACK3, V86

IF = 0x200
ALL = [(mode, ring) for mode in PROTECTED for ring in (0, 3)] + [(REAL, 0), (V86, 3)]
IRET = {PM16: ".byte 0xCF", REAL: ".byte 0xCF", LONG: ".byte 0x48, 0xCF", COMPAT: ".byte 0x48, 0xCF"}      # of a handler
SPIN = "inc ax; spin: jmp spin"
MOV_SS, POP_SS = ".byte 0x8E, 0xD0", ".byte 0x17"


@pytest.mark.parametrize("mode, ring", ALL)
def test_an_interrupt_is_taken_with_IF_set_and_its_frame_names_the_next_instruction(guest, mode, ring):
    one = guest(mode, SPIN, ring=ring, flags=IF | 0x8D5)
    spin = CODE + (1 if one.bits == 16 else 3 if one.bits == 64 else 2)
    assert one.run(1000) is Stop.DUE
    cs, flags, sp = one.r.cs.selector, one.r.rflags, one.r.rsp
    one.interrupt(0x41)
    frame = one.frame()
    assert (frame.vector, frame.error, frame.ip, frame.cs, frame.flags) == (0x41, None, spin, cs, flags)
    if ring and mode != V86:
        assert frame.sp == STACK3
    assert one.r.rsp == (STACK0 if ring else sp) - one.word * (9 if mode == V86 else 5 if ring or one.word == 8 else 3)
    assert not one.r.rflags & IF
    assert one.acknowledged == 1
    assert one.engine.counters()["interrupts"] == {0x41: 1}


@pytest.mark.parametrize("mode, ring", [pair for pair in ALL if pair != (V86, 3)])
def test_no_interrupt_is_taken_with_IF_clear(guest, mode, ring):
    one = guest(mode, SPIN, ring=ring)
    one.interrupt(0x41)
    assert one.run(10_000) is Stop.DUE
    assert one.acknowledged == 0


@pytest.mark.parametrize("mode", [PM16, PM32, LONG, REAL])
def test_a_request_that_is_gone_before_IF_is_set_is_not_acknowledged(guest, mode):
    one = guest(mode, "out 0xE9, al; sti; nop; nop; hlt")
    one.interrupt(0x41)
    one.on_out(0xE9, lambda value: one.engine.intr(0))
    assert one.run() is Stop.HLT
    assert one.acknowledged == 0


@pytest.mark.parametrize("mode", [PM16, PM32, LONG, REAL])
@pytest.mark.parametrize("source, ip", [
    ("nop; sti; nop; nop", 3), ("nop; sti; jmp next; nop; next: nop", 5),
], ids=["NOP", "a jump"])
def test_the_instruction_after_STI_runs_before_an_interrupt(guest, mode, source, ip):
    one = guest(mode, source)
    one.interrupt(0x41)
    frame = one.frame()
    assert (frame.vector, frame.ip) == (0x41, CODE + ip)


def test_STI_with_IF_set_already_has_no_shadow(guest):
    one = guest(PM32, "nop; out 0xE9, al; sti; nop; nop; ud2", flags=IF)
    one.on_out(0xE9, lambda value: one.interrupt(0x41))
    assert one.frame().ip <= CODE + 5


@pytest.mark.parametrize("mode", [PM16, PM32, REAL])
@pytest.mark.parametrize("source, length", [(MOV_SS, 2), (POP_SS, 1)], ids=["MOV SS", "POP SS"])
def test_the_instruction_after_a_load_of_SS_runs_before_an_interrupt(guest, mode, source, length):
    one = guest(mode, f"jmp go; go: {source}; nop; nop; .byte 0x0F, 0x0B", flags=IF)
    one.r.rax = ss = one.r.ss.selector
    one.poke(STACK0, ss)
    assert one.run(1) is Stop.DUE and one.r.rip == CODE + 2         # one block: the jump
    assert one.run(1) is Stop.DUE and one.r.rip == CODE + 2 + length
    one.interrupt(0x41)
    assert one.frame().ip == CODE + 3 + length


@pytest.mark.parametrize("mode", [PM16, PM32, LONG, REAL])
def test_STI_HLT_sleeps_and_an_interrupt_wakes_it_after_the_HLT(guest, mode):
    one = guest(mode, "nop; sti; hlt; nop; .byte 0x0F, 0x0B")
    assert one.run() is Stop.HLT
    now = one.engine.now()
    assert one.run() is Stop.HLT and one.engine.now() == now        # asleep
    one.engine.skip(now + 5000)
    assert one.engine.now() == now + 5000
    one.interrupt(0x41)
    frame = one.frame()
    assert (frame.vector, frame.ip) == (0x41, CODE + 3)


def test_a_request_that_came_before_the_HLT_in_its_block_is_taken_and_not_slept_over(guest):
    one = guest(PM32, "nop; out 0xE9, al; hlt; nop; ud2", flags=IF)
    one.on_out(0xE9, lambda value: one.interrupt(0x41))
    frame = one.frame()
    assert (frame.vector, frame.ip) == (0x41, CODE + 4)


@pytest.mark.parametrize("mode", [PM32, LONG])
def test_a_pending_interrupt_is_taken_after_STI_HLT(guest, mode):
    one = guest(mode, "nop; sti; hlt; nop; .byte 0x0F, 0x0B")
    one.interrupt(0x41)
    frame = one.frame()
    assert (frame.vector, frame.ip) == (0x41, CODE + 3)


@pytest.mark.parametrize("mode", [PM16, PM32, LONG, REAL])
def test_HLT_with_IF_clear_is_dead_but_for_NMI(guest, mode):
    one = guest(mode, "cli; hlt; nop")
    one.interrupt(0x41)
    assert [one.run(), one.run()] == [Stop.DEAD] * 2
    one.engine.nmi(1)
    frame = one.frame()
    assert (frame.vector, frame.ip, one.acknowledged) == (2, CODE + 2, 0)


@pytest.mark.parametrize("mode, ring", ALL)
def test_an_NMI_is_taken_with_IF_clear_and_asks_nobody(guest, mode, ring):
    one = guest(mode, SPIN, ring=ring)
    one.run(1000)
    one.engine.nmi(1)
    assert one.frame().vector == 2
    assert one.acknowledged == 0


@pytest.mark.parametrize("mode", [PM16, PM32, PAGED, LONG, REAL])
def test_a_second_NMI_waits_for_IRET_and_a_third_is_lost(guest, mode):
    one = guest(mode, SPIN)
    register = "rbx" if mode == LONG else "bx" if one.bits == 16 else "ebx"
    one.code(f"inc {register}; out 0xE9, al; nop; {IRET.get(mode, '.byte 0xCF')}", 0x6000)
    one.gate(2, 0x6000)
    seen = []

    def again(value):
        seen.append(one.r.rbx & 0xFFFF)
        if len(seen) == 1:
            for level in (0, 1, 0, 1, 0):
                one.engine.nmi(level)

    one.on_out(0xE9, again)
    one.engine.nmi(1)
    assert one.run(100_000) is Stop.DUE
    assert seen == [1, 2]
    assert one.r.rsp == STACK0


def test_an_NMI_comes_before_an_interrupt(guest):
    one = guest(PM32, SPIN, flags=IF)
    one.run(1000)
    one.interrupt(0x41)
    one.engine.nmi(1)
    assert one.frame().vector == 2
    assert one.acknowledged == 0


@pytest.mark.parametrize("mode", [PM16, PM32, PAGED, LONG, REAL])
def test_each_interrupt_is_acknowledged_once_and_no_instruction_is_lost(guest, mode):
    ax = "rax" if mode == LONG else "ax" if one_is_16(mode) else "eax"
    bx = ax.replace("a", "b")
    one = guest(mode, f"mov cx, 2000; again: inc {ax}; dec cx; jnz again; cli; .byte 0x0F, 0x0B", flags=IF)
    one.code(f"inc {bx}; {IRET.get(mode, '.byte 0xCF')}", 0x6000)
    one.gate(0x41, 0x6000)
    taken = 0
    while one.run(397) is Stop.DUE:
        one.interrupt(0x41)
        taken += 1
    assert one.r.rip - 1 == 0x8006 and one.r.rax == 2000
    assert one.acknowledged == one.r.rbx == one.engine.counters()["interrupts"][0x41]
    assert one.acknowledged + len(one.vectors) == taken > 10


def one_is_16(mode):
    return mode in (PM16, REAL)


@pytest.mark.parametrize("mode", [PM32, LONG])
def test_an_interrupt_in_the_middle_of_REP_leaves_exact_counts(guest, mode):
    r = "r" if mode == LONG else "e"
    one = guest(mode, f"mov {r}cx, 5000; mov {r}di, {0x100000}; rep stosb; cli; hlt", flags=IF)
    one.code(f"inc dword ptr [{r}bx]; {IRET.get(mode, '.byte 0xCF')}", 0x6000)
    one.gate(0x41, 0x6000)
    one.r.rax, one.r.rbx = 0x5A, DATA
    while one.run(1000) is Stop.DUE:
        one.interrupt(0x41)
    assert bytes(one.ram[0x100000:0x100000 + 5001]) == b"\x5A" * 5000 + b"\0"
    assert one.r.rcx == 0 and one.r.rdi == 0x100000 + 5000
    assert one.peek(DATA) == one.acknowledged > 10


def test_interrupts_nest_by_the_order_of_requests(guest):
    one = guest(PM32, SPIN, flags=IF)
    one.code("mov [0xA000], eax; sti; nop; nop; iretd", 0x6000)
    one.gate(0x41, 0x6000)
    one.run(1000)
    one.interrupt(0x41, 0x42)
    assert one.frame().vector == 0x42
    assert one.acknowledged == 2


def test_a_gate_that_is_absent_is_NP_with_EXT_for_a_hardware_interrupt(guest):
    for mode in (PM32, LONG):
        one = guest(mode, SPIN, flags=IF)
        one.gate(0x41, present=False)
        one.interrupt(0x41)
        frame = one.frame()
        assert (frame.vector, frame.error, frame.ip) == (11, 0x41 << 3 | 3, CODE)


def test_what_acknowledge_raises_comes_out_of_run(guest):
    one = guest(PM32, SPIN, flags=IF)
    one.vectors = None                                  # type: ignore[assignment]

    class Broken:
        def __bool__(self):
            raise ZeroDivisionError("the chip is broken")

    one.vectors = Broken()                              # type: ignore[assignment]
    one.engine.intr(1)
    with pytest.raises(ZeroDivisionError, match="the chip is broken"):
        one.run()


def test_INTR_survives_a_reset_and_an_NMI_does_not(guest):
    one = guest(PM32, SPIN)
    one.engine.intr(1)
    one.engine.nmi(1)
    one.engine.reset()
    state = one.engine.save()
    assert (state["intr"], state["nmi_pending"]) == (1, 0)


def test_a_halted_processor_stays_halted_when_its_time_is_spent(guest):
    one = guest(PM32, "sti; hlt; nop; ud2")
    assert one.run() in HALTED
    one.interrupt(0x41)
    one.engine.due(one.engine.now())
    assert one.engine.run() is Stop.DUE
    assert one.acknowledged == 0
    assert one.frame().vector == 0x41
