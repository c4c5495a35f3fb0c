"""What the host is busy with, on standard error: one line, rewritten, on a terminal; a line for each step elsewhere."""

from __future__ import annotations

import os
import sys
import time
from typing import TextIO

BAR = 24
_INTERVAL = 0.1  # seconds between two drawings of the same step


def bar(done: float) -> str:
    """A bar of BAR columns, in eighths of one."""
    eighths = round(min(max(done, 0.0), 1.0) * BAR * 8)
    full, part = divmod(eighths, 8)
    return ("█" * full + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[part]).ljust(BAR, "░")


class ProgressLine:
    """Call it with what is done and how much of it (0.0 to 1.0, or None); it clears itself with close(), or `with`.

    A stream that cannot be written to is never an error: progress is a courtesy.
    """

    def __init__(self, stream: TextIO | None = None, prefix: str = "emu: "):
        self.stream = stream if stream is not None else sys.stderr
        self.prefix = prefix
        self.terminal = self.stream is not None and self.stream.isatty()
        self.what = ""
        self.drawn = 0.0

    def __call__(self, what: str, done: float | None = None) -> None:
        new = what != self.what
        self.what = what
        if not self.terminal:
            if new:
                self._write(f"{self.prefix}{what}\n")
            return
        now = time.monotonic()
        if new or now - self.drawn >= _INTERVAL:
            self.drawn = now
            text = self.prefix + ("" if done is None else f"{bar(done)} {done:4.0%}  ") + what
            self._write("\r" + text[: self._width() - 1] + "\x1b[K")  # EL, ECMA-48 8.3.41: erase to the end of the line

    def close(self) -> None:
        if self.terminal and self.what:
            self._write("\r\x1b[K")
        self.what = ""

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self.stream.fileno()).columns or 80
        except (OSError, ValueError):
            return 80

    def _write(self, text: str) -> None:
        try:
            self.stream.write(text)
            self.stream.flush()
        except (OSError, ValueError, AttributeError):
            self.terminal = False
