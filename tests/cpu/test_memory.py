"""RAM, ROM, what nobody answers, A20, and the state after RESET (SDM vol. 3A, table 10-1)."""

from __future__ import annotations

import pytest

from emu.engine import Stop
from emu.x86 import Segment
from tests.cpu.guest import CODE, DATA, HALTED, LONG, PM32, RAM, REAL

HOLE = 0xD0000000


@pytest.mark.parametrize("mode", [PM32, REAL])
def test_code_in_ROM_runs_and_writes_to_ROM_are_dropped(guest, mode):
    one = guest(mode, "nop; jmp {}di".format("e" if mode == PM32 else ""))
    one.rom[0x100:0x108] = bytes.fromhex("8803 8803 8a03 f4 00")            # mov [ebx], al twice; mov al, [ebx]; hlt
    if mode == REAL:
        one.rom[0x100:0x108] = bytes.fromhex("8807 8807 8a07 f4 00")        # [bx]
        one.r.rip = 0x100
        one.r.cs = Segment(0xF000, 0xF0000, 0xFFFF, 0x9B)
        one.r.ds = Segment(0xF000, 0xF0000, 0xFFFF, 0x93)
    before = bytes(one.rom)
    one.r.rdi, one.r.rbx, one.r.rax = 0xF0100, 0xF0101 if mode == PM32 else 0x101, 0x55
    assert one.run() in HALTED
    assert bytes(one.rom) == before
    assert one.r.rax & 0xFF == before[0x101]


@pytest.mark.parametrize("source", ["mov [ebx], eax", "lock inc dword ptr [ebx]", "push dword ptr [ebx]; pop dword ptr [ebx]",
                                    "mov edi, ebx; mov ecx, 100; rep stosd", "movups [ebx], xmm0"])
def test_no_kind_of_store_changes_ROM(guest, source):
    one = guest(PM32, source + "; hlt")
    one.r.cr4 |= 0x200
    one.rom[:] = bytes(range(256)) * 256
    before = bytes(one.rom)
    for address in (0xF0200, 0xFFFF0FFE):
        one.engine.restore({**one.engine.save(), "activity": "active"})         # the HLT of the run before is over
        one.r.rip, one.r.rbx, one.r.rax = CODE, address, 0x12345678
        assert one.run() in HALTED and one.r.rip > CODE
    assert bytes(one.rom) == before


@pytest.mark.parametrize("size, value", [("byte", 0xFF), ("word", 0xFFFF), ("dword", 0xFFFFFFFF)])
def test_an_open_bus_reads_ones_and_drops_writes(guest, size, value):
    register = {"byte": "al", "word": "ax", "dword": "eax"}[size]
    one = guest(PM32, f"mov [ebx], {register}; xor eax, eax; mov {register}, [ebx]; hlt")
    one.r.rbx = HOLE
    assert one.run() in HALTED
    assert one.r.rax == value


def test_MMIO_is_asked_by_its_address_and_size(guest):
    one = guest(PM32, "mov al, [ebx]; mov ax, [ebx + 2]; mov eax, [ebx + 4]; mov [ebx + 8], eax; mov [ebx + 12], al; hlt")
    seen = []
    for offset, size in ((0, 1), (2, 2), (4, 4)):
        one.mmio.read[HOLE + offset << 4 | size] = lambda offset=offset, size=size: seen.append((offset, size)) or 0x11223344
    for offset, size in ((8, 4), (12, 1)):
        one.mmio.write[HOLE + offset << 4 | size] = lambda value, offset=offset: seen.append((offset, value))
    one.r.rbx = HOLE
    one.run()
    assert seen == [(0, 1), (2, 2), (4, 4), (8, 0x11223344), (12, 0x44)]


@pytest.mark.parametrize("mode", [PM32, LONG])
def test_code_from_nothing_is_FF_FF_and_so_UD(guest, mode):
    one = guest(mode, "nop; jmp {}bx".format("r" if mode == LONG else "e"))
    one.r.rbx = HOLE if mode == PM32 else 0xC0000
    frame = one.frame()
    assert (frame.vector, frame.ip) == (6, one.r.rbx)


def test_a_guest_that_leaves_RAM_by_its_end_meets_UD(guest):
    one = guest(PM32, "jmp ebx")
    one.poke(RAM - 4, b"\x90" * 4)
    one.r.rbx = RAM - 4
    frame = one.frame()
    assert (frame.vector, frame.ip) == (6, RAM)


def test_an_access_across_the_end_of_RAM_is_half_answered(guest):
    one = guest(PM32, "mov [ebx], eax; mov ecx, [ebx]; hlt")
    one.r.rbx, one.r.rax = RAM - 2, 0x11223344
    assert one.run() in HALTED
    assert one.peek(RAM - 2, 2) == 0x3344
    assert one.r.rcx == 0xFFFF3344


# -- A20

def test_A20_masks_address_bit_20_from_the_next_access_of_the_same_block_on(guest):
    one = guest(REAL, "mov al, es:[bx]; out 0x92, al; mov ah, es:[bx]; out 0x92, al; mov cl, es:[bx]; hlt")
    one.load("es", 0xFFFF)
    one.r.rbx, level = 0x510, []
    one.ram[0x500], one.ram[0x100500] = 0x11, 0x22

    def gate(value):
        level.append(len(level) & 1)
        one.engine.a20(level[-1])

    one.on_out(0x92, gate)
    assert one.run() in HALTED
    assert (one.r.rax & 0xFF, one.r.rax >> 8 & 0xFF, one.r.rcx & 0xFF) == (0x22, 0x11, 0x22)


@pytest.mark.parametrize("level, value", [(0, 0x11), (1, 0x22)])
def test_A20_outlives_reset_and_restore(guest, level, value):
    one = guest(PM32, "mov al, [ebx]; hlt")
    one.ram[0x500], one.ram[0x100500] = 0x11, 0x22
    one.r.rbx = 0x100500
    one.engine.a20(level)
    one.engine.restore(one.engine.save())
    assert one.run() in HALTED and one.r.rax & 0xFF == value
    one.engine.reset()
    assert one.engine.save()["a20"] == level


# -- reset

TABLE = {
    "rip": 0xFFF0, "rflags": 2, "cr0": 0x60000010, "cr2": 0, "cr3": 0, "cr4": 0, "efer": 0, "rax": 0, "rbx": 0, "rcx": 0,
    "rsp": 0, "rbp": 0, "rsi": 0, "rdi": 0, "r8": 0, "r15": 0,
    "dr0": 0, "dr1": 0, "dr2": 0, "dr3": 0, "dr7": 0x400, "mxcsr": 0x1F80,
    "gdtr": (0, 0xFFFF), "idtr": (0, 0xFFFF),
}


@pytest.mark.parametrize("name", TABLE)
def test_after_reset_a_register_is_as_the_table_has_it(guest, name):
    one = guest(LONG, "fld1; ud2", ring=3)
    one.frame()
    one.r.dr7, one.r.dr0, one.r.mxcsr = 0x402, 0x55, 0x1FA0
    one.engine.reset()
    assert getattr(one.r, name) == TABLE[name]


def test_after_reset_the_segments_are_those_of_real_mode_and_CS_has_its_base_high(guest):
    one = guest(LONG, "ud2", ring=3)
    one.frame()
    one.engine.reset()
    assert (one.r.cs.selector, one.r.cs.base, one.r.cs.limit) == (0xF000, 0xFFFF0000, 0xFFFF)
    for name in ("ds", "es", "ss", "fs", "gs"):
        segment = getattr(one.r, name)
        assert (segment.selector, segment.base, segment.limit, segment.attributes) == (0, 0, 0xFFFF, 0x93)
    assert (one.r.tr.selector, one.r.tr.base, one.r.tr.limit, one.r.tr.attributes) == (0, 0, 0xFFFF, 0x8B)
    assert (one.r.ldtr.selector, one.r.ldtr.base, one.r.ldtr.limit, one.r.ldtr.attributes) == (0, 0, 0xFFFF, 0x82)


def test_after_reset_the_first_instruction_is_fetched_at_FFFFFFF0(guest):
    one = guest(LONG, "ud2", ring=3)
    one.frame()
    one.rom[0xFFF0:0xFFF5] = bytes.fromhex("ea00e000f0")        # ljmp F000:E000
    one.rom[0xE000:0xE003] = bytes.fromhex("b0 5a f4".replace(" ", ""))
    one.engine.reset()
    assert one.run() is Stop.DEAD
    assert (one.r.cs.base, one.r.rip, one.r.rax) == (0xF0000, 0xE003, 0x5A)


def test_DR6_and_EDX_after_reset(guest):
    one = guest()
    one.engine.reset()
    assert one.r.dr6 == 0xFFFF0FF0
    family = one.r.rdx >> 8 & 15
    assert family in (4, 5, 6, 15)


def test_a_string_store_over_many_pages_is_whole(guest):
    one = guest(PM32, "mov ecx, 0x40000; rep stosd; hlt")
    one.r.rdi, one.r.rax = 0x100000, 0x5A5A5A5A
    assert one.run(10**8) in HALTED
    assert bytes(one.ram[0x100000:0x200000]) == b"\x5A" * 0x100000
    assert one.peek(DATA) == 0
