"""Call stacks over a block trace: who called whom, across calls, returns, interrupts and task switches.

The trace tells which blocks ran; what a block ends in (CALL, RET, IRET, SYSCALL ...) and where the next one begins tell how
the stack changed.  A task switch is a load of the stack pointer, and an event tells each: the pointer before, and behind.  A
task is known by the pointer with which it was left, so tasks that wait at the same place are told apart.  A load that leads
to nobody's stack is of the same task (a stack for interrupts), or of a new one: the next return tells.

All stacks of one call path are one node of a tree; a node counts the blocks that ran in it.  A billion blocks take some
seconds, for which the loop is compiled (numba, an optional dependency: pip install 'emu-pc[profile]').

Not followed: hardware task switches, loads of the stack pointer in ring 3, a switch by LEAVE where the frame pointer is
within 4 KiB, and a task's first switch if it returns to where the task before it would return, too, and its stack ends
within 4 KiB above that one's pointer (or at once in ring 3).  Where the block that
loads the stack pointer ends in ring 3, which task goes on is told by the return address alone.  What a new task does before
its first return counts to the task before it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from emu.trace import layout, stackloop
from emu.trace.code import ADDRESS
from emu.trace.layout import BadTrace
from emu.trace.reader import Trace
from emu.trace.symbols import Symbols

Numbers = np.ndarray[Any, Any]
Row = tuple[Numbers, Numbers, Numbers, Numbers]         # numbers, positions, weights, whether they are shown
STACKS, DEPTH, NODES = 256, 512, 1 << 20
SLICES = 1 << 16
PLAIN = 1 << 21                     # blocks that are followed without numba
CALLS = ("call", "syscall", "sysenter", "lcall")
RETURNS = ("ret", "retf", "retfq", "iret", "iretd", "iretq", "sysret", "sysretq", "sysexit", "sysexitq")
TAKEN = {"exception": 1, "software interrupt": 2, "interrupt": 3}
USER, UNKNOWN = "[user]", "[unknown]"
_REPLACED, _DROPPED = re.compile(r"mov \w+ ptr \[[re]sp\], "), re.compile(r"lea [re]sp, \[[re]sp \+ [48]\]")
_LOAD, _EXCHANGE = re.compile(r"[re]?sp, "), re.compile(r"^[re]?sp, |, [re]?sp$")


@dataclass(frozen=True)
class Tree:
    """`parent` and `function` of each node, 0 the root; `blocks` that ran in it, and their weight; how often it was called,
    and by which block first; `names` of functions by number."""

    parent: Numbers
    function: Numbers
    blocks: Numbers
    names: list[str]
    weight: Numbers
    calls: Numbers
    site: Numbers

    def folded(self) -> dict[tuple[str, ...], int]:
        """Path of names from the root -> blocks, of nodes in which any ran."""
        paths: list[tuple[str, ...]] = [()]
        for node in range(1, len(self.parent)):
            paths.append((*paths[self.parent[node]], self.names[self.function[node]]))
        return {path: int(blocks) for path, blocks in zip(paths, self.blocks, strict=True) if blocks and path}

    def edges(self) -> Numbers:
        """For each node what its call has cost: see stackloop.edges."""
        below = np.zeros(len(self.parent), np.int64)
        _loops(len(self.parent))[1](self.parent, self.function, self.weight, np.full(len(self.names), -1, np.int64), below)
        return below

    def by_function(self) -> list[tuple[str, int]]:
        """(name, blocks that ran in the function itself), the most first."""
        sums = np.bincount(self.function, self.blocks, len(self.names))
        order = np.argsort(-sums, kind="stable")
        return [(self.names[i], int(sums[i])) for i in order if sums[i]]


@dataclass(frozen=True)
class Frame:
    """`site`: of the CALL, or where an interrupt's handler returns to; `entry`: where it led; `how`."""

    site: int
    entry: int
    how: str


def stacks(trace: Trace, symbols: Symbols | None = None, progress: Callable[[float], None] = lambda done: None) -> Tree:
    """The tree of a trace.  Raises BadTrace."""
    walk = Walk(trace, symbols or Symbols([]))
    for row in everything(trace):
        for _ in walk.follow(row):
            pass
        progress(float(row[1][-1] + 1) / max(trace.length, 1))
    return walk.tree()


def everything(trace: Trace, first: int = 0) -> Iterator[Row]:
    """The rows of a trace, each block of weight 1."""
    for positions, numbers in trace.pieces(first):
        yield numbers, positions, np.ones(len(numbers), np.int64), np.ones(len(numbers), np.int8)


class Walk:
    """Stacks that are followed over rows of blocks; with `least` ns, slices of time that are at least as long, too."""

    def __init__(self, trace: Trace, symbols: Symbols, least: int = -1, plain: bool = False) -> None:
        self.trace = trace
        self.names, self._blocks = _tables(trace, symbols)
        self._events, self._moves, self._clock = _arrivals(trace), _moves(trace), _clock(trace, least)
        shape = STACKS, DEPTH
        self.stacks = stackloop.Stacks(
            np.zeros(shape, np.int32), np.zeros(shape, np.uint64), np.zeros(shape, np.int32), np.zeros(shape, np.int64),
            np.zeros(shape, np.int32), np.zeros(shape, np.int32), np.ones(STACKS, np.int32), np.zeros(STACKS, np.int64),
            np.zeros(STACKS, np.uint64), np.zeros(STACKS, np.int64), np.zeros(STACKS, np.uint64), np.zeros(STACKS, np.uint64))
        self._nodes = stackloop.Nodes(
            np.zeros(NODES, np.int32), np.zeros(NODES, np.int32), np.zeros(NODES, np.int64), np.zeros(NODES, np.int64),
            np.zeros(NODES, np.int64), np.zeros(NODES, np.int32), np.zeros(NODES, np.int32), np.zeros(NODES, np.int32))
        self._slices = stackloop.Slices(*(np.zeros(SLICES, np.int64) for _ in stackloop.Slices._fields))
        self._scalars = np.zeros(15, np.int64)
        self._scalars[[stackloop.NODES, stackloop.BEFORE, stackloop.LAST, stackloop.NEXT]] = 1, -1, -1, -1
        self._walk = stackloop.walk if plain else _loops(trace.length)[0]
        self._symbols = symbols

    def name(self, address: int) -> str:
        """The function of an instruction."""
        found = self._symbols.at(address)
        return found[0] if found else USER if address in self._user else UNKNOWN

    @functools.cached_property
    def _user(self) -> set[int]:
        """Addresses of instructions in ring 3."""
        return {address for number, block in self.trace.code.items() if block.cpl == 3
                for address in self.trace.expand(np.array([number]), self.trace.instruction_counts[[number]]).tolist()}

    @property
    def current(self) -> int:
        """The stack that runs."""
        return int(self._scalars[stackloop.STACK])

    def frames(self) -> list[Frame]:
        """What has not returned, outermost first."""
        stack, found = self.current, []
        names = {number: kind for kind, number in TAKEN.items()}
        for level in range(1, int(self.stacks.depth[stack])):
            how, site = int(self.stacks.how[stack, level]), self.trace.code.get(int(self.stacks.site[stack, level]))
            at = int(self.stacks.back[stack, level]) if how or site is None else Trace.disassemble(site)[-1][0] & ADDRESS
            entry = self.trace.code[int(self.stacks.entry[stack, level])].pc
            found.append(Frame(at, entry, f"{names[how & 0xFF]} {how >> 8:02X}h" if how else "call"))
        return found

    def follow(self, row: Row) -> Iterator[stackloop.Slices]:
        """Slices in the order of their ends.  Raises BadTrace."""
        numbers, start = row[0], 0
        while start < len(numbers):
            start = self._walk(*row, start, self._blocks, self._events, self._moves, self._clock, self.stacks, self._nodes,
                               self._slices, self._scalars)
            if start < 0:
                raise BadTrace(f"{self.trace.path}: more than {NODES} call paths")
            yield from self._taken()

    def end(self) -> Iterator[stackloop.Slices]:
        """The slices that the end cuts."""
        if self._scalars[stackloop.SHOWN] and self._clock.least >= 0:
            now = stackloop.moment(self._clock, self._scalars, int(self._scalars[stackloop.NEXT]))
            stackloop.close(self.stacks, self._scalars, self._slices, self.current, 0, now, self._clock.least)
            yield from self._taken()

    def _taken(self) -> Iterator[stackloop.Slices]:
        if kept := int(self._scalars[stackloop.KEPT]):
            yield stackloop.Slices(*(column[:kept].copy() for column in self._slices))
            self._scalars[stackloop.KEPT] = 0

    def tree(self) -> Tree:
        """What has been followed until now."""
        count = int(self._scalars[stackloop.NODES])
        parent, function, blocks, weight, calls, site, _, _ = (column[:count] for column in self._nodes)
        return Tree(parent, function, blocks, self.names, weight, calls, site)


def _tables(trace: Trace, symbols: Symbols) -> tuple[list[str], stackloop.Blocks]:
    """Names of functions, and what the loop knows of blocks."""
    size = max(trace.code, default=-1) + 1
    function, kind, marks = np.zeros(size, np.int32), np.zeros(size, np.int8), np.zeros(size, np.int8)
    begins, behind = np.zeros(size, np.uint64), np.zeros(size, np.uint64)
    names, numbers = [UNKNOWN, USER], {UNKNOWN: 0, USER: 1}
    for number, block in trace.code.items():
        found = symbols.at(block.pc)
        name = found[0] if found else USER if block.cpl == 3 else UNKNOWN
        function[number] = numbers.setdefault(name, len(names))
        if numbers[name] == len(names):
            names.append(name)
        instructions = Trace.disassemble(block)
        kind[number] = _ending(instructions)
        marks[number] = (stackloop.ENTRY * (found is not None and found[1] == 0) | stackloop.USER * (block.cpl == 3)
                         | stackloop.LOADS * (block.cpl != 3 and _switches(instructions))
                         | stackloop.LEAVES * (block.cpl != 3 and any(word == "leave" for _, _, word, _ in instructions)))
        begins[number], behind[number] = block.pc, block.pc + block.size & (1 << 64) - 1
    return names, stackloop.Blocks(function, kind, marks, begins, behind, numbers[USER])


def called(trace: Trace, rows: Iterable[tuple[Numbers, Numbers]], known: Symbols | None = None) -> Symbols:
    """Functions of code without names: where calls of rows (positions, numbers) lead to.  With `known`, only of code outside
    of ring 3 that it does not name."""
    calls = np.zeros(max(trace.code, default=-1) + 1, bool)
    for number, block in trace.code.items():
        if known is None or (block.cpl != 3 and known.at(block.pc) is None):
            calls[number] = _ending(Trace.disassemble(block)) == stackloop.CALL
    found: dict[int, str] = {}
    for positions, numbers in rows:
        at = np.flatnonzero(calls[numbers[:-1]])
        at = at[~np.isin(positions[at] + 1, trace.faults.positions) & (positions[at] + 1 == positions[at + 1])]
        for pair in np.unique(numbers[at].astype(np.int64) << 32 | numbers[at + 1]).tolist():
            to = trace.code[pair & 0xFFFFFFFF]
            if (known is None or known.at(to.pc) is None) and not _replaces(Trace.disassemble(to)):
                found[to.pc] = f"{to.pc:x}"             # the CALL inside a retpoline leads to no function
    return Symbols(found.items())


def functions_of(trace: Trace, symbols: Symbols | None) -> Symbols:
    """Names for all of a trace's functions: an address for those that `symbols` does not know."""
    others = called(trace, trace.pieces(), symbols)
    if not symbols:
        return others
    return Symbols([*zip(symbols.addresses, symbols.names, strict=True), *zip(others.addresses, others.names, strict=True)])


def _ending(instructions: list[tuple[int, int, str, str]]) -> int:
    """How a block ends; a RET behind a store to where its address lies is a jump (a retpoline)."""
    word = instructions[-1][2].split()[-1] if instructions else ""
    if _replaces(instructions):
        return stackloop.JUMP
    return stackloop.CALL if word in CALLS else stackloop.RETURN if word in RETURNS else 0


def _replaces(instructions: list[tuple[int, int, str, str]]) -> bool:
    """Whether they end in a RET to an address that takes the place of the last CALL's (a retpoline): a jump."""
    text = [f"{mnemonic} {operands}" for _, _, mnemonic, operands in instructions[-3:]]
    if len(text) < 2 or text[-1].split()[-1] != "ret":
        return False
    return bool(_REPLACED.match(text[-2]) or (text[-2].startswith("push ") and _DROPPED.fullmatch(text[0])))


def _switches(instructions: list[tuple[int, int, str, str]]) -> bool:
    """Whether they load the stack pointer."""
    return any((mnemonic in ("mov", "lss") and _LOAD.match(operands) and not operands.endswith("bp"))
               or (mnemonic == "xchg" and _EXCHANGE.search(operands))
               or (mnemonic == "pop" and operands in ("sp", "esp", "rsp"))
               for _, _, mnemonic, operands in instructions)


def _arrivals(trace: Trace) -> stackloop.Events:
    """Every exception and interrupt, in order."""
    events = trace.events.filter(pl.col("kind").is_in(list(TAKEN)))
    back = events["rip"].to_numpy() + events["cs_base"].to_numpy()
    kinds = events["kind"].to_list()
    back = np.where(np.array([kind == "software interrupt" for kind in kinds], bool), back + np.uint64(2), back)   # CDh n
    how = events["vector"].to_numpy().astype(np.int32) << 8 | np.array([TAKEN[kind] for kind in kinds], np.int32)
    return stackloop.Events(events["position"].to_numpy().astype(np.int64), back.astype(np.uint64), how.astype(np.int32),
                            events["cpl"].to_numpy() == 3)


def _moves(trace: Trace) -> stackloop.Moves:
    """Every load of the stack pointer that was recorded."""
    events = trace.events.filter(pl.col("kind") == layout.KINDS[layout.STACK])
    return stackloop.Moves(*(events[name].to_numpy().astype(kind) for name, kind in (
        ("position", np.int64), ("address", np.uint64), ("value", np.uint64))))


def _clock(trace: Trace, least: int) -> stackloop.Clock:
    places, times = trace.clock
    steps = np.diff(places)
    rates = np.divide(np.diff(times), steps, out=np.zeros(len(steps)), where=steps > 0)
    last = trace.meta.get("costs", {}).get("block", 0)
    return stackloop.Clock(places.astype(np.int64), times.astype(np.float64), np.append(rates, last), np.int64(least))


def _loops(length: int) -> tuple[Callable[..., int], Callable[..., None]]:
    """For so many blocks or nodes.  Raises BadTrace."""
    try:
        return _compiled()
    except ImportError:
        if length > PLAIN:
            raise BadTrace("call stacks of long traces are followed by numba: pip install 'emu-pc[profile]'") from None
        return stackloop.walk, stackloop.edges


@functools.cache
def _compiled() -> tuple[Callable[..., int], Callable[..., None]]:
    import numba

    return stackloop.compiled(numba.njit(cache=True, nogil=True))

