"""Wherever a run is cut, and wherever it is saved and restored in a new process, it ends in the same state."""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys

import pytest

from tests.boot import APT, fetched

pytestmark = [pytest.mark.boot, APT]
END = 9_000_000_000         # ns of guest time: the shell is up
CUTS, SAVES = 1000, 20

RUNNER = """
import json, sys
from emu import snapshot
from emu.boards.pc import PC
job = json.load(sys.stdin)
if job["restore"]:
    m = snapshot.load(job["restore"])
else:
    m = PC(192 << 20)
    m.load(job["kernel"], initrd=job["initrd"], append="console=ttyS0 rdinit=/bin/sh")
for time in job["times"]:
    m.run(time)
if job["save"]:
    snapshot.save(m, job["save"])
print(json.dumps([m.now, m.engine.counters(), m.text, m.state_sha256()]))
"""


def run(image, times, restore=None, save=None):
    job = {"kernel": str(image.kernel), "initrd": str(image.initrd), "times": times, "restore": restore, "save": save}
    done = subprocess.run([sys.executable, "-c", RUNNER], input=json.dumps(job), capture_output=True, text=True,
                          timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_debian_cut_at_1000_places_and_carried_through_20_processes_ends_as_the_run_left_alone(tmp_path):
    image = fetched("debian-i386")
    whole = run(image, [END])
    assert "~ # " in whole[2]
    chance = random.Random(1)
    cuts = sorted(chance.randrange(END) for _ in range(CUTS))
    saves = [0, *sorted(chance.sample(range(1, CUTS), SAVES)), CUTS]
    pieces = [cuts[first:last] for first, last in itertools.pairwise(saves)]
    pieces[-1].append(END)
    snapshot = None
    for i, times in enumerate(pieces):
        after = str(tmp_path / f"{i % 2}.emu") if i < SAVES else None
        last = run(image, times, snapshot, after)
        snapshot = after
    assert last == whole
