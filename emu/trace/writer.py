"""The process that writes a trace: `python -m emu.trace.writer DIRECTORY FD BYTES`, with messages on standard input.

Every file is written under a temporary name, put on the disk and renamed; meta.json, which tells the parts, after each
of them.  So a kill loses what has come since the last part, PERIOD seconds of the host's time at most.
"""

from __future__ import annotations

import json
import mmap
import os
import signal
import sys
import time
from pathlib import Path
from typing import IO, Any

import numpy as np
import polars as pl

from emu.trace import layout

PERIOD = 1.0                    # seconds
ROWS = 1 << 22                  # of a row group: a reader can skip the others


class Writer:
    """One trace."""

    def __init__(self, directory: Path, numbers: np.ndarray[Any, Any], length: int) -> None:
        self.directory, self.numbers, self.length = directory, numbers, length
        self.meta: dict[str, Any] = {"emu_trace": layout.VERSION, "complete": False, "blocks": 0, "parts": []}
        self.known: dict[bytes, int] = {}           # a definition -> its number
        self.same = np.arange(1 << 16, dtype=np.uint32)     # number -> the first that is the same
        self.doubled = False
        self.code: list[tuple[Any, ...]] = []
        self.happened: list[bytes] = []
        self.names: list[str] = []
        self.looked = time.monotonic()

    def definitions(self, data: bytes, base: int) -> None:
        """Blocks that were made; one that is made again stands for the first."""
        at = 0
        while at < len(data):
            number, size, pc, cs_base, flags, cflags, raw, length = layout.DEFINITION.unpack_from(data, at)
            at += layout.DEFINITION.size
            code = data[at:at + length]
            at += length + -length % 8
            single = cflags & layout.CF_COUNT == layout.SINGLE and not cflags & layout.CF_NOCACHE
            key = layout.DEFINITION.pack(0, size, pc, cs_base, flags, single, 0, length) + code
            if number >= len(self.same):
                self.same = np.concatenate([self.same, np.arange(len(self.same), 2 * len(self.same), dtype=np.uint32)])
            first = self.known.setdefault(key, number)
            if first != number:
                self.same[number], self.doubled = first, True
                continue
            self.code.append((number, pc, cs_base, flags, size, single, (raw + base) // layout.NUMBER, code))

    def events(self, data: bytes, base: int) -> None:
        """Events with their position put right."""
        words = np.frombuffer(data, dtype=np.uint64).reshape(-1, 8).copy()
        words[:, 0] = (words[:, 0].astype(np.int64) + base) // layout.NUMBER
        self.happened.append(words.tobytes())

    def segment(self, index: int, position: int, length: int) -> None:
        """Block numbers."""
        first = index * self.length // layout.NUMBER
        numbers = self.numbers[first:first + length // layout.NUMBER]
        if self.doubled:
            numbers = self.same[numbers]
        self.flush()
        self.part("blocks", pl.DataFrame({"block": numbers}), position)
        self.meta["blocks"] = position + len(numbers)
        self.tell()

    def flush(self) -> None:
        """Write what has gathered beside the block numbers."""
        if self.code:
            names = ("block", "pc", "cs_base", "flags", "size", "single", "first", "code")
            types = (pl.UInt32, pl.UInt64, pl.UInt64, pl.UInt32, pl.UInt32, pl.Boolean, pl.UInt64, pl.Binary)
            columns = zip(*self.code, strict=True)
            self.part("code", pl.DataFrame([pl.Series(name, column, dtype=kind) for name, kind, column
                                            in zip(names, types, columns, strict=True)]), self.code[0][6])
            self.code.clear()
        if self.happened:
            words = np.frombuffer(b"".join(self.happened), dtype=np.uint64).reshape(-1, 8)
            kind, which = words[:, 2] & np.uint64(0xFF), (words[:, 2] >> np.uint64(8) & np.uint64(0xFFFFFF)).astype(np.uint32)
            ours = kind >= layout.ACCESSES                  # what Python has told: name, size, value, address
            cs = np.where(ours, 0, words[:, 6])
            self.part("events", pl.DataFrame({
                "position": words[:, 0], "time": words[:, 1],
                "kind": _chosen(kind, [layout.KINDS.get(i, str(i)) for i in range(256)]),
                "name": _chosen(np.where(ours, which, len(self.names)), [*self.names, ""]),
                "vector": np.where(ours, 0, which), "error": np.where(ours, 0, words[:, 3]).astype(np.uint32),
                "address": np.where(ours, words[:, 6], words[:, 4]), "size": np.where(ours, words[:, 3], 0).astype(np.uint8),
                "value": np.where(ours, words[:, 4], 0), "rip": np.where(ours, 0, words[:, 5]),
                "cs": (cs & np.uint64(0xFFFF)).astype(np.uint16), "cs_base": np.where(ours, 0, words[:, 7]),
                "flags": (cs >> np.uint64(32)).astype(np.uint32),
                "cpl": (cs >> np.uint64(32) & np.uint64(3)).astype(np.uint8),
            }), int(words[0, 0]))
            self.happened.clear()

    def part(self, kind: str, frame: pl.DataFrame, position: int) -> None:
        """One more file of a kind."""
        name = f"{kind}-{sum(part['kind'] == kind for part in self.meta['parts']):06}.parquet"
        path = self.directory / f".{name}"
        frame.write_parquet(path, compression="zstd", compression_level=1, statistics=kind != "blocks", row_group_size=ROWS)
        os.replace(path, self.directory / name)
        self.meta["parts"].append({"kind": kind, "file": name, "position": position, "rows": len(frame)})

    def tell(self) -> None:
        """meta.json anew."""
        path = self.directory / f".{layout.META_FILE}"
        path.write_text(json.dumps(self.meta, indent=1) + "\n")
        os.replace(path, self.directory / layout.META_FILE)

    def serve(self, source: IO[bytes]) -> None:
        """Until the recorder says that it is done, or is gone."""
        while head := source.read(layout.HEAD.size):
            if len(head) < layout.HEAD.size:
                break
            letter, segment, position, length = layout.HEAD.unpack(head)
            if letter == layout.SEGMENT:
                self.segment(segment, position, length)
                os.write(1, bytes([segment]))
                continue
            data = source.read(length)
            if len(data) < length:
                break
            if letter == layout.DEFINITIONS:
                self.definitions(data, position)
            elif letter == layout.EVENTS:
                self.events(data, position)
            elif letter == layout.NAMES:
                self.names.append(data.decode())
            elif letter == layout.META:
                self.meta.update(json.loads(data))
                self.tell()
            elif letter == layout.CLOSE:
                self.meta.update(json.loads(data), complete=True)
            if time.monotonic() - self.looked > PERIOD:
                self.looked = time.monotonic()
                self.flush()
                self.tell()
        self.flush()
        self.tell()


def _chosen(indexes: np.ndarray[Any, Any], texts: list[str]) -> pl.Series:
    """A column of texts by their indexes."""
    return pl.Series(texts, dtype=pl.String).gather(pl.Series(indexes.astype(np.uint32)))


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)        # the recorder tells when it ends
    directory, fd, length = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    memory = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
    try:
        Writer(directory, np.frombuffer(memory, dtype=np.uint32), length).serve(sys.stdin.buffer)
    except OSError as error:
        print(error.strerror or error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
