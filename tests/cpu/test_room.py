"""Translations lie within the library's reach, the engine's structure out of theirs, whatever the process has mapped."""

from __future__ import annotations

import site
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import mmap
from emu.boards.tiny import Tiny                # the library is loaded here
filling = [mmap.mmap(-1, 1 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000, prot=0) for _ in range(6)]
from emu.firmware import build
for _ in range(6):
    with Tiny() as m:
        m.load(build.kernel("hello"))
        m.run()
        heads = m.engine.techniques()["budget"]
        assert heads["matched"] > 10 and heads["left"] == 0, heads
"""


def test_a_process_full_of_other_things_runs_as_fast():
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=60)


def test_a_heap_in_the_first_4_gib_costs_nothing():
    path = Path(f"/usr/bin/python3.{sys.version_info.minor}")
    if not path.exists() or path.read_bytes()[16:18] != b"\2\0":               # ELF, ET_EXEC
        pytest.skip(f"{path} is not a program at a fixed address")
    ours = "".join(f"import site; site.addsitedir({place!r})\n" for place in site.getsitepackages())
    subprocess.run([path, "-c", ours + PROGRAM], check=True, timeout=60)


FROZEN = """
import gc
from emu.boards.tiny import Tiny
from emu.firmware import build
kernel = build.kernel("hello")
for _ in range(12):                             # more than there is room for
    m = Tiny()
    m.load(kernel)
    m.run()
    heads = m.engine.techniques()["budget"]
    assert heads["matched"] > 10 and heads["left"] == 0, heads
    m.itself = m
    gc.freeze()
"""


def test_machines_that_nobody_closed_and_the_collector_does_not_see_hold_no_room():
    subprocess.run([sys.executable, "-c", FROZEN], check=True, timeout=60)
