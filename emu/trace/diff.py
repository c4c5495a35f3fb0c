"""Where two runs part: the first block, or the first event, in which two traces differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from emu.trace.code import Block
from emu.trace.layout import BadTrace
from emu.trace.reader import Trace

CHUNK = 1 << 22
NAMES = {"ranges": "--trace-range", "cpl": "--trace-cpl", "time": "--trace-time", "start": "--trace-from",
         "end": "--trace-to"}
EVENT = ("kind", "name", "vector", "error", "address", "size", "value", "rip", "cs", "flags")       # what is compared of one


@dataclass(frozen=True)
class Divergence:
    """`position` is the first at which blocks differ, or before which events do; `what` says which."""

    position: int
    what: str
    events: tuple[dict[str, Any] | None, dict[str, Any] | None] = (None, None)


def _key(block: Block) -> tuple[Any, ...]:
    return block.pc, block.cs_base, block.flags, block.single, block.code


def _tables(a: Trace, b: Trace) -> tuple[Any, Any]:
    """For each trace: number -> what both know the block by."""
    known: dict[tuple[Any, ...], int] = {}
    tables = []
    for trace in (a, b):
        table = np.zeros(max(trace.code, default=-1) + 1, np.int64)
        for number, block in trace.code.items():
            table[number] = known.setdefault(_key(block), len(known))
        tables.append(table)
    return tables[0], tables[1]


def _blocks(a: Trace, b: Trace, first: int) -> int | None:
    """The first position at which different blocks ran; one trace may end there."""
    tables = _tables(a, b)
    last = min(a.length, b.length)
    for at in range(first, last, CHUNK):
        (places, ours), (others, theirs) = (_row(trace, table, at, min(CHUNK, last - at))
                                            for table, trace in zip(tables, (a, b), strict=True))
        count = min(len(ours), len(theirs))
        if len(differ := np.flatnonzero((ours[:count] != theirs[:count]) | (places[:count] != others[:count]))):
            return int(min(places[differ[0]], others[differ[0]]))
        if len(ours) != len(theirs):
            return int((places if len(ours) > count else others)[count])
    return None if a.length == b.length else last


def _row(trace: Trace, table: Any, first: int, count: int) -> tuple[Any, Any]:
    """(positions, what both know the blocks by)."""
    pieces = list(trace.pieces(first, count))
    if not pieces:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    return np.concatenate([positions for positions, _ in pieces]), table[np.concatenate([row for _, row in pieces])]


def _events(a: Trace, b: Trace, first: int) -> Divergence | None:
    """The first event that the other trace has not, or has otherwise, or at another position or time."""
    columns = ["position", "time", *EVENT]
    events = [trace.events.filter(pl.col("position") >= first) for trace in (a, b)]
    ours, theirs = (frame.select(columns) for frame in events)
    count = min(len(ours), len(theirs))
    same = np.ones(count, bool)
    for column in columns:
        same &= (ours[column][:count] == theirs[column][:count]).to_numpy()
    differ = np.flatnonzero(~same)
    if not len(differ) and len(ours) == len(theirs):
        return None
    index = int(differ[0]) if len(differ) else count
    rows = [frame.row(index, named=True) if index < len(frame) else None for frame in events]
    position = min(row["position"] for row in rows if row is not None)
    return Divergence(position, "event", (rows[0], rows[1]))


def _comparable(a: Trace, b: Trace) -> None:
    logs = [trace.meta.get("level") == "events" for trace in (a, b)]
    if logs[0] != logs[1]:
        raise BadTrace(f"{a.path} and {b.path} cannot be compared: {(a if logs[0] else b).path} holds events alone")
    ours, theirs = (trace.meta.get("window") or {} for trace in (a, b))
    for name in sorted({*ours, *theirs}):
        if ours.get(name) != theirs.get(name):
            raise BadTrace(f"{a.path} and {b.path} cannot be compared: they were recorded with different windows "
                           f"({NAMES.get(name, name)})")
    if max(int(trace.meta.get("first", 0)) for trace in (a, b)) > min(a.length, b.length):
        raise BadTrace(f"{a.path} and {b.path} cannot be compared: they have no time in common")


def diff(a: Trace, b: Trace) -> Divergence | None:
    """The first divergence, from where both have begun; None if there is none.  Raises BadTrace if one of them was not to
    hold what the other holds."""
    _comparable(a, b)
    begins = [int(trace.meta.get("first", 0)) for trace in (a, b)]
    first = max(begins)
    block, event = _blocks(a, b, first), _events(a, b, first + 1 if begins[0] != begins[1] else 0)
    if event is not None and (block is None or event.position <= block):
        return event
    if block is None:
        return None
    return Divergence(block, "block" if block < min(a.length, b.length) else "end")
