"""A trace read: block numbers by position, what they stand for, the instructions that ran, events.

    trace = Trace("DIR")
    trace.blocks(0, 1000)           # numbers of the first thousand blocks
    trace.instructions(0, 1000)     # the address of every instruction that they began, in order
    trace.events                    # a polars DataFrame
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import capstone
import numpy as np
import polars as pl

from emu.trace import layout

Numbers = np.ndarray[Any, Any]
HF_CS32, HF_CS64 = 0x10, 0x8000         # of a block's flags: target/i386/cpu.h
FAULT_IS_TRAP = (1,)                    # vectors whose RIP may be behind the instruction: #DB


class BadTrace(ValueError):
    """What is no trace, or cannot be used: one line that says which and why."""


@dataclass(frozen=True)
class Block:
    """What a number stands for: linear `pc`, `code` as it was, `bits` of the code segment."""

    number: int
    pc: int
    cs_base: int
    flags: int
    size: int
    single: bool
    first: int
    code: bytes

    @property
    def bits(self) -> int:
        return 64 if self.flags & HF_CS64 else 32 if self.flags & HF_CS32 else 16

    @property
    def cpl(self) -> int:
        return self.flags & 3


class Trace:
    """The trace in the directory `path`.  Raises BadTrace."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            self.meta: dict[str, Any] = json.loads((self.path / layout.META_FILE).read_text())
            version = self.meta["emu_trace"]
            self.parts: list[dict[str, Any]] = self.meta["parts"]
        except OSError as error:
            raise BadTrace(f"{path}: no trace: {layout.META_FILE}: {error.strerror}") from None
        except (ValueError, KeyError, TypeError):
            raise BadTrace(f"{path}: no trace: {layout.META_FILE} is damaged") from None
        if version != layout.VERSION:
            raise BadTrace(f"{path}: a trace of version {version!r}; this program reads version {layout.VERSION}")
        self.length = int(self.meta["blocks"])

    def _read(self, name: str) -> pl.DataFrame:
        try:
            return pl.read_parquet(self.path / name)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise BadTrace(f"{self.path / name}: cannot be read: {str(error).splitlines()[0]}") from None

    def _frames(self, kind: str) -> Iterator[pl.DataFrame]:
        return (self._read(part["file"]) for part in self.parts if part["kind"] == kind)

    @functools.cached_property
    def code(self) -> dict[int, Block]:
        """Every block, by its number."""
        return {row[0]: Block(*row) for frame in self._frames("code") for row in frame.iter_rows()}

    @functools.cached_property
    def events(self) -> pl.DataFrame:
        """Everything but the blocks, in order."""
        frames = list(self._frames("events"))
        return pl.concat(frames) if frames else pl.DataFrame()

    def blocks(self, first: int = 0, count: int | None = None) -> Numbers:
        """The numbers of `count` blocks from position `first` on."""
        last = self.length if count is None else min(first + count, self.length)
        pieces = [self._read(part["file"])["block"].to_numpy()[max(first - part["position"], 0):last - part["position"]]
                  for part in self.parts
                  if part["kind"] == "blocks" and part["position"] < last and part["position"] + part["rows"] > first]
        return np.concatenate(pieces) if pieces else np.empty(0, np.uint32)

    @functools.cached_property
    def _layout(self) -> tuple[Numbers, Numbers, Numbers]:
        """Per number: where its instructions begin in the third array, and how many there are."""
        last = max(self.code, default=-1) + 1
        starts, counts, addresses = np.zeros(last, np.int64), np.zeros(last, np.int64), []
        at = 0
        for number, block in self.code.items():
            inside = [address for address, _, _, _ in self.disassemble(block)]
            starts[number], counts[number] = at, len(inside)
            addresses += inside
            at += len(inside)
        return starts, counts, np.array(addresses, np.uint64)

    @staticmethod
    def disassemble(block: Block) -> list[tuple[int, int, str, str]]:
        """(linear address, length, mnemonic, operands) of each instruction of a block."""
        engine = _capstone(block.bits)
        out = list(engine.disasm_lite(block.code, block.pc))
        done = out[-1][0] + out[-1][1] - block.pc if out else 0
        if done < block.size:
            out.append((block.pc + done, block.size - done, "(bad)", ""))
        return out

    def cuts(self, first: int, numbers: Numbers) -> dict[int, int]:
        """Positions of blocks that did not run to their end: how many of their instructions began."""
        cuts: dict[int, int] = {}
        last = first + len(numbers)
        if len(self.events):
            faults = self.events.filter(pl.col("kind").is_in(["exception", "software interrupt"])
                                        & (pl.col("position") > first) & (pl.col("position") <= last))
            for position, vector, rip, cs_base in faults.select("position", "vector", "rip", "cs_base").iter_rows():
                begun = self._begun(self.code[int(numbers[position - 1 - first])], rip + cs_base, vector not in FAULT_IS_TRAP)
                if begun is not None:
                    cuts[position - 1] = begun
        singles = [number for number, block in self.code.items() if block.single]
        for index in np.flatnonzero(np.isin(numbers, singles)):
            if index:
                begun = self._begun(self.code[int(numbers[index - 1])], self.code[int(numbers[index])].pc, False)
                if begun is not None:
                    cuts.setdefault(first + int(index) - 1, begun)
        return cuts

    def _begun(self, block: Block, address: int, itself: bool) -> int | None:
        """How many instructions of `block` began when it was left at `address`; None: it was not left in the middle."""
        for count, (start, _, _, _) in enumerate(self.disassemble(block)):
            if start == address & (1 << 64) - 1:
                return count + itself
        return None

    def instructions(self, first: int = 0, count: int | None = None) -> Numbers:
        """The linear address of every instruction that began in `count` blocks from position `first` on."""
        numbers = self.blocks(first, count)
        starts, counts, addresses = self._layout
        begins, lengths = starts[numbers], counts[numbers]
        for position, begun in self.cuts(first, numbers).items():
            lengths[position - first] = begun
        ends = np.cumsum(lengths)
        total = int(ends[-1]) if len(ends) else 0
        return addresses[np.repeat(begins - (ends - lengths), lengths) + np.arange(total)]


@functools.cache
def _capstone(bits: int) -> Any:
    mode = {16: capstone.CS_MODE_16, 32: capstone.CS_MODE_32, 64: capstone.CS_MODE_64}[bits]
    return capstone.Cs(capstone.CS_ARCH_X86, mode)
