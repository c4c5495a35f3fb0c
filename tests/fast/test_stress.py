"""Chained jumps whose targets change, full code buffers, several machines, resets: what could break in the long run.

Each is held against exact sums, or against the plain core.
"""

from __future__ import annotations

import functools
import random
import resource
import struct

import pytest

from emu.assembler import assemble
from emu.cpu.unicorn import engine as engine_module
from emu.engine import Stop
from tests.cpu.guest import CODE, HALTED, LONG, PAGED, PM32
from tests.cpu.test_process import foreign
from tests.fast import world
from tests.fast.ours import LIMIT, Machine, differences, run_ours
from tests.fast.programs import program

TARGET, BIG = 0x15000, 0x100000
PATCHES = 100_000


@pytest.fixture
def small_buffer(monkeypatch):
    """4 MiB of translations: they are flushed again and again."""
    monkeypatch.setattr(engine_module, "TRANSLATIONS", 4 << 20)


@pytest.mark.parametrize("mode, fast", [(PM32, "all"), (LONG, "all"), (PAGED, "branches"), (PM32, "none")])
def test_the_target_of_a_chained_conditional_jump_is_patched_100000_times(guest, mode, fast):
    """The target adds what the last patch says."""
    r = "r" if mode == LONG else "e"
    one = guest(mode, f"""
        mov ecx, {PATCHES}
        xor esi, esi
        mov edi, {TARGET}
    top:
        test ecx, ecx
        jnz {TARGET}
        hlt
    back:
        inc dword ptr [{r}di + 2]
        dec ecx
        jmp top
    """, fast)
    back = bytes(one.ram).index(b"\xFF\x47\x02", CODE)
    one.poke(TARGET, b"\x81\xC6\1\0\0\0\xE9" + struct.pack("<i", back - (TARGET + 11)))    # add esi, 1; jmp back
    assert one.run(10**10) in HALTED
    assert one.r.rsi == sum(range(1, PATCHES + 1)) & 0xFFFFFFFF


@functools.cache
def _wide(blocks: int) -> bytes:
    """`blocks` short blocks: ADD EAX, i, then a conditional jump to the next one, taken or not; three rounds."""
    code = b"".join(b"\x05" + struct.pack("<I", i) + (b"\x74\0" if i & 1 else b"\x75\0") for i in range(blocks))
    end = assemble("dec ecx; jz done; jmp ebx; done: hlt", BIG + len(code), 32)
    return code + end


def test_a_code_buffer_of_4_MiB_is_flushed_without_a_difference(guest, small_buffer):
    blocks, found = 60_000, []
    for fast in ("none", "all"):
        one = guest(PM32, f"mov ecx, 3; xor eax, eax; mov ebx, {BIG}; jmp ebx", fast)
        one.poke(BIG, _wide(blocks))
        assert one.run(10**9) in HALTED
        assert one.r.rax == 3 * sum(range(blocks)) & 0xFFFFFFFF
        found.append((one.engine.save(), one.engine.counters(), one.engine.now()))
    assert found[0] == found[1]


def test_two_machines_in_turn_with_different_techniques_and_a_foreign_unicorn_beside():
    stock = foreign()
    for seed in range(50, 62):
        images = [program(seed).image(), program(seed + 100).image()]
        whole = [run_ours(image, "none") for image in images]
        for settings in (("all", "none"), ("branches,lookup", "all"), ("none", "budget,strings")):
            machines = [Machine(image, fast) for image, fast in zip(images, settings)]
            rng, stops = random.Random(seed), [Stop.DUE, Stop.DUE]
            while Stop.DUE in stops and max(one.engine.now() for one in machines) < LIMIT:
                turn = rng.randrange(2)
                if stops[turn] is Stop.DUE:
                    stops[turn] = machines[turn].run(rng.randrange(500, 5000))
            for one, stop, plain in zip(machines, stops, whole):
                assert not differences(plain, one.outcome(stop), timed=False), (seed, settings)
                one.close()
    assert foreign() == stock


def test_200_resets_run_alike_and_take_no_more_memory(small_buffer):
    image = program(7, portable=True).image()
    machine = Machine(image, "all")
    first, sizes = None, []
    for number in range(200):
        machine.engine.reset()
        machine.ram[:] = image
        machine.engine.wrote(0, world.SIZE)
        machine.enter()
        begun, before = machine.engine.now(), machine.engine.counters()["blocks"]
        stop = machine.run()
        state = machine.engine.save()
        this = (stop, bytes(machine.ram), machine.engine.now() - begun, machine.engine.counters()["blocks"] - before,
                {name: value for name, value in state.items() if name not in ("time", "counters")})
        first = first or this
        assert this == first, number
        sizes.append(resident())
    machine.close()
    assert sizes[-1] - sizes[60] < 4 << 20, sizes[::20]


def test_machines_opened_and_closed_take_no_more_memory():
    image = program(8).image()
    sizes = []
    for number in range(60):
        run_ours(image, ("all", "none", "budget,strings")[number % 3])
        sizes.append(resident())
    assert sizes[-1] - sizes[20] < 8 << 20, sizes[::10]


def resident() -> int:
    """Bytes of this process in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
