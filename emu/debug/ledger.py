"""The ledger of exits: what each way out of the guest's code into the machine has cost, in host time.

    with Ledger(machine) as ledger:
        machine.run()
    print(told(ledger.facts(symbol)))

Ways: an access to a register, by port or in memory, that Python serves; bytes that the engine had collected, or a block that
it had moved, told to the chip later; an interrupt acknowledge cycle; an alarm of a chip; an access to a medium; HLT.  Times
are exclusive: a disk command's time is its own, not that of the write that started it.  Measuring takes some 0.3 us for each
exit, part of which shows in its time.  The host's clock is read only here, and nothing of the guest depends on it.

Not measured: the calls of the host's console and limits between slices, which are in `other`; what the engine does natively.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self

from emu.boards.board import Board
from emu.chips.i8259 import I8259
from emu.debug.explain import Name, nameless
from emu.device import Native, Timer
from emu.trace.medium import Watched, Wrap

PLACES = 1 << 14                # guest addresses that are told apart; what comes from others is counted together
OTHERS = -1
TOP = 12                        # rows of each table that is printed
SPACES = {"port_reads": ("port", "r"), "port_writes": ("port", "w")}
VERBS = {"r": "read", "w": "write"}

Row = list[int]                 # how often, ns, accesses that the engine took by itself


class Ledger:
    """Measures `machine` from here on; `close` leaves it as it was.  Between runs."""

    def __init__(self, machine: Board) -> None:
        self.machine = machine
        self.rows: dict[tuple[str, str], Row] = {}          # (way, name)
        self.places: dict[int, Row] = {}                    # linear address of the guest's code
        self.inside = 0                                     # ns of what was called inside the present call
        self.engine = [0, 0]                                # runs, ns with all that is called inside
        self._undo: list[Callable[[], None]] = []
        self._began, self._counters = time.perf_counter_ns(), machine.engine.counters()
        registers = machine.registers
        self._place: Callable[[], int] = lambda: registers.cs.base + registers.rip
        for space, bus in (("port", machine.ports), ("memory", machine.mmio)):
            bus.measure(Meter(self, space))
            self._undo.append(lambda bus=bus: bus.measure(None))        # type: ignore[misc]
        for chip in machine.chips.values():
            for timer in chip.parts(Timer):
                alarm = getattr(chip, timer.key)
                self._replace(alarm, "ring", self.timed("alarm", f"{chip.name}.{timer.name}", alarm.ring, False))
            if isinstance(chip, I8259):
                self._replace(chip, "serve", self.timed("acknowledge", chip.name, chip.serve))
            for holder in (chip, *getattr(chip, "units", ())):
                if getattr(holder, "medium", None) is not None:
                    self._replace(holder, "medium", Watched(holder.medium, self._medium(chip.name)))
        self._replace(machine, "_sleep", self.timed("hlt", "processor", machine._sleep))
        self._replace(machine.engine, "run", self._running(machine.engine.run))

    def _replace(self, where: Any, attribute: str, new: Any) -> None:
        own = not hasattr(where, "__dict__") or attribute in vars(where)
        before = getattr(where, attribute)
        setattr(where, attribute, new)
        self._undo.append(lambda: setattr(where, attribute, before) if own else delattr(where, attribute))

    def row(self, way: str, name: str) -> Row:
        """The account of a way."""
        return self.rows.setdefault((way, name), [0, 0, 0])

    def timed(self, way: str, name: str, function: Callable[..., Any], placed: bool = True) -> Callable[..., Any]:
        """The same function, on the account of a way; `placed`: on that of the guest's instruction, too."""
        row, places, place, clock = self.row(way, name), self.places, self._place, time.perf_counter_ns

        def measured(*arguments: Any) -> Any:
            before, self.inside, started = self.inside, 0, clock()
            try:
                return function(*arguments)
            finally:
                took = clock() - started
                row[0] += 1
                row[1] += took - self.inside
                if placed:
                    here = place()
                    if here not in places and len(places) >= PLACES:
                        here = OTHERS
                    account = places.setdefault(here, [0, 0, 0])
                    account[0] += 1
                    account[1] += took - self.inside
                self.inside = before + took

        return measured

    def _medium(self, name: str) -> Wrap:
        return lambda what, function: self.timed(f"medium {what}", name, function, False)

    def _running(self, run: Callable[[], Any]) -> Callable[[], Any]:
        clock, engine = time.perf_counter_ns, self.engine

        def running() -> Any:
            self.inside, started = 0, clock()
            try:
                return run()
            finally:
                engine[0] += 1
                engine[1] += clock() - started - self.inside

        return running

    def close(self) -> None:
        """Measure no more."""
        while self._undo:
            self._undo.pop()()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # -- what came of it

    def facts(self, symbol: Name = nameless) -> dict[str, Any]:
        """For programs: ns of the host; `rows`, `devices` and `functions` with the most expensive first."""
        whole = max(time.perf_counter_ns() - self._began, 1)
        rows = [{"way": way, "name": name, "count": row[0], "ns": row[1], "native": row[2], "share": row[1] / whole}
                for (way, name), row in self.rows.items() if row[0] or row[2]]
        devices = _together(((str(row["name"]).split(".")[0] or "nobody", row) for row in rows), whole)
        functions = _together(((_function(place, symbol), {"count": row[0], "ns": row[1], "native": 0})
                               for place, row in self.places.items()), whole)
        served = sum(row[1] for row in self.rows.values())
        return {"host_ns": whole, "guest_ns": self.engine[1], "exits_ns": served,
                "other_ns": max(whole - served - self.engine[1], 0), "slices": self.engine[0],
                "rows": sorted(rows, key=_cost), "devices": devices, "functions": functions, "native": self._native()}

    def _native(self) -> dict[str, dict[str, int]]:
        """Of all accesses of a kind, how many never reached Python."""
        now, out = self.machine.engine.counters(), {}
        for name, key in {**SPACES, "mmio_accesses": ("memory", "")}.items():
            there = now[name] - self._counters[name]
            served = sum(row[0] for (way, _), row in self.rows.items() if way.split()[0] == key[0]
                         and way.endswith(VERBS.get(key[1], "")) and "later" not in way)
            out[name] = {"all": there, "python": served, "native": there - served}
        return out


class Meter:
    """What a bus asks while the ledger measures it."""

    def __init__(self, ledger: Ledger, space: str) -> None:
        self.ledger, self.space = ledger, space

    def function(self, access: str, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function of an access."""
        return self.ledger.timed(f"{self.space} {VERBS[access]}", name, function)

    def native(self, size: int, name: str, native: Native) -> Native:
        """What the engine does by itself, and tells later."""
        row = self.ledger.row(f"{self.space} later", name)
        collect = self.ledger.timed(f"{self.space} later", name, native.collect, False)
        moved = self.ledger.timed(f"{self.space} later", name, native.moved, False)

        def collected(data: bytes) -> None:
            row[2] += len(data)
            collect(data)

        def transferred(length: int) -> None:
            row[2] += length // size
            moved(length)

        return replace(native, collect=collected, moved=transferred)


def _cost(row: dict[str, Any]) -> tuple[int, int, str]:
    return -row["ns"], -row["count"], row["name"]


def _together(rows: Any, whole: int) -> list[dict[str, Any]]:
    out: dict[str, dict[str, Any]] = {}
    for name, row in rows:
        one = out.setdefault(name, {"name": name, "count": 0, "ns": 0, "native": 0})
        for key in ("count", "ns", "native"):
            one[key] += row[key]
    return sorted(({**one, "share": one["ns"] / whole} for one in out.values()), key=_cost)


def _function(place: int, symbol: Name) -> str:
    if place == OTHERS:
        return "(many other places)"
    name = symbol(place)
    return f"{place & ~0xFFF:#x} (page)" if name is None else name.split("+")[0]


# -- as a table

def told(facts: dict[str, Any], top: int = TOP) -> list[str]:
    """The lines of a table for people."""
    whole = facts["host_ns"]

    def line(name: str, count: int | None, ns: int, native: int = 0) -> str:
        each = f"{ns / count / 1e3:8.2f} us" if count else " " * 11
        often = "" if count is None else f"{count:,}"
        return (f"  {name:40.40} {often:>14} {ns / 1e6:12.1f} ms {each} {100 * ns / whole:6.2f} %"
                + (f"   + {native:,} native" if native else ""))

    out = [f"the ledger of exits: {whole / 1e9:.3f} s of host time",
           line("guest code, and native answers", None, facts["guest_ns"]), line("exits to Python", None, facts["exits_ns"]),
           line("other: start, console, limits", None, facts["other_ns"])]
    tables = ("by device", facts["devices"]), ("by way", facts["rows"]), ("by guest function", facts["functions"])
    for title, rows in tables:
        out += [f"{title}:", *(line(f"{row['way']} {row['name']}" if "way" in row else row["name"], row["count"], row["ns"],
                                    row["native"]) for row in rows[:top])]
        if len(rows) > top:
            rest = rows[top:]
            out.append(line(f"... {len(rest)} more", sum(row["count"] for row in rest), sum(row["ns"] for row in rest)))
    for name, row in facts["native"].items():
        share = 100 * row["native"] / row["all"] if row["all"] else 0
        out.append(f"  {name.replace('_', ' ')}: {row['all']:,}, of which {row['native']:,} never reached Python "
                   f"({share:.1f} %)")
    return out
