"""CMPXCHG, SDM vol. 2A: equal, the destination gets the source and RAX stays; not equal, RAX gets the destination."""

from __future__ import annotations

import pytest

from tests.cpu.guest import CODE, COMPAT, DATA, LONG, PM32

RAX, RCX, RBX, LOWER = 0x1111111181111115, 0x2222222282222225, 0x4444444481111115, 0xFFFFFFFF
SIZES = {1: "0F B0", 2: "66 0F B1", 4: "0F B1", 8: "48 0F B1"}


def ran(guest, mode, code, size, unequal):
    one = guest(mode, ".byte " + ", ".join(f"0x{byte}" for byte in code.split()) + "; hlt")
    one.poke(DATA, RBX, 8)
    one.r.rax = (RBX if size == 8 else RAX) ^ unequal
    one.r.rbx, one.r.rcx, one.r.rdi = RBX, RCX, DATA
    start = one.r.rax
    one.run()
    assert one.r.rip == CODE + len(code.split()) + 1
    assert bool(one.r.rflags & 0x40) is not bool(unequal)
    return one, start


def written(old, new, size):
    """A register after a write of `size` bytes: SDM vol. 1, 3.4.1.1."""
    mask = (1 << 8 * size) - 1
    return new & LOWER if size == 4 else old & ~mask | new & mask


@pytest.mark.parametrize("size", [1, 2, 4, 8])
@pytest.mark.parametrize("unequal", [0, 2])
@pytest.mark.parametrize("prefix", ["", "F0"], ids=["plain", "LOCK"])
def test_with_memory(guest, size, unequal, prefix):
    one, start = ran(guest, LONG, f"{prefix} {SIZES[size]} 0F", size, unequal)
    mask = (1 << 8 * size) - 1
    assert one.r.rax == (written(start, RBX, size) if unequal else start)
    assert one.peek(DATA, 8) == (RBX if unequal else RBX & ~mask | RCX & mask)


@pytest.mark.parametrize("size", [1, 2, 4, 8])
@pytest.mark.parametrize("unequal", [0, 2])
def test_with_a_register(guest, size, unequal):
    one, start = ran(guest, LONG, f"{SIZES[size]} CB", size, unequal)
    assert one.r.rax == (written(start, RBX, size) if unequal else start)
    assert one.r.rbx == (RBX if unequal else written(RBX, RCX, size))


def test_with_the_accumulator_and_with_an_extended_register(guest):
    one, _ = ran(guest, LONG, "0F B1 C8", 4, 0)                      # CMPXCHG EAX, ECX is always equal
    assert one.r.rax == RCX & LOWER
    one, _ = ran(guest, LONG, "49 89 D9 41 0F B1 C9", 4, 2)      # MOV R9, RBX; CMPXCHG R9D, ECX
    assert (one.r.rax, one.r.r9) == (RBX & LOWER, RBX)


@pytest.mark.parametrize("mode", [PM32, COMPAT])
@pytest.mark.parametrize("unequal", [0, 2])
@pytest.mark.parametrize("code", ["0F B1 0F", "F0 0F B1 0F", "0F B1 CB"])
def test_in_32_bit_code(guest, mode, unequal, code):
    one, start = ran(guest, mode, code, 4, unequal)
    assert one.r.rax & LOWER == (RBX if unequal else start) & LOWER
    got = one.r.rbx if code.endswith("CB") else one.peek(DATA)
    assert got & LOWER == (RBX if unequal else RCX) & LOWER
