"""What Python sees of a machine while it runs: accesses to registers by their names, pins, alarms, resets, its console, its
disks, and what mode its screen is in.

An observer adds to the machine's wires and leaves everything as it was; it is attached and detached between runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from emu.boards.board import Board
from emu.device import Out, Timer
from emu.trace.medium import Watched, telling
from emu.trace.screen import mode

ACCESS = {("port", "r"): 6, ("port", "w"): 7, ("memory", "r"): 8, ("memory", "w"): 9}     # kinds, see layout.KINDS
PIN, ALARM, RESET, CONSOLE, SCREEN = 10, 11, 12, 13, 17
DISK = {"read": 14, "write": 15, "flush": 16}
WORD = 8                        # bytes of the console in one event
SECTOR = 512
SCREENS = "vga.", "dispi."      # whose registers the mode of the screen depends on

Note = Callable[[int, int, int, int, int], None]        # (kind, number of the name, size, value, address)


class Observer:
    """Tells `note` of what happens on `machine`; `name(text)` gives a name its number; `shown()` hears of more console."""

    def __init__(self, machine: Board, note: Note, name: Callable[[str], int],
                 shown: Callable[[], None] = lambda: None) -> None:
        self.machine, self._note, self.name, self.shown = machine, note, name, shown
        self._undo: list[Callable[[], None]] = []
        self._touched = False           # registers of the screen: told when the guest does something else
        self._mode = ""

    def note(self, kind: int, name: int, size: int, value: int, address: int) -> None:
        """Tell, and before that of a mode of the screen that has been set."""
        if self._touched:
            self._look()
        self._note(kind, name, size, value, address)

    def attach(self) -> None:
        machine = self.machine
        for space, bus in (("port", machine.ports), ("memory", machine.mmio)):
            bus.observe(self._access(space), empty=True)
            self._undo.append(lambda bus=bus: bus.observe(None))       # type: ignore[misc]
        for chip in machine.chips.values():
            for out in chip.parts(Out):
                if (pin := getattr(chip, out.key)).sinks:       # a chip may do less for one that leads nowhere: the 8254 does
                    self._pin(pin, self.name(f"{chip.name}.{out.name}"))
            for timer in chip.parts(Timer):
                self._alarm(getattr(chip, timer.key), self.name(f"{chip.name}.{timer.name}"))
            for holder in (chip, *getattr(chip, "units", ())):
                if getattr(holder, "medium", None) is not None:
                    self._disk(holder, self.name(chip.name))
        number, note = self.name("machine"), self.note
        self._replace(machine, "on_reset", lambda before: lambda: (note(RESET, number, 0, machine.resets, 0), before()))
        self._replace(machine.console, "write", self._console)
        self._mode = mode(machine)

    def detach(self) -> None:
        if self._touched:
            self._look()
        while self._undo:
            self._undo.pop()()

    def _replace(self, where: Any, attribute: str, make: Callable[[Any], Any]) -> None:
        own = not hasattr(where, "__dict__") or attribute in vars(where)
        before = getattr(where, attribute)
        setattr(where, attribute, make(before))
        self._undo.append(lambda: setattr(where, attribute, before) if own else delattr(where, attribute))

    def _access(self, space: str) -> Callable[[str, int, int, str], Callable[[int], None]]:
        note, name = self.note, self.name

        def observer(access: str, address: int, size: int, register: str) -> Callable[[int], None]:
            kind, number = ACCESS[space, access], name(register)
            if access == "w" and space == "port" and register.startswith(SCREENS):
                def screen(value: int) -> None:
                    self._note(kind, number, size, value, address)
                    self._touched = True

                return screen
            return lambda value: note(kind, number, size, value, address)

        return observer

    def _pin(self, pin: Any, number: int) -> None:
        note = self.note

        def changed(level: int) -> None:
            note(PIN, number, 0, level, 0)

        pin.sinks.insert(0, changed)
        self._undo.append(lambda: pin.sinks.remove(changed))

    def _alarm(self, alarm: Any, number: int) -> None:
        note = self.note
        self._replace(alarm, "ring", lambda before: lambda: (note(ALARM, number, 0, 0, 0), before()))

    def _console(self, before: Callable[[bytes], None]) -> Callable[[bytes], None]:
        number, note = self.name("console"), self.note

        def write(data: bytes) -> None:
            for at in range(0, len(data), WORD):
                word = data[at:at + WORD]
                note(CONSOLE, number, len(word), int.from_bytes(word, "little"), 0)
            before(data)
            self.shown()

        return write

    def _disk(self, holder: Any, number: int) -> None:
        note = self.note

        def tell(what: str, offset: int, length: int) -> None:
            note(DISK[what], number, 0, length, offset // SECTOR)

        self._replace(holder, "medium", lambda medium: Watched(medium, telling(tell)))

    def _look(self) -> None:
        """At the screen's mode."""
        self._touched = False
        now = mode(self.machine)
        if now != self._mode:
            self._mode = now
            self._note(SCREEN, self.name(now), 0, 0, 0)
