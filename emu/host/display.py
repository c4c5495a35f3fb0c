"""A guest's screen in the user's terminal: text with its colours, pixels as half blocks, and the keys that are typed.

Sources: ECMA-48 (cursor position, SGR); XTerm Control Sequences (alternate screen, autowrap, cursor shapes, 24-bit colour).

Only what has changed is written, and nothing while the terminal has not taken what was written before.  Of a screen that is
larger than the terminal, the part around the cursor shows.

Not done: the mouse, and the guest's own colours in text, which are the terminal's sixteen.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from .halfblocks import blocks
from .keys import Chord, Decoder
from .serial import Stdio
from .terminal import SCREEN_HELP, Keys, hold

ENTER = b"\x1b[?1049h\x1b[?7l\x1b[?25l\x1b[0m\x1b[2J"     # alternate screen, no autowrap, no cursor
LEAVE = b"\x1b[0m\x1b[0 q\x1b[?7h\x1b[?25h\x1b[?1049l"
ALONE = 0.05                # seconds after which an escape character was a key
ORDER = (0, 4, 2, 6, 1, 5, 3, 7)        # the CGA's colours as SGR counts them
HELP = "\x1b[0;7m"

Cell = tuple[str, str]      # SGR sequence, character
Cursor = tuple[int, int, bool]          # row, column, whether it is a block


def sgr(attribute: int, blinks: bool) -> str:
    """The colours of a VGA attribute."""
    fore, back = attribute & 15, attribute >> 4 & (7 if blinks else 15)
    return (f"\x1b[0;{'5;' if blinks and attribute & 0x80 else ''}{ORDER[fore & 7] + (90 if fore & 8 else 30)};"
            f"{ORDER[back & 7] + (100 if back & 8 else 40)}m")


SGR = {blinks: [sgr(attribute, blinks) for attribute in range(256)] for blinks in (False, True)}


class Display:
    """The terminal at `source` and `sink`, until close().  `left`, and `asked` (letters of the menu), are the Ctrl-A keys."""

    def __init__(self, source: int = 0, sink: int = 1) -> None:
        self.line = Stdio(source, sink)
        self.line.keys = self.keys = Keys(b"ds")
        self.decoder = Decoder()
        self.typed = 0.0
        self.help = False
        self.size = (0, 0)
        self.drawn: list[list[Cell]] = []
        self.shown: Cursor | None = None
        self.pen = ""
        hold(True)
        self.line.write(ENTER)

    def close(self) -> None:
        """Give the terminal back as it was; idempotent."""
        if self.line.sink is not None:
            self.line.write(LEAVE)
            self.line.mid_line = False
        self.line.close()
        hold(False)

    # -- keys

    @property
    def interactive(self) -> bool:
        """Whether somebody may still type."""
        return self.line.interactive

    @property
    def left(self) -> bool:
        """Whether the user asked to leave (Ctrl-A x)."""
        return self.keys.left

    @property
    def asked(self) -> bytes:
        """The letters of the menu that were pressed since the last look."""
        asked = bytes(self.keys.asked)
        self.keys.asked.clear()
        return asked

    def read(self) -> list[Chord]:
        """The keys that were typed.  Never blocks, never raises."""
        data = self.line.take()
        now = time.monotonic()
        if data:
            self.typed, self.help = now, False
        if self.keys.help:
            self.keys.help, self.help = False, True
        if data:
            return self.decoder.take(data)
        return self.decoder.flush() if self.decoder.pending and now - self.typed > ALONE else []

    def wait(self, seconds: float) -> None:
        """Sleep up to so many seconds, or until something is typed."""
        self.line.wait(min(seconds, ALONE) if self.decoder.pending else seconds)

    # -- drawing

    @property
    def ready(self) -> bool:
        """Whether the terminal has taken what was drawn before."""
        self.line.wait(0)
        return self.line.sink is not None and not self.line.pending

    def text(self, rows: Sequence[str], attributes: Sequence[bytes], blinks: bool, cursor: Cursor | None) -> None:
        """Show characters with VGA attributes."""
        table = SGR[blinks]
        wide, high = self._measure()
        top = min(max(cursor[0] - high + 1, 0), max(len(rows) - high, 0)) if cursor else 0
        left = min(max(cursor[1] - wide + 1, 0), max(len(rows[0]) - wide, 0)) if cursor and rows else 0
        grid = [[(table[attribute], char) for char, attribute in zip(row[left:left + wide], colours[left:left + wide])]
                for row, colours in zip(rows[top:top + high], attributes[top:top + high])]
        where = (cursor[0] - top, cursor[1] - left, cursor[2]) if cursor else None
        self._draw(grid, where if where and 0 <= where[0] < high and 0 <= where[1] < wide else None)

    def pixels(self, width: int, height: int, rgb: bytes, aspect: float) -> None:
        """Show pixels; `aspect` is the screen's width by its height."""
        wide, high = self._measure()
        self._draw(blocks(width, height, rgb, aspect, wide, high), None)

    def _measure(self) -> tuple[int, int]:
        """Columns and rows; if they are others than before, all is drawn anew."""
        try:
            size = tuple(os.get_terminal_size(self.line.sink if self.line.sink is not None else 1))
        except OSError:
            size = 80, 24
        wide, high = max(size[0], 1), max(size[1], 1)
        if (wide, high) != self.size:
            self.size, self.drawn, self.pen = (wide, high), [], ""
            self.line.write(b"\x1b[0m\x1b[2J")
        return wide, high

    def _draw(self, grid: list[list[Cell]], cursor: Cursor | None) -> None:
        wide, high = self.size
        if self.help:
            for row, text in zip(range(high), SCREEN_HELP):
                while len(grid) <= row:
                    grid.append([])
                grid[row] = [(HELP, char) for char in f" {text} "[:wide]] + grid[row][len(text) + 2:]
        out: list[str] = []
        blank = ("\x1b[0m", " ")
        for y in range(max(len(grid), len(self.drawn))):
            new, old = grid[y] if y < len(grid) else [], self.drawn[y] if y < len(self.drawn) else []
            if new == old:
                continue
            at = -1
            for x in range(max(len(new), len(old))):
                cell = new[x] if x < len(new) else blank
                if cell == (old[x] if x < len(old) else blank):
                    continue
                if at != x:
                    out.append(f"\x1b[{y + 1};{x + 1}H")
                if cell[0] != self.pen:
                    self.pen = cell[0]
                    out.append(self.pen)
                out.append(cell[1])
                at = x + 1
        self.drawn = grid
        if out and self.shown:
            out.insert(0, "\x1b[?25l")
        if cursor and (out or cursor != self.shown):
            out.append(f"\x1b[{1 if cursor[2] else 3} q\x1b[{cursor[0] + 1};{cursor[1] + 1}H\x1b[?25h")
        elif self.shown and not cursor and not out:
            out.append("\x1b[?25l")
        self.shown = cursor
        if out:
            self.line.write("".join(out).encode())
