"""Typist: the hands at the keyboard, which press one key after the other, no faster than somebody reads them.

A key is held for HELD and the next comes after GAP: 33 a second, a pace that a BIOS with room for 15 keys bears from a
program that looks twice a second.  While the keyboard has something that nobody has taken, the hands wait.

Not modelled: fatigue.
"""

# mypy: disable-error-code="has-type"
from __future__ import annotations

from collections.abc import Callable, Iterable

from emu.device import Device, State, Timer

HELD, GAP = 10_000_000, 20_000_000          # ns
PATIENCE = 5_000_000                        # ns between two looks at a keyboard that is not ready


class Typist(Device):
    """`key(name, down)` moves a key, `ready()` tells whether what was typed before is taken."""

    moves: list[list[str]]

    MOVES = State([], "what is still to be done: a key's name, after + to press it, after - to release it")
    NEXT = Timer("the next move")

    def __init__(self, key: Callable[[str, bool], None], ready: Callable[[], bool]) -> None:
        self.key, self.ready = key, ready

    def type(self, chords: Iterable[Iterable[str]]) -> None:
        """Press each chord's keys in turn, and release them in the reverse order."""
        idle = not self.moves
        for chord in chords:
            keys = list(chord)
            if keys:
                self.moves.append(["+" + key for key in keys])
                self.moves.append(["-" + key for key in reversed(keys)])
        if idle and self.moves:
            self.next.at(self.clock.now)

    def on_NEXT(self) -> None:
        if not self.ready():
            self.next.at(self.clock.now + PATIENCE)
            return
        keys = self.moves[0]
        move = keys.pop(0)
        pressed = move.startswith("+")
        self.key(move[1:], pressed)
        if not keys:
            self.moves.pop(0)
        if self.moves:
            self.next.at(self.clock.now + (0 if keys else HELD if pressed else GAP))
