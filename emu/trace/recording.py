"""A recording of a machine: `with Recording(machine, "DIR"):` around its runs, or `start` and `stop`."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Mapping
from typing import Any, Self

from emu import x86
from emu.boards.board import Board
from emu.debug.state import now
from emu.machine import SLICE
from emu.trace import layout
from emu.trace.flight import Flight
from emu.trace.layout import TraceError
from emu.trace.observe import Observer
from emu.trace.sink import Sink, prepare
from emu.trace.symbols import part_of_kallsyms
from emu.trace.window import Window

PAGE_FAULT = 14                 # the vector


class Recording:
    """Blocks and events of `machine`, into the directory `path`; begins at once.

    `level` is one of layout.LEVELS.  With `flight`, only the last so many blocks are kept, with their events, and written at
    the end if `stop` is told so.  Raises TraceError, EngineError.
    """

    def __init__(self, machine: Board, path: str | os.PathLike[str], level: str = "blocks", window: Window | None = None,
                 flight: int | None = None) -> None:
        if level not in layout.LEVELS:
            raise TraceError(f"no level of traces named {level}; there are {', '.join(layout.LEVELS)}")
        self.machine, self.path, self.window = machine, path, window or Window()
        if level == "events" and self.window.by_block:
            raise TraceError(f"{path}: a trace of events alone does not know what code they are of: it can have no range, "
                             "no privilege level")
        room = SLICE // machine.costs.block * layout.NUMBER
        self._meta: dict[str, Any] = {
            "level": level, "machine": type(machine).__name__.lower(), "cpu": machine.cpu, "memory": machine.size,
            "costs": dataclasses.asdict(machine.costs), "time": machine.now, "counters": machine.engine.counters()}
        with contextlib.ExitStack() as undo:
            self._mine = prepare(path)
            undo.callback(os.close, self._mine)
            self.sink: Sink | Flight = Flight(flight, room) if flight else Sink(path, self._meta, self.window)
            undo.callback(self.sink.close)
            machine.engine.record(self.sink)
            undo.pop_all()
        self._seen = machine.console.end
        self.observer = Observer(machine, machine.engine.note, self.sink.name, self._shown)
        self.observer.attach()

    def _shown(self) -> None:
        """The console has shown more."""
        gate, console = self.sink.gate, self.machine.console
        if gate is not None and not gate.ended:
            longest = max(len(text) for text in (self.window.start, self.window.end, b" ") if text is not None)
            self._seen = max(gate.text(console.find, self._seen, self.machine.engine.recorded(), self.machine.now),
                             console.end - longest + 1)

    def poll(self) -> None:
        """While the machine waits: what was recorded until now is handed to the writer."""
        if self.sink.look(self.machine.engine.recorded(), self.machine.now)[0]:
            self.machine.engine.recorded(hand_over=True)

    @property
    def failure(self) -> str | None:
        """Why nothing is written any more."""
        return self.sink.failure

    def stop(self, write: bool = True, explanation: Mapping[str, Any] | None = None) -> None:
        """Record no more, and wait until all is written; what a flight recorder keeps only if `write`.  Raises TraceError.

        `explanation`: the facts of the guest's death, for `emu explain`.
        """
        self.observer.detach()
        self.machine.engine.record(None)
        end: dict[str, Any] = {"end": self.machine.now, "after": self.machine.engine.counters()}
        if explanation is not None:
            end["explanation"] = explanation
        try:
            if isinstance(self.sink, Sink):
                self._close(self.sink, end)
                return
            with contextlib.closing(self.sink):
                if write:
                    sink = Sink(self.path, {**self._meta, "first": self.sink.first}, self.window)
                    self.sink.write(sink)
                    self._close(sink, end)
                else:
                    with contextlib.suppress(OSError):
                        os.rmdir(self.path)
        finally:
            os.close(self._mine)

    def _close(self, sink: Sink, end: Mapping[str, Any]) -> None:
        self._names(sink)
        sink.close(end)

    def _names(self, sink: Sink) -> None:
        """Leave the names of functions that a Linux keeps in its own memory."""
        if sink.failure is None and (part := part_of_kallsyms(self.machine.ram, _kernel(self.machine))) is not None:
            sink.symbols(part)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.stop()


def _kernel(machine: Board) -> int:
    """The physical address of the handler of page faults, if there is one: a kernel's names lie behind its text."""
    state = now(machine)
    if not state.protected:
        return 0
    size = 16 if state.long else 8
    raw = state.peek(state.idtr[0] + PAGE_FAULT * size, size)
    gate = x86.decode_gate(raw) if len(raw) == size else None
    return (gate and state.walk(gate.offset).physical) or 0
