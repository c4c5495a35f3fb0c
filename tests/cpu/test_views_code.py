"""Views: code in them, and what the processor reads by itself."""

from __future__ import annotations

import itertools

import pytest

from emu.assembler import assemble
from emu.x86 import Segment
from tests.cpu.guest import (
    BITS,
    DATA,
    DATA32,
    GDT,
    HALTED,
    IDT,
    LONG,
    PAE,
    PAGED,
    PM32,
    REAL,
    STACK0,
    STUBS,
    TABLES,
    TSS,
    V86,
)
from tests.cpu.shown import LARGE, LARGE_LONG, LARGE_PAE, LARGE_PAGED, SIZE, V, W, again, filled

RETURNS = "mov eax, {}; ret"


@pytest.mark.parametrize("mode", [PM32, PAGED, PAE, LONG, LARGE_PAGED, LARGE_LONG])
def test_a_call_runs_what_is_shown_now(machine, mode):
    r = "r" if LARGE.get(mode, mode) == LONG else "e"
    one = machine(mode, f"xor esi, esi; mov ecx, 300; again: call {r}bx; add esi, eax; out 0x80, al; dec ecx; jnz again; hlt")
    memories = [one.engine.memory(SIZE) for _ in range(3)]
    for i, memory in enumerate(memories):
        memory[:6] = bytes([0xB8, 10 ** i, 10 ** i >> 8, 0, 0, 0xC3])
    turns = itertools.cycle([(memories[0], "ram"), (memories[1], "rom"), (memories[2], "ram")])
    one.on_out(0x80, lambda value: one.engine.view(V, SIZE, *next(turns)))
    one.engine.view(V, SIZE, *next(turns))
    assert one.run(10**9) in HALTED
    assert one.r.rsi == 11100


@pytest.mark.parametrize("mode", [REAL, PM32, PAGED, PAE, LONG, LARGE_PAE])
@pytest.mark.parametrize("kind", ["ram", "rom", "split"])
def test_a_page_that_flips_itself_goes_on_in_the_other_with_its_next_block(machine, mode, kind):
    """100 rounds make the blocks of the first page follow one another without a look at the page; then it flips."""
    bits = BITS.get(LARGE.get(mode, mode), 32)
    far = ".byte 0xEA, 0, 0, 0, 0xC0"                       # jmp C000:0000
    one = machine(mode, far if bits == 16 else "jmp rbx" if bits == 64 else "jmp ebx")
    a, b = one.engine.memory(SIZE), one.engine.memory(SIZE)
    source = "mov ecx, 100; mov esi, 0; again: mov al, cl; out 0x80, al; jmp next; next: add esi, {}; dec ecx; jnz again; hlt"
    for memory, step in ((a, 1), (b, 1000)):
        code = assemble(source.format(step), 0 if bits == 16 else V, bits)
        memory[:len(code)] = code

    def flip(value):
        if value == 1:
            one.engine.view(V, SIZE, *{"ram": (b, "ram"), "rom": (b, "rom"), "split": (b, "rom", a)}[kind])

    one.on_out(0x80, flip)
    one.engine.view(V, SIZE, *{"ram": (a, "ram"), "rom": (a, "rom"), "split": (a, "rom", b)}[kind])
    assert one.run(10**9) in HALTED
    assert one.r.rsi == 99 + 1000


@pytest.mark.parametrize("mode", [PM32, PAGED, PAE, LONG, LARGE_LONG])
@pytest.mark.parametrize("run_as", ["ram", "rom"])
@pytest.mark.parametrize("offset", [0x80, 0xFFC], ids=["in a page", "across two"])
def test_a_store_through_one_view_is_seen_by_code_that_runs_in_another(machine, mode, run_as, offset):
    r = "r" if LARGE.get(mode, mode) == LONG else "e"
    one = machine(mode, f"mov ecx, 100; xor esi, esi; again: call {r}bx; add esi, eax; inc dword ptr [{r}di]; dec ecx; "
                        "jnz again; hlt")
    memory = one.engine.memory(SIZE)
    memory[offset:offset + 6] = bytes.fromhex("b801000000c3")
    one.engine.view(V, SIZE, memory, run_as)
    one.engine.view(W, SIZE, memory, "ram")
    one.r.rbx, one.r.rdi = V + offset, W + offset + 1
    assert one.run(10**9) in HALTED
    assert one.r.rsi == 5050


@pytest.mark.parametrize("mode", [PM32, PAGED, LONG, LARGE_LONG])
@pytest.mark.parametrize("run_as", ["ram", "rom"])
def test_a_store_through_another_view_into_the_block_that_runs_is_seen_by_its_next_instruction(machine, mode, run_as):
    r = "r" if LARGE.get(mode, mode) == LONG else "e"
    one = machine(mode, f"call {r}bx; mov esi, eax; call {r}bx; hlt")
    memory = one.engine.memory(SIZE)
    code = assemble(f"inc byte ptr [{r}di]; mov eax, 1; ret", V, 64 if r == "r" else 32)
    memory[:len(code)] = code
    one.engine.view(V, SIZE, memory, run_as)
    one.engine.view(W, SIZE, memory, "ram")
    one.r.rdi = W + len(code) - 5
    assert one.run() in HALTED
    assert (one.r.rsi, one.r.rax) == (2, 3)


@pytest.mark.parametrize("mode", [PM32, PAGED, LONG])
def test_code_of_shadow_RAM_that_was_stored_while_ROM_was_read_is_new(machine, mode):
    r = "r" if mode == LONG else "e"
    one = machine(mode, f"call {r}bx; mov esi, eax; out 0x80, al; call {r}bx; shl esi, 4; add esi, eax; "
                        f"mov byte ptr [{r}bx + 1], 3; out 0x81, al; call {r}bx; shl esi, 4; add esi, eax; hlt")
    rom, shadow = one.engine.memory(SIZE), one.engine.memory(SIZE)
    rom[:6], shadow[:6] = bytes.fromhex("b802000000c3"), bytes.fromhex("b801000000c3")
    one.on_out(0x80, lambda value: one.engine.view(V, SIZE, rom, "rom", shadow))
    one.on_out(0x81, lambda value: one.engine.view(V, SIZE, shadow, "rom"))
    one.engine.view(V, SIZE, shadow, "ram")
    assert one.run(10**9) in HALTED
    assert one.r.rsi == 0x123


@pytest.mark.parametrize("mode", [PM32, PAGED, LONG])
@pytest.mark.parametrize("how", ["DMA", "chip"])
def test_what_the_host_writes_is_seen_by_code_in_a_view(machine, mode, how):
    r = "r" if mode == LONG else "e"
    one = machine(mode, f"mov ecx, 100; xor esi, esi; again: call {r}bx; add esi, eax; out 0x80, al; dec ecx; jnz again; hlt")
    memory = one.engine.memory(SIZE)
    memory[:6] = bytes.fromhex("b801000000c3")

    def write(value):
        memory[1] += 1
        one.engine.wrote(V + 1, 1) if how == "DMA" else one.engine.changed(memory[1:2])

    one.on_out(0x80, write)
    one.engine.view(V, SIZE, memory, "ram")
    assert one.run(10**9) in HALTED
    assert one.r.rsi == 5050


@pytest.mark.parametrize("mode", [PM32, PAGED])
def test_a_fetch_from_device_memory_over_RAM_is_UD(machine, mode):
    one = machine(mode, "jmp ebx")
    one.engine.view(0x40000, SIZE, None, "mmio")
    one.r.rbx = 0x40000
    frame = one.frame()
    assert (frame.vector, frame.ip) == (6, 0x40000)


# -- what the processor reads by itself

@pytest.mark.parametrize("mode", [PAGED, PAE, LONG])
@pytest.mark.parametrize("kind", ["ram", "rom", "split"])
def test_page_tables_in_a_view_are_walked_and_get_their_A_and_D_bits(machine, mode, kind):
    r = "r" if mode == LONG else "e"
    one = machine(mode, f"mov eax, [{r}bx]; mov dword ptr [{r}bx + 4], 5; hlt")
    size = 4 if mode == PAGED else 8
    linear = 0x400000 if mode == PAGED else 0x200000
    table, other = one.engine.memory(0x1000), one.engine.memory(0x1000)
    for i in range(0x1000 // size):
        table[i * size:(i + 1) * size] = (DATA | 7).to_bytes(size, "little")
    directory = {PAGED: TABLES + 4, PAE: TABLES + 0x1008, LONG: TABLES + 0x2008}[mode]
    one.poke(directory, V | 7, size)
    one.poke(DATA, 0x1234)
    one.engine.view(V, 0x1000, table, "ram" if kind == "ram" else "rom", other if kind == "split" else None)
    one.r.rbx = linear
    assert one.run() in HALTED
    assert (one.r.rax, one.peek(DATA + 4)) == (0x1234, 5)
    assert table[0] == (0x67 if kind == "ram" else 7)
    assert other[0] == (0x67 if kind == "split" else 0)


@pytest.mark.parametrize("mode", [PM32, PAGED, PAE, LONG])
def test_a_whole_set_of_page_and_descriptor_tables_may_lie_in_ROM(machine, mode):
    """GDT, IDT, TSS and the page tables themselves; ring 3 comes back by INT."""
    one = machine(mode, "int 0x30", ring=3)
    rom = one.engine.memory(0x30000)
    rom[:0x6000], rom[0x20000:0x26000] = one.ram[:0x6000], one.ram[TABLES:TABLES + 0x6000]
    base = 0xC0000
    if mode != PM32:
        for table in range(0x20000, 0x26000, 0x1000):                   # entries that lead to tables lead to the copies
            size = 4 if mode == PAGED else 8
            for at in range(table, table + 0x1000, size):
                entry = int.from_bytes(rom[at:at + size], "little")
                if TABLES < entry & ~0xFFF <= TABLES + 0x5000:
                    rom[at:at + size] = (entry - TABLES + base + 0x20000).to_bytes(size, "little")
        one.r.cr3 = base + 0x20000
    before = bytes(rom)
    one.engine.view(base, 0x30000, rom, "rom")
    one.ram[TABLES:TABLES + 0x6000] = bytes(0x6000)
    one.ram[GDT:GDT + 0x800] = bytes(0x800)
    one.ram[IDT:IDT + 0x1000] = bytes(0x1000)
    one.ram[TSS:TSS + 0x100] = bytes(0x100)
    one.r.gdtr, one.r.idtr = (base + GDT, 0x7FF), (base + IDT, 0xFFF)
    tr = one.r.tr
    one.r.tr = Segment(tr.selector, base + TSS, tr.limit, tr.attributes)
    one.run()
    assert one.r.rip == STUBS + 0x30 + 1
    assert one.r.cs.selector & 3 == 0
    assert STACK0 - 0x40 <= one.r.rsp < STACK0
    assert bytes(rom) == before


def test_a_descriptor_in_ROM_is_loaded_and_keeps_its_A_bit_as_it_is(machine):
    one = machine(PM32, f"mov ax, {DATA32}; mov fs, ax; mov al, fs:[ebx]; hlt")
    rom = one.engine.memory(0x1000)
    rom[:0x800] = one.ram[GDT:GDT + 0x800]
    rom[DATA32 + 5] &= 0xFE
    one.engine.view(V, 0x1000, rom, "rom")
    one.r.gdtr = (V, 0x7FF)
    assert one.run() in HALTED
    assert (one.r.fs.selector, rom[DATA32 + 5] & 1) == (DATA32, 0)


def test_a_view_lies_behind_A20(machine):
    one = machine(PM32, "mov al, [ebx]; hlt")
    one.engine.view(V, SIZE, filled(one, 0x5A), "ram")
    one.ram[0x100000 + V] = 0x77
    one.r.rbx = 0x100000 + V
    assert one.run() in HALTED and one.r.rax == 0x77
    one.engine.a20(0)
    again(one)
    assert one.r.rax == 0x5A


@pytest.mark.parametrize("mode", [V86, REAL])
def test_old_code_sees_views_by_its_segments(machine, mode):
    one = machine(mode, "mov ax, es:[bx]; inc word ptr es:[bx]; int 3")
    memory = filled(one, 0x11)
    one.engine.view(V, SIZE, memory, "ram")
    one.load("es", V >> 4)
    one.r.rbx = 0x10
    one.run()
    assert (one.r.rax, bytes(memory[0x10:0x12])) == (0x1111, b"\x12\x11")
