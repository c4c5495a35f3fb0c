"""Self-modifying code: what was translated is never run stale, by whatever way the bytes were changed."""

from __future__ import annotations

import pytest

from emu.engine import Stop
from tests.cpu.guest import ALIAS, CODE, HALTED, LONG, NX, PAE, PAGED, PM16, PM32, PRESENT, REAL, USER, WRITABLE

TARGET = 0x15000
MODES = [PM32, PAGED, PAE, LONG]
# call the routine, patch its immediate, call again: the sum of what it returned is 1 + 2 + ... + 100
LOOP = """
    mov ecx, 100
    xor esi, esi
again:
    call {r}di
    add esi, eax
    {patch}
    dec ecx
    jnz again
    hlt
"""
ROUTINE = ".byte 0xB8, 1, 0, 0, 0, 0xC3"                    # mov eax, 1; ret


def prefix(mode):
    return {LONG: "r", REAL: "", PM16: ""}.get(mode, "e")


def patch(guest, mode, at, write_at, prepare=lambda one: None):
    r = prefix(mode)
    one = guest(mode, LOOP.format(r=r, patch=f"inc dword ptr [{r}bx]"))
    prepare(one)
    one.r.rdi, one.r.rbx = at, write_at
    assert one.run(10**7) in HALTED
    assert one.r.rsi == 5050
    return one


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("where", [CODE + 0x80, TARGET, TARGET + 0xFFC], ids=["own page", "another page", "across two pages"])
def test_a_store_into_code_is_seen_by_the_next_call(guest, mode, where):
    patch(guest, mode, where, where + 1, lambda one: one.code(ROUTINE, where))


@pytest.mark.parametrize("mode", MODES)
def test_a_store_across_two_pages_changes_code_in_the_second(guest, mode):
    r = prefix(mode)
    one = guest(mode, f"mov edi, {TARGET}; call {r}di; mov esi, eax; mov [{r}bx], edx; call {r}di; hlt")
    one.code(ROUTINE, TARGET)
    one.r.rbx, one.r.rdx = TARGET - 1, 0x0007B890           # nop; mov eax, 7 ...
    one.run()
    assert (one.r.rsi, one.r.rax) == (1, 7)


@pytest.mark.parametrize("mode", [PAGED, PAE, LONG])
@pytest.mark.parametrize("flags", [PRESENT | WRITABLE | USER, PRESENT | WRITABLE | USER | NX], ids=["executable", "NX"])
def test_a_store_through_an_alias_is_seen(guest, mode, flags):
    if flags & NX and mode == PAGED:
        flags &= ~NX

    def prepare(one):
        one.code(ROUTINE, TARGET)
        one.page(ALIAS, TARGET, flags)

    patch(guest, mode, TARGET, ALIAS + 1, prepare)


@pytest.mark.parametrize("mode", [PAGED, PAE, LONG])
def test_code_run_through_an_alias_sees_a_store_to_the_page(guest, mode):
    def prepare(one):
        one.code(ROUTINE, TARGET)
        one.page(ALIAS, TARGET)

    patch(guest, mode, ALIAS, TARGET + 1, prepare)


@pytest.mark.parametrize("mode", [REAL, PM16, PM32, LONG])
def test_a_store_into_the_block_that_runs_is_seen_by_its_next_instruction(guest, mode):
    r = prefix(mode)
    one = guest(mode, f"nop; mov byte ptr [{r}bx], 0x40; target: nop; hlt" if mode != LONG
                else f"nop; mov byte ptr [{r}bx + 1], 0xC0; target: .byte 0xFF, 0xC8; hlt")
    one.r.rbx = CODE + (4 if mode != LONG else 5)
    one.r.rax = 10
    assert one.run() in HALTED
    assert one.r.rax & 0xFFFF == 11


def test_code_seen_through_the_A20_alias_is_patched(guest):
    loop = "mov cx, 50; xor si, si; again: .byte 0xFF, 0xD7; add si, ax; inc byte ptr es:[bx]; dec cx; jnz again; hlt"
    one = guest(REAL, loop)
    one.engine.a20(0)
    one.code(".byte 0xB8, 1, 0, 0xC3", 0x500)
    one.load("es", 0xFFFF)
    one.r.rdi, one.r.rbx = 0x500, 0x510 + 1
    assert one.run() in HALTED
    assert one.r.rsi == 1275


@pytest.mark.parametrize("mode", MODES)
def test_wrote_drops_what_was_translated(guest, mode):
    one = guest(mode, LOOP.format(r=prefix(mode), patch="out 0xE9, al"))
    one.code(ROUTINE, TARGET)
    one.r.rdi = TARGET

    def dma(value):
        one.ram[TARGET + 1] += 1
        one.engine.wrote(TARGET + 1, 1)

    one.on_out(0xE9, dma)
    assert one.run(10**7) in HALTED
    assert one.r.rsi == 5050


def test_wrote_between_two_runs_drops_a_whole_range(guest):
    one = guest(PM32, "again: call edi; jmp again")
    one.code(ROUTINE, TARGET)
    one.r.rdi = TARGET
    assert one.run(1000) is Stop.DUE
    one.code("hlt", TARGET)
    one.engine.wrote(0x1000, 0x80000)
    assert one.run(1000) is Stop.DEAD


@pytest.mark.parametrize("mode", [PAGED, LONG])
def test_a_page_that_is_mapped_elsewhere_after_INVLPG_runs_the_new_code(guest, mode):
    r = prefix(mode)
    one = guest(mode, f"call {r}di; mov esi, eax; mov [{r}bx], edx; .byte 0x0F, 0x01, 0x3F; call {r}di; hlt")
    one.r.rdx = TARGET + 0x1007
    one.code(ROUTINE, TARGET)
    one.code(ROUTINE.replace("1, 0", "9, 0", 1), TARGET + 0x1000)
    one.page(ALIAS, TARGET)
    one.r.rdi, one.r.rbx = ALIAS, (0x21000 + 4 * (ALIAS >> 12)) if mode == PAGED else 0x23000 + 8 * (ALIAS >> 12)
    one.run()
    assert (one.r.rsi, one.r.rax) == (1, 9)
