"""Events as columns."""

from __future__ import annotations

import numpy as np
import polars as pl

from emu.trace import layout
from emu.trace.window import Numbers


def events_frame(words: Numbers, names: list[str]) -> pl.DataFrame:
    """The frame of events that are eight words each (emu.engine.Sink), with their positions; `names` by number."""
    kind, which = words[:, 2] & np.uint64(0xFF), words[:, 2] >> np.uint64(8) & np.uint64(0xFFFFFF)
    told, register = kind >= layout.TOLD, (kind == layout.CONTROL) | (kind == layout.MSR)
    named = told & (which != layout.NOTHING)
    fault = ~told & ~register
    texts = pl.Series([*names, ""], dtype=pl.String).gather(pl.Series(np.where(named, which, len(names)).astype(np.uint32)))
    if register.any():
        texts = texts.scatter(np.flatnonzero(register), [
            layout.register(int(row[2]) & 0xFF, int(row[3])) for row in words[register]])
    kinds = pl.Series([layout.KINDS.get(i, str(i)) for i in range(256)]).gather(pl.Series(kind.astype(np.uint32)))
    cs = np.where(told, 0, words[:, 6])
    return pl.DataFrame({
        "position": words[:, 0], "time": words[:, 1], "kind": kinds, "name": texts,
        "vector": np.where(fault, which, 0).astype(np.uint32), "error": np.where(fault, words[:, 3], 0).astype(np.uint32),
        "address": np.where(told, words[:, 6], np.where(fault, words[:, 4], words[:, 3])),
        "size": np.where(told, words[:, 3], 0).astype(np.uint8),
        "value": np.where(told | register, words[:, 4], 0), "rip": np.where(told, 0, words[:, 5]),
        "cs": (cs & np.uint64(0xFFFF)).astype(np.uint16), "cs_base": np.where(told, 0, words[:, 7]),
        "flags": (cs >> np.uint64(32)).astype(np.uint32),
        "cpl": (cs >> np.uint64(32) & np.uint64(3)).astype(np.uint8),
    })


def accesses_frame(words: Numbers) -> pl.DataFrame:
    """The frame of accesses to memory; `address` is linear, and so is `rip`, of the instruction."""
    return pl.DataFrame({
        "position": words[:, 0], "address": words[:, 1], "size": (words[:, 3] & np.uint64(0xFF)).astype(np.uint8),
        "write": words[:, 3] >= np.uint64(0x100), "value": words[:, 2], "rip": words[:, 4],
    })
