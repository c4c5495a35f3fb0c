"""The x87: results, exceptions, and the stack's faults (SDM vol. 1, chapter 8, and vol. 2 by instruction)."""

from __future__ import annotations

import struct

import pytest

from tests.cpu.guest import CODE, DATA, HALTED, LONG, PM32

IE, DE, ZE, OE, UE, PE, SF, ES = (1 << i for i in range(8))
C0, C1, C2, C3, BUSY = 0x100, 0x200, 0x400, 0x4000, 0x8000
INF, NAN, INDEFINITE = float("inf"), bytes.fromhex("0000000000000080") + b"\xFF\x7F", bytes(7) + b"\xC0\xFF\xFF"
SNAN = bytes.fromhex("01000000000000a0ff7f")
A, B, OUT = DATA, DATA + 16, DATA + 64
TWO = f"fld qword ptr [{B}]; fld qword ptr [{A}];"          # ST(0) = A, ST(1) = B
ST0 = f".byte 0xDB, 0x3D; .long {OUT}"                       # FSTP m80
LOAD80 = f".byte 0xDB, 0x2D; .long {A};"


def execute(guest, source, a=0.0, b=0.0, fcw=0x37F, mode=PM32):
    """The guest after `source`; a and b are doubles, or the bytes of anything."""
    one = guest(mode, source + "; hlt")
    for at, value in ((A, a), (B, b)):
        one.poke(at, value if isinstance(value, bytes) else struct.pack("<d", value))
    one.r.fcw = fcw
    assert one.run() in HALTED and one.r.rip < CODE + 0x100
    return one


def extended(one):
    return bytes(one.ram[OUT:OUT + 10])


def real80(value):
    """An m80 of a number that a double holds."""
    if value == 0:
        return bytes(10)
    mantissa, exponent = abs(value), 0
    while mantissa >= 2:
        mantissa, exponent = mantissa / 2, exponent + 1
    while mantissa < 1:
        mantissa, exponent = mantissa * 2, exponent - 1
    return struct.pack("<QH", int(mantissa * 2 ** 63), exponent + 16383 | (0x8000 if value < 0 else 0))


@pytest.mark.parametrize("operation, a, b, flags", [
    ("fadd", 1.0, 2.0 ** -70, PE), ("fadd", 1.0, 2.0, 0), ("fadd", INF, -INF, IE), ("fmul", INF, 0.0, IE),
    ("fdiv", 1.0, 0.0, ZE), ("fdiv", 0.0, 0.0, IE), ("fdiv", 1.0, 3.0, PE), ("fadd", 5e-324, 0.0, DE),
])
def test_arithmetic_sets_the_flags_of_its_exceptions(guest, operation, a, b, flags):
    one = execute(guest, f"fld qword ptr [{A}]; {operation} qword ptr [{B}]; {ST0}", a, b)
    assert one.r.fsw & 0xFF == flags


def test_flags_are_sticky_until_FNCLEX_and_the_next_exception_sets_them_again(guest):
    again = f"{TWO} fdivp st(1), st(0); fnstsw ax;"
    one = execute(guest, f"{again} mov ebx, eax; fnclex; fnstsw ax; mov ecx, eax; {again} mov edx, eax", 3.0, 1.0)
    assert (one.r.rbx & 0x3F, one.r.rcx & 0x3F, one.r.rdx & 0x3F) == (PE, 0, PE)


@pytest.mark.parametrize("fcw, c1, last", [(0x37F, C1, 0xAB), (0xB7F, C1, 0xAB), (0x77F, 0, 0xAA)],
                         ids=["nearest", "up", "down"])
def test_C1_tells_whether_an_inexact_result_was_rounded_up(guest, fcw, c1, last):
    one = execute(guest, f"{TWO} fdivp st(1), st(0); fnstsw ax; {ST0}", 3.0, 2.0, fcw)
    assert one.r.rax & (C1 | PE) == c1 | PE and one.ram[OUT] == last


@pytest.mark.parametrize("size, form, result, flags", [
    (4, "dword", 0x7F800000, OE | PE), (8, "qword", 0x7FF0 << 48, OE | PE),
], ids=["m32", "m64"])
def test_a_store_that_does_not_fit_is_infinite_and_overflows(guest, size, form, result, flags):
    one = execute(guest, f"{LOAD80} fstp {form} ptr [{OUT}]", struct.pack("<QH", 1 << 63, 0x7000))
    assert (one.peek(OUT, size), one.r.fsw & 0x3F) == (result, flags)


@pytest.mark.parametrize("value", [2.0 ** 80, -(2.0 ** 80), INF], ids=["large", "small", "infinite"])
@pytest.mark.parametrize("source, size", [
    (f"fistp word ptr [{OUT}]", 2), (f"fistp dword ptr [{OUT}]", 4), (f"fistp qword ptr [{OUT}]", 8),
    (f".byte 0xDF, 0x0D; .long {OUT}", 2), (f".byte 0xDB, 0x0D; .long {OUT}", 4), (f".byte 0xDD, 0x0D; .long {OUT}", 8),
], ids=["FISTP m16", "m32", "m64", "FISTTP m16", "FISTTP m32", "FISTTP m64"])
def test_an_integer_that_does_not_fit_is_the_indefinite_one_and_invalid(guest, value, source, size):
    one = execute(guest, f"fld qword ptr [{A}]; {source}", value)
    assert (one.peek(OUT, size), one.r.fsw & 0x3F) == (1 << 8 * size - 1, IE)


@pytest.mark.parametrize("value, digits, flags", [
    (-123.0, bytes.fromhex("23010000000000000080"), 0), (1.5, b"\x02" + bytes(9), PE), (-0.0, bytes(9) + b"\x80", 0),
    (1e30, INDEFINITE, IE), (INF, INDEFINITE, IE),
], ids=["-123", "1.5", "-0", "1e30", "infinite"])
def test_FBSTP_stores_eighteen_digits_or_the_indefinite_ones(guest, value, digits, flags):
    one = execute(guest, f"fld qword ptr [{A}]; .byte 0xDF, 0x35; .long {OUT}", value)
    assert (extended(one), one.r.fsw & 0x3F) == (digits, flags)


@pytest.mark.parametrize("value, significand, exponent, flags", [
    (10.0, 1.25, 3.0, 0), (0.0, 0.0, -INF, ZE), (-INF, -INF, INF, 0),
])
def test_FXTRACT_takes_a_number_apart(guest, value, significand, exponent, flags):
    one = execute(guest, f"fld qword ptr [{A}]; fxtract; fstp qword ptr [{OUT}]; fstp qword ptr [{OUT + 8}]", value)
    assert struct.unpack("<2d", one.ram[OUT:OUT + 16]) == (significand, exponent)
    assert one.r.fsw & 0x3F == flags


@pytest.mark.parametrize("code, mantissas", [
    (0xE9, (0xD49A784BCD1B8AFE, 0xD49A784BCD1B8AFF)), (0xEA, (0xB8AA3B295C17F0BB, 0xB8AA3B295C17F0BC)),
    (0xEB, (0xC90FDAA22168C234, 0xC90FDAA22168C235)), (0xEC, (0x9A209A84FBCFF798, 0x9A209A84FBCFF799)),
    (0xED, (0xB17217F7D1CF79AB, 0xB17217F7D1CF79AC)),
], ids=["FLDL2T", "FLDL2E", "FLDPI", "FLDLG2", "FLDLN2"])
def test_a_constant_is_rounded_as_RC_says(guest, code, mantissas):
    for fcw, mantissa in ((0x77F, mantissas[0]), (0xB7F, mantissas[1])):
        one = execute(guest, f".byte 0xD9, {code}; {ST0}", fcw=fcw)
        assert one.peek(OUT, 8) == mantissa


def test_logarithms_have_64_bits(guest):
    one = execute(guest, f"fld1; fld qword ptr [{A}]; fyl2x; {ST0}", 10.0)
    assert one.peek(OUT, 8) == 0xD49A784BCD1B8AFE and one.r.fsw & 0x3800 == 0       # it pops
    one = execute(guest, f"fld1; fld qword ptr [{A}]; fyl2x; {ST0}", -1.0)
    assert (extended(one), one.r.fsw & 0x3800, one.r.fsw & 0x3F) == (INDEFINITE, 0, IE)


def test_an_angle_that_is_too_large_sets_C2_and_stays(guest):
    one = execute(guest, f"fld qword ptr [{A}]; .byte 0xD9, 0xFB; fnstsw ax; fstp qword ptr [{OUT}]", 2.0 ** 64)
    assert one.r.rax & C2 and one.r.rax >> 11 & 7 == 7
    assert struct.unpack("<d", one.ram[OUT:OUT + 8]) == (2.0 ** 64,)


def test_FPREM_tells_the_last_bits_of_the_quotient(guest):
    for quotient in range(8):
        one = execute(guest, f"{TWO} fprem; fnstsw ax; fstp qword ptr [{OUT}]", 3.0 * quotient + 1, 3.0)
        bits = (C0 if quotient & 4 else 0) | (C3 if quotient & 2 else 0) | (C1 if quotient & 1 else 0)
        assert one.r.rax & 0x4700 == bits and struct.unpack("<d", one.ram[OUT:OUT + 8]) == (1.0,)


@pytest.mark.parametrize("value, flags", [
    (real80(1.0), C2), (real80(-1.0), C2 | C1), (bytes(10), C3), (NAN, C0 | C2), (SNAN, C0), (bytes(8) + b"\1\0", 0),
    (b"\1" + bytes(9), C2 | C3), (bytes(7) + b"\x80\0\0", C2 | C3),
], ids=["normal", "negative", "zero", "infinite", "NaN", "unsupported", "denormal", "pseudo-denormal"])
def test_FXAM_classifies(guest, value, flags):
    assert execute(guest, f"{LOAD80} .byte 0xD9, 0xE5; fnstsw ax", value).r.rax & 0x4700 == flags


def test_FXAM_of_an_empty_register(guest):
    assert execute(guest, ".byte 0xD9, 0xE5; fnstsw ax").r.rax & 0x4500 == C3 | C0


@pytest.mark.parametrize("source, flags", [("fcom st(1)", IE), ("fucom st(1)", 0)])
def test_a_comparison_with_a_quiet_NaN_is_unordered_and_FCOM_invalid(guest, source, flags):
    quiet = bytes.fromhex("000000000000f87f")
    one = execute(guest, f"{TWO} {source}; fnstsw ax", quiet, 1.0)
    assert one.r.rax & (C3 | C2 | C0) == C3 | C2 | C0 and one.r.rax & 0x3F == flags


@pytest.mark.parametrize("a, b, flags", [(1.0, 2.0, 1), (2.0, 2.0, 0x40), (3.0, 2.0, 0), (float("nan"), 2.0, 0x45)])
def test_FCOMI_sets_EFLAGS(guest, a, b, flags):
    one = execute(guest, f"{TWO} .byte 0xDB, 0xF1", a, b)
    assert one.r.rflags & 0x45 == flags


@pytest.mark.parametrize("load", [f"fld dword ptr [{A}]", f"fld qword ptr [{A}]"])
def test_a_signalling_NaN_that_is_converted_becomes_quiet_and_is_invalid(guest, load):
    value = bytes.fromhex("0100a07f" if "dword" in load else "010000000000f47f")
    one = execute(guest, f"{load}; {ST0}", value)
    assert one.ram[OUT + 7] & 0x40 and one.r.fsw & 0x3F == IE


@pytest.mark.parametrize("source", [
    "fadd st(0), st(1)", "fsqrt", f"fstp qword ptr [{OUT}]", "fld st(1)", "fchs", "fcom st(1)"])
def test_an_empty_register_is_a_stack_underflow(guest, source):
    one = execute(guest, source)
    assert one.r.fsw & (IE | SF | C1) == IE | SF
    one = execute(guest, f"fsqrt; {ST0}")
    assert extended(one) == INDEFINITE


@pytest.mark.parametrize("ninth", ["fld1", f"fld qword ptr [{A}]", f"fild dword ptr [{A}]", LOAD80 + "nop"])
def test_a_ninth_value_is_a_stack_overflow(guest, ninth):
    one = execute(guest, "fldz;" * 8 + f"{ninth}; fnstsw ax")
    assert one.r.rax & (IE | SF | C1) == IE | SF | C1
    if "ptr" in ninth:
        assert extended(execute(guest, "fldz;" * 8 + f"{ninth}; {ST0}")) == INDEFINITE


def test_an_unmasked_stack_fault_leaves_the_stack_as_it_is(guest):
    one = execute(guest, "fldz;" * 8 + f"fld qword ptr [{A}]; fnstsw ax", 1.0, fcw=0x37E)
    assert one.r.rax & 0x3800 == 0 and one.r.rax & (BUSY | ES | SF | IE) == BUSY | ES | SF | IE


@pytest.mark.parametrize("mode", [PM32, LONG])
@pytest.mark.parametrize("waiting", ["fld1", "fadd st(0), st(0)", ".byte 0xD9, 0xE0", "fxch st(1)"])
def test_a_pending_exception_is_MF_at_any_waiting_instruction(guest, mode, waiting):
    one = guest(mode, f"fldz; fld1; fdivrp st(1), st(0); fnstsw ax; fnstcw [{OUT}]; {waiting}; hlt")
    one.r.cr0 |= 0x22
    one.r.fcw = 0x37B                           # ZM clear
    frame = one.frame()
    assert frame.vector == 16 and one.r.rax & (BUSY | ES | ZE) == BUSY | ES | ZE      # FNSTSW and FNSTCW do not wait
    assert bytes(one.ram[frame.ip:frame.ip + 1]) in (b"\xD9", b"\xD8", b"\xDC")


def test_FST_to_an_empty_register_makes_it_valid(guest):
    one = execute(guest, "fld1; fst st(3); fxch st(3); fnstsw ax; fadd st(0), st(3)")
    assert one.r.fsw & 0x7F == 0


def test_precision_control_rounds_to_24_bits(guest):
    one = execute(guest, f"{TWO} fdivp st(1), st(0); {ST0}", 3.0, 1.0, 0x07F)
    assert one.peek(OUT, 8) == 0xAAAAAB << 40
