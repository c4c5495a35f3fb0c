"""Virtual-8086 mode (SDM vol. 3B, 20), task switches (vol. 3A, 7) and call gates (5.8)."""

from __future__ import annotations

import pytest

from emu.x86 import Gate, Segment, encode_gate
from tests.cpu.guest import (
    ABSENT,
    CODE,
    CODE16,
    CODE32,
    CODE64,
    CONFORMING,
    DATA16,
    DATA32,
    GDT,
    HALTED,
    LONG,
    PAGED,
    PM32,
    READONLY,
    SPARE,
    STACK0,
    STACK1,
    STACK3,
    STUBS,
    TABLES,
    TR,
    TR2,
    TSS,
    TSS2,
    UDATA16,
    UDATA32,
    USER32,
    USER64,
    V86,
)

UD2, NT = ".byte 0x0F, 0x0B", 0x4000


# -- virtual-8086 mode

def test_a_fault_in_virtual_8086_mode_leaves_for_ring_0_with_a_long_frame(guest):
    one = guest(V86, UD2, flags=0x202)
    for name, selector in (("ds", 0x10), ("es", 0x20), ("fs", 0x30), ("gs", 0x40)):
        one.load(name, selector)
    frame = one.frame()
    assert (frame.vector, frame.error, frame.ip, frame.cs, frame.flags & ~0x10000) == (6, None, CODE, 0, 0x20202)
    assert (frame.sp, frame.ss, frame.segments) == (STACK3, 0, (0x20, 0x10, 0x30, 0x40))
    assert one.r.rsp == STACK0 - 36
    assert [getattr(one.r, name).selector for name in ("ds", "es", "fs", "gs")] == [0] * 4
    assert not one.r.rflags & 0x20000 and one.r.cs.selector == CODE32


@pytest.mark.parametrize("source", [".byte 0xCD, 0x31", "cli", "sti", ".byte 0x9C", ".byte 0x9D", ".byte 0xCF"],
                         ids=["INT n", "CLI", "STI", "PUSHF", "POPF", "IRET"])
@pytest.mark.parametrize("iopl", [0, 3])
def test_what_is_sensitive_to_IOPL_is_GP_0_below_3(guest, source, iopl):
    one = guest(V86, "nop; " + source + "; " + UD2, flags=2 | iopl << 12)
    one.poke(STACK3, CODE + 2, 2)
    one.poke(STACK3 + 4, 0x3002, 2)
    if ".byte 0x9D" in source:
        one.poke(STACK3, 0x3002, 2)
    frame = one.frame()
    if iopl == 3:
        assert frame.vector == (0x31 if "0xCD" in source else 6)
    else:
        assert (frame.vector, frame.error, frame.ip) == (13, 0, CODE + 1)


@pytest.mark.parametrize("source, vector", [("hlt", 13), (".byte 0x0F, 0x20, 0xC0", 13), (".byte 0x0F, 0x00, 0xD8", 6),
                                            (".byte 0x0F, 0x01, 0x17", 13), (".byte 0xCC", 3), (".byte 0xF7, 0xF1", 0)],
                         ids=["HLT", "MOV from CR0", "LTR", "LGDT", "INT3", "DIV"])
def test_a_privileged_instruction_in_virtual_8086_mode(guest, source, vector):
    one = guest(V86, "nop; " + source)
    assert one.exception() == vector


def test_INT_n_to_a_gate_of_ring_0_is_GP_of_the_vector_even_with_IOPL_3(guest):
    one = guest(V86, "nop; .byte 0xCD, 0x31", flags=0x3002)
    one.gate(0x31, dpl=0)
    frame = one.frame()
    assert (frame.vector, frame.error) == (13, 0x31 << 3 | 2)


def test_IRET_with_VM_in_the_image_enters_virtual_8086_mode(guest):
    one = guest(PM32, "iretd")
    words = (0x10, 0x150, 0x23002, 0x800, 0x700, 0x20, 0x30, 0x40, 0x50)    # IP CS FLAGS SP SS ES DS FS GS
    one.r.rsp = STACK1
    for i, word in enumerate(words):
        one.poke(STACK1 + 4 * i, word)
    one.code(UD2, 0x1510, 16)
    frame = one.frame()
    assert (frame.vector, frame.ip, frame.cs, frame.flags & ~0x10000) == (6, 0x10, 0x150, 0x23002)
    assert (frame.sp, frame.ss, frame.segments) == (0x800, 0x700, (0x20, 0x30, 0x40, 0x50))


@pytest.mark.xfail(strict=True, reason="as QEMU: IRET enters virtual-8086 mode from every ring")
def test_IRET_in_ring_3_leaves_VM_as_it_is(guest):
    """SDM vol. 2A, IRET: to virtual-8086 mode from CPL 0 alone."""
    one = guest(PM32, f"push 0x20002; push {USER32}; push {CODE + 0x40}; iretd", ring=3)
    one.code(UD2, CODE + 0x40)
    frame = one.frame()
    assert (frame.vector, frame.flags & 0x20000, frame.cs) == (6, 0, USER32)


def test_addresses_in_virtual_8086_mode_are_those_of_real_mode(guest):
    one = guest(V86, "mov al, [bx]; mov es:[bx], al; " + UD2)
    one.load("ds", 0x1000)
    one.load("es", 0x1234)
    one.r.rbx = 0x5678
    one.poke(0x15678, b"\x5A")
    assert one.exception() == 6
    assert one.peek(0x12340 + 0x5678, 1) == 0x5A


# -- task switches

def second_task(one, **fields):
    """A task in TSS2 that runs at 7000h."""
    one.code("inc ebx; ud2", 0x7000)
    one.descriptor(TR2, 0x67, 0x89, TSS2)
    one.descriptor(TR, 0x20FF, 0x8B, TSS)
    one.task(TSS2, **{"eip": 0x7000, "cs": CODE32, "ss": DATA32, "ds": DATA32, "es": DATA32, "esp": STACK1, "eflags": 0x93,
                      "ebx": 41, "ecx": 0x55, "ss0": DATA32, "esp0": STACK1, "cr3": 0, **fields})


def busy(one, selector):
    return bool(one.peek(GDT + selector + 5, 1) & 2)


def far(opcode, selector):
    return f".byte {opcode}, 0, 0, 0, 0, {selector}, 0"


@pytest.mark.parametrize("opcode, nested", [(0xEA, False), (0x9A, True)], ids=["JMP", "CALL"])
@pytest.mark.parametrize("through", [TR2, SPARE], ids=["a TSS", "a task gate"])
def test_a_far_transfer_to_a_TSS_or_a_task_gate_switches_tasks(guest, opcode, nested, through):
    one = guest(PM32, "nop; " + far(opcode, through), flags=0x246)
    second_task(one)
    one.poke(GDT + SPARE, encode_gate(Gate("task", 32, TR2, 0, 3)))
    one.r.rcx, one.r.rsi = 0x1111, 0x2222
    frame = one.frame()
    assert (frame.vector, frame.ip, frame.cs) == (6, 0x7001, CODE32)
    assert frame.flags & ~0x10000 & ~0x8D5 == 2 | (NT if nested else 0)
    assert (one.r.rbx, one.r.rcx, one.r.tr.selector, one.r.tr.base) == (42, 0x55, TR2, TSS2)
    assert (busy(one, TR), busy(one, TR2)) == (nested, True)
    assert one.peek(TSS2, 2) == (TR if nested else 0)
    saved = [one.peek(TSS + offset) for offset in (32, 36, 44, 56, 64, 76)]         # EIP EFLAGS ECX ESP ESI CS
    assert saved == [CODE + 8, 0x246, 0x1111, STACK0, 0x2222, CODE32]
    assert one.r.cr0 & 8                                # TS


def test_IRET_with_NT_returns_to_the_task_that_called(guest):
    one = guest(PM32, f"nop; {far(0x9A, TR2)}; ud2")
    second_task(one)
    one.code("inc ebx; iretd", 0x7000)
    frame = one.frame()
    assert (frame.vector, frame.ip, one.r.tr.selector) == (6, CODE + 8, TR)
    assert (busy(one, TR), busy(one, TR2)) == (True, False)
    assert one.peek(TSS2 + 52) == 42 and one.peek(TSS2 + 32) == 0x7002


@pytest.mark.parametrize("ring", [0, 3])
@pytest.mark.parametrize("vector, source, error", [(0x31, ".byte 0xCD, 0x31", None), (13, ".byte 0x8E, 0xD8", 0x7F8)],
                         ids=["INT n", "GP"])
def test_a_task_gate_in_the_IDT_switches_tasks_and_pushes_the_error_code_there(guest, ring, vector, source, error):
    one = guest(PM32, "nop; " + source, ring=ring)
    second_task(one)
    one.code("hlt", 0x7000)
    one.gate(vector, 0, kind="task", selector=TR2)
    one.r.rax = 0x7F8
    one.run()
    assert (one.r.rip, one.r.tr.selector, one.r.rsp) == (0x7001, TR2, STACK1 - (4 if error else 0))
    assert error is None or one.peek(STACK1 - 4) == error
    assert one.peek(TSS + 32) == CODE + (3 if error is None else 1)
    assert one.peek(TSS2, 2) == TR and one.r.rflags & NT


@pytest.mark.parametrize("attributes, limit, vector", [(0x8B, 0x67, 13), (0x09, 0x67, 11), (0x89, 0x66, 10)],
                         ids=["GP when it is busy", "NP when it is absent", "TS when it is too small"])
def test_a_TSS_that_cannot_be_switched_to(guest, attributes, limit, vector):
    one = guest(PM32, "nop; " + far(0xEA, TR2))
    second_task(one)
    one.descriptor(TR2, limit, attributes, TSS2)
    frame = one.frame()
    assert (frame.vector, frame.error, frame.ip) == (vector, TR2, CODE + 1)


def test_a_task_with_a_bad_stack_is_TS_in_the_new_task(guest):
    one = guest(PM32, "nop; " + far(0xEA, TR2))
    second_task(one, ss=0x7F8)
    one.descriptor(SPARE, 0x67, 0x89, TSS2 + 0x200)
    one.task(TSS2 + 0x200, eip=0x7800, cs=CODE32, ss=DATA32, ds=DATA32, esp=STACK3, eflags=2)
    one.gate(10, 0, kind="task", selector=SPARE)
    one.code("hlt", 0x7800)
    one.run()
    assert (one.r.rip, one.r.tr.selector, one.peek(STACK3 - 4)) == (0x7801, SPARE, 0x7F8)


@pytest.mark.parametrize("field, value, vector", [("ds", ABSENT, 11), ("es", 0x7F8, 10), ("fs", CODE32 | 3, 10),
                                                  ("cs", DATA32, 10), ("ldt", CODE32, 10), ("eip", 0xFFFFFFFF, 14)])
def test_a_bad_register_of_a_new_task_is_told_at_its_first_instruction(guest, field, value, vector):
    """SDM vol. 3A, 6.15: CS and EIP are the new task's when the fault comes after the switch."""
    if vector == 14:                                    # the first instruction itself is not there
        one = guest(PAGED, "nop; " + far(0xEA, TR2))
        second_task(one, cr3=TABLES, **{field: value})
        frame = one.frame()
        assert (frame.vector, frame.ip, one.r.tr.selector) == (14, value, TR2)
        return
    one = guest(PM32, "nop; " + far(0xEA, TR2))
    second_task(one, **{field: value})
    frame = one.frame()
    assert (frame.vector, frame.error, frame.ip, one.r.tr.selector) == (vector, value & ~3, 0x7000, TR2)


@pytest.mark.parametrize("opcode", [0xEA, 0x9A], ids=["JMP", "CALL"])
def test_a_16_bit_TSS_has_its_segments_in_words_from_22h_on(guest, opcode):
    """SDM vol. 3A, 7.6 and figure 7-10: IP 0Eh, FLAGS 10h, AX to DI 12h, ES CS SS DS 22h, LDT 2Ah."""
    one = guest(PM32, "nop; " + far(opcode, TR2))
    one.r.tr = Segment(TR, TSS, 0x2B, 0x83)
    one.descriptor(TR, 0x2B, 0x83, TSS)
    one.descriptor(TR2, 0x2B, 0x81, TSS2)
    one.poke(TSS + 0x22, b"\xEE" * 10)
    one.code("ud2", 0x7000, 16)
    for offset, word in {0x0E: 0x7000, 0x10: 2, 0x12: 0x1111, 0x1A: STACK1, 0x20: 0x2222, 0x22: UDATA32, 0x24: CODE16,
                         0x26: DATA16, 0x28: DATA32, 0x2A: 0}.items():
        one.poke(TSS2 + offset, word, 2)
    one.load("es", READONLY)
    one.load("ds", UDATA16)
    one.r.rsi = 0x3333
    assert one.run() in HALTED and one.r.rip == STUBS + 6 + 1
    assert [one.peek(STACK1 - 12 + 4 * i) & 0xFFFF for i in range(2)] == [0x7000, CODE16]
    assert [getattr(one.r, name).selector for name in ("es", "ss", "ds", "fs", "gs")] == [UDATA32, DATA16, DATA32, 0, 0]
    assert (one.r.rax & 0xFFFF, one.r.rdi & 0xFFFF, one.r.tr.selector) == (0x1111, 0x2222, TR2)
    assert [one.peek(TSS + offset, 2) for offset in (0x0E, 0x1E, 0x22, 0x24, 0x26, 0x28, 0x2A)] == [
        CODE + 8, 0x3333, READONLY, CODE32, DATA32, UDATA16, 0xEEEE]


# -- LTR and call gates

def test_LTR_makes_the_TSS_busy_and_a_second_LTR_is_GP(guest):
    one = guest(PM32, ".byte 0x0F, 0x00, 0xD8; .byte 0x0F, 0x00, 0xD8")
    one.descriptor(TR2, 0x67, 0x89, TSS2)
    one.r.rax = TR2
    frame = one.frame()
    assert (frame.vector, frame.error, frame.ip) == (13, TR2, CODE + 3)
    assert busy(one, TR2) and one.r.tr.base == TSS2


@pytest.mark.parametrize("mode", [PM32, LONG])
def test_LTR_of_a_null_selector_is_GP_0_and_an_interrupt_from_ring_3_still_comes(guest, mode):
    one = guest(mode, "nop; .byte 0x0F, 0x00, 0xD8")
    one.r.rax = 3
    frame = one.frame()
    assert (frame.vector, frame.error, frame.ip, one.r.tr.selector) == (13, 0, CODE + 1, TR)


def test_a_call_gate_changes_rings_and_copies_parameters(guest):
    one = guest(PM32, "nop; " + far(0x9A, SPARE | 3), ring=3)
    one.code(UD2, 0x7000)
    one.poke(GDT + SPARE, encode_gate(Gate("call", 32, CODE32, 0x7000, 3, parameters=2)))
    one.poke(STACK3, 0x11111111)
    one.poke(STACK3 + 4, 0x22222222)
    frame = one.frame()
    assert (frame.vector, frame.ip, frame.cs) == (6, 0x7000, CODE32)
    pushed = [one.peek(STACK0 - 24 + 4 * i) for i in range(6)]
    assert pushed == [CODE + 8, USER32, 0x11111111, 0x22222222, STACK3, UDATA32]


def test_a_call_gate_in_long_mode_pushes_quadwords(guest):
    one = guest(LONG, f"nop; .byte 0xFF, 0x1B; {UD2}", ring=3)         # call far [rbx]
    one.code(UD2, 0x7000)
    one.poke(GDT + SPARE, encode_gate(Gate("call", 64, CODE64, 0x7000, 3)))
    one.r.rbx = 0xA000
    one.poke(0xA004, SPARE | 3, 2)
    frame = one.frame()
    assert (frame.vector, frame.ip, frame.cs) == (6, 0x7000, CODE64)
    assert [one.peek(STACK0 - 32 + 8 * i, 8) for i in range(4)] == [CODE + 3, USER64, STACK3, UDATA32]


@pytest.mark.parametrize("dpl, present, vector", [(0, True, 13), (3, False, 11)], ids=["GP below its DPL", "NP when absent"])
def test_a_call_gate_that_may_not_be_used(guest, dpl, present, vector):
    one = guest(PM32, "nop; " + far(0x9A, SPARE | 3), ring=3)
    one.poke(GDT + SPARE, encode_gate(Gate("call", 32, CODE32, 0x7000, dpl, present)))
    frame = one.frame()
    assert (frame.vector, frame.error, frame.ip) == (vector, SPARE, CODE + 1)


def test_a_conforming_segment_keeps_the_ring(guest):
    one = guest(PM32, "nop; .byte 0xEA; .long 0x7000; .word 0xB3", ring=3)
    one.code(UD2, 0x7000)
    frame = one.frame()
    assert (frame.vector, frame.ip, frame.cs) == (6, 0x7000, CONFORMING | 3)
