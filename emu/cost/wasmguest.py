"""WebAssembly in wasmtime, in a process of its own: `python -m emu.cost.wasmguest DIRECTORY`; lines as in guest.py.

What stands for an interrupt: while a module of its own, made with looks at wasmtime's epoch in its loops, does its work, a
thread of the host lets a new epoch begin each ms, and wasmtime then calls the host.
"""

from __future__ import annotations

import ctypes
import importlib
import sys
import threading
import time
from typing import Any

from emu.cost import webassembly
from emu.cost.workloads import WORKLOADS

PERIOD = 0.001                  # s


class Timer:
    """The import "tick": 1 starts it, 0 stops it; the answer is how often it has interrupted."""

    def __init__(self, engine: Any, store: Any) -> None:
        bindings: Any = importlib.import_module("wasmtime._bindings")
        self.engine = engine
        self.ticks = 0
        self.stop = threading.Event()
        self.thread: threading.Thread | None = None

        def ticked(context: Any, data: Any, further: Any, kind: Any) -> int:
            self.ticks += 1
            further[0] = 1
            return 0

        function = bindings.wasmtime_store_epoch_deadline_callback
        kinds = bindings._wasmtime_store_epoch_deadline_callback.argtypes
        self.callback, self.none = kinds[1](ticked), kinds[3](0)
        function(store.ptr(), self.callback, None, self.none)

    def __call__(self, on: int) -> int:
        if on:
            self.thread = threading.Thread(target=self._run, daemon=True)
            self.thread.start()
        elif self.thread:
            self.stop.set()
            self.thread.join()
        return self.ticks

    def _run(self) -> None:
        while not self.stop.wait(PERIOD):
            self.engine.increment_epoch()


def run(number: int, rounds: int, directory: str) -> None:
    start = time.process_time_ns(), time.monotonic_ns()
    wasmtime: Any = importlib.import_module("wasmtime")
    config = wasmtime.Config()
    interrupted = number == WORKLOADS["irq"].number
    config.epoch_interruption = interrupted
    engine = wasmtime.Engine(config)
    module = wasmtime.Module(engine, webassembly.module())
    linker, store, wasi = wasmtime.Linker(engine), wasmtime.Store(engine), wasmtime.WasiConfig()
    wasi.preopen_dir(directory, ".")
    store.set_wasi(wasi)
    linker.define_wasi()
    i32 = wasmtime.ValType.i32()
    tick: Any = lambda on: 0                                        # noqa: E731
    if interrupted:
        tick = Timer(engine, store)
        store.set_epoch_deadline(1)
    linker.define_func("host", "tick", wasmtime.FuncType([i32], [i32]), tick)
    exports = linker.instantiate(store, module).exports(store)
    exports["prepare"](store)
    if number == WORKLOADS["memory"].number:                        # its pages are there, as in program.asm
        ctypes.memset(ctypes.addressof(exports["memory"].data_ptr(store).contents) + webassembly.PLACES["words"], 0, 64 << 20)
    begin = time.process_time_ns(), time.monotonic_ns()
    result = exports["dispatch"](store, number, rounds)
    end = time.process_time_ns(), time.monotonic_ns()
    numbers = (result, end[0] - begin[0], end[1] - begin[1], begin[0] - start[0], begin[1] - start[1])
    sys.stdout.write("\1\2" + " ".join(map(str, numbers)) + "\3")
    sys.stdout.flush()


def main() -> None:
    for line in sys.stdin:
        number, rounds = (int(text) for text in line.split()[:2])
        run(number, rounds, sys.argv[1])


if __name__ == "__main__":
    try:
        main()
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}")
