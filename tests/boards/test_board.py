"""What boards have in common: physical memory as the host and DMA see it, through the views of the guest."""

from __future__ import annotations

import pytest

from emu.assembler import assemble
from emu.boards.board import MIB
from emu.boards.pc import PC
from emu.boards.tiny import Tiny


@pytest.fixture(params=[Tiny, PC])
def board(request):
    with request.param(2 * MIB) as made:
        yield made


def test_the_base_is_RAM_to_640K_and_from_1_MIB_on(board):
    board.write(0, b"\x5A" * 2 * MIB)
    assert board.read(0x9FFFE, 4) == b"\x5A\x5A\xFF\xFF"
    assert board.read(0xFFFFE, 4) == b"\xFF\xFF\x5A\x5A"
    assert board.read(2 * MIB - 1, 3) == b"\x5A\xFF\xFF"
    assert board.ram[0xA0000:0x100000] == bytes(0x60000)


def test_read_and_write_follow_the_views(board):
    rom = board.rom("bios", b"ROM" * 100)
    board.view(0xF0000, 0x1000, rom, "rom")
    board.view(0xF1000, 0x1000, rom, "rom", board.ram[0xF1000:0xF2000])
    board.write(0xEFFFE, b"\x5A" * 0x2004)
    assert board.read(0xEFFFF, 4) == b"\xFFROM"
    assert board.read(0xF1000, 3) == b"ROM"
    assert board.ram[0xF0FFF] == 0
    assert board.ram[0xF1000:0xF2000] == b"\x5A" * 0x1000
    board.view(0xF1000, 0x1000, board.ram[0xF1000:0xF2000], "rom")
    board.write(0xF1000, b"no")
    assert board.read(0xF0FFE, 4) == b"\xFF\xFF\x5A\x5A"
    board.view(0xF0000, 0x2000, None, "mmio")
    assert board.read(0xF0000, 0x2000) == b"\xFF" * 0x2000


def test_a_ROM_is_whole_pages_and_no_part_of_a_snapshot(board):
    rom = board.rom("option", b"\x55\xAA")
    assert bytes(rom) == b"\x55\xAA" + b"\xFF" * 0xFFE
    assert "ram" in board.save()["memories"] and "option" not in board.save()["memories"]
    assert board.roms["option"] is rom


def test_to_write_nothing_is_allowed(board):
    board.write(0x1000, b"")
    assert board.read(0x1000, 0) == b""


@pytest.mark.parametrize("address", [1 << 44, (1 << 44) - 2, 1 << 45, (1 << 64) - 2])
def test_beyond_what_a_processor_can_address_is_nothing(board, address):
    board.ram[:4] = b"here"
    rom = board.rom("option", b"\x55\xAA")
    board.write(address, b"dma!")
    assert board.read(address, 4) == b"\xFF" * 4
    assert bytes(board.ram[:4]) == b"here" and bytes(rom[:2]) == b"\x55\xAA"


@pytest.mark.parametrize("fast", ["none", "all"])
def test_a_guest_that_rewrites_the_block_it_is_in_lets_the_host_look_in_between(fast, monkeypatch):
    """Zeros, `add [bx+si], al`, in a circle, at the last of themselves: seconds of the host for a millisecond."""
    monkeypatch.setenv("EMU_FAST", fast)
    with Tiny(2 * MIB) as board:
        board.load(assemble("""
            xor ax, ax
            mov ds, ax
            mov word ptr [0xA00], 0xFDE9    # jmp 800h
            mov byte ptr [0xA02], 0xFD
            mov bx, 0x9FE
            xor si, si
            jmp 0x800
        """, 0x7C00, 16))
        looks: list[int] = []
        board.poll = lambda: looks.append(board.now)
        board.run(30_000)
    assert len(looks) >= 5 and len(set(looks)) == len(looks)
