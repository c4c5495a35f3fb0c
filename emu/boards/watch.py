"""Whoever waits for something on the screen: it grows by no event, so it is looked at, at exact guest times."""

from __future__ import annotations

from collections.abc import Callable

from emu.machine import Machine

LOOK = 10_000_000           # ns of guest time between two looks


class Watch:
    """Calls each of `lookers` every 10 ms of guest time.

    The looks keep no guest alive: one that is halted, with nothing armed but them, is looked at once more and then left.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.lookers: list[Callable[[], None]] = []
        self.alarm = machine.clock.alarm(self._look)
        self.blocks = -1

    def add(self, look: Callable[[], None]) -> None:
        """Look from now on."""
        self.lookers.append(look)
        self.wake()

    def remove(self, look: Callable[[], None]) -> None:
        """Look no more."""
        if look in self.lookers:
            self.lookers.remove(look)
        if not self.lookers:
            self.alarm.off()

    def wake(self) -> None:
        """The guest may run again, after some input."""
        if self.lookers and self.alarm.due is None:
            self.alarm.at(self.machine.now + LOOK)

    def _look(self) -> None:
        for look in list(self.lookers):
            look()
        if self.lookers and (self.machine.clock.next() is not None or self._has_run()):
            self.alarm.at(self.machine.now + LOOK)

    def _has_run(self) -> bool:
        """Since it was asked last."""
        before, self.blocks = self.blocks, self.machine.engine.counters()["blocks"]
        return self.blocks != before
