"""Integer operations of SSE2 that the host does for fast/packed.py, on operands at every edge, as the library does them."""

from __future__ import annotations

import random
import struct

import pytest

from tests.cpu.guest import DATA, HALTED, PM32

OPERATIONS = ["packsswb", "packuswb", "packssdw", "punpcklbw", "punpckhbw", "psadbw", "pmaddwd"]
EDGES = [0, 1, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0x8001, 0xFF7F, 0xFF80, 0xFFFF]


def operands(seed: str) -> bytes:
    rng = random.Random(seed)
    return struct.pack("<16H", *(rng.choice(EDGES) if rng.random() < 0.7 else rng.randrange(1 << 16) for _ in range(16)))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_host_computes_what_the_helper_computes(guest, operation):
    """Of two registers, of a register with itself, and with memory, which is aligned here."""
    found = {}
    for fast in "none", "packed":
        one = guest(PM32, f"""
            mov ebp, {DATA:#x}
            mov ecx, 64
        again:
            movdqu xmm0, [ebp]
            movdqu xmm1, [ebp + 16]
            movdqa xmm2, xmm0
            {operation} xmm0, xmm1
            {operation} xmm1, xmm1
            {operation} xmm2, [ebp + 16]
            movdqu [ebp], xmm0
            movdqu [ebp + 16], xmm1
            movdqu [ebp + 4096], xmm2
            add ebp, 32
            dec ecx
            jnz again
            hlt
        """, fast)
        one.r.cr4, one.r.cr0 = 0x600, 0x13
        for i in range(64):
            one.poke(DATA + 32 * i, operands(f"{operation} {i}"))
        assert one.run() in HALTED
        found[fast] = bytes(one.ram[DATA:DATA + 0x2000])
        assert found[fast][0x1000:0x1800:32].strip(b"\0")
    assert found["packed"] == found["none"]


@pytest.mark.parametrize("fast", ["none", "packed"])
@pytest.mark.parametrize("mask", [0, 1, 0x8000, 0xFFFF, 0xA5C3])
def test_PMOVMSKB_gathers_the_top_bits_of_sixteen_bytes(guest, fast, mask):
    one = guest(PM32, "mov eax, -1; pmovmskb eax, xmm3; hlt", fast)
    one.r.cr4, one.r.cr0 = 0x600, 0x13
    one.r.xmm = [bytes(16)] * 3 + [bytes(0x80 | i if mask >> i & 1 else 0x7F - i for i in range(16))]
    assert one.run() in HALTED and one.r.rax == mask
