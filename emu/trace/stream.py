"""Rows beside the blocks, events and accesses, on their way: some wait for the blocks that they belong to."""

from __future__ import annotations

import numpy as np

from emu.trace import layout
from emu.trace.window import Kept, Numbers


class Stream:
    """Rows of `width` words, the first of which is the position: as many blocks had begun."""

    def __init__(self, width: int) -> None:
        self.width = width
        self._waiting: list[Numbers] = []
        self._passed: list[Numbers] = []
        self.rows = 0                   # that have passed

    def _pass(self, words: Numbers) -> None:
        self._passed.append(words)
        self.rows += len(words)

    def add(self, data: bytes, base: int, waits: bool) -> None:
        """Rows with raw positions from `base` on."""
        words = np.frombuffer(data, dtype=np.uint64).reshape(-1, self.width).copy()
        words[:, 0] = (words[:, 0].astype(np.int64) + base) // layout.NUMBER
        if waits:
            self._waiting.append(words)
        else:
            self._pass(words)

    @property
    def waits(self) -> bool:
        """Whether rows wait."""
        return bool(self._waiting)

    def ready(self, position: int, numbers: Numbers, kept: Kept) -> Numbers:
        """The rows of a row of blocks; those whose block passes go their way."""
        words = np.concatenate(self._waiting) if self._waiting else np.empty((0, self.width), np.uint64)
        until = int(np.searchsorted(words[:, 0], position + len(numbers), side="right"))
        ready = words[:until]
        self._waiting = [words[until:]] if until < len(words) else []
        passed = ready
        if kept.by_block and len(ready):
            places = ready[:, 0].astype(np.int64) - 1 - position
            inside = (places >= 0) & (places < len(numbers))
            passed = ready[inside][kept.passes[numbers[places[inside]]]]
        if len(passed):
            self._pass(passed)
        return ready

    def take(self, kept: Kept | None) -> Numbers | None:
        """What may be written now, as far as it is in the windows of `kept`."""
        if not self._passed:
            return None
        words = np.concatenate(self._passed)
        self._passed.clear()
        self.rows = 0
        if kept is not None:
            words = words[kept.events(words[:, 0])]
        return words if len(words) else None
