"""SYSCALL and SYSRET (AMD64 manual vol. 3), SYSENTER and SYSEXIT (SDM vol. 2B), and what they do to the flags."""

from __future__ import annotations

import pytest

from tests.cpu.guest import CODE, CODE32, CODE64, COMPAT, DATA32, LONG, PAGED, PM32, REAL, STACK0, STACK3, USER32

STAR, LSTAR, CSTAR, FMASK = 0xC0000081, 0xC0000082, 0xC0000083, 0xC0000084
KERNEL, KERNEL32 = 0x6000, 0x6800
SYSCALL, SYSENTER, SYSEXIT = ".byte 0x0F, 0x05", ".byte 0x0F, 0x34", ".byte 0x0F, 0x35"
SYSRET32, SYSRET64, SYSEXIT64 = ".byte 0x0F, 0x07", ".byte 0x48, 0x0F, 0x07", ".byte 0x48, 0x0F, 0x35"
ALL_FLAGS = 0x40EFF & ~0x100 | 0x3000       # AC NT- IOPL 3 OF DF IF SF ZF AF PF CF


def user(guest, mode, source, *, ring=3, flags=0x202, fmask=0, sce=1, model="qemu64"):
    """A program that makes a system call; the kernel's entries stop in handlers of their own."""
    one = guest(mode, source, ring=ring, flags=flags, model=model)
    one.code(".byte 0xF4", KERNEL)
    one.code(".byte 0xF4", KERNEL32)
    one.r.efer |= sce
    one.r.set_msr(STAR, (USER32 - 16 & ~3 | 3) << 48 | CODE64 << 32 | KERNEL)
    one.r.set_msr(LSTAR, KERNEL)
    one.r.set_msr(CSTAR, KERNEL32)
    one.r.set_msr(FMASK, fmask)
    return one


def segments(one):
    return [(s.selector, s.base, s.limit, s.attributes & 0xF0FF) for s in (one.r.cs, one.r.ss)]


@pytest.mark.parametrize("fmask", [0, 0x200, 0x47700, 0xFFFFFFFF])
@pytest.mark.parametrize("flags", [0x202, 0xED7, ALL_FLAGS])
@pytest.mark.parametrize("mode, entry", [(LONG, KERNEL), (COMPAT, KERNEL32)])
def test_SYSCALL_in_long_mode_saves_RIP_and_RFLAGS_and_masks_them(guest, mode, entry, flags, fmask):
    one = user(guest, mode, "nop; " + SYSCALL, flags=flags, fmask=fmask)
    one.run()
    assert (one.r.rip, one.r.rcx, one.r.r11) == (entry + 1, CODE + 3, flags | 2)
    assert one.r.rflags == ((flags | 2) & ~fmask | 2)
    assert one.r.rsp == STACK3
    assert segments(one) == [(CODE64, 0, 0xFFFFFFFF, 0xA09B), (CODE64 + 8, 0, 0xFFFFFFFF, 0xC093)]


def test_SYSCALL_keeps_the_flags_that_arithmetic_has_just_made(guest):
    for source, flags in (("xor eax, eax", 0x46), ("mov al, 0x80; add al, al", 0x847), ("mov al, 1; sub al, 2", 0x97)):
        one = user(guest, LONG, source + "; std; " + SYSCALL, flags=2)
        one.run()
        assert one.r.r11 == one.r.rflags == flags | 0x400
        again = user(guest, LONG, source + "; " + SYSCALL, flags=2, fmask=0xFF)
        again.run()
        assert (again.r.r11, again.r.rflags) == (flags, flags & ~0xFF | 2)


@pytest.mark.parametrize("mode", [LONG, COMPAT, PAGED, PM32])
@pytest.mark.parametrize("ring", [0, 3])
@pytest.mark.parametrize("source", [SYSCALL, SYSRET32], ids=["SYSCALL", "SYSRET"])
def test_it_is_UD_when_SCE_is_clear(guest, mode, ring, source):
    one = user(guest, mode, "nop; " + source, ring=ring, sce=0)
    frame = one.frame()
    assert (frame.vector, frame.error, frame.ip) == (6, None, CODE + 1)


@pytest.mark.parametrize("mode", [PM32, PAGED])
def test_SYSCALL_outside_long_mode_takes_its_target_from_STAR_and_clears_IF(guest, mode):
    one = user(guest, mode, "nop; " + SYSCALL, flags=0x3ED7)
    one.r.set_msr(STAR, CODE32 << 32 | KERNEL)
    one.run()
    assert (one.r.rip, one.r.rcx, one.r.rflags) == (KERNEL + 1, CODE + 3, 0x3CD7)
    assert segments(one) == [(CODE32, 0, 0xFFFFFFFF, 0xC09B), (DATA32, 0, 0xFFFFFFFF, 0xC093)]


@pytest.mark.parametrize("source, bits, cs", [(SYSRET64, 64, 16), (SYSRET32, 32, 0)], ids=["SYSRET to 64", "SYSRET to 32"])
def test_SYSRET_returns_to_ring_3(guest, source, bits, cs):
    one = user(guest, LONG, source, ring=0)
    base = one.r.msr(STAR) >> 48
    one.r.rcx, one.r.r11, one.r.rsp = 0x7000, 0x3AD7, STACK3
    one.code(".byte 0x0F, 0x0B", 0x7000)
    frame = one.frame()
    assert (frame.vector, frame.ip, frame.cs, frame.ss) == (6, 0x7000, (base + cs) | 3, (base + 8) | 3)
    assert frame.flags == 0x3AD7
    assert frame.sp == STACK3


def test_SYSRET_is_GP_in_ring_3_and_UD_in_real_mode(guest):
    one = user(guest, LONG, "nop; " + SYSRET64)
    assert (one.frame().vector, one.r.cs.selector) == (13, CODE64)
    assert guest(REAL, SYSRET32).frame().vector in (6, 13)


def test_a_system_call_and_back_a_thousand_times(guest):
    one = user(guest, LONG, f"mov ebp, 1000; again: {SYSCALL}; dec ebp; jnz again; ud2")
    one.code(f"inc rbx; {SYSRET64}", KERNEL)
    frame = one.frame()
    assert (frame.vector, one.r.rbx, frame.cs & 3) == (6, 1000, 3)


@pytest.mark.parametrize("iopl", [0, 3])
def test_the_IOPL_of_the_caller_ends_with_the_mask(guest, iopl):
    one = user(guest, LONG, f"{SYSCALL}; cli; nop; ud2", flags=0x202 | iopl << 12, fmask=0x3000)
    one.code(f"and r11, {~0x3000}; {SYSRET64}", KERNEL)
    assert one.frame().vector == 13                     # CLI, in a ring 3 that has no IOPL any more


def test_SWAPGS_exchanges_the_base(guest):
    one = guest(LONG, ".byte 0x0F, 0x01, 0xF8; .byte 0x65; mov rax, [rbx]; hlt")
    one.r.rbx = 0x10
    one.r.set_msr(0xC0000102, 0xA000)
    one.poke(0xA010, 0x1122334455667788, 8)
    one.run()
    assert one.r.rax == 0x1122334455667788
    assert one.r.gs.base == 0xA000 and one.r.msr(0xC0000102) == 0


# -- SYSENTER: an Intel model, since AMD's have none in long mode

def enter(guest, mode, source, *, cs=CODE32, flags=0x202, ring=3):
    one = guest(mode, source, ring=ring, flags=flags, model="core2duo")
    one.code(".byte 0xF4", KERNEL)
    for number, value in ((0x174, cs), (0x175, STACK0), (0x176, KERNEL)):
        one.r.set_msr(number, value)
    return one


@pytest.mark.parametrize("flags", [0x202, 0x3ED7])
@pytest.mark.parametrize("mode", [PM32, PAGED, COMPAT, LONG])
def test_SYSENTER_goes_to_ring_0_and_clears_IF(guest, mode, flags):
    wide = mode in (LONG, COMPAT)
    one = enter(guest, mode, "nop; " + SYSENTER, flags=flags, cs=CODE64 if wide else CODE32)
    one.run()
    assert (one.r.rip, one.r.rsp, one.r.rflags) == (KERNEL + 1, STACK0, flags & ~0x200 | 2)
    cs = (CODE64, 0, 0xFFFFFFFF, 0xA09B) if wide else (CODE32, 0, 0xFFFFFFFF, 0xC09B)
    assert segments(one) == [cs, (cs[0] + 8, 0, 0xFFFFFFFF, 0xC093)]


@pytest.mark.parametrize("source, flags", [
    ("xor eax, eax", 0x46), ("mov al, 0x80; add al, al", 0x847), ("std; inc ecx", 0x402)])
def test_SYSENTER_keeps_the_flags_that_arithmetic_has_just_made(guest, source, flags):
    for mode, cs in ((PM32, CODE32), (LONG, CODE64)):
        one = enter(guest, mode, source + "; " + SYSENTER, cs=cs, flags=2)
        one.run()
        assert one.r.rflags == flags


@pytest.mark.parametrize("mode", [PM32, LONG])
@pytest.mark.parametrize("cs", [0, 3])
def test_SYSENTER_is_GP_0_while_SYSENTER_CS_is_null(guest, mode, cs):
    one = enter(guest, mode, "nop; " + SYSENTER, cs=cs)
    frame = one.frame()
    assert (frame.vector, frame.error, frame.ip) == (13, 0, CODE + 1)


def test_SYSENTER_is_GP_in_real_mode(guest):
    assert guest(REAL, SYSENTER, model="core2duo").exception() == 13


@pytest.mark.parametrize("mode, source, cs", [(PM32, SYSEXIT, 16), (LONG, SYSEXIT, 16), (LONG, SYSEXIT64, 32)],
                         ids=["32-bit", "64 to 32", "64 to 64"])
def test_SYSEXIT_returns_to_ring_3(guest, mode, source, cs):
    one = enter(guest, mode, source, ring=0)
    one.r.rdx, one.r.rcx = 0x7000, STACK3
    one.code(".byte 0x0F, 0x0B", 0x7000)
    frame = one.frame()
    assert (frame.vector, frame.ip, frame.cs, frame.ss, frame.sp) == (6, 0x7000, CODE32 + cs | 3, CODE32 + cs + 8 | 3, STACK3)


def test_SYSENTER_and_back_a_thousand_times(guest):
    one = enter(guest, PM32, f"mov ebp, 1000; again: mov ecx, esp; {SYSENTER}; back: dec ebp; jnz again; ud2")
    one.code(f"inc ebx; mov edx, {CODE + 9}; {SYSEXIT}", KERNEL)
    frame = one.frame()
    assert (frame.vector, one.r.rbx, frame.sp) == (6, 1000, STACK3)


def test_SYSENTER_is_UD_in_long_mode_on_an_AMD_processor(guest):
    one = guest(LONG, SYSENTER, ring=3)
    one.r.set_msr(0x174, CODE64)
    assert one.frame().vector == 6
