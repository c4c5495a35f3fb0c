"""Blocks and their instructions: what a number stands for, and the exact expansion of rows of numbers.

A block runs to its end, but for two: one that faults ends with the instruction that faulted, as the exception's event tells,
and one that changes itself ends where the block of a single instruction behind it goes on.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import capstone
import numpy as np

from emu.trace.layout import BadTrace

Numbers = np.ndarray[Any, Any]
HF_CS32, HF_TF, HF_CS64 = 0x10, 0x100, 0x8000       # of a block's flags: target/i386/cpu.h; TF: of one instruction
FAULT_IS_TRAP = 1                       # the vector whose RIP may be behind the instruction: #DB
ADDRESS = (1 << 64) - 1
FAULTS = "exception", "software interrupt"


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


@dataclass(frozen=True)
class Faults:
    """Events that cut blocks, in order: positions, vectors, linear addresses."""

    positions: Numbers
    vectors: Numbers
    addresses: Numbers


def disassemble(block: Block, syntax: str = "intel") -> list[tuple[int, int, str, str]]:
    """(linear address, length, mnemonic, operands) of each instruction of a block."""
    out = list(_capstone(block.bits, syntax).disasm_lite(block.code, block.pc))
    done = out[-1][0] + out[-1][1] - block.pc if out else 0
    if done < block.size:
        out.append((block.pc + done, block.size - done, "(bad)", ""))
    return out


class Known(dict[int, Block]):
    """Blocks by their numbers.  Raises BadTrace for one that is not there."""

    def __init__(self, path: os.PathLike[str]) -> None:
        super().__init__()
        self._path = path

    def __missing__(self, number: int) -> Block:
        raise BadTrace(f"{os.fspath(self._path)}: it is damaged: no part of code knows block {number}")


class Code:
    """Blocks by their numbers, and their instructions' addresses in one array; `path`: of the trace."""

    def __init__(self, path: os.PathLike[str] = Path()) -> None:
        self.blocks = Known(path)
        self.last = -1                  # the largest number
        self.starts, self.counts = np.zeros(1 << 12, np.int64), np.zeros(1 << 12, np.int64)
        self.single = np.zeros(1 << 12, bool)
        self._addresses = np.empty(1 << 14, np.uint64)
        self._used = 0
        self._cuts: dict[tuple[int, int, bool], int] = {}

    def add(self, blocks: Iterable[Block]) -> None:
        """Define blocks."""
        for block in blocks:
            number = block.number
            while number >= len(self.starts):
                self.starts, self.counts = (np.concatenate([old, np.zeros_like(old)]) for old in (self.starts, self.counts))
                self.single = np.concatenate([self.single, np.zeros_like(self.single)])
            inside = [address & ADDRESS for address, _, _, _ in disassemble(block)]
            end = self._used + len(inside)
            while end > len(self._addresses):
                self._addresses = np.concatenate([self._addresses, np.empty_like(self._addresses)])
            self._addresses[self._used:end] = inside
            self.starts[number], self.counts[number], self.single[number] = self._used, len(inside), block.single
            self._used = end
            self.blocks[number] = block
            self.last = max(self.last, number)

    def addresses(self, number: int) -> Numbers:
        """Of the instructions of a block."""
        start = self.starts[number]
        return self._addresses[start:start + self.counts[number]]

    def _begun(self, number: int, address: int, itself: bool) -> int:
        """How many instructions of a block began when it was left at `address`; -1: it was not left in the middle."""
        key = number, address & ADDRESS, itself
        if key not in self._cuts:
            found = np.flatnonzero(self.addresses(number) == np.uint64(address & ADDRESS))
            self._cuts[key] = int(found[0]) + itself if len(found) else -1
        return self._cuts[key]

    def lengths(self, positions: Numbers, numbers: Numbers, faults: Faults) -> Numbers:
        """How many instructions of each block of a row began; `positions`, ascending, of its blocks.

        To be right of the last one, faults and the row must go on for one position.
        """
        lengths = self.counts[numbers]
        if not len(numbers):
            return lengths
        singles = np.flatnonzero(self.single[numbers])
        for index in singles[singles > 0].tolist():
            if positions[index - 1] + 1 == positions[index]:
                begun = self._begun(int(numbers[index - 1]), self.blocks[int(numbers[index])].pc, False)
                if begun >= 0:
                    lengths[index - 1] = begun
        first, last = np.searchsorted(faults.positions, (positions[0] + 1, positions[-1] + 2))
        cut = faults.positions[first:last] - 1
        rows = np.searchsorted(positions, cut)
        for index, position, vector, address in zip(rows.tolist(), cut.tolist(), faults.vectors[first:last].tolist(),
                                                    faults.addresses[first:last].tolist(), strict=True):
            stepped = vector == FAULT_IS_TRAP and self.blocks[int(numbers[min(index, len(numbers) - 1)])].flags & HF_TF
            if positions[index] == position and not stepped:
                begun = self._begun(int(numbers[index]), address, vector != FAULT_IS_TRAP)
                if begun >= 0:
                    lengths[index] = begun
        return lengths

    def expand(self, numbers: Numbers, lengths: Numbers) -> Numbers:
        """The addresses of the instructions of a row of blocks."""
        ends = np.cumsum(lengths)
        total = int(ends[-1]) if len(ends) else 0
        return self._addresses[np.repeat(self.starts[numbers] - (ends - lengths), lengths) + np.arange(total)]


@functools.cache
def _capstone(bits: int, syntax: str) -> Any:
    mode = {16: capstone.CS_MODE_16, 32: capstone.CS_MODE_32, 64: capstone.CS_MODE_64}[bits]
    engine = capstone.Cs(capstone.CS_ARCH_X86, mode)
    if syntax == "att":
        engine.syntax = capstone.CS_OPT_SYNTAX_ATT
    return engine
