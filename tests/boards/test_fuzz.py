"""Whatever a guest does to the PC's configuration spaces and ports, the machine goes on, and comes back by a reset."""

from __future__ import annotations

import random

import pytest

from emu.boards.pc import PC
from emu.machine import End

MIB = 1 << 20
BARS = [(1, 1, 0x20), (1, 3, 0x40), (1, 3, 0x90), (2, 0, 0x10), (2, 0, 0x18), (2, 0, 0x30)]
ENABLES = [(1, 1, 0x04), (1, 3, 0x04), (1, 3, 0x80), (1, 3, 0xD2), (2, 0, 0x04), (1, 1, 0x40)]
PLACES = 0x1C0, 0x1F0, 0x3C0, 0x3F0, 0xFFC0, 0xFF000000          # over the board's own parts, over its ROM
SPARED = {0x60, 0x64, 0x92, 0xCF9, 0xF4, 0xF5, 0xF6, 0xF7}      # what resets or ends the run


def entry(port, size):
    return port << 4 | size


def configure(machine, slot, function, register, value, size=4):
    machine.ports.write[entry(0xCF8, 4)](1 << 31 | slot << 11 | function << 8 | register & 0xFC)
    machine.ports.write[entry(0xCFC + (register & 3), size)](value)


def stir(machine, rng):
    """One thing that a guest may do."""
    what = rng.random()
    if what < 0.3:          # a window moves: to anywhere, or near to what is there
        base = rng.choice((rng.getrandbits(32), rng.randrange(0x10000), rng.choice(PLACES)))
        configure(machine, *rng.choice(BARS), base)
    elif what < 0.5:
        configure(machine, *rng.choice(ENABLES), rng.choice((0, 1, 3, 7, 0x8000, 0xFFFF)), 2)
    elif what < 0.7:
        place = rng.randrange(4), rng.randrange(4), rng.randrange(0x100)
        configure(machine, *place, rng.getrandbits(32), rng.choice((1, 2, 4)))
    else:
        port, size = rng.randrange(0x10000) if what < 0.8 else rng.randrange(0x800), rng.choice((1, 2, 4))
        if SPARED & set(range(port, port + size)):
            return
        if rng.random() < 0.5:
            machine.ports.read[entry(port, size)]()
        else:
            machine.ports.write[entry(port, size)](rng.getrandbits(8 * size))
    if what < 0.1:
        machine.mmio.read[entry(rng.choice((0xA0000, 0xC0000, 0xE0000000, 0xFD000000)) + rng.randrange(0x20000), 4)]()
        address = rng.choice((rng.randrange(1 << 32), rng.randrange(1 << 20)))
        machine.write(address, machine.read(address, 64))


def who(machine):
    """Which chip answers at each port."""
    return {address: (chip.name, block, base) for address, (chip, block, base) in machine.ports.claims.items()}


@pytest.mark.parametrize("seed", range(4))
def test_whatever_the_guest_writes_the_board_goes_on(seed):
    rng = random.Random(seed)
    rom = bytes(0xFFF0) + bytes.fromhex("b001e6f4f4").ljust(16, b"\0")          # exits with 3
    with PC(16 * MIB, firmware=rom) as machine:
        for _ in range(2000):
            stir(machine, rng)
        state, copies = machine.save(), {name: [(0, bytes(memory))] for name, memory in machine.memories.items()}
        with PC(16 * MIB, firmware=rom) as other:
            other.restore(state, copies)
            assert who(other) == who(machine)
            assert other.state_sha256() == machine.state_sha256()
            for address in (*range(0xA0000, 0x100000, 0x4000), 0xFFFFFFF0, 0xE0000000, 0xFD000000):
                assert other.read(address, 16) == machine.read(address, 16), hex(address)
        machine.reset()
        assert machine.run_until(seconds=0.1) is End.EXIT and machine.exit_code == 3
