"""emu trace: lines, tables, differences and files for other programs, held against the trace and against public readers."""

from __future__ import annotations

import collections
import json
import re
import struct

import numpy as np
import polars as pl
import pytest

from emu.assembler import assemble
from emu.boards.tiny import Tiny
from emu.cli import main
from emu.firmware import build
from emu.trace.code import disassemble
from emu.trace.reader import Trace
from emu.trace.recording import Recording
from emu.trace.window import Window
from tests.trace.programs import traced

PROGRAM = """
    .global _start
_start:
    mov $3, %ecx
again:
    call work
    dec %ecx
    jnz again
    cli
    hlt
never:
    nop
work:
    nop
    ret
"""


@pytest.fixture(scope="module")
def paging(tmp_path_factory):
    """A trace of our kernel with page faults, and its directory."""
    path = tmp_path_factory.mktemp("trace") / "t"
    with Tiny() as m:
        m.load(build.kernel("paging"))
        with Recording(m, path):
            m.run(2_000_000_000)
    return path


@pytest.fixture(scope="module")
def elf(tmp_path_factory):
    """An ELF file with symbols and source lines, and a trace of it."""
    return traced(tmp_path_factory.mktemp("elf"), PROGRAM)


def emu(capfd, *arguments, status=0):
    assert main(["trace", *map(str, arguments)]) == status
    return capfd.readouterr().out


def instructions(text):
    return [int(line[:16], 16) for line in text.splitlines() if line[:16].strip() and not line.lstrip().startswith("--")]


def test_show_has_every_instruction_and_every_event_in_order(paging, capfd):
    trace, text = Trace(paging), emu(capfd, "show", paging)
    assert instructions(text) == trace.instructions().tolist()
    events = [line for line in text.splitlines() if line.lstrip().startswith("--")]
    times = [float(line.split()[1]) for line in events]
    assert len(events) == len(trace.events) and times == sorted(times)
    faults = trace.events.filter(pl.col("kind") == "exception")
    assert len(faults) and text.count("exception #PF") == len(faults.filter(pl.col("vector") == 14))
    lines = text.splitlines()
    for index, line in enumerate(lines):                # the instruction that faulted is the line before
        if "exception #PF" in line:
            rip = int(line.split(" at ")[1].split(",")[0].split(":")[1], 16)
            before = next(lines[i] for i in range(index - 1, 0, -1) if not lines[i].lstrip().startswith("--"))
            assert int(before[:16], 16) == rip


def test_show_narrows_to_what_is_asked_for(paging, capfd):
    trace = Trace(paging)
    every = trace.instructions().tolist()
    first, last = sorted(set(every))[5], sorted(set(every))[20]
    assert instructions(emu(capfd, "show", paging, "--range", f"{first:x}-{last:x}")) == [
        a for a in every if first <= a <= last]
    assert instructions(emu(capfd, "show", paging, "--first", 10, "--count", 7, "--no-events")) == (
        trace.instructions(10, 7).tolist())
    assert emu(capfd, "show", paging, "--cpl", "3", "--no-events") == ""
    whole = emu(capfd, "show", paging)
    shown = trace.events.filter(pl.col("kind") == "console")["position"].to_list()
    part = emu(capfd, "show", paging, "--from", "paging", "--to", ":")
    assert part and part in whole and len(instructions(part)) < len(every) and len(shown)


def test_att_syntax(paging, capfd):
    assert "%e" in emu(capfd, "show", paging, "--syntax", "att", "--count", "3")


def test_stats_count_what_ran(paging, capfd):
    trace, found = Trace(paging), json.loads(emu(capfd, "stats", paging, "--json", "--top", "3"))
    every = trace.instructions()
    assert found["instructions"] == len(every) and found["blocks"] == trace.length
    assert found["by_cpl"] == {"0": len(every)} and len(found["hot_blocks"]) == 3
    pcs = collections.Counter(trace.code[n].pc for n in trace.blocks().tolist())
    assert found["hot_blocks"][0]["runs"] <= max(pcs.values())
    assert {row["name"] for row in found["accesses"]} >= {"com1.THR"}
    assert sum(found["events"].values()) == len(trace.events)
    text = emu(capfd, "stats", paging)
    assert f"{len(every):,} instructions" in text and "com1.THR" in text


def test_symbols_name_functions_and_ranges(elf, capfd):
    text = emu(capfd, "show", elf / "t", "--symbols", elf / "program")
    assert [line.split()[1] for line in text.splitlines()][:5] == ["_start", "again", "work", "work+0x1", "again+0x5"]
    assert len(instructions(emu(capfd, "show", elf / "t", "--symbols", elf / "program", "--range", "work"))) == 6
    assert "work" in emu(capfd, "stats", elf / "t", "--symbols", elf / "program")


def test_the_range_of_a_recording_may_be_a_symbol(elf, tmp_path):
    assert main(["boot", str(elf / "program"), "--machine", "tiny", "--serial", "none", "--trace", str(tmp_path / "t"),
                 "--trace-level", "insns", "--trace-range", "work", "--symbols", str(elf / "program")]) == 3
    assert len(Trace(tmp_path / "t").rows("insns")) == 6


def test_a_run_that_is_the_same_has_no_difference_and_another_one_parts_where_it_does(tmp_path, capfd):
    for name, count in ("a", 3), ("b", 3), ("c", 4):
        with Tiny(1 << 20) as m:
            m.load(assemble("mov dx, 0x80; mov cx, 3; again: dec cx; jnz again; out dx, al; cmp byte ptr [0x7d00], 3; "
                            "jne other; cli; hlt; other: nop; cli; hlt", 0x7C00, 16).ljust(0x100, b"\0") + bytes([count]),
                   name="program")
            with Recording(m, tmp_path / name):
                m.run(1_000_000)
    assert emu(capfd, "diff", tmp_path / "a", tmp_path / "b").startswith("the same: ")
    text = emu(capfd, "diff", tmp_path / "a", tmp_path / "c", "--context", "2", status=1)
    assert text.startswith("the first difference is block 4:")
    ours, theirs = text.split("\n--- ")[1:]
    assert ours.split(">>>")[0].split("\n", 1)[1] == theirs.split(">>>")[0].split("\n", 1)[1]
    assert "nop" not in ours and "nop" in theirs.split(">>>")[1]


def test_a_difference_of_an_event_is_told(tmp_path, capfd):
    for name, value in ("a", 1), ("b", 2):
        with Tiny(1 << 20) as m:
            m.load(assemble("mov al, [0x7d00]; mov dx, 0x3f8; out dx, al; cli; hlt", 0x7C00, 16).ljust(0x100, b"\0")
                   + bytes([value]), name="program")
            with Recording(m, tmp_path / name):
                m.run(1_000_000)
    text = emu(capfd, "diff", tmp_path / "a", tmp_path / "b", status=1)
    assert "the first difference is an event" in text and "com1.THR <- 01" in text and "com1.THR <- 02" in text


# -- files for other programs

def export(path, kind, *more):
    out = path.parent / f"{path.name}.{kind}"
    assert main(["trace", "export", str(path), "--format", kind, "-o", str(out), *map(str, more)]) == 0
    return out


def test_json_is_an_object_a_line(paging):
    rows = [json.loads(line) for line in export(paging, "json").read_text().splitlines()]
    trace = Trace(paging)
    assert [row["address"] for row in rows if "text" in row] == trace.instructions().tolist()
    assert [row["time"] for row in rows if "kind" in row] == trace.events["time"].to_list()


def test_text_is_what_show_shows(paging, capfd):
    assert export(paging, "text").read_text() == emu(capfd, "show", paging)


def test_drcov_lists_each_block_that_ran_once(paging):
    data = export(paging, "drcov").read_bytes()
    head, table = data.split(b" bbs\n", 1)
    lines = head.decode().splitlines()
    assert lines[0] == "DRCOV VERSION: 2" and lines[2].startswith("Module Table: version 2, count ")
    names = [name.strip() for name in lines[3].removeprefix("Columns: ").split(",")]
    modules = [dict(zip(names, (cell.strip() for cell in line.split(",")))) for line in lines[4:-1]]
    assert len(modules) == int(lines[2].split()[-1]) and len(table) == 8 * int(lines[-1].split()[-1])
    found = {(int(modules[module]["base"], 16) + start, size) for start, size, module in struct.iter_unpack("<IHH", table)}
    trace = Trace(paging)
    assert found == {(trace.code[n].pc, trace.code[n].size) for n in set(trace.blocks().tolist())}


def test_lcov_counts_source_lines(elf):
    lcovparser = pytest.importorskip("lcovparser", reason="the PyPI package lcovparser is missing")
    text = export(elf / "t", "lcov", "--symbols", elf / "program").read_text()
    (name, record), = lcovparser.parse_text(text).items()
    source = PROGRAM.splitlines()
    counts = {source[line - 1].strip(): count for line, count in record.lines.items()}
    assert name == str(elf / "program.s")
    assert counts == {"mov $3, %ecx": 1, "call work": 3, "dec %ecx": 3, "jnz again": 3, "cli": 1, "hlt": 1, "nop": 3,
                      "ret": 3}


def test_lcov_without_source_lines_is_one_line(paging, capfd):
    assert main(["trace", "export", str(paging), "--format", "lcov", "-o", "-"]) == 2
    error = capfd.readouterr().err
    assert "DWARF line tables" in error and error.count("\n") == 1


@pytest.mark.parametrize("arguments, said", [
    (["show", "nowhere"], "nowhere: no trace"),
    (["export", "T", "--format", "json", "-o", "/proc/x"], "/proc/x: cannot be written"),
    (["show", "T", "--from", "never shown"], "the console does not show 'never shown'"),
    (["show", "T", "--symbols", "nowhere"], "--symbols: nowhere: cannot be read"),
    (["show", "T", "--range", "main"], "a symbol needs --symbols FILE"),
])
def test_a_mistake_is_one_line(arguments, said, paging, capfd):
    assert main(["trace", *(str(paging) if word == "T" else word for word in arguments)]) == 2
    error = capfd.readouterr().err
    assert said in error and error.count("\n") == 1


def test_bytes_that_are_no_instruction_are_told_as_they_are(tmp_path):
    with Tiny(1 << 20) as m:
        m.load(b"\x90\x0F\x0C\xF4", name="program")
        with Recording(m, tmp_path / "t"):
            m.run(100)
    trace = Trace(tmp_path / "t")
    assert any(mnemonic == "(bad)" for block in trace.code.values() for _, _, mnemonic, _ in disassemble(block))
    assert all(sum(length for _, length, _, _ in disassemble(block)) == block.size for block in trace.code.values())


# -- what can be compared

def brief(path, level="blocks", window=None, flight=None):
    with Tiny() as m:
        m.load(build.kernel("paging"))
        recording = Recording(m, path, level, window, flight)
        m.run(30_000_000)
        recording.stop()
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return brief(tmp_path_factory.mktemp("whole") / "t")


@pytest.mark.parametrize("other, said", [
    ({"level": "events"}, "holds events alone"), ({"window": Window(cpl=0)}, "different windows (--trace-cpl)"),
    ({"window": Window(time=(0, 10_000_000))}, "different windows (--trace-time)"),
    ({"window": Window(start=b"paging")}, "different windows (--trace-from)"),
    ({"window": Window(ranges=((0x100000, 0x1FFFFF),))}, "different windows (--trace-range)")])
def test_traces_that_hold_different_things_are_not_compared(other, said, whole, tmp_path, capfd):
    a, b = whole, brief(tmp_path / "b", **other)
    for first, second in (a, b), (b, a):
        assert main(["trace", "diff", str(first), str(second)]) == 2
        error = capfd.readouterr().err
        assert "cannot be compared" in error and said in error and error.count("\n") == 1
    assert emu(capfd, "diff", b, brief(tmp_path / "c", **other)).startswith("the same: ")


def test_levels_that_hold_the_same_blocks_are_compared(whole, tmp_path, capfd):
    for name, other in {"b": {"level": "insns"}, "c": {"flight": 1000}}.items():
        assert emu(capfd, "diff", whole, brief(tmp_path / name, **other)).startswith("the same: ")


def test_rows_of_the_instruction_level_tell_their_block_where_others_were_left_out(tmp_path):
    trace = Trace(brief(tmp_path / "a", "insns", Window(cpl=0)))
    rows = trace.rows("insns")
    assert rows["position"].to_list() == [position for positions, _, lengths in trace.runs()
                                          for position in np.repeat(positions, lengths).tolist()]


def test_a_log_alone_is_read(tmp_path, capfd):
    whole, log = Trace(brief(tmp_path / "whole")), Trace(brief(tmp_path / "log", "events"))
    assert log.length == whole.events["position"].max() <= whole.length and log.events.equals(whole.events)
    lines = emu(capfd, "show", log.path).splitlines()
    shown = [line for line in emu(capfd, "show", whole.path).splitlines() if " -- " in line]
    assert lines == [re.sub(", by [0-9a-f]+$", "", line) for line in shown] and len(lines) > 20
    middle = log.length // 2
    cut = [emu(capfd, "show", log.path, *more).splitlines() for more in (["--count", str(middle)], ["--first", str(middle)])]
    assert cut[0] + cut[1] == lines and all(cut)
    found = json.loads(emu(capfd, "stats", log.path, "--json"))
    assert sum(found["events"].values()) == len(log.events) and found["blocks"] == 0
    assert len(emu(capfd, "export", log.path, "--format", "text", "-o", "-").splitlines()) == len(lines)


@pytest.mark.parametrize("arguments, said", [
    (["trace", "show", "LOG", "--cpl", "0"], "holds events alone, and does not know what code they are of (--range, --cpl)"),
    (["trace", "stats", "LOG", "--range", "0-ff"], "holds events alone, and does not know what code"),
    (["trace", "export", "LOG", "--format", "drcov", "-o", "-"], "there are no blocks to make a file for drcov of"),
    (["profile", "LOG"], "there are no blocks to make a profile of"),
    (["boot", "ticks", "--trace", "NEW", "--trace-level", "events", "--trace-cpl", "0"], "no range, no privilege level"),
])
def test_what_a_log_alone_cannot_tell_is_said(arguments, said, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    brief("LOG", "events")
    assert main(arguments) == 2
    error = capfd.readouterr().err
    assert said in error and error.count("\n") == 1


def test_an_access_to_a_port_tells_its_instruction(tmp_path, capfd):
    code = assemble("""
            mov dx, 0x3f8; mov al, 65; out dx, al; out dx, al; mov cx, 3; mov si, 0x7c00; jmp one
        one:
            rep outsb; jmp two
        two:
            in al, 0x21; nop; rep outsb; mov cx, 2; rep outsb; cli; hlt
        """, 0x7C00, 16)
    with Tiny(1 << 20) as m:
        m.load(code, name="program")
        with Recording(m, tmp_path / "t"):
            m.run(10_000_000)
    text = emu(capfd, "show", tmp_path / "t").splitlines()
    by = [line.rpartition(", by ")[2] for line in text if "port " in line]
    out = [0x7C00 + place for place, byte in enumerate(code) if byte == 0xEE]
    strings = [0x7C00 + place for place in range(len(code)) if code[place:place + 2] == b"\xF3\x6E"]
    assert len(out) == 2 and len(strings) == 3
    assert by[:5] + by[6:] == [f"{address:x}" for address in [*out, *strings[:1] * 3, *strings[2:] * 2]]
    assert by[5].endswith("port read pic1.IMR -> 00")           # or was it the OUTSB behind it, which made none?
    rows = [json.loads(line) for line in emu(capfd, "export", tmp_path / "t", "--format", "json", "-o", "-").splitlines()]
    assert [row["rip"] for row in rows if row.get("kind") == "port write"][:2] == out
    assert not any("nth" in row or "of" in row for row in rows)
