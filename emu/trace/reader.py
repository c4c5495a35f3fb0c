"""A trace read: block numbers by position, what they stand for, the instructions that ran, events.

    trace = Trace("DIR")
    trace.blocks(0, 1000)           # numbers of the first thousand blocks
    trace.instructions(0, 1000)     # the address of every instruction that they began, in order
    trace.events                    # a polars DataFrame
"""

from __future__ import annotations

import functools
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from emu.trace import columns, meta
from emu.trace.code import FAULTS, Block, Code, Faults, Numbers, disassemble
from emu.trace.layout import BadTrace
from emu.trace.symbols import Symbols

CHUNK = 1 << 17                 # blocks: what the host's cache holds, expanded


class Trace:
    """The trace in the directory `path`.  Raises BadTrace."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.meta: dict[str, Any] = meta.read(self.path, path)
        self.parts: list[dict[str, Any]] = self.meta["parts"]
        self.length = int(self.meta["blocks"])

    def _read(self, part: dict[str, Any]) -> pl.DataFrame:
        path = self.path / part["file"]
        try:
            if self.meta.get("complete") and "crc" in part and zlib.crc32(path.read_bytes()) != part["crc"]:
                raise BadTrace(f"{path}: cannot be read: it is damaged: its check sum is another")
            frame = pl.read_parquet(path)
        except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            raise BadTrace(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None
        wrong = columns.wrong(part["kind"], frame)
        if wrong:
            raise BadTrace(f"{path}: cannot be read: it is damaged: {wrong}")
        return frame

    def frames(self, kind: str) -> Iterator[pl.DataFrame]:
        return (self._read(part) for part in self.parts if part["kind"] == kind)

    def backwards(self, kind: str) -> Iterator[tuple[int, pl.DataFrame]]:
        """(number, frame) of the parts of a kind, the last one first."""
        parts = [part for part in self.parts if part["kind"] == kind]
        return ((number, self._read(parts[number])) for number in reversed(range(len(parts))))

    @functools.cached_property
    def _code(self) -> Code:
        code = Code(self.path)
        for frame in self.frames("code"):
            code.add(Block(*row) for row in frame.iter_rows())
        return code

    @property
    def code(self) -> dict[int, Block]:
        """Every block, by its number."""
        return self._code.blocks

    @functools.cached_property
    def events(self) -> pl.DataFrame:
        """Everything but the blocks, in order."""
        return pl.concat([columns.events_frame(np.empty((0, 8), np.uint64), []), *self.frames("events")])

    @functools.cached_property
    def faults(self) -> Faults:
        """The events that may have cut a block."""
        cuts = self.events.filter(pl.col("kind").is_in(FAULTS))
        return Faults(cuts["position"].to_numpy().astype(np.int64), cuts["vector"].to_numpy(),
                      cuts["rip"].to_numpy() + cuts["cs_base"].to_numpy())

    @functools.cached_property
    def clock(self) -> tuple[Numbers, Numbers]:
        """(positions, times in ns): what the log tells of the time; between two of them it passes block by block."""
        positions = self.events["position"].to_numpy().astype(np.int64)
        times = self.events["time"].to_numpy().astype(np.int64)
        first = self.meta.get("first", 0), self.meta["time"]
        last = self.length, self.meta.get("end", int(times[-1]) if len(times) else first[1])
        if first[0]:                                    # a flight recorder's time begins with its first event
            return np.concatenate([positions, [last[0]]]), np.concatenate([times, [last[1]]])
        return np.concatenate([[first[0]], positions, [last[0]]]), np.concatenate([[first[1]], times, [last[1]]])

    def _known(self, part: dict[str, Any], frame: pl.DataFrame) -> Numbers:
        """The numbers of a part's blocks: all stand for something."""
        numbers = frame["block"].to_numpy()
        if len(numbers) and int(numbers.max()) > self._code.last:
            raise BadTrace(f"{self.path / part['file']}: cannot be read: it is damaged: a block that no part of code knows")
        return numbers

    @property
    def instruction_counts(self) -> Numbers:
        """By number: of how many instructions a block consists."""
        return self._code.counts

    def expand(self, numbers: Numbers, lengths: Numbers) -> Numbers:
        """The addresses of the first `lengths` instructions of each block of a row."""
        return self._code.expand(numbers, lengths)

    def need_blocks(self, what: str) -> None:
        """Raise BadTrace if `what` cannot be made, as the trace holds no blocks."""
        if self.meta["level"] == "events":
            raise BadTrace(f"{self.path}: holds events alone: there are no blocks to make {what} of")

    def pieces(self, first: int = 0, count: int | None = None) -> Iterator[tuple[Numbers, Numbers]]:
        """(positions, numbers) of the blocks that ran from position `first` on, part by part, as far as they were kept."""
        last = self.length if count is None else min(first + count, self.length)
        for part in self.parts:
            if part["kind"] != "blocks" or part["position"] >= last or part.get("end", last) <= first:
                continue
            frame = self._read(part)
            numbers = self._known(part, frame)
            if "position" in frame.columns:
                positions = frame["position"].to_numpy().astype(np.int64)
                a, b = np.searchsorted(positions, (first, last)).tolist()
            else:
                a, b = max(first - part["position"], 0), min(last - part["position"], len(numbers))
                positions = np.arange(part["position"], part["position"] + len(numbers))
            if a < b:
                yield positions[a:b], numbers[a:b]

    @functools.cached_property
    def symbols(self) -> Symbols | None:
        """Names of addresses that the machine itself knew."""
        frames = list(self.frames("symbols"))
        return Symbols(pl.concat(frames).iter_rows()) if frames else None

    def blocks(self, first: int = 0, count: int | None = None) -> Numbers:
        """The numbers of the blocks that ran in `count` positions from `first` on."""
        pieces = [numbers for _, numbers in self.pieces(first, count)]
        return np.concatenate(pieces) if pieces else np.empty(0, np.uint32)

    def runs(self, first: int = 0, count: int | None = None, most: int = CHUNK) -> Iterator[tuple[Numbers, Numbers, Numbers]]:
        """(positions, numbers, how many instructions of each began), at most `most` blocks at once."""
        last = self.length if count is None else first + count
        held = np.empty(0, np.int64), np.empty(0, np.uint32)
        for positions, numbers in self.pieces(first, None if count is None else count + 1):
            for at in range(0, len(numbers), most):
                places = np.concatenate([held[0], positions[at:at + most]])
                row = np.concatenate([held[1], numbers[at:at + most]])
                lengths = self._code.lengths(places, row, self.faults)
                held = places[-1:], row[-1:]
                if len(row) > 1:
                    yield places[:-1], row[:-1], lengths[:-1]
        if len(held[0]) and held[0][0] < last:
            yield *held, self._code.lengths(*held, self.faults)

    def instructions(self, first: int = 0, count: int | None = None) -> Numbers:
        """The linear address of every instruction that began in the blocks of `count` positions from `first` on."""
        pieces = [self._code.expand(numbers, lengths) for _, numbers, lengths in self.runs(first, count)]
        return np.concatenate(pieces) if pieces else np.empty(0, np.uint64)

    def rows(self, kind: str) -> pl.DataFrame:
        """All rows of a level: `insns`, `accesses`; `position` tells the block of an instruction, see `blocks`."""
        frames = [self._placed(part, self._read(part)) for part in self.parts if part["kind"] == kind]
        return pl.concat(frames) if frames else pl.DataFrame()

    @staticmethod
    def _placed(part: dict[str, Any], frame: pl.DataFrame) -> pl.DataFrame:
        """Rows that tell only how many blocks have begun with each, with their positions."""
        if "begun" not in frame.columns or not len(frame):
            return frame
        begun = frame["begun"].to_numpy().astype(np.uint64)
        begun[0] = part["position"]
        return frame.select(pl.Series("position", np.cumsum(begun)), "address")

    @staticmethod
    def disassemble(block: Block, syntax: str = "intel") -> list[tuple[int, int, str, str]]:
        """(linear address, length, mnemonic, operands) of each instruction of a block."""
        return disassemble(block, syntax)
