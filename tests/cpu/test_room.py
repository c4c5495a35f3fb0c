"""Translations lie within the library's reach, whatever else the process has mapped."""

from __future__ import annotations

import subprocess
import sys

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
