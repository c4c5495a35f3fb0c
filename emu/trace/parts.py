"""The files of a trace: parts that are closed when they can be read, and meta.json, which tells them.

Each is written under a temporary name and renamed.  A part that is small beside what follows is written anew with it, so that
a trace that gathers a little each second does not become a thousand files, and one that gathers much is not written again and
again; what is told in meta.json stays true of it, but for its check sum, until the trace is complete.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from pathlib import Path
from typing import Any

import polars as pl

from emu.trace import layout

ROWS = 1 << 22                  # of a row group: a reader can skip the others; and of a part that grows, at most
SMALL, TIMES = 1 << 16, 4       # rows: a part grows while it is that small, or so many times what is added
PLAIN = "blocks", "insns", "accesses"   # kinds of which statistics tell nothing


class Parts:
    """The parts in `directory`; `meta` is what meta.json says."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.meta: dict[str, Any] = {"emu_trace": layout.VERSION, "complete": False, "blocks": 0, "parts": []}
        self._last: dict[str, tuple[dict[str, Any], pl.DataFrame]] = {}     # what grows, by its kind

    def add(self, kind: str, frame: pl.DataFrame, position: int) -> None:
        """Rows of a kind, the first of position `position`.  Raises OSError."""
        part, before = self._last.get(kind, ({}, frame))
        follows = "position" in frame.columns or kind not in PLAIN or part.get("end") == position
        small = max(SMALL, TIMES * len(frame))
        if part and follows and len(before) <= small and len(before) + len(frame) <= ROWS:
            frame = pl.concat([before, frame])
        else:
            number = sum(part["kind"] == kind for part in self.meta["parts"])
            part = {"kind": kind, "file": f"{kind}-{number:06}.parquet", "position": position, "rows": 0}
            self.meta["parts"].append(part)
        if kind == "blocks" and "position" not in frame.columns:
            part["end"] = part["position"] + len(frame)
        path = self.directory / f".{part['file']}"
        with _whole(path):
            frame.write_parquet(path, compression="zstd", compression_level=1, statistics=kind not in PLAIN,
                                row_group_size=ROWS)
            part["crc"] = zlib.crc32(path.read_bytes())
            os.replace(path, self.directory / part["file"])
        part["rows"] = len(frame)
        if len(frame) < ROWS:
            self._last[kind] = part, frame
        else:
            self._last.pop(kind, None)

    def tell(self) -> None:
        """meta.json anew.  Raises OSError."""
        path = self.directory / f".{layout.META_FILE}"
        with _whole(path):
            path.write_text(json.dumps(self.meta, indent=1) + "\n")
            os.replace(path, self.directory / layout.META_FILE)


@contextlib.contextmanager
def _whole(path: Path) -> Any:
    """A file that cannot be written leaves nothing behind."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink()
        raise
