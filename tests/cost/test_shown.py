"""A record is shown as a table, a picture and a page, and checked, without anything being started."""

from __future__ import annotations

import copy
import json
import re
import subprocess
from pathlib import Path

import pytest

from emu import cli
from emu.cost import explain, page, plot, shape, table
from emu.cost.kernelview import facts, verdict

RECORD = Path(__file__).with_name("record.json")


@pytest.fixture
def record():
    return json.loads(RECORD.read_bytes())


@pytest.fixture(autouse=True)
def nothing_is_started(monkeypatch, request):
    if "starts" not in request.keywords:
        def refuse(*arguments, **options):
            raise AssertionError(f"started {arguments}")
        monkeypatch.setattr(subprocess, "Popen", refuse)


def test_the_recorded_run_has_the_shape_of_the_literature(record):
    verdicts = [verdict for verdict in shape.check(record) if "over QEMU" not in verdict.what]
    assert len(verdicts) == len(shape.BOUNDS)
    assert [str(verdict) for verdict in verdicts if not verdict.kept] == []


def test_a_record_of_another_shape_is_told(record):
    bent = copy.deepcopy(record)
    form = next(form for form in bent["forms"] if form["name"] == "runc")
    form["cells"]["cpu"]["cpu"]["median"] *= 3
    assert [verdict.what for verdict in shape.check(bent) if verdict.kept is False and "runc" in verdict.what] == [
        "cpu in runc, over a process"]
    with pytest.raises(ValueError):
        list(shape.check({"format": 2}))


def test_every_form_is_a_line_of_the_table(record):
    shown = table.table(record)
    for form in record["forms"]:
        assert re.search(rf"^{re.escape(form['name'])} ", shown, re.MULTILINE)
    assert "1/64 of the work, scaled" in shown and "emulated" in shown


def test_with_enough_rounds_a_ratio_has_its_confidence_interval(record):
    record["turns"] = 10
    for form in record["forms"]:
        for cell in form["cells"].values():
            for what in ("cpu", "wall"):
                if what in cell:
                    cell[what]["half"] = cell[what]["median"] * 0.03
    assert re.search(r"^native +1\.00x ±3%", table.table(record), re.MULTILINE)
    assert table.doubt(record, record["forms"][1], "cpu") == pytest.approx(0.03 * 2 ** 0.5)


def test_the_page_needs_nothing_else(record):
    text = page.page(record)
    assert "<html" in text and "src=" not in text and "http" not in text and "@import" not in text
    for form in record["forms"]:
        assert form["name"] in text


@pytest.mark.parametrize(("kind", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_the_picture(record, kind, start):
    pytest.importorskip("matplotlib", reason="pip install matplotlib")
    assert plot.draw(record, kind).startswith(start)


def test_the_command_line_shows_and_checks_a_record(record, tmp_path, capsys):
    path = tmp_path / "page.html"
    assert cli.main(["cost", "--show", str(RECORD), "--html", str(path)]) == 0
    assert capsys.readouterr().out.startswith(table.table(record)[:40]) and path.stat().st_size > 5000
    cli.main(["cost", "check", str(RECORD)])
    assert "as expected cpu in runc" in capsys.readouterr().out
    assert cli.main(["cost", "--show", str(tmp_path / "none")]) == 2
    assert cli.main(["cost", "--rounds", "0"]) == 2
    assert cli.main(["cost", "--form", "vmware"]) == 2
    assert cli.main(["cost", "--show", str(RECORD), "--plot", str(tmp_path / "x.gif")]) == 2


def test_a_hook_s_model_is_calls_times_their_price(record):
    lines = list(explain.ledger({"native": {"step": 2e-9}, "Unicorn, Python hook": {"step": 3e-6, "price": 4e-7},
                                 "KVM": {"why": "not here"}}, 8))
    assert re.search(r"Unicorn, Python hook +3000\.00 +8 +400 ns +3202\.00 ns", "\n".join(lines))
    assert any(re.search(r"KVM +-  +not here", line) for line in lines)


def test_the_inner_loop_is_that_of_the_program():
    code = explain.machine_code()
    assert len(code) == 8 and code[-1].startswith("jb ")
    assert any("i64.load8_u" in line for line in explain.wasm())


def test_whose_kernel_counts():
    host = ("6.1", {"ctxt": 100, "processes": 10})
    rows = {"native": host, "runc": ("6.1", {"ctxt": 110, "processes": 11}),
            "emu, Linux guest": ("6.1", {"ctxt": 9, "processes": 3}),
            "native, again": ("6.1", {"ctxt": 120, "processes": 12})}
    assert "host's kernel" in verdict(rows)[0] and "of its own" in verdict(rows)[1]
    assert facts("Linux version 6.1.0-50-amd64 (x)\nctxt 942\nprocesses 89\n") == (
        "6.1.0-50-amd64", {"ctxt": 942, "processes": 89})
