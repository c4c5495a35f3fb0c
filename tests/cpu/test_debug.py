"""Debug exceptions and RF (SDM vol. 3B, chapter 17), and faults during the delivery of faults (vol. 3A, 6.15)."""

from __future__ import annotations

import pytest

from emu.engine import Stop
from tests.cpu.guest import ALIAS, CODE, COMPAT, DATA, HALTED, LONG, PAE, PAGED, PM16, PM32, PROTECTED, REAL, STACK3

TF, RF = 0x100, 0x10000
ALL = [(mode, ring) for mode in PROTECTED for ring in (0, 3)] + [(REAL, 0)]
UD2 = ".byte 0x0F, 0x0B"


@pytest.mark.parametrize("mode, ring", ALL)
def test_TF_is_a_trap_after_each_instruction(guest, mode, ring):
    one = guest(mode, "nop; nop; nop", ring=ring, flags=TF | 2)
    frame = one.frame()
    assert (frame.vector, frame.ip, frame.flags) == (1, CODE + 1, TF | 2)
    assert one.r.dr6 & 0x4000                           # BS
    assert not one.r.rflags & TF


@pytest.mark.parametrize("mode", [PM32, LONG, REAL])
def test_TF_is_not_seen_between_MOV_SS_and_the_instruction_after_it(guest, mode):
    one = guest(mode, ".byte 0x8E, 0xD0; nop; nop", flags=TF | 2)       # mov ss, ax
    one.r.rax = one.r.ss.selector
    assert one.frame().ip == CODE + 3


def test_a_handler_that_returns_steps_through_the_program(guest):
    one = guest(PM32, "mov ecx, 3; again: inc eax; dec ecx; jnz again; ud2", flags=TF | 2)
    one.code(f"inc dword ptr [{DATA}]; iretd", 0x6000)
    one.gate(1, 0x6000)
    one.gate(6)
    assert one.frame().vector == 6
    assert one.peek(DATA) == 1 + 3 * 3


@pytest.mark.parametrize("mode, ring", ALL)
def test_TF_of_POPF_traps_after_the_next_instruction(guest, mode, ring):
    one = guest(mode, ".byte 0x9D; nop; nop; nop", ring=ring)
    size = {16: 2, 32: 4, 64: 8}[one.bits]
    one.r.rsp -= size
    one.poke(one.r.rsp, TF | 2, size)
    assert one.frame().ip == CODE + 2


@pytest.mark.parametrize("mode, ring", ALL)
def test_an_instruction_breakpoint_is_a_fault_before_the_instruction(guest, mode, ring):
    one = guest(mode, "nop; inc ax; nop", ring=ring)
    one.r.dr0, one.r.dr7 = CODE + 1, 0x402              # G0, execute
    frame = one.frame()
    assert (frame.vector, frame.ip, one.r.rax) == (1, CODE + 1, 0)
    assert one.r.dr6 & 0xF == 1


@pytest.mark.xfail(strict=True, reason="the library's cpu_watchpoint_insert is empty: no access is ever compared")
@pytest.mark.parametrize("dr7, source", [(0xD00408, ".byte 0x88, 0x03"), (0x300408, ".byte 0x8A, 0x03")],
                         ids=["a write to four bytes", "a read of one byte"])
def test_a_data_breakpoint_is_a_trap_after_the_access(guest, dr7, source):
    one = guest(PM32, source + "; nop; ud2")
    one.r.rbx = one.r.dr1 = DATA
    one.r.dr7 = dr7
    frame = one.frame()
    assert (frame.vector, frame.ip) == (1, CODE + 2)


@pytest.mark.xfail(strict=True, reason="the library does not look at DR7.GD")
def test_MOV_to_a_debug_register_with_GD_set_is_DB(guest):
    one = guest(PM32, "nop; .byte 0x0F, 0x23, 0xC0; ud2")
    one.r.dr7 = 0x2400
    frame = one.frame()
    assert (frame.vector, frame.ip) == (1, CODE + 1)


@pytest.mark.parametrize("mode, pop", [(PM32, "iretd"), (LONG, "iretq")])
@pytest.mark.parametrize("back", ["jmp {}", pytest.param("jmp 0x9000", marks=pytest.mark.xfail(
    strict=True, reason="RF stays set along direct jumps, as in QEMU 5"))], ids=["an indirect jump", "a direct jump"])
def test_IRET_with_RF_set_passes_an_instruction_breakpoint_once(guest, mode, pop, back):
    register = "rdx" if mode == LONG else "edx"
    one = guest(mode, "nop; inc eax; cmp eax, 2; jne back; ud2; back: " + back.format(register))
    one.r.dr0, one.r.dr7, one.r.rdx = CODE + 1, 0x402, CODE
    sp = "rsp" if mode == LONG else "esp"
    one.code(f"or dword ptr [{sp} + {2 * one.word}], {RF}; inc dword ptr [{DATA}]; {pop}", 0x6000)
    one.gate(1, 0x6000)
    assert one.frame().vector == 6
    assert one.peek(DATA) == 2


@pytest.mark.parametrize("mode, push, pop", [
    (PM32, "pushfd", "pop eax"), (LONG, "pushfq", "pop rax"), (REAL, ".byte 0x66, 0x9C", "pop eax")])
def test_PUSHF_stores_VM_and_RF_as_zero(guest, mode, push, pop):
    one = guest(mode, f"{push}; {pop}; hlt", flags=2 | RF)
    assert one.run() in HALTED
    assert one.r.rax & 0x30000 == 0


@pytest.mark.xfail(strict=True, reason="the library pushes RF as it is, not as 1 for a fault")
def test_a_fault_pushes_RF_set(guest):
    assert guest(PM32, UD2).frame().flags & RF


# -- faults during delivery

@pytest.mark.parametrize("mode, ring", [(mode, ring) for mode in PROTECTED for ring in (0, 3)])
def test_a_contributory_fault_during_another_is_a_double_fault_with_error_code_0(guest, mode, ring):
    one = guest(mode, ".byte 0xF6, 0xF1", ring=ring)    # #DE, whose gate is absent: #NP, a second contributory one
    one.gate(0, present=False)
    frame = one.frame()
    assert (frame.vector, frame.error, frame.ip) == (8, 0, CODE)


@pytest.mark.parametrize("mode", PROTECTED)
def test_a_fault_during_a_benign_exception_is_delivered_by_itself(guest, mode):
    one = guest(mode, UD2)
    one.gate(6, present=False)
    assert one.exception() == 11


@pytest.mark.parametrize("mode", [PAGED, PAE, LONG, COMPAT])
def test_a_page_fault_during_a_page_fault_is_a_double_fault(guest, mode):
    one = guest(mode, ".byte 0x8A, 0x03", ring=3)
    one.r.rbx = ALIAS
    one.page(0xB000, 0, 0)                              # the stack of ring 0
    if one.gates == 64:
        one.gate(8, ist=1)
        frame = one.frame()
        assert (frame.vector, frame.error, frame.ip) == (8, 0, CODE)
        assert one.r.cr2 == 0xBFF8
    else:
        assert one.run() is Stop.SHUTDOWN               # and the double fault meets the same stack


@pytest.mark.parametrize("mode", [PAGED, PAE, LONG, COMPAT])
def test_a_page_fault_during_INT_n_is_a_page_fault(guest, mode):
    one = guest(mode, ".byte 0xCD, 0x31", ring=3)
    one.page(0xB000, 0, 0)
    if one.gates == 64:
        one.gate(14, ist=1)
        frame = one.frame()
        assert (frame.vector, frame.error, frame.ip, frame.sp) == (14, 2, CODE, STACK3)
    else:
        assert one.run() is Stop.SHUTDOWN


@pytest.mark.parametrize("mode, ring", [(mode, ring) for mode in PROTECTED for ring in (0, 3)])
def test_a_fault_during_a_double_fault_is_a_shutdown(guest, mode, ring):
    one = guest(mode, ".byte 0xF6, 0xF1", ring=ring)
    one.r.idtr = 0x2000, 0
    assert one.run() is Stop.SHUTDOWN
    assert one.r.rip == CODE


@pytest.mark.parametrize("mode", [PM16, PM32, LONG])
def test_a_processor_that_is_shut_down_stays_so_until_reset(guest, mode):
    one = guest(mode, ".byte 0xF6, 0xF1")
    one.r.idtr = 0x2000, 0
    assert [one.run(), one.run()] == [Stop.SHUTDOWN] * 2
    one.rom[0xFFF0] = 0xF4
    one.engine.reset()
    assert one.run() in HALTED
    assert one.r.rip == 0xFFF1


def test_an_exception_after_a_delivered_one_is_not_a_double_fault(guest):
    one = guest(PM32, "again: div ecx; dec ebp; jnz again; ud2")
    one.code("add dword ptr [esp], 2; iretd", 0x6000)
    one.r.rbp = 100
    one.gate(0, 0x6000)
    assert one.frame().vector == 6
    assert one.engine.counters()["exceptions"] == {0: 100, 6: 1}
