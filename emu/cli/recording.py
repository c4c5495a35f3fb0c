"""emu boot --trace: from the options to a recording."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from emu.boards.board import Board
from emu.cli.options import UsageError
from emu.host.terminal import say
from emu.trace.layout import TraceError

if TYPE_CHECKING:
    from emu.trace.recording import Recording
    from emu.trace.symbols import Symbols
    from emu.trace.window import Window

GOOD = "until", "script", "left", "exit", "poweroff"        # ends of a run of which a flight recorder need not tell
WINDOWS = "trace_range", "trace_cpl", "trace_time", "trace_from", "trace_to"


def check(options: argparse.Namespace) -> None:
    """Options that mean nothing without others.  Raises UsageError."""
    if options.trace is None:
        for name in (*WINDOWS, "flight"):
            if getattr(options, name) is not None:
                raise UsageError(f"--{name.replace('_', '-')} is of a trace: it needs --trace DIR")
        if options.trace_level != "blocks":
            raise UsageError("--trace-level is of a trace: it needs --trace DIR")
    elif options.flight is not None:
        for name in WINDOWS:
            if getattr(options, name) is not None:
                raise UsageError(f"--flight keeps the last of everything: --{name.replace('_', '-')} cannot be given with it")
        if options.trace_level != "blocks":
            raise UsageError("--flight keeps blocks and events: --trace-level cannot be given with it")


def ranges(wanted: Sequence[tuple[int, int] | str] | None, option: str, symbols: str | None,
           own: Symbols | None = None) -> tuple[tuple[int, int], ...]:
    """Ranges of addresses, and of symbols: each up to the next one; `own`: what a trace knows itself, if there is no file.
    Raises UsageError."""
    found = []
    for one in wanted or ():
        if isinstance(one, str):
            known = own if symbols is None else read_symbols(symbols)
            if known is None:
                raise UsageError(f"{option} {one}: a symbol needs --symbols FILE")
            first = known.address(one)
            if first is None:
                raise UsageError(f"{option} {one}: {symbols or 'the trace'} knows no such symbol")
            one = first, min((other for other in known.addresses if other > first), default=first + (1 << 20)) - 1
        found.append(one)
    return tuple(found)


def read_symbols(path: str) -> Symbols:
    """The symbols of a file.  Raises UsageError."""
    from emu.trace import symbols

    try:
        return symbols.read(path)
    except symbols.BadSymbols as error:
        raise UsageError(f"--symbols: {error}") from None


def encoded(text: str | None) -> bytes | None:
    """What the console must show."""
    return None if text is None else text.encode("utf-8", "surrogateescape")


def window(options: argparse.Namespace) -> Window:
    """What is kept."""
    from emu.trace.window import Window

    return Window(ranges(options.trace_range, "--trace-range", options.symbols), options.trace_cpl, options.trace_time,
                  encoded(options.trace_from), encoded(options.trace_to))


class Recorded:
    """What comes of a recording: `ended(stop)` says how the run ended; `failed` that not all is written."""

    def __init__(self, recording: Recording | None) -> None:
        self.recording = recording
        self.stop = "error"
        self.failed = self._told = False
        self.explanation: dict[str, Any] | None = None

    def ended(self, stop: str, explanation: dict[str, Any] | None = None) -> None:
        self.stop, self.explanation = stop, explanation

    def poll(self) -> None:
        """Between slices: hand over, and say at once when the writer has failed."""
        if self.recording is not None:
            self.recording.poll()
            if self.recording.failure is not None and not self._told:
                self._told = True
                say(f"warning: --trace {self.recording.path}: {self.recording.failure}; the guest goes on, unrecorded")


@contextlib.contextmanager
def recording(options: argparse.Namespace, machine: Board) -> Iterator[Recorded]:
    """Record what the machine does inside, if that is asked for."""
    if options.trace is None:
        yield Recorded(None)
        return
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")      # numpy's BLAS, unused here, has threads that spin when they start
    from emu.trace.recording import Recording
    made = Recording(machine, options.trace, options.trace_level, window(options), options.flight)
    recorded = Recorded(made)
    try:
        yield recorded
    finally:
        try:
            write = options.flight is None or recorded.stop not in GOOD
            made.stop(write, recorded.explanation)
            gate = made.sink.gate
            if gate is not None and not gate.spans:
                say(f"warning: --trace {options.trace}: nothing was recorded: its window never opened")
            if write and options.flight is not None:
                say(f"the last {options.flight} blocks are in {options.trace}")
        except TraceError as error:
            recorded.failed = True
            say(f"--trace: {error}; what was recorded until then can be read")
