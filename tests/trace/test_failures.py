"""Recordings that end badly, and long ones: what was recorded reads, the guest goes on, and the memory is bounded."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from emu.assembler import assemble
from emu.boards.tiny import Tiny
from emu.firmware import build
from emu.trace.reader import BadTrace, Trace
from emu.trace.recording import Recording
from emu.trace.sink import TraceError

# Records a guest of 1 ms now and then, and says who writes, and before each pause the time and how many blocks there are
CHILD = """
import sys, time
from emu.assembler import assemble
from emu.boards.tiny import Tiny
from emu.trace.recording import Recording
m = Tiny(1 << 20)
m.load(assemble("again: jmp again", 0x7C00, 16), name="x")
r = Recording(m, sys.argv[1])
print(r.sink._child.pid, flush=True)
while True:
    m.run(m.now + 1_000_000)
    print(time.monotonic(), m.engine.recorded(), flush=True)
    r.poll()
    time.sleep(0.01)
"""


@pytest.mark.parametrize("both", [False, True])
def test_a_kill_loses_the_last_second_at_most(both, tmp_path):
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path / "t")], stdout=subprocess.PIPE, text=True)
    writer = int(child.stdout.readline())
    said = []
    while not said or said[-1][0] < said[0][0] + 1.6:
        at, blocks = child.stdout.readline().split()
        said.append((float(at), int(blocks)))
    for pid in (child.pid, writer) if both else (child.pid,):
        os.kill(pid, signal.SIGKILL)
    end = time.monotonic()
    said += [(float(at), int(blocks)) for at, blocks in
             (line.split() for line in child.stdout.read().splitlines() if line.count(" ") == 1)]
    child.wait()
    while Path(f"/proc/{writer}/cmdline").exists() and Path(f"/proc/{writer}/cmdline").read_bytes() and (
            time.monotonic() < end + 20):
        time.sleep(0.02)                            # alone, the writer writes what it has
    trace = Trace(tmp_path / "t")
    assert not trace.meta["complete"]
    assert trace.length >= max(blocks for at, blocks in said if at <= end - 1)
    assert len(trace.blocks()) == trace.length and set(trace.blocks().tolist()) <= set(trace.code)


def test_a_directory_that_goes_away_is_said_at_the_end_and_the_guest_goes_on(tmp_path):
    with Tiny() as m:
        m.load(build.kernel("ticks"))
        recording = Recording(m, tmp_path / "t")
        m.run(10_000_000)
        shutil.rmtree(tmp_path / "t")
        m.run(2_000_000_000)
        assert "ticks: done" in m.text
        with pytest.raises(TraceError, match=r"t: No such file or directory"):
            recording.stop()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "t"
    with Tiny() as m:
        m.load(build.kernel("hello"))
        with Recording(m, path):
            m.run(10_000_000)
    return path


@pytest.mark.parametrize("kind", ["blocks", "code", "events"])
@pytest.mark.parametrize("damage", ["cut", "zeros", "gone"])
def test_any_part_that_is_damaged_is_one_line_that_names_it(kind, damage, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "t")
    part = tmp_path / "t" / f"{kind}-000000.parquet"
    data = part.read_bytes()
    if damage == "gone":
        part.unlink()
    else:
        part.write_bytes(data[:len(data) // 2] if damage == "cut" else bytes(len(data)))
    trace = Trace(tmp_path / "t")
    with pytest.raises(BadTrace, match=re.escape(f"{part}: cannot be read")) as caught:
        trace.instructions()
    assert "\n" not in str(caught.value)


def resident(pid):
    """Bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_the_memory_of_both_processes_is_bounded_however_long_the_run(tmp_path):
    code = """
        mov word ptr [0x80], handler; mov word ptr [0x82], 0
    again:
        mov ecx, 200
    inner:
        dec ecx; jnz inner
        int 0x20
        jmp again
    handler:
        iret"""
    sizes = []
    with Tiny(1 << 20) as m:
        m.load(assemble(code, 0x7C00, 16), name="program")
        with Recording(m, tmp_path / "t") as recording:
            for tenths in range(4, 52, 4):              # a part comes and goes: peaks are compared, of either half
                m.run(tenths * 100_000_000)
                m.engine.recorded(hand_over=True)
                sizes.append([resident(os.getpid()), resident(recording.sink._child.pid)])
        blocks = m.engine.counters()["blocks"]
    assert blocks > 100_000_000 and Trace(tmp_path / "t").length == blocks
    half = len(sizes) // 2
    for before, after in zip(map(max, *sizes[:half]), map(max, *sizes[half:]), strict=True):
        assert after < before + (64 << 20)          # of blocks alone 960 MB have come in between
