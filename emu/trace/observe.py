"""What Python sees of a machine while it runs: accesses to registers by their names, pins, alarms, resets, its console.

An observer adds to the machine's wires and leaves everything as it was; it is attached and detached between runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from emu.boards.board import Board
from emu.device import Out, Timer

ACCESS = {("port", "r"): 6, ("port", "w"): 7, ("memory", "r"): 8, ("memory", "w"): 9}     # kinds, see layout.KINDS
PIN, ALARM, RESET, CONSOLE = 10, 11, 12, 13

Note = Callable[[int, int, int, int, int], None]        # (kind, number of the name, size, value, address)


class Observer:
    """Tells `note` of what happens on `machine`; `name(text)` gives a name its number."""

    def __init__(self, machine: Board, note: Note, name: Callable[[str], int]) -> None:
        self.machine, self.note, self.name = machine, note, name
        self._undo: list[Callable[[], None]] = []

    def attach(self) -> None:
        machine, note = self.machine, self.note
        for space, bus in (("port", machine.ports), ("memory", machine.mmio)):
            bus.observe(self._access(space))
            self._undo.append(lambda bus=bus: bus.observe(None))       # type: ignore[misc]
        for chip in machine.chips.values():
            for out in chip.parts(Out):
                self._pin(getattr(chip, out.key), self.name(f"{chip.name}.{out.name}"))
            for timer in chip.parts(Timer):
                self._alarm(getattr(chip, timer.key), self.name(f"{chip.name}.{timer.name}"))
        restart = machine.on_reset
        number = self.name("machine")

        def reset() -> None:
            note(RESET, number, 0, machine.resets, 0)
            restart()

        machine.on_reset = reset
        self._undo.append(lambda: setattr(machine, "on_reset", restart))

    def detach(self) -> None:
        while self._undo:
            self._undo.pop()()

    def _access(self, space: str) -> Callable[[str, int, int, str], Callable[[int], None]]:
        note, name = self.note, self.name

        def observer(access: str, address: int, size: int, register: str) -> Callable[[int], None]:
            kind, number = ACCESS[space, access], name(register)
            return lambda value: note(kind, number, size, value, address)

        return observer

    def _pin(self, pin: Any, number: int) -> None:
        note = self.note

        def changed(level: int) -> None:
            note(PIN, number, 0, level, 0)

        pin.sinks.insert(0, changed)
        self._undo.append(lambda: pin.sinks.remove(changed))

    def _alarm(self, alarm: Any, number: int) -> None:
        note, ring = self.note, alarm.ring

        def rings() -> None:
            note(ALARM, number, 0, 0, 0)
            ring()

        alarm.ring = rings
        self._undo.append(lambda: setattr(alarm, "ring", ring))
