"""Events as columns."""

from __future__ import annotations

import numpy as np
import polars as pl

from emu.trace import layout
from emu.trace.window import Numbers

LIMIT = 1 << 62                         # positions and nanoseconds are below
SIZE, NUMBER = 1 << 16, 1 << 28         # bytes of a block, and numbers of blocks
CODE = {"block": pl.UInt32(), "pc": pl.UInt64(), "cs_base": pl.UInt64(), "flags": pl.UInt32(), "size": pl.UInt32(),
        "single": pl.Boolean(), "first": pl.UInt64(), "code": pl.Binary()}
SYMBOLS = {"address": pl.UInt64(), "name": pl.String()}


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


def _schemas() -> dict[str, dict[str, pl.DataType]]:
    """Of the kinds of parts; `position` may be missing, or be told by how many blocks have `begun`."""
    nothing = np.empty((0, 8), np.uint64)
    place = {"position": pl.UInt64()}
    return {"code": CODE, "symbols": SYMBOLS, "events": dict(events_frame(nothing, []).schema),
            "accesses": dict(accesses_frame(nothing).schema), "blocks": {**place, "block": pl.UInt32()},
            "insns": {**place, "address": pl.UInt64()}}


def wrong(kind: str, frame: pl.DataFrame) -> str:
    """What no recorder would have written of a kind, empty if nothing is."""
    schemas = _schemas()
    has = dict(frame.schema)
    want = schemas.get(kind, has)
    if has != want and (kind not in ("blocks", "insns") or {"position": pl.UInt64(), **has} != want) and (
            kind != "insns" or has != {"begun": pl.UInt32(), "address": pl.UInt64()}):
        return "its columns"
    if any(frame[name].null_count() for name in frame.columns):
        return "values are missing"
    for name in "position", "time":
        if name in has and len(frame) and not (frame[name].is_sorted() and int(frame[name][-1]) < LIMIT):
            return f"its column {name} does not rise"
    if kind == "code" and len(frame):
        sizes = frame["size"]
        if (int(frame["block"].max()) >= NUMBER or int(sizes.min()) < 1 or int(sizes.max()) > SIZE     # type: ignore[arg-type]
                or (frame["code"].bin.size() > sizes).any()):
            return "a block of an impossible size"
    return ""
