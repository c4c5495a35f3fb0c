"""The debug console of Bochs and QEMU."""

from __future__ import annotations

from emu.chips.debugcon import DebugCon
from tests.chips.bench import Bench


def test_each_byte_that_is_written_is_printed():
    out = []
    b = Bench(DebugCon, out.append)
    b.write("TEXT", *b"hi\n")
    assert b"".join(out) == b"hi\n"


def test_it_reads_as_its_own_address_whatever_was_written():
    b = Bench(DebugCon, lambda data: None)
    b.write("TEXT", 0x55)
    assert b.read("READBACK") == 0xE9
