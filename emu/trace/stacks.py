"""Call stacks over a block trace: who called whom, across calls, returns, interrupts and task switches.

The trace tells which blocks ran; what a block ends in (CALL, RET, IRET, SYSCALL ...) and where the next one begins tell how
the stack changed.  A return that leads elsewhere than the current stack says belongs to another task: the stack that waits
for that address is taken, or a new one is begun.  A return after the stack pointer was loaded from memory is a task switch:
what was left stays as it is, until a later return tells whose stack it is that runs now.

All stacks of one call path are one node of a tree; a node counts the blocks that ran in it.  A billion blocks take some
seconds, for which the loop is compiled (numba, an optional dependency: pip install 'emu-pc[profile]').
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from emu.trace import stackloop
from emu.trace.layout import BadTrace
from emu.trace.reader import Trace
from emu.trace.symbols import Symbols

Numbers = np.ndarray[Any, Any]
STACKS, DEPTH, NODES = 256, 512, 1 << 20
CALLS = ("call", "syscall", "sysenter", "lcall")
RETURNS = ("ret", "retf", "iret", "iretd", "iretq", "sysret", "sysretq", "sysexit", "sysexitq")
USER, UNKNOWN = "[user]", "[unknown]"
_REPLACED = re.compile(r"mov \w+ ptr \[[re]sp\], ")
_LOAD, _EXCHANGE = re.compile(r"[re]?sp, .*\["), re.compile(r"^[re]?sp, .*\[|\], [re]?sp$")


@dataclass(frozen=True)
class Tree:
    """`parent` and `function` of each node, 0 the root; `blocks` that ran in it; `names` of functions by number."""

    parent: Numbers
    function: Numbers
    blocks: Numbers
    names: list[str]

    def folded(self) -> dict[tuple[str, ...], int]:
        """Path of names from the root -> blocks, of nodes in which any ran."""
        paths: list[tuple[str, ...]] = [()]
        for node in range(1, len(self.parent)):
            paths.append((*paths[self.parent[node]], self.names[self.function[node]]))
        return {path: int(blocks) for path, blocks in zip(paths, self.blocks, strict=True) if blocks and path}

    def by_function(self) -> list[tuple[str, int]]:
        """(name, blocks that ran in the function itself), the most first."""
        sums = np.bincount(self.function, self.blocks, len(self.names))
        order = np.argsort(-sums, kind="stable")
        return [(self.names[i], int(sums[i])) for i in order if sums[i]]


def stacks(trace: Trace, symbols: Symbols | None = None, progress: Callable[[float], None] = lambda done: None) -> Tree:
    """The tree of a trace.  Raises BadTrace."""
    symbols = symbols or Symbols([])
    names, tables = _tables(trace, symbols)
    walk = _compiled()
    state = _State()
    arrivals = _arrivals(trace)
    done = 0
    for position, numbers in trace.parts_of_blocks():
        last = position + len(numbers)
        inside = arrivals[(arrivals[:, 0] > position) & (arrivals[:, 0] <= last)]
        full = walk(numbers, position, *tables, inside[:, 0], inside[:, 1], *state.arrays())
        if full:
            raise BadTrace(f"{trace.path}: more than {NODES} call paths")
        done += len(numbers)
        progress(done / max(trace.length, 1))
    count = int(state.scalars[0])
    return Tree(state.parent[:count], state.function[:count], state.blocks[:count], names)


def _tables(trace: Trace, symbols: Symbols) -> tuple[list[str], tuple[Numbers, ...]]:
    """Names of functions; by block number: function, how it ends, marks, where it begins, what is behind it."""
    size = max(trace.code, default=-1) + 1
    function, kind, marks = np.zeros(size, np.int32), np.zeros(size, np.int8), np.zeros(size, np.int8)
    begins, behind = np.zeros(size, np.uint64), np.zeros(size, np.uint64)
    names, numbers = [UNKNOWN], {UNKNOWN: 0}
    for number, block in trace.code.items():
        found = symbols.at(block.pc)
        name = found[0] if found else USER if block.cpl == 3 else UNKNOWN
        function[number] = numbers.setdefault(name, len(names))
        if numbers[name] == len(names):
            names.append(name)
        instructions = Trace.disassemble(block)
        kind[number] = _ending(instructions)
        marks[number] = (stackloop.ENTRY * (found is not None and found[1] == 0)
                         | stackloop.LOADS * (block.cpl == 0 and _switches(instructions)))
        begins[number], behind[number] = block.pc, block.pc + block.size & (1 << 64) - 1
    return names, (function, kind, marks, begins, behind)


def _ending(instructions: list[tuple[int, int, str, str]]) -> int:
    """How a block ends; a RET behind a store to where its address lies is a jump (a retpoline)."""
    word = instructions[-1][2].split()[-1] if instructions else ""
    if word == "ret" and len(instructions) > 1 and _REPLACED.match(" ".join(instructions[-2][2:])):
        return 0
    return stackloop.CALL if word in CALLS else stackloop.RETURN if word in RETURNS else 0


def _switches(instructions: list[tuple[int, int, str, str]]) -> bool:
    """Whether they load the stack pointer from memory, other than by LEAVE or POP."""
    return any((mnemonic == "mov" and _LOAD.match(operands)) or (mnemonic == "xchg" and _EXCHANGE.search(operands))
               for _, _, mnemonic, operands in instructions)


def _arrivals(trace: Trace) -> Numbers:
    """(position, where the handler will return to) of every exception and interrupt, in order."""
    if not len(trace.events):
        return np.empty((0, 2), np.uint64)
    events = trace.events.filter(pl.col("kind").is_in(["exception", "interrupt", "software interrupt"]))
    back = events["rip"].to_numpy() + events["cs_base"].to_numpy()
    back = np.where(events["kind"].to_numpy() == "software interrupt", back + np.uint64(2), back)      # INT n is CDh n
    return np.stack([events["position"].to_numpy(), back], axis=1)


class _State:
    """What the loop keeps from one part to the next."""

    def __init__(self) -> None:
        self.node = np.zeros((STACKS, DEPTH), np.int32)
        self.back = np.zeros((STACKS, DEPTH), np.uint64)
        self.depth = np.ones(STACKS, np.int32)
        self.used = np.zeros(STACKS, np.int64)
        self.parent, self.function = np.zeros(NODES, np.int32), np.zeros(NODES, np.int32)
        self.blocks = np.zeros(NODES, np.int64)
        self.first, self.next = np.zeros(NODES, np.int32), np.zeros(NODES, np.int32)     # children as lists
        # nodes; stack; how the last block ended; ghost; switching; the last block's function
        self.scalars = np.array([1, 0, 0, -1, 0, -1], np.int64)
        self.last = np.zeros(1, np.uint64)                          # what is behind the last block

    def arrays(self) -> tuple[Numbers, ...]:
        return (self.node, self.back, self.depth, self.used, self.parent, self.function, self.blocks, self.first, self.next,
                self.scalars, self.last)


@functools.cache
def _compiled() -> Callable[..., bool]:
    try:
        import numba
    except ImportError:
        raise BadTrace("call stacks are followed by numba: pip install 'emu-pc[profile]'") from None
    jit = numba.njit(cache=True, nogil=True)
    child = jit(stackloop.child)
    find = jit(stackloop.find)
    fresh = jit(stackloop.fresh)
    return stackloop.compiled(jit, child, find, fresh)
