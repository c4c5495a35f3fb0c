"""The ledger counts every exit, attributes it, and changes no run."""

from __future__ import annotations

import json

import pytest

from emu.boards.pc import PC
from emu.boards.tiny import Tiny
from emu.cli import main
from emu.debug.ledger import Ledger, told
from emu.firmware import build
from emu.trace.recording import Recording
from tests import guests


def run(name, board=Tiny, until=2_000_000_000):
    """(the ledger's facts, its lines, counters since its start, digest)."""
    with board() as machine:
        machine.load(build.kernel(name), name=name)
        with Ledger(machine) as ledger:
            machine.run(until)
            facts = ledger.facts(lambda address: f"kernel+{address:#x}" if address >= 0x100000 else None)
        return facts, told(facts), machine.engine.counters(), machine.state_sha256()


@pytest.mark.parametrize("board", [Tiny, PC])
@pytest.mark.parametrize("name", ["ticks", "ring3"])
def test_it_changes_no_run(name, board):
    with board() as machine:
        machine.load(build.kernel(name), name=name)
        machine.run(2_000_000_000)
        alone = machine.state_sha256(), machine.engine.counters()
    _, _, counters, digest = run(name, board)
    assert (digest, counters) == alone


def test_every_access_is_counted_once():
    facts, _, counters, _ = run("ticks")
    for way in "read", "write":
        there = facts["native"][f"port_{way}s"]
        served = sum(row["count"] for row in facts["rows"] if row["way"] == f"port {way}")
        assert there == {"all": counters[f"port_{way}s"], "python": served, "native": counters[f"port_{way}s"] - served}
        assert there["native"] > 0
    rows = {(row["way"], row["name"]): row for row in facts["rows"]}
    assert rows["acknowledge", "pic1"]["count"] == 50 and rows["port write", "pit.CONTROL"]["count"] == 1
    sent = rows["port write", "com1.THR"]["count"] + rows["port later", "com1.THR"]["native"]
    assert sent == len(facts_text("ticks"))
    assert rows["hlt", "processor"]["count"] >= 49 and rows["alarm", "pit.EDGE0"]["count"] >= 49


def facts_text(name):
    with Tiny() as machine:
        machine.load(build.kernel(name), name=name)
        machine.run(2_000_000_000)
        return machine.console.kept


def test_times_add_up_and_each_is_its_own():
    facts, lines, _, _ = run("ticks")
    assert sum(row["ns"] for row in facts["rows"]) == facts["exits_ns"] == sum(row["ns"] for row in facts["devices"])
    assert facts["guest_ns"] + facts["exits_ns"] + facts["other_ns"] == facts["host_ns"]
    assert all(row["ns"] >= 0 for row in facts["rows"])
    assert [row["ns"] for row in facts["rows"]] == sorted((row["ns"] for row in facts["rows"]), reverse=True)
    assert facts["functions"][0]["name"] == "kernel" and len(facts["functions"]) == 1
    assert lines[0].startswith("the ledger of exits") and any("pit.CONTROL" in line for line in lines)


def test_nothing_of_it_stays():
    with Tiny() as machine:
        machine.load(guests.flat("hello"), name="hello")
        before = {name: dict(vars(chip)) for name, chip in machine.chips.items()}
        with Ledger(machine):
            machine.run(1_000)
        assert machine.ports.meter is None and machine.mmio.meter is None
        assert "run" not in vars(machine.engine) and "_sleep" not in vars(machine)
        assert "serve" not in vars(machine["pic1"]) and before.keys() == machine.chips.keys()


def test_a_recording_may_begin_and_end_inside(tmp_path):
    with Tiny() as machine:
        machine.load(build.kernel("ticks"), name="ticks")
        with Ledger(machine) as ledger:
            with Recording(machine, tmp_path / "t"):
                machine.run(100_000_000)
            machine.run(2_000_000_000)
            facts = ledger.facts()
        digest = machine.state_sha256()
    assert digest == run("ticks")[3]
    assert facts["native"]["port_writes"]["all"] == run("ticks")[2]["port_writes"]


def test_a_disk_command_has_its_own_account(tmp_path, capfd):
    disk, report = tmp_path / "disk.img", tmp_path / "report"
    disk.write_bytes(guests.flat("spin").ljust(510, b"\0") + b"\x55\xAA" + bytes(1 << 20))
    assert main(["boot", "--disk", str(disk), "--serial", "none", "--timeout", "3", "--ledger", "--report", str(report)]) == 4
    facts = json.loads(report.read_text())["ledger"]
    rows = {(row["way"], row["name"]): row for row in facts["rows"]}
    assert rows["medium read", "hd0"]["count"] >= 1
    err = capfd.readouterr().err
    assert "emu: the ledger of exits" in err and "by guest function" in err and "never reached Python" in err
