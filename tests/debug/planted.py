"""Kernels with a planted bug: tests/debug/kernels, each run until it dies, or for half a second of guest time."""

from __future__ import annotations

import functools
from pathlib import Path

from emu.assembler import assemble_file
from emu.boards.tiny import Tiny
from emu.debug.explain import explain

HERE = Path(__file__).parent / "kernels"
HALF = 500_000_000              # ns


@functools.cache
def image(name):
    return assemble_file(HERE / f"{name}.asm")


def died(name, until=HALF):
    """(how it ended, its explanation, what it said)."""
    with Tiny() as machine:
        machine.load(image(name), name=name)
        end = machine.run(until)
        return end, explain(machine, end.value), machine.text
