"""Where two runs part: the first block, or the first event, in which two traces differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from emu.trace.code import Block
from emu.trace.reader import Trace

CHUNK = 1 << 22
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
        count = min(CHUNK, last - at)
        ours, theirs = (table[trace.blocks(at, count)] for table, trace in zip(tables, (a, b), strict=True))
        if len(differ := np.flatnonzero(ours != theirs)):
            return at + int(differ[0])
    return None if a.length == b.length else last


def _events(a: Trace, b: Trace) -> Divergence | None:
    """The first event that the other trace has not, or has otherwise, or at another position or time."""
    columns = ["position", "time", *EVENT]
    ours, theirs = a.events.select(columns), b.events.select(columns)
    count = min(len(ours), len(theirs))
    same = np.ones(count, bool)
    for column in columns:
        same &= (ours[column][:count] == theirs[column][:count]).to_numpy()
    differ = np.flatnonzero(~same)
    if not len(differ) and len(ours) == len(theirs):
        return None
    index = int(differ[0]) if len(differ) else count
    rows = [frame.row(index, named=True) if index < len(frame) else None for frame in (a.events, b.events)]
    position = min(row["position"] for row in rows if row is not None)
    return Divergence(position, "event", (rows[0], rows[1]))


def diff(a: Trace, b: Trace) -> Divergence | None:
    """The first divergence of two traces that begin at the same position; None if there is none."""
    first = max(int(trace.meta.get("first", 0)) for trace in (a, b))
    block, event = _blocks(a, b, first), _events(a, b)
    if event is not None and (block is None or event.position <= block):
        return event
    if block is None:
        return None
    return Divergence(block, "block" if block < min(a.length, b.length) else "end")
