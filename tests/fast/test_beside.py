"""Accesses beside each other: where the second is what the first is not."""

from __future__ import annotations

import pytest

from tests.cpu.guest import ALIAS, HALTED, LONG, PAGED, Guest

DATA = 0x1F0000
LOADS = "jmp x; x: mov eax, [{r}bx]; mov ecx, [{r}bx + 4]; mov edx, [{r}bx + 10]; hlt"
STORES = "jmp x; x: mov [{r}bx], eax; mov [{r}bx + 4], ecx; mov [{r}bx + 10], dx; hlt"


@pytest.fixture(params=[PAGED, LONG])
def guest(request, monkeypatch):
    made = []

    def make(source: str, fast: str = "all") -> Guest:
        monkeypatch.setenv("EMU_FAST", fast)
        made.append(Guest(request.param, source.format(r="r" if request.param == LONG else "e")))
        made[-1].page(ALIAS, DATA)
        return made[-1]

    yield make
    for one in made:
        one.engine.close()


def _joined(one: Guest) -> int:
    return one.engine.techniques()["beside"]["matched"]


@pytest.mark.parametrize("at", [0, 0x123, 0xFE0, *range(0xFF0, 0x1000)])
def test_loads_across_the_end_of_a_page_read_both_pages(guest, at):
    one = guest(LOADS)
    one.page(ALIAS + 0x1000, DATA - 0x3000)             # not the page behind
    memory = bytes((i * 7 + 3) & 0xFF for i in range(32))
    for i, byte in enumerate(memory):
        one.poke((DATA if at + i < 0x1000 else DATA - 0x4000) + at + i, byte, 1)
    one.r.rbx = ALIAS + at
    assert one.run() in HALTED and _joined(one)
    assert [one.r.rax, one.r.rcx, one.r.rdx] == [int.from_bytes(memory[i:i + 4], "little") for i in (0, 4, 10)]


@pytest.mark.parametrize("at", [0xFF0, 0xFF3, 0xFF8, 0xFFC])
def test_the_access_that_leaves_the_page_faults_when_those_before_it_have_been_done(guest, at):
    one = guest(STORES)
    one.page(ALIAS + 0x1000, 0, 0)
    one.r.rax, one.r.rcx, one.r.rdx, one.r.rbx = 0x11111111, 0x22222222, 0x3333, ALIAS + at
    assert one.run() in HALTED and _joined(one)
    for offset, size, value in ((0, 4, 0x11111111), (4, 4, 0x22222222), (10, 2, 0x3333)):
        if at + offset + size > 0x1000:
            assert one.r.cr2 == ALIAS + max(at + offset, 0x1000)
            break
        assert one.peek(DATA + at + offset, size) == value


def test_a_store_beside_another_into_code_that_follows_is_seen(guest):
    one = guest("jmp x; x: mov [{r}bx], ecx; mov [{r}bx + 4], edx; call {r}si; hlt")
    one.page(ALIAS, DATA)
    one.code("mov eax, 1; ret", DATA)
    one.r.rbx, one.r.rsi, one.r.rcx, one.r.rdx = ALIAS, ALIAS, 0x000005B8, 0x0000C300       # mov eax, 5; ret
    assert one.run() in HALTED and _joined(one)
    assert one.r.rax == 5


def test_a_read_only_page_is_loaded_from_and_not_stored_to(guest):
    one = guest("jmp x; x: mov eax, [{r}bx]; mov ecx, [{r}bx + 4]; mov [{r}bx], ecx; mov [{r}bx + 4], eax; hlt")
    one.page(ALIAS, DATA, 1)
    one.r.cr0 |= 1 << 16                                # WP
    one.poke(DATA, 0x7766554433221100, 8)
    one.r.rbx = ALIAS
    assert one.run() in HALTED and _joined(one)
    assert (one.r.rax, one.r.rcx, one.r.cr2) == (0x33221100, 0x77665544, ALIAS)
    assert one.peek(DATA, 8) == 0x7766554433221100
