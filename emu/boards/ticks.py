"""The interrupts of counter 0 that an engine takes by itself: what the PIT, the PIC and the clock say of them together."""

from __future__ import annotations

from collections.abc import Callable

from emu.chips.i8254 import CLOCK_HZ, I8254, moment
from emu.chips.i8259 import I8259
from emu.engine import Tick
from emu.machine import Machine


class Ticker:
    """OUT0 of `pit` is wired to IR0 of `pic`, whose OCW2 is at `port`; see emu.engine.Ticker."""

    hz = CLOCK_HZ

    def __init__(self, machine: Machine, pit: I8254, pic: I8259, port: int, acknowledge: Callable[[], int],
                 irqs: list[int]) -> None:
        self.machine, self.pit, self.pic, self.irqs = machine, pit, pic, irqs
        self.key, self.acknowledge = port << 4 | 1, acknowledge
        self.broken = self.pause = 0

    def ticks(self) -> Tick | None:
        """See emu.engine.Ticker."""
        if self.pause:
            self.pause -= 1
            return None
        pulses, cycle, ports = self.pit.pulses(), self.pic.cycle(0), self.machine.ports
        if pulses is None or cycle is None or ports.observer is not None or ports.meter is not None:
            return None
        pulse, period = pulses
        until = self.machine.until(self.pit.edge0)
        if not until or moment(pulse + period) <= self.machine.now:       # late: the next is due, too
            return None
        return Tick(pulse, period, until, cycle[0], self.key, cycle[1])

    def ticked(self, whole: int, stage: int) -> None:
        """See emu.engine.Ticker."""
        if whole:
            self.broken = 0
            self.pit.passed(whole)
            self.irqs[0] += whole
        else:                                   # a guest that masks what it serves has none that is whole: ask it less often
            self.broken = min(self.broken + 1, 10)
            self.pause = (1 << self.broken) - 1
        if stage:
            self.pit.on_EDGE0()
        if stage == 2:
            self.acknowledge()
        self.machine.caught_up()
