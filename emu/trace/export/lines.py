"""text and json: see text.py."""

from __future__ import annotations

from emu.trace.export import Job
from emu.trace.text import Lines


def text(job: Job) -> None:
    """Every instruction, with the events in between."""
    for piece in Lines(job.selection, job.name, job.syntax):
        job.write(piece)


def as_json(job: Job) -> None:
    """An object a line: {"address", "text", "cpl", "symbol"} or {"time", "kind", ...}."""
    for piece in Lines(job.selection, job.name, job.syntax, as_json=True):
        job.write(piece)
