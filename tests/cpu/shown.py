"""Guests for the tests of views: every mode, with small and large pages, with every technique off and on."""

from __future__ import annotations

from emu.x86 import Segment
from tests.cpu.guest import BITS, CODE, HALTED, LONG, PAE, PAGED, PM16, PM32, REAL, TABLES, Guest

LARGE_PAGED, LARGE_PAE, LARGE_LONG = "4 MiB pages", "2 MiB pages, PAE", "2 MiB pages, long mode"
LARGE = {LARGE_PAGED: PAGED, LARGE_PAE: PAE, LARGE_LONG: LONG}
MODES = [REAL, PM16, PM32, PAGED, PAE, LONG, *LARGE]
V, W = 0xC0000, 0xD0000             # where views are shown
SIZE = 0x4000


def prepared(mode, source, engine, **kwargs):
    """A guest whose `there` operands mean V, and EDI (RDI) is W."""
    one = Guest(LARGE.get(mode, mode), source, engine=engine, **kwargs)
    if mode == LARGE_PAGED:
        one.r.cr4 |= 0x10
        one.poke(TABLES, 0x87)
    elif mode in LARGE:
        one.poke(TABLES + (0x1000 if mode == LARGE_PAE else 0x2000), 0x87, 8)
    one.r.rbx, one.r.rdi = V, W
    if mode == REAL:
        one.load("es", V >> 4)
        one.r.rbx = 0
    elif mode == PM16:
        one.r.es = Segment(0x10, V, 0xFFFF, 0x93)
        one.r.rbx = 0
    return one


def there(mode, offset=0):
    """The operand that means V + offset."""
    name = {REAL: "es:[bx", PM16: "es:[bx"}.get(mode) or ("[rbx" if BITS.get(LARGE.get(mode, mode), 32) == 64 else "[ebx")
    return f"{name} + {offset}]"


def filled(one, byte, size=SIZE):
    memory = one.engine.memory(size)
    memory[:] = bytes([byte]) * size
    return memory


def again(one):
    """Run the code once more, after its HLT."""
    one.engine.restore({**one.engine.save(), "activity": "active"})
    one.r.rip = CODE
    assert one.run() in HALTED
