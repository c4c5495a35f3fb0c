"""speedscope: the stacks over guest time, as evented profiles: one of the processor, and one of each task.

Source: speedscope's file-format-spec.ts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from emu.trace.export import Job, Slice, functions, tasks

SCHEMA = "https://www.speedscope.app/file-format-schema.json"
AT_ONCE = 1 << 16


def write(job: Job) -> None:
    """See export/__init__.py."""
    slices = functions(job)
    frames: dict[str, int] = {}
    for one in slices:
        for name in _names(one):
            frames.setdefault(name, len(frames))
    by_task: dict[int, list[Slice]] = {}
    for one in slices:
        by_task.setdefault(one.task, []).append(one)
    named = tasks(slices)
    profiles = [("processor", slices), *((named[task], own) for task, own in by_task.items() if len(by_task) > 1)]
    name = str(job.selection.trace.path)
    job.write(f'{{"$schema":"{SCHEMA}","exporter":"emu","name":{json.dumps(name)},"activeProfileIndex":0,'
              f'"shared":{{"frames":{json.dumps([{"name": frame} for frame in frames])}}},"profiles":[')
    for number, (title, own) in enumerate(profiles):
        begin, end = min((one.begin for one in own), default=0), max((one.end for one in own), default=0)
        job.write((",\n" if number else "\n") + f'{{"type":"evented","name":{json.dumps(title)},"unit":"nanoseconds",'
                  f'"startValue":{begin},"endValue":{end},"events":[')
        pieces: list[str] = []
        separator = ""
        for kind, frame, at in _events(own):
            pieces.append(f'{{"type":"{kind}","frame":{frames[frame]},"at":{at}}}')
            if len(pieces) == AT_ONCE:
                job.write(separator + ",\n".join(pieces))
                pieces, separator = [], ",\n"
        job.write((separator if pieces else "") + ",\n".join(pieces) + "]}")
    job.write("]}\n")


def _names(one: Slice) -> list[str]:
    return [one.taken, one.function] if one.taken else [one.function]


def _events(slices: list[Slice]) -> Iterator[tuple[str, str, int]]:
    """(O or C, frame, when)."""
    open_: list[tuple[str, int]] = []
    for one in slices:
        while open_ and open_[-1][1] <= one.begin:
            yield "C", *open_.pop()
        for name in _names(one):
            yield "O", name, one.begin
            open_.append((name, one.end))
    while open_:
        yield "C", *open_.pop()
