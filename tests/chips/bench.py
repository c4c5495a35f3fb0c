"""A chip on a test bench: its registers by name, and a clock that the test moves."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from emu.bus import Bus
from emu.clock import Clock
from emu.device import Device, Reg, Window


class Bench:
    """One chip with every block placed on a bus of its own.

    `read("LSR")` and `write("LCR", value)` go through the bus, so bank switches and access sizes count; `pins` records
    every change of every output pin as (name, level); `advance(ns)` rings each alarm at its own time.
    """

    def __init__(self, cls: type[Device], *args: Any, **kwargs: Any) -> None:
        self.now = 0
        self.clock = Clock(lambda: self.now)
        self.chip: Any = cls(*args, **kwargs)
        self.bus = Bus()
        self.base: dict[str, int] = {}
        self.pins: list[tuple[str, int]] = []
        for out in self.chip.declared:
            pin = getattr(self.chip, out.lower(), None)
            if hasattr(pin, "sinks"):
                pin.sinks.append(lambda level, name=out: self.pins.append((name, level)))
        self.chip.attach(cls.__name__.lower(), self.clock)
        self.pins.clear()
        apart = max([0x1000, *(window.length for window in cls.parts(Window))])
        for i, block in enumerate(sorted(self.chip.banks)):
            self.base[block] = apart * (i + 1)
            self.bus.place(self.chip, block, self.base[block])

    def address(self, name: str) -> tuple[int, int]:
        reg = self.chip.declared[name]
        assert isinstance(reg, Reg)
        return self.base[reg.block] + reg.offset, reg.size

    def read(self, name: str) -> int:
        address, size = self.address(name)
        return self.bus.read[address << 4 | size]()

    def write(self, name: str, *values: int) -> None:
        address, size = self.address(name)
        for value in values:
            self.bus.write[address << 4 | size](value)

    def advance(self, ns: int) -> None:
        end = self.now + ns
        while (due := self.clock.next()) is not None and due <= end:
            self.now = max(self.now, due)
            self.clock.ring(self.now)
        self.now = end


class PS2(Bench):
    """A PS/2 device, and what is at the other end of its cable; bytes as hexadecimal text."""

    def take(self) -> str:
        """What it has to say."""
        out = bytearray()
        while self.chip.request.level:
            out.append(self.chip.send())
        return out.hex(" ")

    def say(self, *values: int) -> str:
        """Tell it bytes, and take what it says to each."""
        out = []
        for value in values:
            self.chip.receive(value)
            out.append(self.take())
        return " ".join(text for text in out if text)


def goes_on_alike(one: Bench, two: Bench, stir: Callable[[Any, random.Random, int], None], rng: random.Random,
                  length: int) -> None:
    """What is restored from a state that `length` stirs have made goes on as what was saved does."""
    stir(one, rng, length)
    two.now = one.now
    two.chip.restore(one.chip.save())
    assert two.chip.save() == one.chip.save()
    state = rng.getstate()
    stir(one, rng, 50)
    rng.setstate(state)
    stir(two, rng, 50)
    assert two.chip.save() == one.chip.save()
