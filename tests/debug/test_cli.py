"""emu boot says why a guest died, emu explain says it again from a trace, and the report holds it."""

from __future__ import annotations

import json

import pytest

from emu.assembler import assemble
from emu.boards.tiny import Tiny
from emu.cli import main
from emu.cli.explainoptions import vector
from emu.debug.explain import explain, nameless
from tests.debug.planted import image


@pytest.fixture
def kernel(tmp_path):
    def write(name):
        path = tmp_path / f"{name}.bin"
        path.write_bytes(image(name))
        return str(path)

    return write


def boot(*arguments):
    return main(["boot", "--serial", "none", *map(str, arguments)])


def test_a_death_is_explained_in_a_few_lines_and_in_the_report(kernel, tmp_path, capfd):
    report = tmp_path / "report"
    assert boot(kernel("sysenter"), "--report", report) == 3
    lines = capfd.readouterr().err.splitlines()
    assert lines[0].startswith("emu: the guest died: triple fault") and len(lines) == 3
    assert lines[1].startswith("emu: triple fault: #GP -> #GP -> #DF -> shutdown") and "SYSENTER without its MSRs" in lines[1]
    assert lines[2] == "emu:   instruction: sysenter   [0f 34]"
    facts = json.loads(report.read_text())["explanation"]
    assert facts["problem"] == "sysenter-msr" and len(facts["faults"]) == 2


def test_verbose_tells_all(kernel, capfd):
    assert boot(kernel("bad_tss"), "-v") == 3
    err = capfd.readouterr().err
    assert "emu: 3. #DF (double fault)" in err and "SS0:ESP0 of the TSS" in err and "Registers at the end" in err
    assert "run with --trace DIR, or --flight N" in err


@pytest.mark.parametrize("flight", [(), ("--flight", "50")])
def test_a_trace_knows_the_last_instructions_and_the_calls(flight, kernel, tmp_path, capfd):
    path, report = tmp_path / "trace", tmp_path / "report"
    assert boot(kernel("missing_gate"), "--trace", path, *flight, "-v", "--report", report) == 3
    err = capfd.readouterr().err
    assert "The last 20 instructions" in err and "Calls that had not returned" in err
    facts = json.loads(report.read_text())["explanation"]
    assert facts["last"][-1]["text"] == "ud2" and [frame["how"] for frame in facts["calls"]][-2:] == ["call", "call"]
    assert facts["calls"][-1]["to"] <= facts["last"][-1]["address"] == facts["at"]["linear"]
    assert main(["explain", str(path)]) == 0
    out = capfd.readouterr().out
    assert out.startswith("Triple fault: #UD -> #GP") and " ud2\n" in out and "call at" in out
    assert main(["explain", str(path), "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == facts


def test_a_trace_of_a_guest_that_lives_has_only_its_last_instructions(tmp_path, capfd):
    assert boot("hello", "--trace", tmp_path / "t") == 33
    capfd.readouterr()
    assert main(["explain", str(tmp_path / "t")]) == 0
    out = capfd.readouterr().out
    assert out.startswith("The guest did not die") and "The last 20 instructions" in out


def test_a_trace_that_ran_out_of_time_says_where_the_guest_was(kernel, tmp_path, capfd):
    flat = tmp_path / "spin.bin"
    flat.write_bytes(assemble("nop; again: pause; jmp again", 0x7C00, 16))
    assert boot(flat, "--timeout", 0.001, "--trace", tmp_path / "t") == 4
    capfd.readouterr()
    assert main(["explain", str(tmp_path / "t")]) == 0
    out = capfd.readouterr().out
    assert out.startswith("The guest did not die while this trace was recorded.\n\nEnded by timeout, after 0.001")
    assert "Registers at the end" in out and "jmp 0x7c01" in out


def test_an_explanation_that_is_damaged_is_one_line(kernel, tmp_path, capfd):
    assert boot(kernel("sysenter"), "--trace", tmp_path / "t") == 3
    path = tmp_path / "t" / "meta.json"
    whole = json.loads(path.read_text())
    for key in whole["explanation"]:
        for value in (None, [1], "x"):
            path.write_text(json.dumps({**whole, "explanation": {**whole["explanation"], key: value}}))
            capfd.readouterr()
            status = main(["explain", str(tmp_path / "t")])
            lines = capfd.readouterr().err.splitlines()
            assert (status, len(lines)) in ((0, 0), (2, 1)), (key, value)


def test_a_linux_that_waits_in_panic_is_told_from_one_that_prints_the_same(capfd):
    line = b"---[ end Kernel panic - not syncing: no init ]---\r\n"
    with Tiny(1 << 20) as m:
        m.load(assemble("mov ax, 0x9123; push ax; again: jmp again", 0x7C00, 16), name="spin")
        m.run(1000)
        names = {0x9123: "panic+0x23"}
        assert explain(m, "timeout", names.get).facts["problem"] != "panic"
        m.console.write(line)
        assert explain(m, "timeout", nameless).facts["problem"] != "panic"
        found = explain(m, "timeout", names.get)
    assert found.facts["problem"] == "panic"
    assert found.brief()[0].startswith("Linux has panicked: no init; without panic=SECONDS")


def test_what_is_no_trace_is_said_in_one_line(tmp_path, capfd):
    assert main(["explain", str(tmp_path)]) == 2
    assert capfd.readouterr().err.count("\n") == 1


def test_a_fault_without_a_handler_is_told_when_it_happens(kernel, tmp_path, capfd):
    report = tmp_path / "report"
    assert boot(kernel("one_gate"), "--report", report) == 35
    lines = capfd.readouterr().err.splitlines()
    assert lines[0].startswith("emu: a fault without a handler: #UD -> #NP") and "P = 0" in lines[0]
    (facts,) = json.loads(report.read_text())["faults_explained"]
    assert facts["problem"] == "missing-gate"


@pytest.mark.parametrize("name", ["14", "0x0e", "#PF", "pf"])
def test_a_vector_has_names(name):
    assert vector(name) == 14


def test_explain_tells_of_handled_faults(tmp_path, capfd):
    report = tmp_path / "report"
    assert boot("paging", "--explain", "#PF", "--report", report) == 33
    err = capfd.readouterr().err
    assert err.count("emu: #PF (page fault)") == 17 and "PTE 15" in err
    assert len(json.loads(report.read_text())["faults_explained"]) == 17


@pytest.mark.parametrize("bad", ["256", "-1", "#XX", ""])
def test_a_vector_that_is_none(bad, capfd):
    assert boot("hello", f"--explain={bad}") == 2
    assert "is no vector" in capfd.readouterr().err


def test_explaining_changes_no_run(tmp_path, capfd):
    digests = set()
    for arguments in (), ("--explain", "14"), ("--explain", "6", "-v"):
        boot("paging", "--report", tmp_path / "report", *arguments)
        digests.add(json.loads((tmp_path / "report").read_text())["state_sha256"])
    assert len(digests) == 1


def test_a_guest_whose_controllers_let_nothing_through_is_dead_at_once(kernel, capfd):
    assert boot(kernel("missing_eoi"), "--timeout", 5) == 3
    lines = capfd.readouterr().err.splitlines()
    assert "no interrupt that its 8259As let through" in lines[0] and "after 0.0" in lines[0]
    assert "the end of interrupt is missing: IRQ0 (timer)" in lines[1]


def test_a_loop_of_faults_is_said_while_it_runs_and_at_the_end(kernel, capfd):
    assert boot(kernel("fault_loop"), "--timeout", 0.1) == 4
    lines = capfd.readouterr().err.splitlines()
    assert [line.startswith("emu: an endless loop of faults") for line in lines] == [True, False, False, True, False]


WROTE = {       # who has planted the bug: kernel -> (what, the instruction, the value)
    "bad_tss": ("SS0:ESP0 of the TSS", "mov dword ptr [0x100bf0], 0x23", 0x23),
    "missing_gate": ("IDT entry 06h", "mov dword ptr [0x1006d4], eax", 0),
    "page_hole": ("PTE 837", "mov dword ptr [0x201d14], 0", 0),
    "canonical": ("the return address", "mov qword ptr [rsp], rax", 0x4142434445464748),
}


@pytest.mark.parametrize("name", WROTE)
def test_a_trace_of_memory_knows_who_wrote_what_was_bad(name, kernel, tmp_path, capfd):
    path = tmp_path / "trace"
    assert boot(kernel(name), "--trace", path, "--trace-level", "memory") == 3
    capfd.readouterr()
    assert main(["explain", str(path), "--json"]) == 0
    writers = {writer["what"]: writer for writer in json.loads(capfd.readouterr().out)["writers"]}
    what, text, value = WROTE[name]
    assert (writers[what]["text"], writers[what]["value"]) == (text, value)
    assert image(name)[writers[what]["address"] - 0x100000] in b"\xC7\xA3\x48"         # MOV to memory
    assert main(["explain", str(path)]) == 0
    assert f"was written last by `{text}`" in capfd.readouterr().out


def test_a_trace_of_memory_knows_where_a_bad_pointer_came_from(kernel, tmp_path, capfd):
    boot(kernel("wild_pointer"), "--trace", tmp_path / "t", "--trace-level", "memory")
    capfd.readouterr()
    assert main(["explain", str(tmp_path / "t"), "--json"]) == 0
    load, = json.loads(capfd.readouterr().out)["loads"]
    copy = load["writer"]
    clobber = copy["source"]["writer"]
    assert (load["register"], load["value"]) == ("esi", 0x345678) and load["text"].startswith("mov esi, dword ptr [")
    assert (copy["address"] - 6, copy["linear"]) == (copy["source"]["address"], clobber["linear"] + 4) == (
        clobber["address"] + 11, load["linear"])
    assert clobber["text"] == f"mov dword ptr [{clobber['linear']:#x}], 0x345678" and "source" not in clobber
    assert main(["explain", str(tmp_path / "t")]) == 0
    out = capfd.readouterr().out
    assert f"ESI = 0x345678: this value was loaded last by `{load['text']}` at {load['address']:#x}, from" in out
    assert f"was written last by `{clobber['text']}` at {clobber['address']:#x}" in out


def test_what_nobody_wrote_is_said(kernel, tmp_path, capfd):
    boot(kernel("sysenter"), "--trace", tmp_path / "t", "--trace-level", "memory")
    capfd.readouterr()
    assert main(["explain", str(tmp_path / "t")]) == 0
    assert "IDT entry 0Dh, at 0x68, was written by no instruction" in capfd.readouterr().out
