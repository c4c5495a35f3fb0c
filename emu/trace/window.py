"""Which part of a run a trace keeps: by guest time, by what the console shows, by address, by privilege level.

The recorder hears of everything at any rate, so that no run changes by what is kept; a Gate tells from which position to
which the windows of time and text are open, and Kept, in the writer, goes by the blocks themselves.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

FOREVER = 1 << 62
Numbers = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Window:
    """`ranges` of linear addresses [first, last], `cpl`; `time` in ns of guest time, half-open; `start` and `end`: from the
    first time that the console has shown one, to the first time that it has shown the other after that."""

    ranges: tuple[tuple[int, int], ...] = ()
    cpl: int | None = None
    time: tuple[int, int] | None = None
    start: bytes | None = None
    end: bytes | None = None

    @property
    def by_block(self) -> bool:
        """Whether blocks in between are left out, so that each needs its position told."""
        return bool(self.ranges) or self.cpl is not None

    def told(self) -> dict[str, Any]:
        """For meta.json."""
        told: dict[str, Any] = {key: value for key, value in asdict(self).items() if value not in (None, ())}
        return json.loads(json.dumps(told, default=lambda text: text.decode("utf-8", "replace")))  # type: ignore[no-any-return]


class Gate:
    """The windows of time and text: `tell(position, open)` hears when they open and close; `spans` are [first, last)."""

    def __init__(self, window: Window, tell: Callable[[int, bool], None]) -> None:
        self.window, self.tell = window, tell
        self.shown = window.start is None
        self.ended = False
        self.spans: list[list[int]] = []

    def _turn(self, position: int, open_: bool) -> None:
        if open_ != self.is_open:
            if open_:
                self.spans.append([position, FOREVER])
            else:
                self.spans[-1][1] = position
            self.tell(position, open_)

    @property
    def is_open(self) -> bool:
        """Now."""
        return bool(self.spans) and self.spans[-1][1] == FOREVER

    def look(self, position: int, time: int) -> int:
        """Open and close; the ns until that may have to be done again."""
        first, last = self.window.time or (0, FOREVER)
        self._turn(position, self.shown and not self.ended and first <= time < last)
        return next((edge - time for edge in (first, last) if time < edge), FOREVER)

    def text(self, find: Callable[[bytes, int], int], seen: int, position: int, time: int) -> int:
        """The console has shown more: `find(text, start)` as Console.find; from where to look the next time, after `seen`."""
        while not self.ended and (wanted := self.window.end if self.shown else self.window.start) is not None:
            at = find(wanted, seen)
            if at < 0:
                break
            seen = at + len(wanted)
            if self.shown:
                self.ended = True
            self.shown = True
        self.look(position, time)
        return seen

    def overlaps(self, first: int, last: int) -> bool:
        """Whether any of the positions was inside."""
        return any(a <= last and first <= b for a, b in self.spans)


class Kept:
    """What of blocks and events passes, in the writer: by `spans` of positions and by the blocks' definitions."""

    def __init__(self, ranges: Sequence[Sequence[int]] = (), cpl: int | None = None) -> None:
        self.ranges, self.cpl = ranges, cpl
        self.spans: list[list[int]] = [[0, FOREVER]]
        self.passes = np.ones(1 << 16, bool)            # by number

    @property
    def by_block(self) -> bool:
        return bool(self.ranges) or self.cpl is not None

    def gated(self) -> None:
        """There are windows of time or text, and none is open yet."""
        self.spans = []

    def turn(self, position: int, open_: bool) -> None:
        """A window opens or closes."""
        if open_:
            self.spans.append([position, FOREVER])
        else:
            self.spans[-1][1] = position

    def define(self, number: int, pc: int, size: int, flags: int) -> None:
        """Decide about a block."""
        if number >= len(self.passes):
            self.passes = np.concatenate([self.passes, np.ones(len(self.passes), bool)])
        self.passes[number] = (self.cpl is None or flags & 3 == self.cpl) and (
            not self.ranges or any(pc <= last and first < pc + size for first, last in self.ranges))

    def blocks(self, position: int, numbers: Numbers, single: Numbers) -> list[tuple[int, int, Numbers | None]]:
        """Pieces [first, last) of the row that pass, with a mask of their rows if some do not.

        A block that goes on from one that passes, which changed itself, does, too: it tells where the other was left.
        """
        pieces = []
        for a, b in self.spans:
            first, last = max(a - position, 0), min(b - position, len(numbers))
            if first < last:
                mask = None
                if self.by_block:
                    mask = self.passes[numbers[first:last]]
                    mask[1:] |= mask[:-1] & single[numbers[first + 1:last]]
                pieces.append((first, last, mask))
        return pieces

    def events(self, positions: Numbers) -> Numbers:
        """Which events pass by their positions alone."""
        mask = np.zeros(len(positions), bool)
        for a, b in self.spans:
            mask |= (positions >= a) & (positions <= b)
        return mask

    def inside(self, addresses: Numbers) -> Numbers:
        """Which instructions are in the ranges."""
        mask = np.full(len(addresses), not self.ranges)
        for first, last in self.ranges:
            mask |= (addresses >= np.uint64(first)) & (addresses <= np.uint64(last))
        return mask
