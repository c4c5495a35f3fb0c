"""A PC with chips that an engine may answer for, and how to make one with some techniques."""

from __future__ import annotations

import random

from emu.assembler import assemble
from emu.boards.pc import PC
from emu.device import BLOCK, RING, RW, VALUE, Device, R, Reg, State, W

ALONE, BOTH, ALL = "ports", "ports,mmio", "all"
WINDOW = 0xFEC00000


class Sectors(Device):
    """A port of SIZE bytes that reads and writes 64-byte sectors; a sector that ends is counted."""

    SIZE = 2
    DATA = Reg(0, RW, "the next element", size=2, native=BLOCK)
    NUMBER = Reg(2, R, "which sector", native=VALUE)
    DONE = State(0, "bytes of the sector that have moved")
    WRITTEN = State([], "the sectors that were written")

    def __init__(self) -> None:
        self.sector = bytearray(64)
        self.calls = []

    def reset(self) -> None:
        super().reset()
        self.fill()

    def fill(self) -> None:
        self.sector[:] = random.Random(self.number).randbytes(64)

    def step(self) -> None:
        self.done += self.SIZE
        if self.done == 64:
            self.number, self.done = self.number + 1 & 0xFF, 0
            self.fill()

    def read_DATA(self) -> int:
        self.calls.append("r")
        value = int.from_bytes(self.sector[self.done:self.done + self.SIZE], "little")
        self.step()
        return value

    def write_DATA(self, value: int) -> None:
        self.calls.append("w")
        self.sector[self.done:self.done + self.SIZE] = value.to_bytes(self.SIZE, "little")
        if self.done + self.SIZE == 64:
            self.written.append(bytes(self.sector))
        self.step()

    def block_DATA(self, access: str) -> memoryview | None:
        return memoryview(self.sector)[self.done:64 - self.SIZE]

    def moved_DATA(self, access: str, length: int) -> None:
        self.done += length


class Bytes(Sectors):
    SIZE = 1
    DATA = Reg(0, RW, "the next element", native=BLOCK)


class Longs(Sectors):
    SIZE = 4
    DATA = Reg(0, RW, "the next element", size=4, native=BLOCK)
    NUMBER = Reg(4, R, "which sector", native=VALUE)


class Device4(Device):
    """Device memory: a register that holds its value, one that counts its reads, bytes that are collected."""

    STEADY = Reg(0, RW, "a value", size=4, native=VALUE)
    COUNT = Reg(4, R, "how often it was read", size=4)
    TEXT = Reg(8, W, "bytes", native=RING)
    SEEN = State(b"", "what was written to TEXT")

    def read_COUNT(self) -> int:
        self.count += 1
        return self.count

    def write_TEXT(self, value: int) -> None:
        self.collect_TEXT(bytes([value]))

    def collect_TEXT(self, data: bytes) -> None:
        self.seen += data


class Maker:
    """make(techniques, code or Multiboot image): a PC that is ready to run, with two chips more."""

    def __init__(self, monkeypatch):
        self.monkeypatch, self.machines = monkeypatch, []

    def __call__(self, fast, image, sectors=Sectors, board=PC, **options):
        self.monkeypatch.setenv("EMU_FAST", fast)
        machine = board(16 << 20, **options)
        self.machines.append(machine)
        machine.add("sectors", sectors, at=0x5A0)
        machine.mmio.place(machine.add("device", Device4), "at", WINDOW)
        machine.load(image if isinstance(image, bytes) else assemble(image, 0x7C00, 16))
        return machine

    def close(self):
        for machine in self.machines:
            machine.close()


def state(machine):
    return (machine.now, machine.engine.counters(), machine.state_sha256(), bytes(machine.console.kept), machine.irqs,
            machine.notes)
