"""Accesses across two pages, and those that the processor makes by itself: where a page is no plain memory."""

from __future__ import annotations

import pytest

from emu.engine import Stop
from tests.cpu.guest import ALIAS, DATA32, HALTED, LONG, PAGED, PM32, Guest

PAGE = 0x1000
FIRST, SECOND = 0x1F0000, 0x1E0000          # physical: what ALIAS and the page behind it show
MEMORY = bytes((i * 37 + 11) & 0xFF for i in range(16))
LOADS = {2: "movzx eax, word ptr [{r}bx]", 4: "mov eax, [{r}bx]", 8: "mov rax, [rbx]"}
STORES = {2: "mov [{r}bx], dx", 4: "mov [{r}bx], edx", 8: "mov [rbx], rdx"}
MODES = [PAGED, LONG]
ACROSS = [(mode, size, offset) for mode in MODES for size in (2, 4, 8) if size < 8 or mode == LONG
          for offset in range(PAGE - size, PAGE + 1)]


@pytest.fixture
def split(guest):
    """A guest with MEMORY around the end of the page ALIAS, and EBX at `offset` of it; each access is made twice."""

    def make(mode, access: str, offset: int, fast: str = "all") -> Guest:
        text = access.format(r="r" if mode == LONG else "e")
        one = guest(mode, f"mov ecx, 2; again: {text}; dec ecx; jnz again; hlt", fast)
        one.page(ALIAS, FIRST)
        one.page(ALIAS + PAGE, SECOND)
        one.poke(FIRST + PAGE - 8, MEMORY[:8])
        one.poke(SECOND, MEMORY[8:])
        one.r.rbx, one.r.rdx = ALIAS + offset, 0x8877665544332211
        return one

    return make


@pytest.mark.parametrize("mode, size, offset", ACROSS)
def test_a_load_across_two_pages_has_bytes_of_both(split, mode, size, offset):
    one = split(mode, LOADS[size], offset)
    assert one.run() in HALTED
    start = offset - (PAGE - 8)
    assert one.r.rax == int.from_bytes(MEMORY[start:start + size], "little")


@pytest.mark.parametrize("mode, size, offset", ACROSS)
def test_a_store_across_two_pages_goes_to_both_and_nowhere_else(split, mode, size, offset):
    one = split(mode, STORES[size], offset)
    assert one.run() in HALTED
    start = offset - (PAGE - 8)
    expected = bytearray(MEMORY)
    expected[start:start + size] = one.r.rdx.to_bytes(8, "little")[:size]
    assert bytes(one.ram[FIRST + PAGE - 8:FIRST + PAGE]) + bytes(one.ram[SECOND:SECOND + 8]) == expected


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fast", ["none", "all"])
def test_a_store_across_a_page_that_is_read_only_faults_there_and_stores_nothing(split, mode, fast):
    one = split(mode, STORES[4], PAGE - 2, fast)
    one.page(ALIAS + PAGE, SECOND, 1)
    one.r.cr0 |= 1 << 16                                # WP
    assert one.run() in HALTED
    assert one.r.cr2 == ALIAS + PAGE and one.r.rcx == 2
    assert bytes(one.ram[FIRST + PAGE - 8:FIRST + PAGE]) == MEMORY[:8]


def test_a_store_across_two_pages_into_code_is_seen(guest):
    one = guest(LONG, """
        mov ecx, 2
    again:
        call rsi
        add edi, eax
        mov [rbx], edx
        dec ecx
        jnz again
        hlt
    """, "all")
    one.page(ALIAS, FIRST)
    one.page(ALIAS + PAGE, SECOND)
    one.code("mov eax, 1; ret", SECOND)                 # B8 01 00 00 00 C3
    one.r.rbx, one.r.rdx, one.r.rsi, one.r.rdi = ALIAS + PAGE - 2, 0x07B81234, ALIAS + PAGE, 0
    assert one.run() in HALTED
    assert one.r.rdi == 1 + 7 and one.peek(FIRST + PAGE - 2, 2) == 0x1234


@pytest.mark.parametrize("fast", ["none", "all"])
def test_a_helper_that_stores_into_code_replaces_it(guest, fast):
    one = guest(PAGED, """
        call esi
        mov ebp, eax
        mov eax, [esi]
        mov edx, [esi + 4]
        mov ebx, 0x000007B8
        mov ecx, 0x9090C300
        lock cmpxchg8b [esi]
        call esi
        hlt
    """, fast)
    one.code("mov eax, 1; ret; nop; nop", FIRST)
    one.r.rsi = FIRST
    assert one.run() in HALTED
    assert (one.r.rbp, one.r.rax) == (1, 7)


@pytest.mark.parametrize("fast", ["none", "all"])
def test_a_descriptor_in_device_memory_is_read_there_each_time(guest, fast):
    one = guest(PM32, "mov es, ecx; mov fs, ecx; hlt", fast)
    reads = []
    for offset, value in ((0, 0x0000FFFF), (4, 0x00CF9300)):
        one.mmio.read[0xC0000 + DATA32 + offset << 4 | 4] = lambda at=offset, value=value: (reads.append(at), value)[1]
    one.r.gdtr, one.r.rcx = (0xC0000, 0xFF), DATA32
    assert one.run() in HALTED
    assert reads == [0, 4, 0, 4]
    assert one.r.fs.limit == 0xFFFFFFFF


@pytest.mark.parametrize("fast", ["none", "all"])
def test_the_frame_of_an_interrupt_on_a_page_that_is_missing_is_no_frame(guest, fast):
    one = guest(PAGED, "mov esp, ebx; int 0x41", fast)
    one.page(ALIAS, 0, 0)
    one.r.rbx = ALIAS + PAGE
    one.page(ALIAS + PAGE, SECOND)
    assert one.run(20_000) is Stop.SHUTDOWN
    assert one.r.cr2 == ALIAS + PAGE - 4
