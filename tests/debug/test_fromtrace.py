"""Calls that had not returned, by a trace: thunks and stuffed return predictors are no calls, other tasks' are not told."""

from __future__ import annotations

from emu.assembler import assemble
from emu.boards.tiny import Tiny
from emu.debug.fromtrace import calls, last
from emu.trace.reader import Trace
from emu.trace.recording import Recording

START = """
        mov bx, function
        call outer
        cli
        hlt
    outer:
        call returns
        call thunk
        ret
    returns:
        ret
    thunk:
        call over
    never: jmp never
    over:
        pop cx
        push bx
        ret
"""


def traced(tmp_path, source):
    with Tiny(1 << 20) as machine:
        machine.load(assemble(source, 0x7C00, 16), name="program")
        with Recording(machine, tmp_path / "t"):
            machine.run(50_000_000)
    return Trace(tmp_path / "t")


def test_a_call_by_a_thunk_leads_to_its_function(tmp_path):
    trace = traced(tmp_path, START + "function: call inner; ret; inner: cli; hlt")
    found = calls(trace)
    assert [frame["how"] for frame in found] == ["call"] * 3
    assert last(trace)[-1]["text"] == "hlt" and last(trace, count=3)[-2]["text"] == "cli"
    outer, function, inner = (frame["to"] for frame in found)
    assert outer < function < inner == last(trace)[-2]["address"] and found[2]["from"] == function


def test_what_has_returned_is_not_told(tmp_path):
    assert calls(traced(tmp_path, START + "function: ret")) == []


def test_of_another_stack_only_what_was_seen_is_told(tmp_path):
    trace = traced(tmp_path, START + """
    function:
        .fill 80, 1, 0x90
        mov sp, 0x6000
        mov ax, there
        push ax
        ret
    there:
        call dies
    dies:
        cli
        hlt
    """)
    (frame,) = calls(trace)
    before, cli, _ = last(trace, count=3)
    assert (frame["from"], frame["to"]) == (before["address"], cli["address"]) and before["text"].startswith("call")
