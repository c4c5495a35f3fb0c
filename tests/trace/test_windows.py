"""Levels and windows: a trace keeps what it was asked for, each piece as the whole has it, and no run changes by it."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from emu.assembler import assemble
from emu.boards.pc import PC
from emu.boards.tiny import Tiny
from emu.firmware import build
from emu.trace.layout import LEVELS
from emu.trace.reader import Trace
from emu.trace.recording import Recording
from emu.trace.window import Window

LIMIT = 12_000_000
KERNEL = "ring3"
WINDOWS = {
    "cpl": Window(cpl=3), "range": Window(ranges=((0x100000, 0x1000FF),)), "time": Window(time=(9_000_000, 11_000_000)),
    "text": Window(start=b"ri", end=b"ng"), "both": Window(cpl=0, time=(0, 10_500_000)),
}


def defined(trace, numbers, what):
    """what(block) for each of a row of numbers."""
    table = np.zeros(max(trace.code) + 1, dtype=object)
    for number, block in trace.code.items():
        table[number] = what(block)
    return table[numbers]


def ran(path=None, name=KERNEL, **options):
    """(what there is of the run, its trace)."""
    with Tiny() as m:
        m.load(build.kernel(name))
        if path is None:
            m.run(LIMIT)
        else:
            with Recording(m, path, **options):
                m.run(LIMIT)
        return (m.now, m.engine.counters(), m.text, m.state_sha256()), path and Trace(path)


def expanded(trace):
    """Instructions by the blocks that ran, each with its block's position."""
    pieces = [(np.repeat(positions, lengths), trace.expand(numbers, lengths)) for positions, numbers, lengths in trace.runs()]
    places, addresses = map(np.concatenate, zip(*pieces, strict=True))
    return pl.DataFrame({"position": places.astype(np.uint64), "address": addresses})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return ran(tmp_path_factory.mktemp("trace") / "t", level="insns")


@pytest.mark.parametrize("level", LEVELS)
def test_the_run_is_the_same_with_every_level_and_with_none(level, tmp_path, whole):
    run, trace = ran(tmp_path / "t", level=level)
    assert run == ran()[0] == whole[0]
    assert trace.meta["level"] == level
    assert trace.events.equals(whole[1].events)
    assert len(trace.blocks()) == (0 if level == "events" else run[1]["blocks"])


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize("level", ["blocks", "insns"])
def test_a_window_changes_no_run_and_keeps_what_the_whole_has(name, level, tmp_path, whole):
    window = WINDOWS[name]
    run, trace = ran(tmp_path / "t", level=level, window=window)
    assert run == whole[0]
    rows, all_numbers = whole[1], whole[1].blocks()
    places = np.concatenate([places for places, _ in trace.pieces()])
    assert 0 < len(places) < len(all_numbers)
    blocks = trace.blocks()
    for what in (lambda block: block.pc), (lambda block: block.flags), (lambda block: block.code):
        assert (defined(trace, blocks, what) == defined(rows, all_numbers[places], what)).all()
    wanted = defined(rows, all_numbers, lambda block: window.cpl is None or block.cpl == window.cpl).astype(bool)
    if window.ranges:
        (first, last), = window.ranges
        wanted &= defined(rows, all_numbers, lambda block: block.pc <= last and first < block.pc + block.size).astype(bool)
    if window.by_block and window.time is None:
        assert np.flatnonzero(wanted).tolist() == places.tolist()
        assert set((trace.events["position"] - 1).to_list()) <= set(places.tolist())
    if level == "insns" and not window.ranges:
        assert trace.rows("insns").equals(expanded(trace))


def test_a_window_of_time_is_exact(tmp_path, whole):
    first, last = WINDOWS["time"].time
    _, trace = ran(tmp_path / "t", window=WINDOWS["time"])
    events = whole[1].events
    inside = events.filter((pl.col("time") >= first) & (pl.col("time") < last))
    places = np.concatenate([places for places, _ in trace.pieces()])
    assert inside["position"].min() - 1 in places and inside["position"].max() - 1 in places
    before = events.filter(pl.col("time") < first)["position"].max()
    after = events.filter(pl.col("time") >= last + 1_000_000)["position"].min()
    assert before <= places[0] + 1 and (after is None or after > places[-1])
    assert inside.rows() == trace.events.filter((pl.col("time") >= first) & (pl.col("time") < last)).rows()


def test_the_instruction_level_is_the_expansion_and_a_range_of_it_is_exact(tmp_path, whole):
    addresses = whole[1].rows("insns")["address"]
    assert whole[1].rows("insns").equals(expanded(whole[1]))
    begun = pl.concat(whole[1].frames("insns"))["begun"].to_numpy().cumsum()      # over all parts
    assert np.array_equal(begun, whole[1].rows("insns")["position"].to_numpy() + 1)
    _, trace = ran(tmp_path / "t", level="insns", window=WINDOWS["range"])
    (first, last), = WINDOWS["range"].ranges
    assert trace.rows("insns")["address"].to_list() == addresses.filter((addresses >= first) & (addresses <= last)).to_list()


def test_from_and_to_a_text_of_the_console(tmp_path):
    code = """
        mov dx, 0x3f8; mov al, 65; out dx, al; nop; jmp one
    one:
        mov al, 66; out dx, al; jmp two
    two:
        mov al, 67; out dx, al; jmp three
    three:
        cli; hlt"""
    with Tiny(1 << 20) as m:
        m.load(assemble(code, 0x7C00, 16), name="program")
        with Recording(m, tmp_path / "t", window=Window(start=b"B", end=b"C")):
            m.run(1_000_000)
    trace = Trace(tmp_path / "t")
    said = [(kind, value) for kind, value in trace.events.select("kind", "value").iter_rows() if kind == "console"]
    assert said == [("console", 66), ("console", 67)]
    (places, numbers), = trace.pieces()
    # the block that shows B has begun before, the one that shows C is the last
    assert len(numbers) == 1 and b"\xB0\x43" in trace.code[int(numbers[0])].code and places[0] == 2


def test_writes_to_control_and_model_specific_registers_are_events(tmp_path):
    _, trace = ran(tmp_path / "t", name="long")
    writes = trace.events.filter(pl.col("kind").is_in(["control register", "msr"]))
    told = [(name, value) for name, value in writes.select("name", "value").iter_rows()]
    assert [name for name, _ in told][:4] == ["CR4", "CR3", "EFER", "CR0"] or {"CR4", "CR3", "EFER", "CR0"} <= {
        name for name, _ in told}
    values = dict(told)
    assert values["CR4"] & 0x20 and values["EFER"] & 0x100 and values["CR0"] & 0x80000001 == 0x80000001
    rows = dict(writes.select("name", "position").iter_rows())
    mnemonics = [row[2:] for row in trace.disassemble(trace.code[int(trace.blocks(rows["CR0"] - 1, 1)[0])])]
    assert any(mnemonic == "mov" and operands.startswith("cr0") for mnemonic, operands in mnemonics)


def test_the_screens_mode_is_an_event_and_the_console_is_there_as_it_was_written(tmp_path):
    code = """
        cli
        mov dx, 0x1ce; mov ax, 4; out dx, ax; inc dx; xor ax, ax; out dx, ax
        dec dx; mov ax, 1; out dx, ax; inc dx; mov ax, 640; out dx, ax
        dec dx; mov ax, 2; out dx, ax; inc dx; mov ax, 480; out dx, ax
        dec dx; mov ax, 3; out dx, ax; inc dx; mov ax, 32; out dx, ax
        dec dx; mov ax, 4; out dx, ax; inc dx; mov ax, 0x41; out dx, ax
        mov dx, 0x3f8; mov al, 72; out dx, al; mov al, 105; out dx, al
        hlt"""
    with PC(16 << 20) as m:
        m.load(assemble(code, 0x7C00, 16), name="program")
        with Recording(m, tmp_path / "t"):
            m.run(1_000_000)
        text = m.text
    events = Trace(tmp_path / "t").events
    assert events.filter(pl.col("kind") == "screen")["name"].to_list() == ["graphics 640x480x32"]
    console = events.filter(pl.col("kind") == "console")
    said = b"".join(value.to_bytes(size, "little") for value, size in console.select("value", "size").iter_rows())
    assert said.decode() == text == "Hi"


def test_a_storm_of_exceptions_fills_the_ring_of_events_and_none_is_lost(tmp_path):
    with Tiny(1 << 20) as m:
        m.load(assemble("""
            mov word ptr [0x80], handler; mov word ptr [0x82], 0; mov ecx, 40000
        again:
            int 0x20; dec ecx; jnz again
            cli; hlt
        handler:
            iret""", 0x7C00, 16), name="program")
        with Recording(m, tmp_path / "t"):
            m.run(1_000_000_000)
        assert m.engine.counters()["software_interrupts"] == {0x20: 40000}
    events = Trace(tmp_path / "t").events
    assert len(events.filter(pl.col("kind") == "software interrupt")) == 40000
    assert events["time"].is_sorted() and events["time"].max() < 1_000_000_000


@pytest.mark.parametrize("count", [1, 100, 10**6])
def test_a_flight_recorder_has_the_last_blocks_and_their_events(count, tmp_path, whole):
    with Tiny() as m:
        m.load(build.kernel(KERNEL))
        recording = Recording(m, tmp_path / "t", flight=count)
        m.run(LIMIT)
        recording.stop()
        assert (m.now, m.engine.counters(), m.text, m.state_sha256()) == whole[0]
    trace, rows = Trace(tmp_path / "t"), whole[1]
    first = max(rows.length - count, 0)
    assert trace.length == rows.length and trace.meta["first"] == first
    assert np.array_equal(trace.instructions(), rows.instructions(first))
    assert trace.events.filter(pl.col("position") > first).equals(rows.events.filter(pl.col("position") > first))


def test_a_flight_recorder_that_is_not_asked_leaves_nothing(tmp_path):
    with Tiny() as m:
        m.load(build.kernel(KERNEL))
        recording = Recording(m, tmp_path / "t", flight=1000)
        m.run(LIMIT)
        recording.stop(write=False)
    assert not (tmp_path / "t").exists()


def test_the_memory_of_a_flight_recorder_is_bounded_and_old_blocks_that_still_run_are_known(tmp_path, monkeypatch):
    from emu.trace import flight
    monkeypatch.setattr(flight, "DEFINITIONS", 1 << 12)
    code = """
        mov ecx, 3000
    again:
        inc word ptr [patched + 1]
        jmp patched
    patched:
        mov ax, 0
        jmp next
    next:
        dec ecx; jnz again; cli; hlt"""
    with Tiny(1 << 20) as m:
        m.load(assemble(code, 0x7C00, 16), name="program")
        recording = Recording(m, tmp_path / "t", flight=50)
        m.run(1_000_000)
        m.engine._anew()                        # as the library does when its buffer is full
        m.run(1_000_000_000)
        recording.stop()
        assert m.registers.rax & 0xFFFF == 3000
    trace = Trace(tmp_path / "t")
    assert len(trace.blocks()) == 50 and set(trace.blocks().tolist()) <= set(trace.code)
    assert len(trace.code) < 4000


def test_a_part_that_grows_stays_one_file(tmp_path):
    with Tiny() as m:
        m.load(build.kernel("ticks"))
        with Recording(m, tmp_path / "t") as recording:
            for time in range(1, 40):
                m.run(time * 10_000_000)
                m.engine.recorded(hand_over=True)
        assert recording.failure is None
        blocks = m.engine.counters()["blocks"]
    assert len(list((tmp_path / "t").glob("blocks-*"))) == 1
    assert len(Trace(tmp_path / "t").blocks()) == blocks
    assert json.loads((tmp_path / "t" / "meta.json").read_text())["complete"]
