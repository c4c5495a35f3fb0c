"""A world on our engine: whole, cut into slices, or left in the middle for another engine."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from emu.cpu.unicorn.engine import UnicornEngine
from emu.engine import Stop
from emu.x86 import Segment
from tests.cpu.guest import Space
from tests.fast import world

LIMIT = 50_000_000                  # ns of virtual time: no program needs a tenth of it
ENDED = Stop.HLT, Stop.DEAD, Stop.SHUTDOWN


@dataclass
class Outcome:
    """All that a program can have changed, and how it came there."""

    memory: bytes
    state: dict[str, Any] = field(default_factory=dict)
    counters: dict[str, Any] = field(default_factory=dict)
    now: int = 0
    stop: Stop = Stop.DEAD
    ports: list[int] = field(default_factory=list)


class Machine:
    """A processor at ENTRY of a world."""

    def __init__(self, image: bytes, fast: str = "none") -> None:
        self.engine = UnicornEngine(world.SIZE, fast=fast)
        self.ports: list[int] = []
        space = Space()
        for port, value in ((0x71, 0xFF), (0x170, 0xFFFF)):
            space.read[port << 4 | (1 if value == 0xFF else 2)] = lambda value=value: self._read(value)
        space.write[0xE9 << 4 | 1] = self.ports.append
        self.engine.attach(space, Space(), lambda: 0x20, lambda: True)
        self.ram = self.engine.memory(world.SIZE)
        self.engine.map(0, self.ram, "ram")
        self.ram[:] = image
        self.registers = self.engine.registers()
        self.enter()

    def _read(self, mask: int) -> int:
        self.ports.append(-1)
        return len(self.ports) * 37 & mask

    def enter(self) -> None:
        """Flat protected mode at ENTRY."""
        r = self.registers
        for name, attributes in (("cs", 0xC09B), *((name, 0xC093) for name in ("ss", "ds", "es", "fs", "gs"))):
            setattr(r, name, Segment(8 if name == "cs" else 0x48, 0, 0xFFFFFFFF, attributes))
        r.gdtr = world.GDT, 0x4F
        r.cr0, r.rflags, r.rip = 0x11, 2, world.ENTRY

    def run(self, time: int = LIMIT) -> Stop:
        self.engine.due(self.engine.now() + time)
        return self.engine.run()

    def outcome(self, stop: Stop) -> Outcome:
        return Outcome(bytes(self.ram), self.engine.save(), self.engine.counters(), self.engine.now(), stop, list(self.ports))

    def close(self) -> None:
        self.ram = None                     # type: ignore[assignment]
        self.engine.close()


def run_ours(image: bytes, fast: str = "none", slices: random.Random | None = None) -> Outcome:
    """The program's outcome; with `slices` the run is cut at random."""
    machine = Machine(image, fast)
    try:
        stop = Stop.DUE
        while stop is Stop.DUE and machine.engine.now() < LIMIT:
            stop = machine.run(slices.choice((1, 7, 10, 11, 20, 60, 200, 1500)) if slices else LIMIT)
        return machine.outcome(stop)
    finally:
        machine.close()


def run_moved(image: bytes, techniques: list[str], rng: random.Random) -> Outcome:
    """The run is moved to another engine at random times: snapshots of each set of techniques, restored with the next."""
    machine = Machine(image, techniques[0])
    turn = 0
    while (stop := machine.run(rng.choice((10, 100, 1000, 5000)))) is Stop.DUE and machine.engine.now() < LIMIT:
        state, ports = machine.engine.save(), machine.ports
        memory = bytes(machine.ram)
        machine.close()
        turn += 1
        machine = Machine(memory, techniques[turn % len(techniques)])
        machine.ports += ports
        machine.engine.restore(state)
    try:
        return machine.outcome(stop)
    finally:
        machine.close()


def differences(one: Outcome, other: Outcome, timed: bool = True) -> list[str]:
    """What is not equal, in words; an empty list if all is."""
    found = [f"{name}: {one.state.get(name)} != {other.state.get(name)}" for name in sorted({*one.state, *other.state})
             if one.state.get(name) != other.state.get(name) and (timed or name not in ("time", "counters"))]
    if one.stop is not other.stop:
        found.append(f"stop: {one.stop} != {other.stop}")
    if timed and (one.counters, one.now) != (other.counters, other.now):
        found.append(f"time: {one.now} {one.counters} != {other.now} {other.counters}")
    if one.ports != other.ports:
        found.append(f"ports: {one.ports[:8]} != {other.ports[:8]}")
    return found + compare_memory(one.memory, other.memory)


def compare_memory(one: bytes, other: bytes) -> list[str]:
    """The first bytes that differ, in runs."""
    if one == other:
        return []
    found, at = [], 0
    while at < len(one) and len(found) < 12:
        chunk = next((i for i in range(at, len(one), 256) if one[i:i + 256] != other[i:i + 256]), None)
        if chunk is None:
            break
        first = next(i for i in range(chunk, chunk + 256) if one[i] != other[i])
        found.append(f"[{first:05x}] {one[first:first + 8].hex()} != {other[first:first + 8].hex()} ({where(first)})")
        at = first + 8
        at += -at % 8
        at = max(at, first + 8)
    return found


def where(address: int) -> str:
    """What lies at an address of the world."""
    names = ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{i}" for i in range(8, 16)), "rip", "rflags",
             "segments", "cr2"]
    if world.RESULT <= address < world.RESULT + 8 * len(names):
        return names[address - world.RESULT >> 3]
    if world.LOG <= address < world.LOG + 32 * world.LOG_ENTRIES:
        entry = address - world.LOG
        return f"exception {entry // 32} {['vector, error', 'ip', 'cr2', 'flags'][entry % 32 // 8]}"
    if world.FX_RESULT <= address < world.FX_START:
        at = address - world.FX_RESULT
        return f"fxsave+{at}" if at < 160 else f"xmm{(at - 160) // 16}"
    areas = {name: value for name, value in vars(world).items()
             if name.isupper() and isinstance(value, int) and value > 0x400}
    return max((value, name) for name, value in areas.items() if value <= address)[1]
