"""A recording of a machine: `with Recording(machine, "DIR"):` around its runs, or `start` and `stop`."""

from __future__ import annotations

import dataclasses
import os
from typing import Any, Self

from emu.boards.board import Board
from emu.machine import SLICE
from emu.trace import layout
from emu.trace.observe import Observer
from emu.trace.sink import Sink


class Recording:
    """Blocks and events of `machine`, into the directory `path`; begins at once.  Raises TraceError, EngineError."""

    def __init__(self, machine: Board, path: str | os.PathLike[str], level: str = "blocks") -> None:
        self.machine = machine
        room = SLICE // machine.costs.block * layout.NUMBER
        self.sink = Sink(path, {"level": level, "machine": type(machine).__name__.lower(), "cpu": machine.cpu,
                                "memory": machine.size, "costs": dataclasses.asdict(machine.costs), "time": machine.now,
                                "counters": machine.engine.counters()}, room)
        machine.engine.record(self.sink)
        self.observer = Observer(machine, machine.engine.note, self.sink.name)
        self.observer.attach()

    def stop(self) -> None:
        """Record no more, and wait until all is written.  Raises TraceError."""
        self.observer.detach()
        self.machine.engine.record(None)
        self.sink.close({"end": self.machine.now, "after": self.machine.engine.counters()})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.stop()
