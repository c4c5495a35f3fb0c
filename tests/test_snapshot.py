"""A snapshot goes on exactly, in another process; a file that is none is told in one line."""

from __future__ import annotations

import io
import json
import random
import struct
import subprocess
import sys
import zipfile

import pytest

from emu import snapshot
from emu.boards.pc import PC
from emu.boards.tiny import Tiny
from emu.cli import main
from emu.firmware import build
from emu.snapshot import BadSnapshot
from tests import guests

MIB = 1 << 20


def boot(*arguments):
    return main(["boot", "--serial", "none", *map(str, arguments)])


def report(path):
    value = json.loads(path.read_text())
    for name in ("host_seconds", "notes", "techniques"):        # what this process learned and translated, in its order
        value.pop(name)
    return value


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The default kernel, typed to, until it leaves."""
    path = tmp_path_factory.mktemp("whole")
    (path / "script").write_text('send "\\nticks\\nfault\\nregs\\nexit 3\\n"\nwait 60\n')
    assert boot("--script", path / "script", "--report", path / "report") == 7
    return path


@pytest.mark.parametrize("seed", range(4))
def test_a_run_cut_anywhere_and_restored_in_a_new_process_ends_the_same(seed, whole, tmp_path):
    end = report(whole / "report")
    cut = random.Random(seed).uniform(0, end["guest_ns"] / 1e9)
    assert boot("--script", whole / "script", "--timeout", cut, "--save", tmp_path / "snapshot") == 4
    done = subprocess.run([sys.executable, "-m", "emu", "boot", "--serial", "none", "--restore", tmp_path / "snapshot",
                           "--report", tmp_path / "report"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 7, done.stderr
    assert report(tmp_path / "report") == end


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "snapshot"
    with Tiny() as machine:
        machine.load(build.kernel("ticks"))
        machine.run(105_000_000)
        snapshot.save(machine, path)
    return path


def test_the_console_goes_on_where_it_was(saved):
    with snapshot.load(saved) as machine:
        assert machine.text.endswith("ticks: 10\r\n") or machine.text.endswith("ticks: 10\n")
        machine.run()
        assert machine.exit_code == 33 and "ticks: 10" in machine.text and "ticks: done" in machine.text


def test_a_reset_after_the_restore_starts_the_same_kernel(saved):
    with snapshot.load(saved) as machine:
        machine.ask_reset()
        machine.run()
        assert machine.exit_code == 33 and machine.text.count("runs at 100 Hz") == 2


def test_only_pages_that_are_not_zero_are_written(tmp_path):
    path = tmp_path / "snapshot"
    with PC(64 * MIB) as machine:
        machine.write(50 * MIB + 5, b"here")
        snapshot.save(machine, path)
    with zipfile.ZipFile(path) as archive:
        assert len(archive.read("memory/ram")) < 4 * snapshot.PAGE
    assert path.stat().st_size < 100_000
    with snapshot.load(path) as machine:
        assert machine.read(50 * MIB + 4, 6) == b"\0here\0"


def test_the_same_state_is_the_same_file(saved, tmp_path):
    with snapshot.load(saved) as machine:
        snapshot.save(machine, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == saved.read_bytes()


@pytest.mark.parametrize("options, said", [
    (["--memory", "32M"], "--memory 32M: the machine in {} has 16M"),
    (["--cpu", "486"], "--cpu 486: the machine in {} has qemu64"),
    (["--machine", "pc"], "--machine pc: the machine in {} has tiny"),
])
def test_options_that_contradict_a_snapshot_are_refused(options, said, saved, capfd):
    assert boot("--restore", saved, *options) == 2
    assert capfd.readouterr().err == f"emu: {said.format(saved)}\n"


def test_options_that_agree_are_not(saved):
    assert boot("--restore", saved, "--memory", "16M", "--machine", "tiny") == 33


def changed(path, **members):
    """The snapshot with other members (bytes, or a function of the old bytes; None: without it)."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    for name, value in members.items():
        name = name.replace("_", "/" if name == "memory_ram" else ".")
        content[name] = value(content[name]) if callable(value) else value
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            if data is not None:
                archive.writestr(name, data)
    path.write_bytes(out.getvalue())


def state(**values):
    return lambda old: json.dumps({**json.loads(old), **values}).encode()


def configured(**values):
    def change(old):
        value = json.loads(old)
        value["configuration"].update(values)
        return json.dumps(value).encode()
    return change


def chip(name, **values):
    def change(old):
        value = json.loads(old)
        value["state"]["chips"][name].update(values)
        return json.dumps(value).encode()
    return change


@pytest.mark.parametrize("members, said", [
    ({"state_json": state(emu=3)}, "of version 3; this program reads version 2"),
    ({"state_json": None}, "not a snapshot of emu"),
    ({"state_json": b"[]"}, "not a snapshot of emu"),
    ({"state_json": b"[" * 100_000}, "damaged"),
    ({"state_json": b'{"emu": 2}'}, "damaged"),
    ({"state_json": state(state={})}, "damaged"),
    ({"state_json": configured(machine="mac")}, "'mac'"),
    ({"state_json": configured(memory=1 << 60)}, "more than this host has"),
    ({"state_json": configured(memory="much")}, "damaged"),
    ({"state_json": configured(memory=32 * MIB)}, "16384 KiB of ram"),
    ({"state_json": configured(cpu="z80")}, "no CPU model named z80"),
    ({"state_json": configured(costs={"beer": 3})}, "damaged"),
    ({"state_json": chip("pic1", imr={})}, "damaged (pic1: IMR)"),
    ({"state_json": chip("pic1", imr=256)}, "damaged (pic1: IMR)"),
    ({"state_json": chip("com1", rx="x")}, "damaged (com1: RX)"),
    ({"state_json": state(console={"first": "x", "chain": b"".hex()})}, "damaged"),
    ({"memory_ram": b"abc"}, "damaged or cut short"),
    ({"memory_ram": None}, "damaged"),
    ({"memory_ram": struct.pack("<QI", 16 * MIB, 1) + b"x"}, "damaged"),
    ({"memory_ram": struct.pack("<QI", 0, 0xFFFFFFFF) + b"x"}, "damaged"),
    ({"memory_ram": (struct.pack("<QI", 0, 1) + b"x") * 2}, "damaged"),
    ({"start": (struct.pack("<QI", 0, MIB) + bytes(MIB)) * 40}, "damaged"),       # a bomb: 40 KiB that become 40 MiB
])
def test_a_snapshot_of_something_else_is_one_line(members, said, saved, capfd):
    changed(saved, **members)
    assert boot("--restore", saved) == 2
    err = capfd.readouterr().err
    assert err.startswith(f"emu: {saved}: ") and said in err and err.count("\n") == 1


@pytest.mark.parametrize("cut", [0, 3, 100, -100, -1])
def test_a_truncated_snapshot_is_one_line(cut, saved, capfd):
    saved.write_bytes(saved.read_bytes()[:cut])
    assert boot("--restore", saved) == 2
    assert capfd.readouterr().err.startswith(f"emu: {saved}: ")


def test_flipped_bytes_are_found_or_change_nothing(saved, capfd):
    data = saved.read_bytes()
    chance = random.Random(1)
    for _ in range(25):
        at = chance.randrange(len(data))
        saved.write_bytes(data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1:])
        assert boot("--restore", saved) in (2, 33)
        assert "Traceback" not in capfd.readouterr().err


def test_a_snapshot_of_a_machine_that_was_never_loaded(tmp_path):
    with Tiny() as machine:
        machine.write(0x7C00, guests.flat("exit5"))
        snapshot.save(machine, tmp_path / "snapshot")
    with snapshot.load(tmp_path / "snapshot") as machine:
        assert machine.start is None and machine.read(0x7C00, 2) == guests.flat("exit5")[:2]


def test_an_unfinished_snapshot_leaves_the_older_one(saved, monkeypatch):
    before = saved.read_bytes()
    monkeypatch.setattr(snapshot, "_used", lambda memory: 1 / 0)
    with Tiny() as machine, pytest.raises(ZeroDivisionError):
        snapshot.save(machine, saved)
    assert saved.read_bytes() == before and [p.name for p in saved.parent.iterdir()] == ["snapshot"]


def test_bad_files_raise_only_bad_snapshot(tmp_path):
    for data in (b"", b"PK", b"PK\3\4", random.Random(2).randbytes(5000), b"PK\3\4" + random.Random(3).randbytes(5000)):
        (tmp_path / "x").write_bytes(data)
        with pytest.raises(BadSnapshot):
            snapshot.load(tmp_path / "x")
