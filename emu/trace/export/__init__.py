"""A trace for other programs: each format in a file of its own, each a function (Job) -> None that writes to `job.out`.

| format     | for                                              | what is in it
| ---------- | ------------------------------------------------ | ---
| perfetto   | ui.perfetto.dev, trace_processor                 | functions over guest time, and a track for each device
| drcov      | Lighthouse, Cartographer and other disassemblers | which blocks ran
| lcov       | genhtml, editors                                 | how often each source line ran; needs DWARF
| callgrind  | callgrind_annotate, KCachegrind                  | instructions by function, address and line
| speedscope | speedscope.app                                   | functions over guest time
| text       | people                                           | every instruction, with the events in between
| json       | programs                                         | the same, a JSON object a line
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO

import numpy as np

from emu.trace.select import Selection
from emu.trace.sources import Sources
from emu.trace.text import Name, no_name
from emu.trace.window import Numbers

UNKNOWN = "(unknown)"


@dataclass
class Job:
    """One export.  Formats raise BadTrace for what they cannot do without."""

    selection: Selection
    out: IO[bytes]
    name: Name = no_name
    sources: Sources = field(default_factory=Sources)
    syntax: str = "intel"

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


def functions(job: Job) -> Iterator[tuple[float, float, str]]:
    """(begin, end, function) in ns of guest time: what ran when, as far as it was kept; none overlap.

    Without symbols, the levels of privilege.  Between two events time is counted by blocks.
    """
    trace = job.selection.trace
    places, times = trace.clock
    known: dict[str, int] = {}
    which = np.zeros(max(trace.code, default=-1) + 1, np.int64)
    for number, block in trace.code.items():
        label = f"CPL {block.cpl}" if job.name is no_name else job.function(block.pc)
        which[number] = known.setdefault(label, len(known))
    labels = list(known)
    begin, function, after = 0.0, -1, -1
    for positions, numbers, _ in job.selection.runs():
        row = which[numbers]
        changes = np.flatnonzero((np.diff(row, prepend=function) != 0) | (np.diff(positions, prepend=after - 1) != 1))
        ends = np.where(changes > 0, positions[changes - 1] + 1, after)
        begins_at, ends_at = np.interp(positions[changes], places, times), np.interp(ends, places, times)
        for index, start, end in zip(changes.tolist(), begins_at.tolist(), ends_at.tolist(), strict=True):
            if function >= 0:
                yield begin, end, labels[function]
            begin, function = start, int(row[index])
        after = int(positions[-1]) + 1
    if function >= 0:
        yield begin, float(np.interp(after, places, times)), labels[function]


def formats() -> dict[str, Callable[[Job], None]]:
    """Every format by its name."""
    from emu.trace.export import callgrind, drcov, lcov, lines, perfetto, speedscope

    return {"perfetto": perfetto.write, "drcov": drcov.write, "lcov": lcov.write, "callgrind": callgrind.write,
            "speedscope": speedscope.write, "text": lines.text, "json": lines.as_json}
