"""What the guest was told is on the disk is on the disk, and the image is valid at every moment."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys

import pytest

from emu.host.disk import open_image
from emu.host.disk.qcow2.create import create
from tests.disk.crash import Disk, Model, Recorder
from tests.disk.tools import checked, needs_qemu_img, qemu_img

pytestmark = needs_qemu_img

SIZE = 2 << 20
LAYOUTS = [(16, 4), (9, 4), (9, 0), (9, 6), (12, 1), (10, 6)]


def random_write(chance):
    length = 512 * chance.choice((1, 2, 8, 64, 128, chance.randrange(1, 200)))
    data = bytes(length) if chance.random() < 0.2 else chance.randbytes(length)
    return chance.randrange(0, (SIZE - length) // 512 + 1) * 512, data


def new_image(path, chance):
    """An image of some layout, perhaps over another one, perhaps with a snapshot; and what is on its disk."""
    bits, order = chance.choice(LAYOUTS)
    below, disk = None, bytearray(SIZE)
    if chance.random() < 0.5:
        disk[:SIZE - 51200] = chance.randbytes(SIZE - 51200)
        (path.parent / "base.raw").write_bytes(disk)
        below = "base.raw"
    create(str(path), SIZE, cluster_bits=bits, refcount_order=order, backing=below, backing_format=below and "raw")
    if order and chance.random() < 0.6:
        with open_image(path, write=True) as medium:
            for _ in range(30):
                at, data = random_write(chance)
                medium.write(at, data)
                disk[at:at + len(data)] = data
        qemu_img("snapshot", "-c", "then", path)
    return disk


def recorded(path, chance, recorder, count):
    """Open, write and flush, close."""
    with open_image(path, write=True) as medium:
        for _ in range(count):
            if chance.random() < 0.2:
                medium.flush()
                recorder.mark("flushed")
            else:
                at, data = random_write(chance)
                recorder.mark("guest", at, data)
                medium.write(at, data)
    recorder.mark("flushed")


def survives(start, disk, log, chance, trial, share):
    """Crash at a `share` of the moments of `log`; look at each image, open it for writing, look again."""
    played, model = Disk(start), Model(disk)
    looked = 0
    for event in log:
        if event[0] == "guest":
            model.write(*event[1:])
        elif event[0] == "flushed":
            model.flush()
        else:
            played.play(event)
        if chance.random() < share:
            looked += 1
            trial.write_bytes(played.crashed(chance))
            errors, _ = checked(trial)
            assert errors == 0, event
            for write in (False, True):
                with open_image(trial, write=write) as medium:
                    assert model.wrong(medium.read(0, SIZE)) is None, event
            assert checked(trial) == (0, 0), event
    return looked


@pytest.mark.parametrize("seed", range(6))
def test_every_crash_leaves_a_valid_image_with_all_that_was_flushed(seed, tmp_path, monkeypatch):
    crash_everywhere(seed, tmp_path, monkeypatch, 0.08)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 160))
def test_every_crash_leaves_a_valid_image_of_many(seed, tmp_path, monkeypatch):
    crash_everywhere(seed, tmp_path, monkeypatch, 1.0)


def crash_everywhere(seed, tmp_path, monkeypatch, share):
    chance = random.Random(seed)
    image, trial = tmp_path / "a.qcow2", tmp_path / "trial.qcow2"
    disk = new_image(image, chance)
    start = image.read_bytes()
    recorder = Recorder(monkeypatch)
    recorded(image, chance, recorder, 60)
    monkeypatch.undo()
    assert survives(start, disk, recorder.log, chance, trial, share) > 10


@pytest.mark.parametrize("seed", range(2))
def test_a_crash_while_leaks_are_taken_back_is_survived_too(seed, tmp_path, monkeypatch):
    chance = random.Random(seed)
    image = tmp_path / "a.qcow2"
    disk = new_image(image, chance)
    recorder = Recorder(monkeypatch)
    start = image.read_bytes()
    recorded(image, chance, recorder, 20)
    played, model = Disk(start), Model(disk)
    cut = chance.randrange(len(recorder.log) // 2, len(recorder.log))
    for event in recorder.log[:cut]:
        if event[0] == "guest":
            model.write(*event[1:])
        elif event[0] == "flushed":
            model.flush()
        else:
            played.play(event)
    image.write_bytes(start := played.crashed(chance))
    with open_image(image) as medium:
        disk = medium.read(0, SIZE)
    assert model.wrong(disk) is None
    recorder.log.clear()
    recorded(image, chance, recorder, 20)
    monkeypatch.undo()
    assert survives(start, disk, recorder.log, chance, tmp_path / "trial.qcow2", 0.2)


def test_the_recorder_finds_a_missing_sync(tmp_path, monkeypatch):
    """The test of the test: without the sync between data and tables an image must be seen to break."""
    from emu.host.disk.file import File
    monkeypatch.setattr(File, "sync", lambda file: None)
    broken = 0
    for seed in range(3):
        chance = random.Random(seed)
        path = tmp_path / str(seed)
        path.mkdir()
        image = path / "a.qcow2"
        disk = new_image(image, chance)
        start = image.read_bytes()
        with pytest.MonkeyPatch.context() as patch:
            recorder = Recorder(patch)
            recorded(image, chance, recorder, 30)
        log = [event for event in recorder.log if event[0] != "sync"]
        try:
            survives(start, disk, log, chance, path / "trial.qcow2", 0.5)
        except Exception:
            broken += 1
    assert broken == 3


# -- a process that is killed

WRITER = """
import os, random, sys
from emu.host.disk import open_image
path, seed = sys.argv[1], int(sys.argv[2])
chance, sectors = random.Random(seed), [0] * 4096
with open_image(path, write=True) as medium:
    generation = seed * 1000000
    while True:
        generation += 1
        at, count = chance.randrange(0, 4096 - 64), chance.randrange(1, 64)
        medium.write(at * 512, b"".join(b"%16d%16d" % (at + n, generation) * 16 for n in range(count)))
        os.write(1, b"w %d %d %d\\n" % (at, count, generation))
        if chance.random() < 0.3:
            medium.flush()
            os.write(1, b"f %d\\n" % generation)
"""


def killed(tmp_path, count, seed=0):
    """`count` times a writer that is killed; after each the image is valid and has what was flushed."""
    chance = random.Random(seed)
    image = tmp_path / "a.qcow2"
    create(str(image), SIZE, cluster_bits=chance.choice((9, 12, 16)))
    flushed = [0] * 4096                                # the generation that each sector has at least
    later: list[set[int]] = [set() for _ in flushed]
    for number in range(1, count + 1):
        command = [sys.executable, "-c", WRITER, image, str(seed * 1000 + number)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            head = os.read(writer.stdout.fileno(), 65536)       # it writes
            try:
                writer.wait(chance.uniform(0, 0.06))
            except subprocess.TimeoutExpired:
                writer.send_signal(signal.SIGKILL)
            told = head + writer.stdout.read()
        for line in told.decode().splitlines():
            kind, *values = line.split()
            if kind == "w" and len(values) == 3:
                for sector in range(int(values[0]), int(values[0]) + int(values[1])):
                    later[sector].add(int(values[2]))
            elif kind == "f":
                for sector, generations in enumerate(later):
                    flushed[sector] = max(generations, default=flushed[sector])
                    generations.clear()
        assert checked(image)[0] == 0
        with open_image(image) as medium:
            for sector in range(4096):
                data = medium.read(sector * 512, 512)
                found = int(data[16:32]) if data[0] else 0
                assert not found or data == b"%16d%16d" % (sector, found) * 16
                # the write under way when it died may be there, though it was not told any more
                assert found >= flushed[sector], f"sector {sector} after {number}: {found}, and {flushed[sector]} was flushed"
                flushed[sector] = found
        for generations in later:
            generations.clear()
    open_image(image, write=True).close()
    assert checked(image) == (0, 0)


def test_a_writer_that_is_killed_leaves_what_it_flushed(tmp_path):
    killed(tmp_path, 4)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5))
def test_a_writer_that_is_killed_50_times(seed, tmp_path):
    killed(tmp_path, 10, seed + 1)
