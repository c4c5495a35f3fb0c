"""Ten planted bugs, and some more: the explanation names each cause, in words and in its facts."""

from __future__ import annotations

import json

import pytest

from emu.assembler import assemble
from emu.boards.tiny import Tiny
from emu.debug.explain import explain
from emu.debug.watch import Watcher
from emu.machine import End
from tests.debug.planted import HERE, died, image

# name: how it ends, the problem, words of the summary, vectors of the chain
BUGS = {
    "missing_gate": (End.SHUTDOWN, "missing-gate", ["#UD", "IDT entry", "is empty", "nobody has written a gate"], [6, 13, 8]),
    "bad_tss": (End.SHUTDOWN, "tss-stack", ["the stack of the TSS is bad", "SS0 = 0023h", "RPL is 3"], [0x80, 10, 8]),
    "wrong_selector": (End.SHUTDOWN, "selector-beyond-table", ["mov fs, ecx", "selector 0048h is bad", "entry 9 lies beyond"],
                       [13, 8]),
    "page_hole": (End.SHUTDOWN, "not-present", ["the read from 0x345014", "PTE 837", "is not present"], [14, 8]),
    "stack_over_code": (End.SHUTDOWN, "stack-over-code", ["is not what was loaded",
                                                             "the stack has overflowed into the code"], None),
    "write_text": (End.SHUTDOWN, "write-to-text", ["R/W = 0 in PTE 256", "CR0.WP = 1", "a write to read-only text"], [14, 8]),
    "missing_eoi": (End.TIME, "missing-eoi", ["the end of interrupt is missing", "IRQ0 (timer)", "no EOI"], []),
    "sysenter": (End.SHUTDOWN, "sysenter-msr", ["SYSENTER without its MSRs", "IA32_SYSENTER_CS (174h) is 0x0"], [13, 8]),
    "canonical": (End.SHUTDOWN, "not-canonical", ["RIP = 0x4142434445464748 is not canonical",
                                                  "a return took this address from the stack, at 0x1ffff8"], [13, 8]),
    "canonical_iret": (End.SHUTDOWN, "not-canonical", ["RIP = 0x900000000000 is not canonical"], [13, 8]),
    "fault_loop": (End.TIME, "fault-loop", ["the same fault again and again", "with the same registers", "#PF",
                                            "PDE 72", "is not present"], [14]),
    "no_handler_code": (End.TIME, "fault-loop", ["the same fault again and again", "went to 0x7f0000000000 for code",
                                                 "PML4E 254"], [14]),
    "recursive_fault": (End.SHUTDOWN, "recursive-fault", [
        "its handler raises it itself", "the stack has run out of its memory", "PTE 510"], [14, 8]),
    "wild_pointer": (End.SHUTDOWN, "not-present", ["the read from 0x345690", "PTE 837"], [14, 8]),
    "null_pointer": (End.SHUTDOWN, "null-pointer", ["the read from 0x18", "this is a null pointer with the offset 0x18"],
                     [14, 8]),
}


@pytest.mark.parametrize("name", BUGS)
def test_the_cause_is_named(name):
    how, problem, said, vectors = BUGS[name]
    end, explanation, _ = died(name)
    facts = json.loads(json.dumps(explanation.facts))
    assert end is how
    assert facts["problem"] == problem, explanation.summary
    for words in said:
        assert words in explanation.summary
    if vectors is not None:
        assert [fault["vector"] for fault in facts["faults"]][-len(vectors) or 99:] == vectors
    text = "\n".join(explanation.paragraphs())
    assert explanation.summary[1:] in text and "Registers at the end" in text
    assert any(line.startswith(("triple fault", "an endless loop", "ended by time")) for line in explanation.brief())


def test_every_kernel_is_in_a_test():
    assert {path.stem for path in HERE.glob("*.asm")} == {*BUGS, "one_gate"}


# -- by hand: what a person finds in the kernel's source and listing

def test_a_page_fault_step_by_step():
    facts = died("page_hole")[1].facts
    fault = facts["faults"][0]
    assert fault["instruction"]["text"] == "add dword ptr [ebx + ecx*8 + 4], 0x55"
    (operand,) = [o for o in fault["instruction"]["operands"] if o["kind"] == "memory"]
    assert operand["linear"] == 0x345014 and operand["physical"] is None
    assert operand["registers"] == {"ebx": 0x345000, "ecx": 2}
    assert fault["cause"]["walk"]["entries"] == [
        {"level": "PDE", "index": 0, "address": 0x200000, "entry": 0x201027, "fault": ""},
        {"level": "PTE", "index": 0x345, "address": 0x201000 + 4 * 0x345, "entry": 0, "fault": "not present"}]
    assert fault["error_words"] == "page not present, supervisor read" and fault["cr2"] == 0x345014
    assert fault["delivery"]["problem"] == "missing-gate" and fault["delivery"]["raises"] == 13
    assert "nor loaded IDTR" in fault["delivery"]["words"]


def test_the_tss_step_by_step():
    facts = died("bad_tss")[1].facts
    first, second, third = facts["faults"]
    assert (first["kind"], first["cpl"]) == ("software interrupt", 3)
    assert (first["delivery"]["raises"], first["delivery"]["error"]) == (10, 0x20)
    assert (second["vector"], second["error"]) == (10, 0x20)            # as the processor had it
    assert second["delivery"]["error"] == 0x21 and second["delivery"]["makes"] == 8
    assert third["delivery"]["problem"] == "tss-stack"
    assert any("SS0:ESP0 of the TSS" in step and "0023:200000" in step for step in first["delivery"]["steps"])


def test_the_call_stack_by_frame_pointers():
    facts = died("missing_gate")[1].facts
    assert [frame["sure"] for frame in facts["stack"]] == [True, True]
    code = image("missing_gate")
    for frame in facts["stack"]:
        assert code[frame["return"] - 0x100000 - 5] == 0xE8         # CALL


def test_symbols_are_used_where_there_are_some():
    with Tiny() as machine:
        machine.load(image("missing_gate"), name="k")
        end = machine.run(10**9)
        explanation = explain(machine, end.value, lambda address: f"deeper+{address - 0x100000:#x}")
    assert "<deeper+0x" in explanation.summary and "<deeper+0x" in "\n".join(explanation.paragraphs())


def test_the_interrupt_controllers_of_a_guest_that_waits():
    found = died("missing_eoi")[1].facts["halt"]
    pic = found["controllers"]["pic1"]
    assert found["if"] and pic["vector"] == 0x20
    assert (pic["irr"], pic["isr"], pic["imr"], pic["open"]) == (1, 1, 0xFE, 0)


def test_a_handler_that_cannot_be_fetched_makes_its_own_fault():
    text = "\n".join(died("no_handler_code")[1].paragraphs())
    assert "that is the first instruction of its own handler" in text


def test_code_that_was_written_over_is_told_where_the_stack_is_elsewhere():
    with Tiny() as machine:
        machine.load(assemble("""
            mov ax, 0x2000; mov ss, ax; mov sp, 0x600; mov word ptr [0x18], fault; mov word ptr [0x1a], 0
            mov word ptr [patched], 0xffff
            jmp patched
            .fill 40, 1, 0x90
        patched:
            nop; nop; nop; nop
        fault:
            cli; hlt""", 0x7C00, 16), name="program")
        told = []
        watcher = Watcher(machine, [6], told.append)
        machine.run(1_000_000)
        watcher.flush()
    (explanation,) = told
    assert explanation.facts["problem"] == "code-overwritten"
    assert "is not what was loaded: the bytes were 90 90 90 90 fa f4 and are ff ff 90 90 fa f4 now" in explanation.summary


# -- watching

def watched(name, until, *vectors):
    told = []
    with Tiny() as machine:
        machine.load(image(name), name=name)
        watcher = Watcher(machine, vectors, told.append)
        machine.poll = watcher.poll
        end = machine.run(until)
        watcher.flush()
        return end, told, watcher, machine.state_sha256()


def test_a_fault_without_a_handler_is_explained_though_the_guest_lives():
    end, told, _, _ = watched("one_gate", 10**9)
    assert end is End.EXIT
    (explanation,) = told
    assert explanation.facts["problem"] == "missing-gate" and "is not present: P = 0" in explanation.summary
    assert [fault["vector"] for fault in explanation.facts["faults"]] == [6, 11]
    assert explanation.facts["faults"][1]["error"] == 6 * 8 + 3


def test_each_fault_of_a_vector_is_explained_up_to_a_number():
    _, told, watcher, _ = watched("fault_loop", 1_000_000, 14)
    assert len(told) >= 20 and watcher.unexplained > 100
    assert all(explanation.facts["faults"][0]["vector"] == 14 for explanation in told)
    assert "handler at" in "\n".join(told[0].paragraphs())


def test_a_loop_of_faults_is_noticed_while_it_runs():
    end, told, _, _ = watched("fault_loop", 10**8)
    assert end is End.TIME
    (explanation,) = told
    assert explanation.facts["problem"] == "fault-loop" and explanation.facts["time"] < 10**8
    assert "an endless loop of faults" in explanation.brief()[0]


def test_watching_changes_no_run():
    for name in "one_gate", "fault_loop":
        with Tiny() as machine:
            machine.load(image(name), name=name)
            machine.run(1_000_000)                  # of the loop some 1,900 faults
            alone = machine.state_sha256()
        assert watched(name, 1_000_000, 14, 6, 13)[3] == alone
