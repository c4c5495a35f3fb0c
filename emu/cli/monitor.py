"""The guest's screen and keyboard at the user's terminal."""

from __future__ import annotations

import os
from collections.abc import Callable

from emu.boards.board import Board
from emu.boards.pc import PC
from emu.chips.scancodes import NAMES
from emu.host.display import Display
from emu.host.terminal import say

FRAME = 0.03, 0.1           # seconds of host time between two pictures, of text and of pixels
DUTY = 4                    # drawing takes at most one part of so many of the host's time


class Monitor:
    """Shows the screen of `machine` on `display` and types what is typed there; `end(why)` ends the run."""

    def __init__(self, machine: Board, display: Display, end: Callable[[str], None]) -> None:
        assert isinstance(machine, PC)
        self.machine, self.display, self.end = machine, display, end
        self.next = 0.0
        self.shots = 0

    def poll(self, now: float, typing: bool) -> None:
        """Take the keys, of which only the menu's count while a script types; draw if it is time.  `now` in seconds."""
        chords = self.display.read()
        if typing:
            for chord in chords:
                self.machine.key("-".join(key for key in chord if key in NAMES))
        for letter in self.display.asked:
            if letter == ord("s"):
                self._screenshot()
            elif typing:
                self.machine.key("ctrl-alt-delete")
        if self.display.left:
            self.end("left")
        if now >= self.next and self.display.ready:
            self.draw(now)

    def draw(self, now: float) -> None:
        """Show what the screen shows now."""
        screen, began = self.machine.screen, os.times()
        text = screen.read()
        if text is not None:
            at = text.cursor
            cursor = None if at is None else (at.row, at.column, at.first <= at.last // 2)
            self.display.text(text.strings, text.attributes, text.blinks, cursor)
        else:
            frame = screen.frame()
            self.display.pixels(frame.width, frame.height, frame.rgb, screen.aspect)
        took = sum(os.times()[:2]) - sum(began[:2])
        self.next = now + max(FRAME[text is None], DUTY * took)

    def _screenshot(self) -> None:
        self.shots += 1
        while os.path.exists(f"screenshot-{self.shots}.png"):
            self.shots += 1
        try:
            self.machine.screenshot(f"screenshot-{self.shots}.png")
            say(f"the screen is in screenshot-{self.shots}.png")
        except OSError as error:
            say(f"screenshot-{self.shots}.png cannot be written: {error.strerror or error}")
