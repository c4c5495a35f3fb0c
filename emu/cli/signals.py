"""Signals that end the program: they set a flag, which a running machine reads between its slices, and end the slice."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """`with Signals() as signals`: `caught` is the first signal that came.

    While `waiting` is set, and no machine runs, a signal also raises KeyboardInterrupt: fetching, for one, ends then.
    """

    def __init__(self) -> None:
        self.caught: signal.Signals | None = None
        self.waiting = True
        self.wake: Callable[[], None] = lambda: None    # what a handler does to get a running machine's attention
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Signals:
        for number in ENDING:
            before = signal.getsignal(number)
            if number is signal.SIGHUP and before is signal.SIG_IGN:        # nohup; a shell's & ignores SIGINT, too,
                continue                                                    # but whoever sends one means it
            self._before[number] = before
            signal.signal(number, self._catch)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _catch(self, number: int, frame: FrameType | None) -> None:
        self.caught = self.caught or signal.Signals(number)
        self.wake()
        if self.waiting:
            raise KeyboardInterrupt

    @property
    def status(self) -> int:
        """As a shell counts a program that a signal ended."""
        return 128 + (self.caught or signal.SIGINT)
