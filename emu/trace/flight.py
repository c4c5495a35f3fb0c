"""A flight recorder: the last blocks and their events, in memory alone, and no process beside.

The ring is a few segments, used in turn.  Definitions are kept as they come, and thinned out to those of blocks that are
still in the ring when they take too much room; events go with the segment that they came with.
"""

from __future__ import annotations

import mmap
from collections import deque
from typing import Any

import numpy as np

from emu.trace import layout
from emu.trace.window import FOREVER, Gate

SEGMENTS = 8                    # at least; that is how finely old blocks are given up
DEFINITIONS = 64 << 20          # bytes
EVENTS = 1 << 21                # of the last; older ones are given up
Piece = tuple[int, int, int]    # first position, how many numbers, which segment


class Flight:
    """An emu.engine.Sink that keeps the last `count` blocks at least; `room`: bytes that a slice of the machine may need."""

    gate: Gate | None = None
    memory = False
    failure: str | None = None

    def __init__(self, count: int, room: int) -> None:
        self.count = count
        self.length = max(2 * room, -(-count * layout.NUMBER // SEGMENTS) & ~7, 1 << 20)
        spare = -(-count * layout.NUMBER // self.length) + 2
        self._memory = mmap.mmap(-1, self.length * spare, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._view = memoryview(self._memory)
        self._free, self._now = list(range(spare)), 0
        self._pieces: deque[Piece] = deque()
        self._definitions: list[tuple[bytes, int]] = []
        self._bytes, self._limit = 0, DEFINITIONS
        self._alive = 0                 # blocks with smaller numbers can run no more
        self._events: deque[tuple[int, bytes, int]] = deque()       # position of the last one, data, base
        self._events_kept = 0
        self._names: dict[str, int] = {}

    def segment(self) -> memoryview:
        if not self._free:
            self._free.append(self._pieces.popleft()[2])
        self._now = self._free.pop()
        return self._view[self._now * self.length:(self._now + 1) * self.length]

    def blocks(self, position: int, count: int) -> None:
        """See emu.engine.Sink.  A segment that is given back half empty is not lost for longer than its blocks are new."""
        self._pieces.append((position, count, self._now))
        while self._pieces and self._pieces[0][0] + self._pieces[0][1] <= position + count - self.count:
            self._free.append(self._pieces.popleft()[2])
        while self._events and self._events[0][0] < self.first:
            self._events_kept -= len(self._events.popleft()[1])

    def definitions(self, data: bytes, first: int, position: int, anew: bool = False) -> None:
        if anew:
            self._alive = layout.DEFINITION.unpack_from(data, 0)[0]
        self._definitions.append((data, position * layout.NUMBER - first))
        self._bytes += len(data)
        if self._bytes > self._limit:
            self._thin()

    def events(self, data: bytes, first: int, position: int) -> None:
        base = position * layout.NUMBER - first
        last = (layout.EVENT.unpack_from(data, len(data) - layout.EVENT.size)[0] + base) // layout.NUMBER
        self._events.append((last, data, base))
        self._events_kept += len(data)
        while self._events_kept > EVENTS * layout.EVENT.size:
            self._events_kept -= len(self._events.popleft()[1])

    def accesses(self, data: bytes, first: int, position: int) -> None:
        raise NotImplementedError           # they are not asked for

    def name(self, text: str) -> int:
        """The number by which events know a name."""
        return self._names.setdefault(text, len(self._names))

    def look(self, position: int, time: int) -> tuple[bool, int]:
        return False, FOREVER

    @property
    def first(self) -> int:
        """The position of the oldest block that is written."""
        if not self._pieces:
            return 0
        last = self._pieces[-1][0] + self._pieces[-1][1]
        return max(self._pieces[0][0], last - self.count)

    def _numbers(self, piece: Piece) -> np.ndarray[Any, Any]:
        _, count, segment = piece
        return np.frombuffer(self._memory, np.uint32, count, segment * self.length)

    def _thin(self) -> None:
        """Give up the definitions of blocks that can run no more and are not in the ring."""
        used: set[int] = set()
        for piece in self._pieces:
            used.update(np.unique(self._numbers(piece)).tolist())
        self._definitions = [(b"".join(entry for number, entry in entries(data) if number >= self._alive or number in used),
                              base) for data, base in self._definitions]
        self._bytes = sum(len(data) for data, _ in self._definitions)
        self._limit = max(DEFINITIONS, 2 * self._bytes)

    def write(self, sink: Any) -> Any:
        """Give `sink` all that is kept; returns it."""
        first = self.first
        for text in self._names:
            sink.name(text)
        for data, base in self._definitions:
            if data:
                sink.definitions(data, -base, 0)
        for _, data, base in self._events:
            words = np.frombuffer(data, np.uint64).reshape(-1, 8).copy()
            words[:, 0] = words[:, 0].astype(np.int64) + base
            if len(words := words[words[:, 0] >= first * layout.NUMBER]):
                sink.events(words.tobytes(), 0, 0)
        for piece in self._pieces:
            position, numbers = piece[0], self._numbers(piece)
            numbers = numbers[max(first - position, 0):]
            position = max(position, first)
            while len(numbers):
                segment = np.frombuffer(sink.segment(), np.uint32)
                count = min(len(numbers), len(segment))
                segment[:count] = numbers[:count]
                sink.blocks(position, count)
                position, numbers = position + count, numbers[count:]
        return sink

    def close(self) -> None:
        """Nothing is kept any more."""
        self._pieces.clear()
        self._definitions.clear()
        self._events.clear()


def entries(data: bytes) -> Any:
    """(number, bytes) of each definition."""
    at = 0
    while at < len(data):
        head = layout.DEFINITION.unpack_from(data, at)
        end = at + layout.DEFINITION.size + head[7] + -head[7] % 8
        yield head[0], data[at:end]
        at = end
