"""SSE's floating-point exceptions: their flags in MXCSR, masked and not (SDM vol. 1, 11.5)."""

from __future__ import annotations

import struct

import pytest

from tests.cpu.guest import CODE, DATA, HALTED, LONG, PM32

IE, ZE, OE, UE, PE = 1, 4, 8, 16, 32
INF, NAN = float("inf"), float("nan")
A, B, OUT = DATA, DATA + 16, DATA + 32
LOADS = f"movups xmm0, xmmword ptr [{A}]; movups xmm1, xmmword ptr [{B}];"
SINGLES = "addss", "divps", "cvtps2dq"


def start(guest, one, a, b, mxcsr=0x1F80, mode=PM32):
    """`one` of XMM0 and XMM1, which hold the doubles or floats `a` and `b`."""
    machine = guest(mode, f"{LOADS} {one} xmm0, xmm1; movups xmmword ptr [{OUT}], xmm0; hlt")
    form = "<4f" if one in SINGLES else "<2d"
    for at, values in ((A, a), (B, b)):
        machine.poke(at, struct.pack(form, *values, *[1.0] * (int(form[1]) - len(values))))
    machine.r.cr4 |= 0x600
    machine.r.mxcsr = mxcsr
    return machine


@pytest.mark.parametrize("one, a, b, flags", [
    ("addss", [1.0], [1e-9], PE), ("addsd", [1.0], [2.0], 0),
    ("addpd", [INF, 1.0], [-INF, 2.0], IE), ("mulsd", [1e300], [1e300], OE | PE),
    ("mulsd", [1e-300], [1e-300], UE | PE), ("divps", [1.0, 0.0, 1.0, 1.0], [0.0, 0.0, 3.0, 1.0], ZE | IE | PE),
    ("sqrtsd", [1.0], [-1.0], IE), ("cvtsd2ss", [1.0], [1e300], OE | PE), ("cvtps2dq", [0.0], [1.5], PE),
    ("cvtps2dq", [0.0], [1e20], IE), ("maxsd", [NAN], [1.0], IE), ("cmpltsd", [NAN], [1.0], IE), ("cmpeqsd", [NAN], [1.0], 0),
    ("ucomisd", [NAN], [1.0], 0), ("comisd", [NAN], [1.0], IE), ("haddpd", [1.0, 1e-30], [1.0, 1.0], PE),
])
@pytest.mark.parametrize("mode", [PM32, LONG])
def test_an_instruction_ORs_the_flags_of_its_exceptions_into_MXCSR(guest, mode, one, a, b, flags):
    machine = start(guest, one, a, b, mode=mode)
    assert machine.run() in HALTED and machine.r.mxcsr == 0x1F80 | flags


def test_flags_are_sticky_until_LDMXCSR(guest):
    again = f"{LOADS} divsd xmm0, xmm1; stmxcsr [{OUT}];"
    machine = guest(PM32, f"{again} mov eax, [{OUT}]; addsd xmm0, xmm0; and dword ptr [{OUT}], 0xffffffc0; ldmxcsr [{OUT}];"
                          f"stmxcsr [{OUT}]; mov ebx, [{OUT}]; {again} mov ecx, [{OUT}]; hlt")
    machine.r.cr4 |= 0x600
    machine.poke(A, struct.pack("<dddd", 1.0, 1.0, 3.0, 1.0))
    assert machine.run() in HALTED
    assert (machine.r.rax, machine.r.rbx, machine.r.rcx) == (0x1FA0, 0x1F80, 0x1FA0)


@pytest.mark.parametrize("one, mask, a, b", [
    ("divsd", ZE, [1.0], [0.0]), ("addsd", PE, [1.0], [1e-30]), ("sqrtpd", IE, [1.0, 2.0], [-1.0, 4.0]),
    ("comisd", IE, [NAN], [1.0]), ("cvtps2dq", IE, [5.0], [1e20]), ("mulsd", OE, [1e300], [1e300]),
])
@pytest.mark.parametrize("mode", [PM32, LONG])
def test_an_unmasked_one_is_XM_at_the_instruction_that_leaves_its_destination(guest, mode, one, mask, a, b):
    machine = start(guest, one, a, b, 0x1F80 & ~(mask << 7), mode)
    before = bytes(machine.ram[A:A + 16])
    frame = machine.frame()
    assert frame.vector == 19 and machine.r.xmm[0][:16] == before and machine.r.mxcsr & mask
    assert bytes(machine.ram[frame.ip:frame.ip + 3]).find(b"\x0F") >= 0 and frame.ip > CODE


def test_an_unmasked_exception_that_does_not_happen_is_none(guest):
    machine = start(guest, "addsd", [1.0], [2.0], 0)
    assert machine.run() in HALTED and machine.r.mxcsr == 0 and struct.unpack("<d", machine.ram[OUT:OUT + 8]) == (3.0,)
