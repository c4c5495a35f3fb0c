"""meta.json, read: what it says is what was written, or it is damaged; nothing behind it needs to doubt it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from emu.trace import layout
from emu.trace.layout import BadTrace

LIMIT = 1 << 62                 # positions and nanoseconds are below
_FILE = re.compile(r"[a-z]+-\d{6,}\.parquet")      # of a part: in the directory itself

Check = Callable[[Any], bool]


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < LIMIT


def _costs(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_count, value.values())) and "block" in value


def _pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(one, int) for one in value)


def _window(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    ranges, time = value.get("ranges", []), value.get("time")
    return isinstance(ranges, list) and all(map(_pair, ranges)) and (time is None or _pair(time))


def _part(value: Any) -> bool:
    return (isinstance(value, dict) and isinstance(value.get("kind"), str) and isinstance(value.get("file"), str)
            and bool(_FILE.fullmatch(value["file"])) and _count(value.get("position")) and _count(value.get("end", 0)))


def _parts(value: Any) -> bool:
    if not isinstance(value, list) or not all(map(_part, value)):
        return False
    positions = [part["position"] for part in value if part["kind"] == "blocks"]
    return positions == sorted(positions)


NEEDED: dict[str, Check] = {"parts": _parts, "blocks": _count, "level": lambda value: value in layout.LEVELS,
                            "time": _count, "costs": _costs}
OPTIONAL: dict[str, Check] = {"first": _count, "end": _count, "window": _window,
                              "explanation": lambda value: isinstance(value, dict)}


def read(directory: Path, path: str | os.PathLike[str]) -> dict[str, Any]:
    """What meta.json in `directory` says; `path` names it for people.  Raises BadTrace."""
    try:
        meta = json.loads((directory / layout.META_FILE).read_bytes())
    except OSError as error:
        raise BadTrace(f"{path}: no trace: {layout.META_FILE}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise BadTrace(f"{path}: no trace: {layout.META_FILE} is damaged") from None
    if not isinstance(meta, dict) or "emu_trace" not in meta:
        raise BadTrace(f"{path}: no trace: {layout.META_FILE} is damaged")
    if meta["emu_trace"] != layout.VERSION:
        raise BadTrace(f"{path}: a trace of version {repr(meta['emu_trace'])[:20]}; "
                       f"this program reads version {layout.VERSION}")
    for name, good in NEEDED.items():
        if name not in meta or not good(meta[name]):
            raise BadTrace(f"{path}: no trace: {layout.META_FILE} is damaged: {name}")
    for name, good in OPTIONAL.items():
        if name in meta and not good(meta[name]):
            raise BadTrace(f"{path}: no trace: {layout.META_FILE} is damaged: {name}")
    if not meta.get("first", 0) <= meta["blocks"] or meta.get("end", LIMIT) < meta["time"]:
        raise BadTrace(f"{path}: no trace: {layout.META_FILE} is damaged: its beginning is behind its end")
    return meta
