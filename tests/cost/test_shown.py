"""A record is shown as a table, a picture and a page, and checked, without anything being started."""

from __future__ import annotations

import copy
import json
import re
import subprocess
from pathlib import Path

import pytest

from emu import cli
from emu.cost import explain, jvm, loops, page, plot, shape, table
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
    assert len(verdicts) == len(shape.BOUNDS) + len(shape.EXITS)
    assert [str(verdict) for verdict in verdicts if not verdict.kept] == []


def test_where_our_machine_is_slower_the_table_says_why(record):
    for form in record["forms"]:
        if form["name"] == shape.OURS:
            form["cells"]["irq"]["cpu"]["median"] *= 100
    shown = table.table(record)
    assert "    irq is above 1: timer and interrupt controller" in shown
    verdict, = (verdict for verdict in shape.check(record) if verdict.what.startswith("irq in"))
    assert verdict.kept is False and verdict.sentence == shape.IS_FASTER


def test_exits_are_counted_not_believed(record):
    for form in record["forms"]:
        if form["name"] == shape.OURS:
            form["cells"]["syscall"]["exits"] = form["cells"]["syscall"]["rounds"] * shape.CALLS
    verdict, = (verdict for verdict in shape.check(record) if verdict.what == f"exits a system call in {shape.OURS}")
    assert verdict.value == 1.0 and verdict.kept is False


def test_a_table_fits_its_terminal(record):
    shown = table.table(record, 80).splitlines()
    assert max(map(len, shown)) < 80
    for form in record["forms"]:
        assert sum(line.startswith(form["name"] + " ") for line in shown) >= 2          # two tables, one below the other


def test_the_names_in_the_picture_cover_no_other(record):
    assert plot._overlap((0, 0, 2, 2), (1, 1, 3, 3)) == 1 and plot._overlap((0, 0, 1, 1), (1, 0, 2, 1)) == 0
    assert {plot.family(form["name"])[0] for form in record["forms"]} == {label for label, _, _ in plot.FAMILIES}


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
    assert re.search(r"1/64 .*of the work, scaled: .*CPython", shown) and "emulated" in shown


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


def test_the_picture(record):
    pytest.importorskip("matplotlib", reason="pip install matplotlib")
    assert plot.draw(record, "png").startswith(b"\x89PNG")


def test_what_is_missing_or_failed_is_in_the_picture_and_on_the_page(record):
    pytest.importorskip("matplotlib", reason="pip install matplotlib")
    forms = {form["name"]: form for form in record["forms"]}
    forms["runc"]["missing"] = "runc is not here: apt-get install runc"
    del forms["runc"]["cells"]
    forms["KVM"]["cells"]["cpu"] = {"state": "failed", "why": "killed by SIGKILL", "rounds": 1, "whole": 1}
    forms["CPython"]["cells"]["cpu"]["cpu"] |= {"median": 0.0, "low": 0.0}        # neither drawn nor a divisor
    picture = plot.draw(record, "svg").decode()
    assert picture.startswith("<?xml")
    assert "<!-- missing -->" in picture and "<!-- failed -->" in picture
    assert table.ratio(record, forms["CPython"], "cpu") is None
    text = page.page(record)
    assert "apt-get install runc" in text and "failed <b>cpu</b> in KVM: killed by SIGKILL" in text
    assert "missing: runc: runc is not here" in table.table(record)


def test_the_command_line_shows_and_checks_a_record(record, tmp_path, capsys):
    path = tmp_path / "page.html"
    assert cli.main(["cost", "--show", str(RECORD), "--html", str(path)]) == 0
    assert capsys.readouterr().out.startswith(table.table(record)[:40]) and path.stat().st_size > 5000
    cli.main(["cost", "check", str(RECORD)])
    assert "as expected cpu in runc, over a process: " in capsys.readouterr().out
    assert cli.main(["cost", "--show", str(tmp_path / "none")]) == 2
    assert cli.main(["cost", "--html", str(tmp_path / "none" / "page.html")]) == 2          # before it measures
    assert cli.main(["cost", "--rounds", "0"]) == 2
    assert cli.main(["cost", "--form", "vmware"]) == 2
    assert cli.main(["cost", "--show", str(RECORD), "--plot", str(tmp_path / "x.gif")]) == 2


def test_a_hook_s_model_is_calls_times_their_price(record):
    hook = {"step": 3e-6, "exits": 8.0, "price": 4e-7, "work": 2e-9, "rounds": 1}
    lines = list(explain.ledger({"native": {"step": 2e-9}, "Unicorn, Python hook": hook, "KVM": {"why": "not here"}},
                                loops.LOOPS["cpu"]))
    assert re.search(r"Unicorn, Python hook +3 us +8 x +400 ns \+ +- \+ +2 ns = +3\.2 us +0\.94", "\n".join(lines))
    assert any(re.search(r"KVM +-  +not here", line) for line in lines)


def test_the_inner_loop_is_that_of_the_program():
    code = loops.machine_code()
    assert len(code) == 8 and code[-1].startswith("jb ")
    assert any("i64.load8_u" in line for line in loops.wasm(loops.LOOPS["cpu"]))


@pytest.mark.parametrize("name", [name for name in loops.LOOPS if name != "spawn"])
def test_every_workload_has_its_loop_in_every_language(name, tmp_path):
    loop = loops.LOOPS[name]
    code = loops.machine_code(loop)
    assert 4 <= len(code) <= 20 and (code[-1] == "ret" or code[-1].startswith("j"))
    assert len(loops.cpython(loop)) > 8
    assert len(loops.wasm(loop)) > 8 and len(jvm.methods()[1][loop.function].text) > 8


def test_a_record_has_an_explanation(record):
    assert "no timer" in explain.times(record, "irq")["Unicorn, Python hook"]["why"]
    steps = explain.times(record, "syscall")
    assert steps["native"]["step"] > 1e-8
    assert steps[shape.OURS]["exits"] < 0.001
    shown = "\n".join(explain.ledger(steps, loops.LOOPS["syscall"]))
    assert all(form["name"] in shown for form in record["forms"])


def test_whose_kernel_counts():
    host = ("6.1", {"ctxt": 100, "processes": 10})
    rows = {"native": host, "runc": ("6.1", {"ctxt": 110, "processes": 11}),
            "emu, Linux guest": ("6.1", {"ctxt": 9, "processes": 3}),
            "native, again": ("6.1", {"ctxt": 120, "processes": 12})}
    assert "host's kernel" in verdict(rows)[0] and "of its own" in verdict(rows)[1]
    assert facts("Linux version 6.1.0-50-amd64 (x)\nctxt 942\nprocesses 89\n") == (
        "6.1.0-50-amd64", {"ctxt": 942, "processes": 89})


@pytest.mark.parametrize("content", [
    "", "[]", "{}", '{"format": 1}', '{"format": 1, "forms": 5}', '{"format": 1, "forms": [{"name": "native"}]}',
    '{"format": 1, "forms": [{"name": "a", "cells": {}}], "workloads": [{"name": "cpu"}], "turns": 1, "host": {}}'])
def test_what_is_no_record_is_one_line(content, tmp_path, capsys):
    path = tmp_path / "record.json"
    path.write_text(content)
    for command in (["--show", str(path)], ["check", str(path)], ["explain", "cpu", "--record", str(path)]):
        assert cli.main(["cost", *command]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and str(path) in said


@pytest.mark.parametrize("options", [["--html", ""], ["--plot", ""], ["--quick", "explain", "cpu"], ["--json", "kernel"]])
def test_options_that_mean_nothing_are_one_line(options, capsys):
    assert cli.main(["cost", *options]) == 2
    assert capsys.readouterr().err.count("\n") == 1
