"""WebAssembly in wasmtime, in a process of its own: `python -m emu.cost.wasmguest`; lines in and out as in guest.py."""

from __future__ import annotations

import importlib
import sys
import time
from typing import Any

from emu.cost import webassembly


def run(number: int, rounds: int) -> None:
    start = time.process_time_ns(), time.monotonic_ns()
    wasmtime: Any = importlib.import_module("wasmtime")
    engine = wasmtime.Engine()
    module = wasmtime.Module(engine, webassembly.module())
    store = wasmtime.Store(engine)
    exports = wasmtime.Instance(store, module, []).exports(store)
    exports["prepare"](store)
    begin = time.process_time_ns(), time.monotonic_ns()
    result = exports["dispatch"](store, number, rounds)
    end = time.process_time_ns(), time.monotonic_ns()
    numbers = (result, end[0] - begin[0], end[1] - begin[1], begin[0] - start[0], begin[1] - start[1])
    sys.stdout.write("\1\2" + " ".join(map(str, numbers)) + "\3")
    sys.stdout.flush()


def main() -> None:
    for line in sys.stdin:
        number, rounds = (int(text) for text in line.split())
        run(number, rounds)


if __name__ == "__main__":
    try:
        main()
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}")
