"""Views: what is shown at a physical address from the guest's next access on, in every mode, plain and fast."""

from __future__ import annotations

import itertools
import random

import pytest

from emu.cpu.unicorn import layout
from emu.cpu.unicorn.engine import UnicornEngine
from emu.engine import EngineError
from tests.cpu.guest import HALTED, LONG, PAE, PAGED, PM32, RAM, Guest
from tests.cpu.shown import LARGE, LARGE_LONG, LARGE_PAGED, MODES, SIZE, V, W, again, filled, there

# -- kinds

@pytest.mark.parametrize("mode", MODES)
def test_a_view_of_RAM_is_loaded_and_stored(machine, mode):
    one = machine(mode, f"mov eax, {there(mode, 8)}; mov dword ptr {there(mode, 0x2004)}, 0x12345678; hlt")
    memory = filled(one, 0x5A)
    one.engine.view(V, SIZE, memory, "ram")
    assert one.run() in HALTED
    assert one.r.rax == 0x5A5A5A5A
    assert bytes(memory[0x2000:0x200C]) == bytes.fromhex("5a5a5a5a 78563412 5a5a5a5a")
    assert one.peek(V + 0x2004) == 0


@pytest.mark.parametrize("mode", MODES)
def test_a_view_of_ROM_is_loaded_and_drops_stores(machine, mode):
    one = machine(mode, f"mov dword ptr {there(mode)}, 0x12345678; mov eax, {there(mode)}; "
                        f"inc byte ptr {there(mode, 1)}; mov ecx, {there(mode)}; hlt")
    memory = filled(one, 0x5A)
    one.engine.view(V, SIZE, memory, "rom")
    assert one.run() in HALTED
    assert (one.r.rax, one.r.rcx) == (0x5A5A5A5A, 0x5A5A5A5A)
    assert bytes(memory) == b"\x5A" * SIZE


@pytest.mark.parametrize("store", ["mov [ebx], al", "mov [ebx], eax", "lock xadd [ebx], eax", "mov esp, ebx; push eax",
                                   "mov edi, ebx; mov ecx, 100; rep stosd", "movups [ebx], xmm0", "fst qword ptr [ebx]",
                                   "lock cmpxchg8b [ebx]", "bts dword ptr [ebx], 3", "xchg [ebx], eax", "fxsave [ebx]"])
@pytest.mark.parametrize("where", [V + 0x100, V + 0xFF8, V + 0xFFD])
def test_no_kind_of_store_changes_a_view_of_ROM(machine, store, where):
    one = machine(PM32, store + "; hlt")
    one.r.cr4 |= 0x200
    memory = filled(one, 0x5A)
    one.engine.view(V, SIZE, memory, "rom")
    one.r.rbx = where & ~15 if "fxsave" in store else where
    assert one.run() in HALTED
    assert bytes(memory) == b"\x5A" * SIZE


@pytest.mark.parametrize("mode", MODES)
def test_device_memory_over_RAM_is_asked_by_its_address_and_gives_the_RAM_back(machine, mode):
    one = machine(mode, f"mov eax, {there(mode, 4)}; mov {there(mode, 8)}, al; hlt")
    one.engine.view(V, SIZE, filled(one, 0x11), "ram")
    seen = []
    one.mmio.read[V + 4 << 4 | 4] = lambda: 0xCAFE
    one.mmio.write[V + 8 << 4 | 1] = seen.append
    one.engine.view(V, SIZE, None, "mmio")
    assert one.run() in HALTED
    assert (one.r.rax, seen) == (0xCAFE, [0xFE])
    one.engine.view(V, SIZE, one.ram[V:V + SIZE], "ram")
    one.ram[V + 4:V + 8] = b"RAM!"
    again(one)
    assert (one.r.rax, one.ram[V + 8]) == (int.from_bytes(b"RAM!", "little"), ord("R"))


@pytest.mark.parametrize("mode", [PM32, PAGED, LONG])
def test_what_was_mapped_can_be_hidden_and_shown_again(machine, mode):
    one = machine(mode, f"mov eax, {there(mode)}; inc dword ptr {there(mode)}; hlt")
    one.r.rbx = 0x40000
    one.poke(0x40000, 7)
    other = filled(one, 0x11)
    for memory, expected in ((None, 0xFFFFFFFF), (other, 0x11111111), (one.ram[0x40000:0x44000], 7), (other, 0x11111112)):
        one.engine.view(0x40000, SIZE, memory, "ram" if memory else "mmio")
        again(one)
        assert one.r.rax == expected
    assert one.peek(0x40000) == 8


# -- PAM: four combinations of where loads and stores go (82441FX, PAM registers)

@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("re, we", list(itertools.product((0, 1), repeat=2)))
@pytest.mark.parametrize("below", ["ROM", "nothing"])
def test_loads_and_stores_go_where_RE_and_WE_say(machine, mode, re, we, below):
    one = machine(mode, f"""
        mov eax, {there(mode)}; mov dword ptr {there(mode)}, 0x01020304; mov ecx, {there(mode)}
        inc dword ptr {there(mode, 4)}; mov edx, {there(mode, 4)}; mov dword ptr {there(mode, 0xFFE)}, 0x21222324
        mov esi, {there(mode, 0xFFE)}; hlt""")
    rom, shadow = filled(one, 0x5A), filled(one, 0x33)
    lower = rom if below == "ROM" else None
    if re:
        one.engine.view(V, SIZE, shadow, "ram" if we else "rom")
    else:
        one.engine.view(V, SIZE, lower, "rom" if lower else "mmio", shadow if we else None)
    assert one.run() in HALTED
    old = 0x33333333 if re else 0x5A5A5A5A if lower else 0xFFFFFFFF
    assert one.r.rax & 0xFFFFFFFF == old
    if re and we:
        assert (one.r.rcx, one.r.rdx, one.r.rsi) == (0x01020304, old + 1, 0x21222324)
    else:
        assert (one.r.rcx, one.r.rdx, one.r.rsi) == (old, old, old)
    assert bytes(rom) == b"\x5A" * SIZE
    if we:
        assert bytes(shadow[:8]) == bytes.fromhex("04030201") + ((old + 1) & 0xFFFFFFFF).to_bytes(4, "little")
        assert bytes(shadow[0xFFE:0x1002]) == bytes.fromhex("24232221")
    else:
        assert bytes(shadow) == b"\x33" * SIZE


@pytest.mark.parametrize("mode", [PM32, PAGED, PAE, LONG, LARGE_LONG])
def test_ROM_is_copied_to_the_RAM_below_it_in_place(machine, mode):
    r = "r" if LARGE.get(mode, mode) == LONG else "e"
    one = machine(mode, f"cld; mov {r}si, {r}bx; mov {r}di, {r}bx; mov ecx, {SIZE // 4}; .byte 0xF3, 0xA5; hlt")
    rom, shadow = one.engine.memory(SIZE), filled(one, 0x33)
    rom[:] = bytes(i * 7 >> 3 & 0xFF for i in range(SIZE))
    one.engine.view(V, SIZE, rom, "rom", shadow)
    assert one.run(10**9) in HALTED
    assert bytes(shadow) == bytes(rom)


@pytest.mark.parametrize("mode", [PM32, PAGED, LONG])
def test_strings_between_views_are_whole(machine, mode):
    r = "r" if mode == LONG else "e"
    one = machine(mode, f"cld; mov {r}si, {r}bx; mov ecx, {SIZE // 4}; .byte 0xF3, 0xA5; hlt")
    rom, ram = one.engine.memory(SIZE), filled(one, 0x33)
    rom[:] = bytes(i * 5 >> 2 & 0xFF for i in range(SIZE))
    one.engine.view(V, SIZE, rom, "rom")
    one.engine.view(W, SIZE, ram, "ram")
    assert one.run(10**9) in HALTED
    assert bytes(ram) == bytes(rom)


@pytest.mark.parametrize("source, read, written", [
    ("lock inc dword ptr [ebx]; mov eax, [ebx]", 0x04030201, "02020304 05060708"),
    ("mov eax, 1; lock xadd [ebx], eax", 0x04030201, "02020304 05060708"),
    ("xor eax, eax; xchg [ebx], eax", 0x04030201, "00000000 05060708"),
    ("lock bts dword ptr [ebx], 31; mov eax, [ebx]", 0x04030201, "01020384 05060708"),
    ("mov eax, 0x04030201; mov edx, 0x08070605; xor ecx, ecx; mov esi, ebx; xor ebx, ebx; lock cmpxchg8b [esi]", 0x04030201,
     "00000000 00000000"),
    ("lea esp, [ebx + 4]; push 0; pop eax", 0x04030201, "00000000 00000000"),
    ("lea esp, [ebx + 8]; push 0x77; pop eax", 0x08070605, "00000000 77000000"),
])
def test_an_instruction_that_loads_and_stores_meets_both_sides(machine, source, read, written):
    """Its load reads the ROM, its store goes to the RAM below; what it does not store stays."""
    one = machine(PM32, source + "; hlt")
    rom, shadow = one.engine.memory(0x1000), one.engine.memory(0x1000)
    rom[:8] = bytes(range(1, 9))
    if "05060708" in written:
        shadow[:8] = bytes(range(1, 9))
    one.engine.view(V, 0x1000, rom, "rom", shadow)
    assert one.run() in HALTED
    assert (one.r.rax, bytes(shadow[:8])) == (read, bytes.fromhex(written))
    assert bytes(rom[:8]) == bytes(range(1, 9))


# -- a change is seen by the next access of the same block

@pytest.mark.parametrize("mode", MODES)
def test_a_change_in_a_port_callback_is_seen_by_the_next_load_and_store(machine, mode):
    one = machine(mode, f"""
        mov eax, {there(mode)}; mov {there(mode, 4)}, eax; out 0x80, al
        mov ecx, {there(mode)}; mov {there(mode, 4)}, ecx; out 0x80, al
        mov edx, {there(mode)}; mov {there(mode, 4)}, edx; out 0x80, al; mov esi, {there(mode)}; hlt""")
    a, b = filled(one, 0x11), filled(one, 0x22)
    steps = iter([(b, "ram"), (None, "mmio"), (a, "rom")])
    one.on_out(0x80, lambda value: one.engine.view(V, SIZE, *next(steps)))
    one.engine.view(V, SIZE, a, "ram")
    assert one.run() in HALTED
    assert (one.r.rax, one.r.rcx, one.r.rdx, one.r.rsi) == (0x11111111, 0x22222222, 0xFFFFFFFF, 0x11111111)
    assert (bytes(a[:8]), bytes(b[:8])) == (b"\x11" * 8, b"\x22" * 8)


@pytest.mark.parametrize("mode", MODES)
def test_device_memory_may_replace_itself_in_its_own_callback(machine, mode):
    one = machine(mode, f"mov eax, {there(mode)}; mov ecx, {there(mode)}; mov {there(mode, 8)}, al; "
                        f"mov edx, {there(mode)}; hlt")
    a, b = filled(one, 0x11), filled(one, 0x22)

    def read():
        one.engine.view(V, SIZE, a, "rom", b)
        return 0x77

    one.mmio.read[V << 4 | 4] = read
    one.engine.view(V, SIZE, None, "mmio")
    assert one.run() in HALTED
    assert (one.r.rax, one.r.rcx, one.r.rdx, b[8], a[8]) == (0x77, 0x11111111, 0x11111111, 0x77, 0x11)


# -- all of it at random, beside a model

PAGES = 6


@pytest.mark.parametrize("mode", [PM32, PAGED, PAE, LONG, LARGE_PAGED, LARGE_LONG])
@pytest.mark.parametrize("seed", range(4))
def test_random_accesses_and_views_do_what_a_model_does(machine, mode, seed):
    """The model: for each page of the guest, (memory, page) that loads meet and that stores meet, or None."""
    rng = random.Random(seed)
    wide = LARGE.get(mode, mode) == LONG
    registers = {1: "dl", 2: "dx", 4: "edx", 8: "rdx"}
    source, plan, changes, expected = [], [], [], []
    memories = [bytearray(rng.randbytes(PAGES * 0x1000)) for _ in range(4)]
    first = [bytes(memory) for memory in memories]
    loads: list[tuple[int, int] | None] = [None] * PAGES
    stores: list[tuple[int, int] | None] = [None] * PAGES
    for _ in range(250):
        what = rng.choice(("view", "load", "load", "store", "store", "add"))
        if what == "view":
            page = rng.randrange(PAGES)
            count = rng.randint(1, PAGES - page)
            kind = rng.choice(("ram", "ram", "rom", "mmio"))
            shows, also = rng.randrange(4), rng.choice((None, None, *range(4)))
            at, at2 = rng.randint(0, PAGES - count), rng.randint(0, PAGES - count)
            memory = None if kind == "mmio" else (shows, at)
            changes.append((page, count, kind, memory, None if also is None else (also, at2)))
            for i in range(count):
                loads[page + i] = memory and (shows, at + i)
                stores[page + i] = (also, at2 + i) if also is not None else loads[page + i] if kind == "ram" else None
            source.append("out 0x80, al")
            continue
        size = rng.choice((1, 2, 4, 8) if wide else (1, 2, 4))
        offset = rng.choice((rng.randrange(PAGES * 0x1000 - 8), 0x1000 * rng.randrange(1, PAGES) - rng.randrange(1, 9)))
        value = 0
        for i in range(size):
            where = loads[offset + i >> 12]
            value |= (memories[where[0]][where[1] << 12 | (offset + i) & 0xFFF] if where else 0xFF) << 8 * i
        operand = f"[{'rbx' if wide else 'ebx'} + {offset}]"
        register = registers[size]
        if what == "load":
            source.append(f"xor edx, edx; mov {register}, {operand}; mov eax, edx; out 0x81, eax")
            expected.append(value & 0xFFFFFFFF)
            continue
        new = rng.getrandbits(31)
        if what == "store":
            source.append(f"mov edx, {new}; mov {operand}, {register}")
        else:
            source.append(f"mov edx, {new}; add {operand}, {register}")
            new += value
        for i in range(size):
            where = stores[offset + i >> 12]
            if where:
                memories[where[0]][where[1] << 12 | (offset + i) & 0xFFF] = new >> 8 * i & 0xFF
    one = machine(mode, "hlt")
    one.code("; ".join(source) + "; hlt", 0x40000)
    shown = [one.engine.memory(PAGES * 0x1000) for _ in memories]
    for memory, data in zip(shown, first, strict=True):
        memory[:] = data
    turns = iter(changes)

    def part(where, count):
        return where and shown[where[0]][where[1] << 12:where[1] + count << 12]

    def change(value):
        page, count, kind, memory, writes = next(turns)
        one.engine.view(V + (page << 12), count << 12, part(memory, count), kind, part(writes, count))

    one.on_out(0x80, change)
    one.on_out(0x81, plan.append, 4)
    one.engine.view(V, PAGES << 12, None, "mmio")
    one.r.rip = 0x40000
    assert one.run(10**9) in HALTED
    assert plan == expected
    assert [bytes(memory) for memory in shown] == [bytes(memory) for memory in memories]


# -- what the host sees, and the edges

def test_the_host_sees_what_the_guest_sees(machine):
    one = machine()
    rom, _, shadow = filled(one, 1, 0x1000), filled(one, 3, 0x1000), filled(one, 2, 0x1000)
    one.engine.view(V, 0x1000, rom, "rom")
    one.engine.view(V + 0x1000, 0x1000, rom, "rom", shadow)
    one.engine.view(V + 0x2000, 0x1000, shadow, "ram")
    one.engine.view(0x9F000, 0x1000, None, "mmio")
    for _ in range(2):
        def seen(address, length, store=False):
            return [piece if isinstance(piece, int) else bytes(piece)
                    for piece in one.engine.pieces(address, length, store)]

        assert seen(V - 2, 6) == [2, b"\1" * 4]
        assert seen(V + 0xFFE, 4) == [b"\1\1", b"\1\1"]
        assert seen(V + 0x1FFE, 4) == [b"\1\1", b"\2\2"]
        assert seen(V + 0xFFE, 0x1004, True) == [2, b"\2" * 0x1000, b"\2\2"]
        assert seen(V + 0x2FFF, 3) == [b"\2", 2]
        assert seen(0x9EFFE, 4) == [b"\0\0", 2]
        assert seen(0xFFFFFFFE, 4) == [bytes(2), 2]
        assert seen(0xFFFFFFFE, 4, True) == [2, 2]
        assert seen(RAM - 1, 2) == [b"\0", 1]
        assert seen(1 << 33, 5) == [5]
        one.run()                               # the places of memories are known now: nothing changes by that


def test_a_view_may_come_before_its_memory_is_mapped(fast):
    engine = UnicornEngine(RAM + 0x10000, fast=fast)
    memory = engine.memory(0x2000)
    engine.view(V, 0x2000, memory, "ram")
    engine.map(0x300000, memory, "ram")
    guest = Guest(PM32, "inc dword ptr [ebx]; hlt", engine=engine)
    for guest.r.rbx in (V + 0x1000, 0x301000, V + 0x1000):
        again(guest)
    assert memory[0x1000] == 3
    engine.close()


def test_memory_that_is_taken_after_the_first_run_can_be_shown(machine):
    one = machine(PM32, "mov al, [ebx]; hlt")
    one.run()
    one.engine.view(V, SIZE, filled(one, 0x5A), "rom")
    again(one)
    assert one.r.rax & 0xFF == 0x5A


def test_views_outlive_reset_and_restore_of_the_processor(machine):
    one = machine(PM32, "mov al, [ebx]; hlt")
    one.engine.view(V, SIZE, filled(one, 0x5A), "rom")
    state = one.engine.save()
    one.engine.reset()
    one.engine.restore(state)
    one.run()
    assert one.r.rax & 0xFF == 0x5A


@pytest.mark.parametrize("address, length, size, kind", [
    (V + 1, 0x1000, 0x1000, "ram"), (V, 0x800, 0x800, "ram"), (V, 0x1000, 0x2000, "ram"), (V, 0, 0, "ram"),
    (1 << 32, 0x1000, 0x1000, "ram"), (0xFFFFF000, 0x2000, 0x2000, "ram"), (V, 0x1000, None, "ram"),
    (V, 0x1000, 0x1000, "mmio"), (V, 0x1000, 0x1000, "flash")])
def test_a_view_that_cannot_be_is_refused(machine, address, length, size, kind):
    one = machine()
    memory = None if size is None else one.engine.memory(0x2000)[:size]
    with pytest.raises(EngineError):
        one.engine.view(address, length, memory, kind)


def test_memory_of_another_machine_is_refused(machine):
    one, other = machine(), machine()
    with pytest.raises(EngineError):
        one.engine.view(V, 0x1000, other.engine.memory(0x1000), "ram")


def test_the_library_does_not_count_an_entry_of_a_view_twice(machine):
    """tlb_mmu_resize_locked grows a TLB by that count."""
    one = machine(PM32, "mov ecx, 100; again: mov eax, [ebx]; add ebx, 0x1000; dec ecx; jnz again; hlt")
    one.engine.view(V - 0x20000, 0x40000, filled(one, 0x11, 0x40000), "rom")
    one.run(10**8)
    used = [layout.read_u64(one.engine._env + layout.TLB_DESC + layout.TLB_DESC_SIZE * i + layout.TLB_DESC_USED)
            for i in range(3)]
    assert 100 <= max(used) <= 110, used
