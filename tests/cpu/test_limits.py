"""What the library cannot do, each with the reason: these tests pass on a processor, and say when the library learns it."""

from __future__ import annotations

import pytest

from tests.cpu.guest import CODE, DATA, LONG, PM16, PM32, REAL

UD2 = ".byte 0x0F, 0x0B"


def lacks(reason):
    return pytest.mark.xfail(strict=True, reason=reason)


@lacks("segment limits are not compared: data")
@pytest.mark.parametrize("register, vector", [("ds", 13), ("ss", 12)])
def test_an_access_beyond_the_limit_is_GP_0_or_SS_0(guest, register, vector):
    one = guest(PM32, f"nop; mov al, [{'ebx' if register == 'ds' else 'ebp'}]; {UD2}")
    segment = getattr(one.r, register)
    setattr(one.r, register, type(segment)(segment.selector, 0, 0xFFFF, segment.attributes & ~0x8000))
    one.r.rbx = one.r.rbp = 0x10000
    frame = one.frame()
    assert (frame.vector, frame.error, frame.ip) == (vector, 0, CODE + 1)


@lacks("segment limits are not compared: code")
def test_a_jump_beyond_the_limit_of_CS_is_GP_0(guest):
    one = guest(PM32, "nop; jmp ebx")
    cs = one.r.cs
    one.r.cs = type(cs)(cs.selector, 0, 0xFFFF, cs.attributes & ~0x8000)
    one.code(UD2, 0x15000)
    one.r.rbx = 0x15000
    assert one.exception() == 13


@lacks("a segment's type is not compared at the access")
@pytest.mark.parametrize("attributes", [0xC091, 0xC099], ids=["read-only", "execute-only"])
def test_a_write_to_a_read_only_segment_is_GP_0(guest, attributes):
    one = guest(PM32, f"nop; mov [ebx], al; {UD2}")
    ds = one.r.ds
    one.r.ds = type(ds)(ds.selector, 0, 0xFFFFFFFF, attributes)
    one.r.rbx = DATA
    assert one.exception() == 13


@lacks("a null segment is used as if it were flat")
def test_an_access_through_a_null_segment_is_GP_0(guest):
    one = guest(PM32, f"nop; xor eax, eax; .byte 0x8E, 0xD8; mov al, [ebx]; {UD2}")
    one.r.rbx = DATA
    assert one.exception() == 13


@lacks("real-mode limits are not compared")
def test_a_word_at_FFFF_in_real_mode_is_GP(guest):
    one = guest(REAL, f"nop; mov ax, [bx]; {UD2}")
    one.r.rbx = 0xFFFF
    assert one.exception() == 13


@lacks("real-mode limits are not compared: execution goes on at 10000h")
def test_running_over_the_end_of_a_real_mode_segment_is_GP(guest):
    one = guest(REAL, "jmp bx")
    one.poke(0xFFFE, b"\x90\x90\x0F\x0B")
    one.r.rbx = 0xFFFE
    assert one.exception() == 13


@lacks("alignment is never checked: no #AC")
@pytest.mark.parametrize("mode", [PM32, LONG])
def test_an_unaligned_access_in_ring_3_with_AM_and_AC_is_AC(guest, mode):
    one = guest(mode, f"nop; mov eax, [{'r' if mode == LONG else 'e'}bx]; {UD2}", ring=3, flags=0x40002)
    one.r.cr0 |= 0x40000
    one.r.rbx = DATA + 1
    frame = one.frame()
    assert (frame.vector, frame.error, frame.ip) == (17, 0, CODE + 1)


@lacks("an SSE operand of 16 bytes need not be aligned")
def test_MOVAPS_at_an_unaligned_address_is_GP_0(guest):
    one = guest(PM32, f"nop; movaps xmm0, [ebx]; {UD2}")
    one.r.cr4 |= 0x200
    one.r.rbx = DATA + 1
    assert one.exception() == 13


@lacks("unknown MSRs read 0 and drop writes")
@pytest.mark.parametrize("source", [".byte 0x0F, 0x32", ".byte 0x0F, 0x30"], ids=["RDMSR", "WRMSR"])
def test_an_unknown_MSR_is_GP_0(guest, source):
    one = guest(PM32, f"nop; {source}; {UD2}")
    one.r.rcx = 0x12345
    assert one.exception() == 13


@lacks("reserved bits of control registers are kept or dropped")
@pytest.mark.parametrize("source, value", [(".byte 0x0F, 0x22, 0xE0", 1 << 24), (".byte 0x0F, 0x22, 0xC0", 0x80000010)],
                         ids=["a reserved bit of CR4", "PG without PE"])
def test_a_bad_value_for_a_control_register_is_GP_0(guest, source, value):
    one = guest(PM32, f"nop; {source}; {UD2}")
    one.r.rax = value
    assert one.exception() == 13


@lacks("RDTSC is not bound to its CPUID bit")
def test_RDTSC_on_a_486_is_UD(guest):
    assert guest(PM32, "nop; .byte 0x0F, 0x31; .byte 0xCD, 0x31", model="486").exception() == 6


@lacks("the upper half of the offset in a 286 gate is used")
def test_a_gate_of_16_bits_has_no_upper_offset(guest):
    one = guest(PM16, ".byte 0xCD, 0x31")
    one.gate(0x31, bits=16)
    one.poke(0x2000 + 8 * 0x31 + 6, 1, 2)
    assert one.exception() == 0x31


@lacks("a stack of 16 bits that wraps within a push is not told from a large one")
def test_a_push_that_wraps_in_the_middle_is_SS(guest):
    one = guest(PM16, f"nop; push ax; {UD2}")
    one.r.rsp = 1
    assert one.exception() == 12

