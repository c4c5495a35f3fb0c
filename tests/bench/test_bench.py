"""The benchmark's arithmetic, its record and its bounds; and one workload, cut short, from the assembler to its result."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import sys

import pytest

from tests.bench import catalog, children, figures
from tests.bench.__main__ import main
from tests.bench.catalog import ALONE, NAMES, OURS, QEMU, ROWS, UNICORN, BenchError
from tests.bench.marks import Marks

needs_nasm = pytest.mark.skipif(shutil.which("nasm") is None, reason="needs nasm: apt-get install nasm")


def good(row):
    """A row of a record that keeps every bound."""
    seconds = {OURS: [0.3, 0.1, 0.2], **{engine: [0.3, 0.1, 0.2] for engine in row.engines}}
    if row.bound:
        seconds[QEMU] = [time / row.bound for time in (0.31, 0.11, 0.21)]
    return figures.entry(row, seconds, [0.1, 0.1], {OURS: [500 << 20]} if row.image else None)


@pytest.fixture
def record():
    rows = [good(row) for row in ROWS]
    return {"format": figures.FORMAT, "command": "python -m tests.bench", "rounds": 3, "versions": {"python": "3"},
            "rows": rows}


def row_of(record, name):
    return next(row for row in record["rows"] if row["name"] == name)


def test_ratios_are_made_pair_by_pair_and_not_of_medians():
    assert figures.ratios([1, 4, 9], [1, 2, 3]) == {"median": 2, "low": 1, "high": 3, "values": [1, 2, 3]}


def test_a_round_that_is_missing_is_an_error():
    with pytest.raises(ValueError, match="argument 2"):
        figures.ratios([1, 2], [1])


def test_a_spread_of_an_even_number_of_rounds_has_its_median_between_two():
    assert figures.spread([4, 1, 2, 3])["median"] == 2.5


def test_an_interrupt_row_counts_interrupts_a_second():
    assert good(NAMES["irq_rate"])["rate"]["median"] == NAMES["irq_rate"].interrupts / 0.2


def test_peak_memory_is_that_of_the_worst_round():
    made = figures.entry(NAMES["boot_i386"], {OURS: [1, 1]}, [1], {OURS: [5, 7], QEMU: [3]})
    assert made["peak"] == {OURS: 7, QEMU: 3}


def test_a_record_survives_json(record):
    assert json.loads(json.dumps(record)) == record


def test_the_table_has_a_line_for_each_row_and_the_command(record):
    lines = figures.table(record).splitlines()
    assert sum(line.startswith("| ") for line in lines) == len(ROWS) + 2
    assert lines[-1] == "`python -m tests.bench`"
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1


def test_the_table_says_when_the_machine_was_noisy(record):
    row_of(record, "crc")["calibration"] = figures.spread([0.1, 0.2])
    assert "noisy (native loop +100%)" in figures.table(record)


def test_the_timer_row_is_held_against_the_loop_alone(record):
    assert row_of(record, "timer")["ratio"][ALONE]["median"] == 1
    assert "of the loop alone" in figures.table(record)


def test_a_record_within_the_bounds_passes(record):
    verdicts = figures.check(record)
    assert all(verdict.kept for verdict in verdicts)
    assert {verdict.name for verdict in verdicts} >= {"boot_amd64", "boot_i386", "crc", "port_python_read", "irq_rate"}


@pytest.mark.parametrize("name, spoil", [
    ("boot_amd64", lambda row: row["ratio"][QEMU].update(median=0.91)),
    ("boot_i386", lambda row: row["peak"].update({OURS: (512 + 151) << 20})),
    ("crc", lambda row: row["ratio"][UNICORN].update(median=1.16)),
    ("port_python_write", lambda row: row["ratio"][QEMU].update(median=4.1)),
    ("disk_dma", lambda row: row["ratio"][QEMU].update(median=1.21)),
    ("mov_copy", lambda row: row["ratio"][QEMU].update(median=0.76)),
    ("timer", lambda row: row["ratio"][ALONE].update(median=1.06)),
    ("irq_rate", lambda row: row["rate"].update(median=199_999)),
])
def test_each_bound_is_checked(record, name, spoil):
    spoiled = copy.deepcopy(record)
    spoil(row_of(spoiled, name))
    assert [verdict.name for verdict in figures.check(spoiled) if not verdict.kept] == [name]


def test_what_was_not_measured_does_not_pass(record):
    record["rows"] = [row for row in record["rows"] if row["name"] != "irq_rate"]
    failed = [verdict for verdict in figures.check(record) if not verdict.kept]
    assert [str(verdict) for verdict in failed] == ["FAIL  irq_rate: interrupts a second not measured, at least 200,000.00"]
    assert all(verdict.kept for verdict in figures.check(record, ["crc"]))


@pytest.mark.parametrize("text, status", [(None, 0), ("[]", 2), ("{", 2), ('{"format": 1}', 2)])
def test_check_reads_a_file_and_starts_nothing(record, text, status, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(subprocess, "Popen", None)
    path = tmp_path / "record.json"
    path.write_text(json.dumps(record) if text is None else text)
    monkeypatch.setattr(sys, "argv", ["tests.bench", "--check", str(path)])
    assert main() == status
    shown = capsys.readouterr()
    assert ("pass  crc" in shown.out) == (status == 0)
    assert len(shown.err.splitlines()) == (1 if status else 0)


def test_a_bound_that_is_not_kept_is_status_1(record, tmp_path, monkeypatch):
    row_of(record, "irq_rate")["rate"]["median"] = 1
    (tmp_path / "record.json").write_text(json.dumps(record))
    monkeypatch.setattr(sys, "argv", ["tests.bench", "--check", str(tmp_path / "record.json")])
    assert main() == 1


def test_marks_take_the_time_at_1_and_2_and_read_the_result():
    marks = Marks(iter([10.0, 12.5]).__next__)
    marks(b"\1")
    marks(b"\2aaab")
    assert not marks.complete
    marks(b"cdef\3")
    assert marks.outcome() == {"seconds": 2.5, "result": 0x12345}


@pytest.mark.parametrize("text", [b"", b"\1\2aaaa\3", b"\1\2aaaaaaaz\3", b"\2aaaaaaaa\3"])
def test_a_guest_that_did_not_get_to_its_end_has_no_time(text):
    marks = Marks(lambda: 0.0)
    marks(text)
    with pytest.raises(ValueError, match="the guest ended"):
        marks.outcome()


def test_a_child_that_does_not_end_is_ended():
    with pytest.raises(BenchError, match="no end after"):
        children.run([sys.executable, "-c", "print('so far', flush=True); import time; time.sleep(60)"], 0.5)


def test_a_child_is_stopped_at_what_it_says_and_its_use_is_known():
    ended = children.run([sys.executable, "-c", "print('there', flush=True); import time; time.sleep(60)"], 60,
                         lambda data: b"there" in data)
    assert ended.seconds > 0 and ended.peak > 1 << 20


def test_a_missing_nasm_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(BenchError, match="apt-get install nasm"):
        catalog.build("crc", tmp_path / "crc")


@needs_nasm
@pytest.mark.parametrize("name", sorted({row.source for row in ROWS if not row.image}))
def test_every_workload_assembles_for_both(name, tmp_path):
    assert catalog.build(name, tmp_path / "plain", {"N": 10}).stat().st_size > 300
    assert catalog.build(name, tmp_path / "settle", {"N": 10, "SETTLE": 1}).stat().st_size > 300


@needs_nasm
@pytest.mark.parametrize("name, engine, count, result", [
    ("crc", OURS, 1, NAMES["crc"].result), ("crc", UNICORN, 1, NAMES["crc"].result), ("int80", OURS, 10, 10),
    ("irq_rate", OURS, 10, 10), ("disk_dma", OURS, 2, 1022), ("disk_pio", OURS, 1, 255), ("disk_multiple", OURS, 1, 255),
    ("port_python_write", OURS, 10, 0), ("text", OURS, 1, NAMES["text"].result),
])
def test_a_workload_runs_in_a_process_of_its_own(name, engine, count, result, tmp_path):
    row = NAMES[name]
    image = catalog.build(row.source, tmp_path / name, {"N": count})
    disk = catalog.disk(tmp_path / "disk", 1) if row.disk else None
    done = children.workload(engine, row, image, disk)
    assert done.result == result
    assert done.seconds >= 0
