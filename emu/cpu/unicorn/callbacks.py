"""The ways from the library into Python: ports, device memory, interrupt acknowledge, the end of a slice.

What a function of the machine raises finds no way through C: `fail` takes it, and `run` raises it.  With the techniques ports
and mmio most of these are called by fast/calls.py instead, or not at all; before each one that is, Python has its turn
(fast/answers.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from emu.cpu.unicorn import library
from emu.cpu.unicorn import mailbox as m
from emu.cpu.unicorn.code import Code
from emu.cpu.unicorn.fast import calls, mmio, ports, ticks
from emu.cpu.unicorn.fast.answers import Answers
from emu.engine import Space, Ticker

Fail = Callable[[BaseException], int]


def nothing() -> None:
    """No answers to take back."""


class Callbacks:
    """Those of one machine; `on` are its techniques."""

    def __init__(self, box: m.Mailbox, budget: memoryview, on: frozenset[str], fail: Fail) -> None:
        self._box, self._budget, self._on, self._fail = box, budget, on, fail
        self._keep: list[Any] = []
        self._answers = Answers(box, fail) if "ports" in on else None
        self.turn: Callable[[], None] = self._answers.turn if self._answers else nothing
        if self._answers:
            box.words[m.RAISED >> 3] = self._address(library.ASK(calls.raised(box, fail)))

    def _address(self, callback: Any) -> int:
        self._keep.append(callback)
        return library.address(callback)

    def ask(self, function: Callable[[], int], code: Code) -> int:
        """The address of a function without arguments, which may change anything."""
        if self._answers is None:
            return self._asked(function)
        self._keep.append(function)
        return code.place(calls.ask(self._box.address, function, self._asked(function)))

    def expired(self, function: Callable[[], bool], ticker: Ticker | None, env: int, code: Code) -> int:
        """The address of the function for a spent budget; with the technique, of code that calls it for what is no tick."""
        if ticker is None or self._answers is None or "ticks" not in self._on:
            return self.ask(function, code)
        self._answers.ticked = ticker.ticked
        called = self.ask(ticks.asked(self._box, function, ticker), code)
        return code.place(ticks.expired(self._box.address, env, ticker.hz, self._box.costs.block - 1, called))

    def _asked(self, function: Callable[[], int]) -> int:
        turn, fail = self.turn, self._fail

        def asked() -> int:
            try:
                turn()
                return function()
            except BaseException as error:
                return fail(error)

        return self._address(library.ASK(asked))

    def _functions(self, read: Any, write: Any) -> tuple[Callable[[int], int], Callable[[int, int], None]]:
        """Functions of (address << 4 | size[, value]) that look in the tables `read` and `write`."""
        fail = self._fail

        def take(key: int) -> int:
            try:
                return read[key]()              # type: ignore[no-any-return]
            except BaseException as error:
                return fail(error)

        def put(key: int, value: int) -> None:
            try:
                write[key](value)
            except BaseException as error:
                fail(error)

        return take, put

    def _lead(self, field: int, function: Callable[..., Any], kind: Any) -> None:
        """Let the thunks call `function`, by the field itself, and after a turn by the field that is late."""
        assert self._answers
        self._box.words[field >> 3] = self._address(kind(function))
        self._box.words[field + m.LATE >> 3] = self._address(kind(self._answers.before(function)))

    def ports(self, space: Space) -> tuple[int, int]:
        """The addresses for the hooks of IN and OUT; with the technique, its thunks are led to Python as well."""
        take, put = self._functions(space.read, space.write)
        if self._answers:
            tables = self._answers.serve(space, (m.PORT_READS, m.PORT_WRITES), ports.place)
            take, put = self._functions(*tables)
            self._lead(m.PORT_IN, take, library.IN)
            self._lead(m.PORT_OUT, put, library.OUT)
        return self._address(library.IN(take)), self._address(library.OUT(put))

    def device_memory(self, space: Space, code: Code) -> tuple[int, int]:
        """The addresses of what reads and writes device memory; both get the region's base as their data."""
        if self._answers and "mmio" in self._on:
            tables = self._answers.serve(space, (m.MMIO_READS, m.MMIO_WRITES), mmio.place)
            take, put = self._functions(*tables)
            self._lead(m.MMIO_IN, take, library.KEY_IN)
            self._lead(m.MMIO_OUT, put, library.KEY_OUT)
            return code.place(mmio.read()), code.place(mmio.write())
        take, put = self._functions(space.read, space.write)
        words, budget, cost, turn = self._box.words, self._budget, self._box.costs.mmio, self.turn

        def read(uc: int, offset: int, size: int, base: int | None) -> int:
            turn()
            words[m.MMIOS >> 3] += 1
            budget[0] -= cost
            return int(take((base or 0) + offset << 4 | size))

        def write(uc: int, offset: int, size: int, value: int, base: int | None) -> None:
            turn()
            words[m.MMIOS >> 3] += 1
            budget[0] -= cost
            put((base or 0) + offset << 4 | size, value)

        return self._address(library.MMIO_READ(read)), self._address(library.MMIO_WRITE(write))

    def close(self) -> None:
        """After the engine itself is closed."""
        self._keep.clear()
        if self._answers:
            self._answers.close()
