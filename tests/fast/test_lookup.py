"""What the second jump cache of fast/lookup.py keeps is never stale."""

from __future__ import annotations

import random
import struct

import pytest

from emu.cpu.unicorn import engine as engine_module
from emu.cpu.unicorn.memory import JUMPS
from emu.engine import Stop
from tests.cpu.guest import ALIAS, HALTED, PAGED, PM32, TABLES, Guest

FUNCTIONS, LIST, SCHEDULE = 0x100000, 0x40000, 0x60000
PAGES, PLACES, ACROSS, ROUNDS = 192, (0x002, 0x1F9, 0x7C0, 0xA3C), 0xFFC, 60


def add_eax(value: int) -> bytes:
    """ADD EAX, value; RET."""
    return b"\x05" + struct.pack("<I", value) + b"\xC3"


def lookup(guest, fast: str) -> tuple[Guest, int]:
    """A guest that calls functions in many pages, exchanges two pages and patches a function, again and again; what EAX is
    at its end."""
    rng = random.Random(3)
    one = guest(PAGED, f"""
        xor eax, eax
        mov ebp, {SCHEDULE}
    round:
        mov esi, {LIST}
    next:
        mov edx, [esi]
        call edx
        add esi, 4
        cmp dword ptr [esi], 0
        jne next
        mov edi, [ebp]
        mov edx, [ebp + 4]
        mov ebx, [edi]
        mov ecx, [edx]
        mov [edi], ecx
        mov [edx], ebx
        mov edi, [ebp + 16]
        mov edx, [ebp + 20]
        test edi, edi
        jz whole
        invlpg [edi]
        invlpg [edx]
        jmp patch
    whole:
        mov ebx, cr3
        mov cr3, ebx
    patch:
        mov edi, [ebp + 8]
        mov ecx, [ebp + 12]
        mov [edi], ecx
        add ebp, 24
        cmp dword ptr [ebp], 0
        jne round
        hlt
    """, fast)
    one.poke(FUNCTIONS, add_eax(1)[4:])                 # what goes on here begins in any page
    order = [(page, place) for page in range(PAGES) for place in (*PLACES, ACROSS)]
    for page, place in order:
        one.poke(FUNCTIONS + 0x1000 * page + place, add_eax(rng.randrange(1 << 32)))
    shown = list(range(PAGES + 1))
    for page in shown:
        one.page(ALIAS + 0x1000 * page, FUNCTIONS + 0x1000 * page)
    one.poke(LIST, b"".join(struct.pack("<I", ALIAS + 0x1000 * page + place) for page, place in order) + bytes(4))
    memory, schedule, total = bytearray(one.ram[FUNCTIONS:FUNCTIONS + 0x1000 * len(shown)]), b"", 0
    for number in range(ROUNDS):
        for page, place in order:
            code = (memory[0x1000 * shown[page + (at >> 12)] + (at & 0xFFF)] for at in range(place + 1, place + 5))
            total += int.from_bytes(bytes(code), "little")
        a, b = rng.sample(range(PAGES), 2)
        shown[a], shown[b] = shown[b], shown[a]
        page, place = rng.choice(order)
        patch, value = 0x1000 * page + place + 1, rng.randrange(1 << 32)
        memory[patch:patch + 4] = struct.pack("<I", value)
        entries = (TABLES + 0x1000 + 4 * ((ALIAS >> 12) + linear) for linear in (a, b))
        linears = (ALIAS + 0x1000 * a, ALIAS + 0x1000 * b) if number % 3 else (0, 0)
        schedule += struct.pack("<6I", *entries, FUNCTIONS + patch, value, *linears)
    one.poke(SCHEDULE, schedule + bytes(4))
    return one, total & 0xFFFFFFFF


def test_lookup_finds_blocks_behind_flushes_exchanged_pages_and_patches(guest):
    found = []
    for fast in ("none", "lookup", "all"):
        one, total = lookup(guest, fast)
        assert one.run(10**9) in HALTED
        assert one.r.rax == total
        found.append((one.engine.save(), one.engine.counters(), one.engine.now()))
        assert any(bytes(one.engine._memory.jumps)) is (fast != "none")
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("fast", ["all", "lookup,pause,interrupts"])
def test_lookup_forgets_blocks_of_a_buffer_that_was_begun_anew(guest, fast, monkeypatch):
    monkeypatch.setattr(engine_module, "TRANSLATIONS", 4 << 20)
    count = 24_000
    one = guest(PM32, f"""
    again:
        xor eax, eax
        mov esi, {FUNCTIONS}
    group:
        mov ecx, 3
    pass:
        mov edx, esi
    next:
        call edx
        add edx, 8
        lea ebx, [esi + {8 * count // 8}]
        cmp edx, ebx
        jne next
        dec ecx
        jnz pass
        mov esi, edx
        cmp esi, {FUNCTIONS + 8 * count}
        jne group
        out 0x80, al
        jmp again
    """, fast)
    one.on_out(0x80, lambda value: one.engine.stop())
    for value in (1, 2, 3):
        one.ram[FUNCTIONS:FUNCTIONS + 8 * count] = (add_eax(value) + bytes(2)) * count
        one.engine.wrote(FUNCTIONS, 8 * count)
        assert one.run(10**9) is Stop.ASKED
        assert one.r.rax == 3 * value * count
        words = struct.unpack(f"{JUMPS // 8}Q", one.engine._memory.jumps[:])
        assert 0 < max(words[:-2:2]) <= words[-2]       # none lies behind the latest
