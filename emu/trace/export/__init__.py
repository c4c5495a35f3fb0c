"""A trace for other programs: each format in a file of its own, each a function (Job) -> None that writes to `job.out`.

| format     | for                                              | what is in it
| ---------- | ------------------------------------------------ | ---
| perfetto   | ui.perfetto.dev, trace_processor                 | a track of nested calls for each task, tracks for devices
| drcov      | Lighthouse, Cartographer and other disassemblers | which blocks ran
| lcov       | genhtml, editors                                 | how often each source line ran; needs DWARF
| callgrind  | callgrind_annotate, KCachegrind                  | instructions by function, address and line, and calls
| speedscope | speedscope.app                                   | nested calls over guest time, of all and of each task
| text       | people                                           | every instruction, with the events in between
| json       | programs                                         | the same, a JSON object a line
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO

import numpy as np

from emu.trace.select import Selection
from emu.trace.sources import Sources
from emu.trace.stacks import TAKEN, Row, Walk, functions_of
from emu.trace.symbols import Symbols
from emu.trace.text import EXCEPTIONS, Name, no_name
from emu.trace.window import Numbers

UNKNOWN = "(unknown)"
TITLE = 3                       # functions in the title of a task
STEPS = 100_000                 # of a time line, unless it is asked for otherwise


@dataclass
class Job:
    """One export.  Formats raise BadTrace for what they cannot do without."""

    selection: Selection
    out: IO[bytes]
    name: Name = no_name
    sources: Sources = field(default_factory=Sources)
    syntax: str = "intel"
    symbols: Symbols | None = None
    shortest: int | None = None     # ns of a slice of a time line; None: what leaves a file that can be opened

    def walk(self, least: int = -1) -> Walk:
        """Stacks to be followed.  Without symbols, functions are where calls lead to."""
        trace = self.selection.trace
        return Walk(trace, functions_of(trace, self.symbols), least)

    def function(self, address: int) -> str:
        """The function in which an address lies."""
        return (self.name(address) or UNKNOWN).split("+")[0]

    def write(self, text: str) -> None:
        self.out.write(text.encode())


def counts(selection: Selection) -> tuple[Numbers, Numbers]:
    """(addresses, how often the instruction there began), ascending."""
    code = selection.trace.instruction_counts
    totals: dict[int, int] = {}
    whole = np.zeros(len(code), np.int64)
    for _, numbers, lengths in selection.runs():
        cut = lengths < code[numbers]
        whole += np.bincount(numbers[~cut], minlength=len(code))
        once = np.unique(selection.trace.expand(numbers[cut], lengths[cut]), return_counts=True)
        for address, count in zip(*once, strict=True):
            totals[int(address)] = totals.get(int(address), 0) + int(count)
    ran = np.flatnonzero(whole)
    for number in ran.tolist():
        one = np.array([number])
        for address in selection.trace.expand(one, code[one]).tolist():
            totals[address] = totals.get(address, 0) + int(whole[number])
    addresses = np.array(sorted(address for address in totals if selection.inside(address)), np.uint64)
    return addresses, np.array([totals[address] for address in addresses.tolist()], np.int64)


@dataclass(frozen=True)
class Slice:
    """What ran without a break from `begin` to `end`, in ns of guest time: a frame of `task`'s stack at `level`; `taken` is
    the exception or interrupt that has pushed it."""

    begin: int
    end: int
    task: int
    level: int
    function: str
    taken: str = ""


def functions(job: Job) -> list[Slice]:
    """The frames of all stacks while their task ran, by begin and level, those of at least job.shortest ns.  A slice lies
    inside of the one of its caller.  Between two events time is counted by blocks."""
    walk = job.walk(_shortest(job))
    parts = [part for row in rows(job.selection) for part in walk.follow(row)]
    parts += walk.end()
    if not parts:
        return []
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    order = np.lexsort((columns[3], columns[0]))
    tree = walk.tree()
    return [Slice(begin, end, task, level, tree.names[tree.function[node]], _taken(how))
            for begin, end, task, level, node, how in zip(*(column[order].tolist() for column in columns), strict=True)]


def _shortest(job: Job) -> int:
    if job.shortest is not None:
        return job.shortest
    places, times = job.selection.trace.clock
    begin, end = np.interp([job.selection.first, job.selection.last], places, times)
    return int(end - begin) // STEPS


def tasks(slices: Iterable[Slice]) -> dict[int, str]:
    """A title for each task: its number, and the outermost functions, as far as one has most of its time."""
    times: dict[int, list[dict[str, int]]] = {}
    for one in slices:
        levels = times.setdefault(one.task, [{} for _ in range(TITLE)])
        if one.level < TITLE:
            levels[one.level][one.function] = levels[one.level].get(one.function, 0) + one.end - one.begin
    titles = {}
    for task, levels in times.items():
        most = [max(level, key=level.__getitem__) for level in levels if level]
        whole = sum(levels[0].values())
        path = [name for name, level in zip(most, levels, strict=False) if 2 * level.get(name, 0) > whole]
        titles[task] = f"task {task}: {'/'.join(path) or UNKNOWN}"
    return titles


def _taken(how: int) -> str:
    vector, kind = how >> 8, {number: kind for kind, number in TAKEN.items()}.get(how & 0xFF, "")
    return EXCEPTIONS.get(vector, f"exception {vector:#x}") if kind == "exception" else f"{kind} {vector:#x}" if kind else ""


def rows(selection: Selection) -> Iterator[Row]:
    """The blocks from the trace's begin on, so that its stacks are known where the selection begins; the weight is the number
    of instructions, 0 of what does not pass."""
    trace, first, last = selection.trace, selection.first, selection.last
    for positions, numbers in trace.pieces(0, first):
        nothing = np.zeros(len(numbers), np.int64)
        yield numbers, positions, nothing, nothing.astype(np.int8)
    for positions, numbers, lengths in trace.runs(first, max(last - first, 0)):
        if selection.window.by_block:
            passes = selection.passes[numbers]
            yield numbers, positions, np.where(passes, lengths, 0), passes.astype(np.int8)
        else:
            yield numbers, positions, lengths, np.ones(len(numbers), np.int8)


def formats() -> dict[str, Callable[[Job], None]]:
    """Every format by its name."""
    from emu.trace.export import callgrind, drcov, lcov, lines, perfetto, speedscope

    return {"perfetto": perfetto.write, "drcov": drcov.write, "lcov": lcov.write, "callgrind": callgrind.write,
            "speedscope": speedscope.write, "text": lines.text, "json": lines.as_json}
