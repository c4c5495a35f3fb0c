"""Our machine code, which is assembled once and then serves machines whose parts lie at other addresses."""

from __future__ import annotations

import ctypes

import pytest

from emu.assembler import AssemblyError, assemble_plain
from emu.cpu.unicorn import code
from emu.cpu.unicorn.engine import UnicornEngine


def test_each_machines_code_is_what_the_assembler_makes_for_its_place(monkeypatch):
    places, place = [], code.Code.place

    def noted(self: code.Code, source: str) -> int:
        address = place(self, source)
        places.append((source, address))
        return address

    monkeypatch.setattr(code.Code, "place", noted)
    first, second = (UnicornEngine(1 << 20, fast="all") for _ in range(2))
    try:
        assert len(places) > 20 and len({source for source, _ in places}) > len(places) / 2 + 5     # most name addresses
        for source, address in places:
            wanted = assemble_plain(source, address)
            assert ctypes.string_at(address, len(wanted)) == wanted, source
    finally:
        first.close()
        second.close()


@pytest.mark.parametrize("number", [0, 0x7FFFFFFF, 0xFFFFFFFF, 0x1_0000_0000, 0x7FFF_DEAD_BEEF, 0xFFFF_FFFF_8000_0000,
                                    0xFFFF_FFFE_FFFF_FFFF, (1 << 64) - 1])
def test_a_number_of_any_size_is_assembled_as_it_stands(number):
    source = f"mov rax, 0x7ffff7fa0000\n mov r9, {number:#x}\n mov edx, {number & 0xFFFF:#x}\n ret"
    for _ in range(2):
        assert code.assemble(source) == assemble_plain(source, 0)


def test_a_jump_to_an_address_is_refused_for_code_may_lie_anywhere():
    with pytest.raises(AssemblyError):
        code.assemble("jmp 0x7ffff7fa0000")
