"""Call stacks that are followed over a trace, and what is made of them."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from emu.assembler import assemble
from emu.boards.tiny import Tiny
from emu.cli import main
from emu.trace import profile
from emu.trace.layout import BadTrace
from emu.trace.reader import Trace
from emu.trace.recording import Recording
from emu.trace.stacks import stacks
from emu.trace.symbols import Symbols

pytest.importorskip("numba", reason="no numba: pip install 'emu-pc[profile]'")

START = 0x7C00


def traced(source, path, functions, until=20_000_000):
    """The trace of a real-mode program, and the symbols of its labels."""
    with Tiny(1 << 20) as m:
        code = assemble(source, START, 16)
        m.load(code, name="program")
        with Recording(m, path):
            m.run(until)
    places = {name: code.index(bytes([0xB3, number])) + START for number, name in enumerate(functions, 0x41)}
    return Trace(path), Symbols([(START, "main"), *((address, name) for name, address in places.items())])


CALLS = """
        mov cx, 5
    again:
        call outer
        loop again
        cli
        hlt
    outer:
        mov bl, 0x41
        call inner
        call inner
        ret
    inner:
        mov bl, 0x42
        mov al, 3
    spin:
        dec al
        jnz spin
        ret
"""


def test_who_called_whom(tmp_path):
    trace, symbols = traced(CALLS, tmp_path / "t", ["outer", "inner"])
    folded = stacks(trace, symbols).folded()
    assert set(folded) == {("main",), ("main", "outer"), ("main", "outer", "inner")}
    assert folded["main", "outer", "inner"] == 5 * 2 * 4
    assert sum(folded.values()) == trace.length
    assert folded["main", "outer"] == 5 * 3


def test_an_interrupt_lies_on_what_it_interrupted(tmp_path):
    trace, symbols = traced("""
        cli
        mov word ptr [0x20 * 4], handler
        mov word ptr [0x20 * 4 + 2], 0
        sti
        call worker
        cli
        hlt
    worker:
        mov bl, 0x41
        int 0x20
        nop
        ret
    handler:
        mov bl, 0x42
        call inner
        .byte 0xCF
    inner:
        mov bl, 0x43
        ret
    """, tmp_path / "t", ["worker", "handler", "inner"])
    folded = stacks(trace, symbols).folded()
    assert {("main", "worker"), ("main", "worker", "handler"), ("main", "worker", "handler", "inner")} <= set(folded)
    assert max(len(path) for path in folded) == 4


def test_a_task_that_is_left_is_found_again(tmp_path):
    """Two coroutines, each with its own stack, that switch in the middle of a call."""
    trace, symbols = traced("""
        cli
        mov word ptr [0x9000], 0x8FF0
        mov dword ptr [0x8FF0], second
        mov sp, 0x8000
        call first
        cli
        hlt
    first:
        mov bl, 0x41
        call switch
        call switch
        nop
        ret
    second:
        mov bl, 0x42
        call deep
    deep:
        mov bl, 0x43
    again:
        call switch
        jmp again
    switch:
        mov bl, 0x44
        xchg sp, [0x9000]
        ret
    """, tmp_path / "t", ["first", "second", "deep", "switch"])
    folded = stacks(trace, symbols).folded()
    assert ("main", "first") in folded and ("second", "deep") in folded
    assert not any("first" in path and "deep" in path[path.index("first"):] and "switch" not in path for path in folded)


def test_a_page_needs_nothing_from_outside_and_holds_the_tree(tmp_path):
    trace, symbols = traced(CALLS, tmp_path / "t", ["outer", "inner"])
    profile.write(trace, tmp_path / "p.html", symbols)
    page = (tmp_path / "p.html").read_text()
    assert not re.search(r"https?://|src=|href=", page)
    tree = json.loads(re.search(r"const root=(.*?),graph=", page, re.DOTALL)[1])
    assert tree[:2] == ["all", trace.length] and tree[2][0][0] == "main" and tree[2][0][2][0][0] == "outer"


def test_pictures_and_folded_stacks(tmp_path):
    trace, symbols = traced(CALLS, tmp_path / "t", ["outer", "inner"])
    pytest.importorskip("matplotlib", reason="no matplotlib: pip install 'emu-pc[profile]'")
    profile.write(trace, tmp_path / "p.png", symbols)
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    profile.write(trace, tmp_path / "p.svg", symbols)
    assert "<svg" in (tmp_path / "p.svg").read_text()
    profile.write(trace, tmp_path / "p.txt", symbols)
    assert "main;outer;inner 40\n" in (tmp_path / "p.txt").read_text()
    with pytest.raises(BadTrace, match="by the file's ending"):
        profile.write(trace, tmp_path / "p.doc", symbols)


def test_the_command_says_what_took_most(tmp_path):
    traced(CALLS, tmp_path / "t", ["outer", "inner"])
    done = subprocess.run([sys.executable, "-m", "emu", "profile", str(tmp_path / "t"), "-o", str(tmp_path / "p.html")],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0 and re.search(r"^ *[0-9.]+ %  7c[0-9a-f]{2}$", done.stdout, re.MULTILINE), done.stderr
    done = subprocess.run([sys.executable, "-m", "emu", "profile", str(tmp_path)], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 2 and "no trace" in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("more, said", [
    (["-o", "/nowhere/x.html"], "/nowhere/x.html: cannot be written: No such file or directory"),
    (["--symbols", "/nowhere/x"], "--symbols: /nowhere/x: cannot be read: No such file or directory"),
])
def test_a_mistake_is_one_line(more, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    traced(CALLS, tmp_path / "t", ["outer", "inner"])
    assert main(["profile", str(tmp_path / "t"), *more]) == 2
    assert capsys.readouterr().err == f"emu: {said}\n"
