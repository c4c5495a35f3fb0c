"""Traces that were damaged in any way: each command works, or says one line and ends with status 2."""

from __future__ import annotations

import json
import random
import shutil

import pytest

from emu.boards.tiny import Tiny
from emu.cli import main
from emu.firmware import build
from emu.trace.recording import Recording

VALUES = None, -1, 0, 1, 1 << 62, 1 << 70, 1e400, "", "x", [], [1], {}, {"a": 1}, True, -5.5, "../../etc/passwd"
COMMANDS = (["trace", "show"], ["trace", "stats"], ["trace", "diff", "WHOLE"], ["explain"], ["explain", "--json"],
            *(["trace", "export", "--format", kind, "-o", "OUT"] for kind in
              ("perfetto", "drcov", "callgrind", "speedscope", "json")))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("trace") / "whole"
    with Tiny(4 << 20) as m:
        m.load(build.kernel("ring3"))
        with Recording(m, path, "memory"):
            m.run(2_000_000)
    return path


def nodes(value):
    """(container, key) of everything in it."""
    for key, below in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(below, (dict, list)):
            yield from nodes(below)


def damage_meta(path, rng):
    """One value of meta.json is another, or gone, or a byte of it is."""
    data = (path / "meta.json").read_bytes()
    meta = json.loads(data)
    where, key = rng.choice(list(nodes(meta)))
    how = rng.random()
    if how < 0.3:
        del where[key]
    elif how < 0.8:
        where[key] = rng.choice(VALUES)
    else:
        data = bytearray(data)
        data[rng.randrange(len(data))] = rng.randrange(256)
        (path / "meta.json").write_bytes(data)
        return
    (path / "meta.json").write_text(json.dumps(meta))


def damage_part(path, rng):
    """A part is cut, gone, a directory, or has wrong bytes."""
    part = rng.choice(sorted(path.glob("*.parquet")))
    data, how = bytearray(part.read_bytes()), rng.random()
    part.unlink()
    if how < 0.1:
        return
    if how < 0.2:
        part.mkdir()
        return
    if how < 0.4:
        del data[rng.randrange(len(data)):]
    else:
        for _ in range(rng.choice((1, 2, 20))):
            data[rng.randrange(len(data))] = rng.randrange(256)
    part.write_bytes(data)


@pytest.mark.parametrize("damage", [damage_meta, damage_part])
def test_damage_of_any_kind_is_one_line(damage, whole, tmp_path, capfd):
    rng, refused = random.Random(damage.__name__), 0
    for round_ in range(60):
        path = tmp_path / "t"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(whole, path)
        damage(path, rng)
        for command in rng.sample(COMMANDS, 3):
            words = [{"WHOLE": str(whole), "OUT": str(tmp_path / "out")}.get(word, word) for word in command]
            status = main([*words, str(path)])
            lines = capfd.readouterr().err.splitlines()
            assert (status in (0, 1) and not lines) or (status == 2 and len(lines) == 1), (round_, command, lines)
            refused += status == 2
    assert refused > 20


def test_a_part_cannot_lie_outside_of_the_trace(whole, tmp_path, capfd):
    shutil.copytree(whole, tmp_path / "t")
    meta = json.loads((whole / "meta.json").read_text())
    meta["parts"][0]["file"] = f"../../{whole.parent.name}/whole/{meta['parts'][0]['file']}"
    (tmp_path / "t" / "meta.json").write_text(json.dumps(meta))
    assert main(["trace", "show", str(tmp_path / "t")]) == 2
    assert "meta.json is damaged: parts" in capfd.readouterr().err
