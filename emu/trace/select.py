"""What of a trace is looked at: the windows of recording (window.py), asked of a trace that is there."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import polars as pl

from emu.trace.layout import BadTrace
from emu.trace.reader import Trace
from emu.trace.window import FOREVER, Numbers, Window


class Selection:
    """The blocks and events of `trace` in the positions [first, first + count) that `window` lets pass.

    Raises BadTrace if the console never shows a text of the window, or the trace cannot tell what passes.
    """

    def __init__(self, trace: Trace, window: Window | None = None, first: int = 0, count: int | None = None) -> None:
        self.trace, self.window = trace, window or Window()
        if self.window.by_block and trace.meta.get("level") == "events":
            raise BadTrace(f"{trace.path}: holds events alone, and does not know what code they are of (--range, --cpl)")
        self.first, self.last = first, trace.length if count is None else min(first + count, trace.length)
        for bound in (self._time(), self._text()):
            self.first, self.last = max(self.first, bound[0]), min(self.last, bound[1])

    def _time(self) -> tuple[int, int]:
        if self.window.time is None:
            return 0, FOREVER
        first, last = self.window.time
        positions, times = self.trace.clock
        return tuple(int(np.ceil(np.interp(time, times, positions, left=0, right=FOREVER))) for time in (first, last))  # type: ignore[return-value]

    def _text(self) -> tuple[int, int]:
        """Positions from the block that shows `start`, to the one that shows `end`, it included."""
        if self.window.start is None and self.window.end is None:
            return 0, FOREVER
        console = self.trace.events.filter(pl.col("kind") == "console")
        shown, positions = bytearray(), []
        for position, size, value in console.select("position", "size", "value").iter_rows():
            shown += value.to_bytes(size, "little")
            positions += [position] * size
        first, last, at = 0, FOREVER, 0
        for text in (self.window.start, self.window.end):
            if text is None:
                continue
            found = shown.find(text, at)
            if found < 0:
                raise BadTrace(f"{self.trace.path}: the console does not show {text.decode('utf-8', 'replace')!r}")
            at = found + len(text)
            if text is self.window.start:
                first = positions[at - 1]
            else:
                last = positions[at - 1]
        return first, last

    @functools.cached_property
    def passes(self) -> Numbers:
        """By number: whether a block passes."""
        passes = np.ones(max(self.trace.code, default=-1) + 1, bool)
        for number, block in self.trace.code.items():
            passes[number] = (self.window.cpl is None or block.cpl == self.window.cpl) and (
                not self.window.ranges
                or any(block.pc <= last and first < block.pc + block.size for first, last in self.window.ranges))
        return passes

    def inside(self, address: int) -> bool:
        """Whether an instruction is in the ranges."""
        return not self.window.ranges or any(first <= address <= last for first, last in self.window.ranges)

    def runs(self) -> Iterator[tuple[Numbers, Numbers, Numbers]]:
        """As Trace.runs: (positions, numbers, instructions begun) of what passes."""
        for positions, numbers, lengths in self.trace.runs(self.first, max(self.last - self.first, 0)):
            if not self.window.by_block:
                yield positions, numbers, lengths
            elif (mask := self.passes[numbers]).any():
                yield positions[mask], numbers[mask], lengths[mask]

    @functools.cached_property
    def events(self) -> pl.DataFrame:
        """The events of these blocks, and those before the first one if it is the trace's."""
        return self._beside(self.trace.events)

    @functools.cached_property
    def accesses(self) -> pl.DataFrame:
        """The accesses to memory of these blocks.  Raises BadTrace if the trace has none."""
        if self.trace.meta.get("level") != "memory":
            raise BadTrace(f"{self.trace.path}: no accesses in it: it was not recorded with --trace-level memory")
        accesses = self.trace.rows("accesses")
        return self._beside(accesses) if len(accesses) else accesses

    def _beside(self, events: pl.DataFrame) -> pl.DataFrame:
        first = self.first if self.first == int(self.trace.meta.get("first", 0)) else self.first + 1
        events = events.filter((pl.col("position") >= first) & (pl.col("position") <= self.last))
        if self.window.by_block and len(events) and self.trace.length:
            owners = events["position"].to_numpy().astype(np.int64) - 1
            mask, at = np.zeros(len(events), bool), 0
            for positions, numbers in self.trace.pieces(self.first, self.last - self.first):
                first, at = at, int(np.searchsorted(owners, positions[-1], side="right"))
                rows = np.searchsorted(positions, owners[first:at])
                mask[first:at] = (positions[rows] == owners[first:at]) & self.passes[numbers[rows]]
            events = events.filter(pl.Series(mask))
        return events
