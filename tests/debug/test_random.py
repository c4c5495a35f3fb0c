"""Whatever a guest does, explaining it raises nothing and changes nothing."""

from __future__ import annotations

import json
import random
from types import SimpleNamespace

import pytest

from emu.boards.console import Console
from emu.debug import causes, instruction, state
from emu.debug.explain import Explanation, explain
from tests.cpu.guest import CODE, COMPAT, GDT, IDT, LONG, PAE, PAGED, PM16, PM32, RAM, REAL, TABLES, TSS, V86, Guest

MODES = REAL, PM16, PM32, PAGED, PAE, LONG, COMPAT, V86
EVERY = frozenset(range(256))
WORD = (1 << 64) - 1


def values(rng):
    return rng.choice([0, 1, *(rng.getrandbits(bits) for bits in (4, 12, 16, 32, 64)), WORD, CODE, RAM - 3, 1 << 47,
                       WORD >> 17, 0xFFFF_8000_0000_0000, 0xFFFFFFFF])


def random_guest(rng, mode):
    """A guest of random code, registers, and some random bytes in its tables."""
    guest = Guest(mode, "hlt", ring=rng.choice([0, 3]) if mode not in (REAL, V86, COMPAT) else 0)
    opcodes = [b"\x0F\x0B", b"\xCF", b"\xCB", b"\xC3", b"\x8E\xD8", b"\x8E\xD0", b"\x0F\x34", b"\x0F\x05", b"\xCD\x41",
               b"\xF4", b"\x0F\x00\xD8", b"\x0F\x22\xC0", b"\x0F\x30", b"\xEC", b"\xFF\xE0", b"\x50", b"\x58", b"\xF7\xF1",
               b"\x0F\x28\x03", b"\x48\xCF", b"\x1F", b"\xEA", b"\x9A", b"\xFF\x2B", b"\xC5\x03"]
    code = b"".join(rng.choice([rng.choice(opcodes), rng.randbytes(rng.randrange(1, 5))]) for _ in range(12))
    guest.poke(CODE, code)
    for name in ("rax", "rcx", "rdx", "rbx", "rbp", "rsi", "rdi", *(["rsp"] if rng.random() < 0.3 else [])):
        setattr(guest.r, name, values(rng))
    for table, length in ((IDT, 0x800), (GDT, 0xC0), (TSS, 0x68), (TABLES, 0x4000)):
        for _ in range(rng.choice([0, 0, 1, 20])):
            guest.poke(table + rng.randrange(length), rng.getrandbits(8), 1)
    return guest


def look(guest, end):
    machine = SimpleNamespace(registers=guest.r, engine=guest.engine, now=guest.engine.now(), chips={}, start=None,
                              clock=SimpleNamespace(next=lambda: None), console=Console(), screen=None)
    explanation = explain(machine, end)
    again = Explanation(json.loads(json.dumps(explanation.facts)))
    assert again.paragraphs() == explanation.paragraphs() and again.brief()
    return explanation


@pytest.mark.parametrize("mode", MODES)
def test_random_guests(mode):
    for seed in range(8):
        ends = []
        for watch in False, True:
            guest = random_guest(random.Random(f"{mode}{seed}"), mode)
            if watch:
                guest.engine.watch(lambda guest=guest: look(guest, "fault") and None, EVERY)
            end = guest.run(5_000)
            ends.append((end, guest.engine.save(), bytes(guest.ram)))
            for name in "shutdown", "halted", "timeout", "loop":
                look(guest, name)
            guest.engine.close()
        assert ends[0] == ends[1]


def test_every_vector_and_error_code_with_random_state():
    rng = random.Random(5)
    guest = None
    for i in range(600):
        mode = rng.choice(MODES)
        if i % 25 == 0:
            if guest:
                guest.engine.close()
            guest = random_guest(rng, mode)
        guest.poke(CODE, rng.randbytes(15))
        guest.r.cr2 = values(rng)
        then = state.now(SimpleNamespace(registers=guest.r, engine=guest.engine, now=0))
        error = rng.choice([0, rng.getrandbits(5), rng.getrandbits(16)])
        found = causes.diagnose(then, rng.randrange(32), error, instruction.at(then), [(CODE, rng.randbytes(64))])
        assert found.problem and found.words
        json.dumps(found.facts())
