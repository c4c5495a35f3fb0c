"""A medium in a drive that somebody watches: for the trace's events, and for the ledger."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Wrap = Callable[[str, Callable[..., Any]], Callable[..., Any]]


class Watched:
    """`medium` (emu.chips.media.Medium), whose accesses go by way of `wrap`: given "read", "write" or "flush" and the
    medium's own function, it returns what is called instead of it."""

    def __init__(self, medium: Any, wrap: Wrap) -> None:
        self._medium = medium
        self.read, self.write = wrap("read", medium.read), wrap("write", medium.write)
        self.flush = wrap("flush", medium.flush)
        if hasattr(medium, "read_into"):            # see emu.chips.media.read_into
            self.read_into = wrap("read", medium.read_into)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._medium, name)


def telling(tell: Callable[[str, int, int], None]) -> Wrap:
    """Before each access `tell(what, offset, length)`, in bytes."""

    def wrap(what: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def told(offset: int, data: Any) -> Any:
            tell(what, offset, data if isinstance(data, int) else len(data))
            return function(offset, data)

        def flushed() -> Any:
            tell(what, 0, 0)
            return function()

        return flushed if what == "flush" else told

    return wrap
