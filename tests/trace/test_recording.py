"""A recording is whole and true, and the run is the one that nobody watches."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import polars as pl
import pytest

from emu import snapshot
from emu.assembler import assemble
from emu.boards.pc import PC
from emu.boards.tiny import Tiny
from emu.cpu.unicorn.engine import UnicornEngine
from emu.engine import EngineError
from emu.firmware import build
from emu.trace.reader import BadTrace, Trace
from emu.trace.recording import Recording
from emu.trace.sink import TraceError

KERNELS = ["hello", "ticks", "paging", "ring3", "long"]


def counts(machine):
    return machine.now, machine.engine.counters(), machine.text, machine.state_sha256()


def recorded(code, path, bits=16, until=50_000_000):
    """The trace of a program in real mode at 0000:7C00, and the machine's counters."""
    with Tiny(1 << 20) as m:
        m.load(assemble(code, 0x7C00, bits), name="program")
        with Recording(m, path):
            m.run(until)
        return Trace(path), m.engine.counters()


@pytest.mark.parametrize("name", KERNELS)
def test_every_block_is_there_and_the_run_is_the_same(name, tmp_path):
    with Tiny() as m:
        m.load(build.kernel(name))
        m.run(2_000_000_000)
        unwatched = counts(m)
    with Tiny() as m:
        m.load(build.kernel(name))
        with Recording(m, tmp_path / "t"):
            m.run(2_000_000_000)
        assert counts(m) == unwatched
    trace = Trace(tmp_path / "t")
    assert trace.meta["complete"] and trace.length == unwatched[1]["blocks"] == len(trace.blocks())
    events = trace.events
    for kind, key in ("exception", "exceptions"), ("interrupt", "interrupts"), ("software interrupt", "software_interrupts"):
        told = events.filter(pl.col("kind") == kind)["vector"].value_counts()
        assert dict(told.iter_rows()) == unwatched[1][key]
    assert len(events.filter(pl.col("kind") == "port read")) == unwatched[1]["port_reads"]
    assert len(events.filter(pl.col("kind") == "port write")) == unwatched[1]["port_writes"]
    sent = bytes(events.filter((pl.col("kind") == "port write") & (pl.col("name") == "com1.THR"))["value"].to_list())
    assert sent.replace(b"\r\n", b"\n").decode() == unwatched[2].replace("\r\n", "\n")
    assert events["time"].is_sorted() and events["position"].is_sorted()


def test_a_recording_of_a_part_begins_and_ends_where_it_is_asked_to(tmp_path):
    with Tiny() as m:
        m.load(build.kernel("ticks"))
        m.run(20_000_000)
        before = m.engine.counters()["blocks"]
        with Recording(m, tmp_path / "a"):
            m.run(40_000_000)
        middle = m.engine.counters()["blocks"]
        m.run(60_000_000)
        with Recording(m, tmp_path / "b"):
            m.run(70_000_000)
        end = counts(m)
    assert Trace(tmp_path / "a").length == middle - before
    with Tiny() as m:
        m.load(build.kernel("ticks"))
        m.run(70_000_000)
        assert counts(m) == end


@pytest.mark.parametrize("mode", range(6))
def test_counters_of_the_8254_that_lead_nowhere_are_left_alone(mode, tmp_path):
    states = []
    for traced in False, True:
        with PC(1 << 20, firmware=None) as m:
            m.load(assemble(f"""
                mov al, 3; out 0x61, al
                mov al, {0x70 | mode << 1}; out 0x43, al; mov al, 200; out 0x41, al; mov al, 0; out 0x41, al
                mov al, {0xB0 | mode << 1}; out 0x43, al; mov al, 100; out 0x42, al; mov al, 0; out 0x42, al
                mov al, 2; out 0x61, al; mov al, 3; out 0x61, al
            again:
                inc ax; jmp again""", 0x7C00, 16), name="program")
            if traced:
                with Recording(m, tmp_path / "t"):
                    m.run(1_000_000)
            else:
                m.run(1_000_000)
            states.append((counts(m), {name: chip.save() for name, chip in m.chips.items()}))
    assert states[0] == states[1]


def test_instructions_are_those_that_ran(tmp_path):
    trace, _ = recorded("mov cx, 3; again: dec cx; jnz again; cli; hlt", tmp_path / "t")
    assert [address - 0x7C00 for address in trace.instructions().tolist()] == [0, 3, 4, 3, 4, 3, 4, 6, 7]


def test_a_fault_cuts_its_block(tmp_path):
    trace, counters = recorded("""
        mov word ptr [0], handler
        mov word ptr [2], 0
        xor cx, cx
        mov ax, 1
        div cx
        inc ax
    handler:
        cli
        hlt""", tmp_path / "t")
    assert counters["exceptions"] == {0: 1}
    code = assemble("mov word ptr [0], 0; mov word ptr [2], 0; xor cx, cx; mov ax, 1; div cx; inc ax", 0, 16)
    ran = trace.instructions().tolist()
    assert ran[-3:] == [0x7C00 + len(code) - 3, 0x7C00 + len(code), 0x7C00 + len(code) + 1]


def test_code_that_changes_itself_has_versions_and_its_block_is_cut(tmp_path):
    trace, _ = recorded("""
        mov cx, 2
    again:
        mov byte ptr [patched + 1], 0x22
        mov al, 0x11
    patched:
        mov ah, 0x11
        loop again
        cli
        hlt""", tmp_path / "t")
    ran = trace.instructions().tolist()
    said = {address: f"{mnemonic} {operands}" for block in trace.code.values()
            for address, _, mnemonic, operands in trace.disassemble(block)}
    one, two = [said[address].split()[0] for address in ran[:5]], ran[1:5]
    assert one == ["mov", "mov", "mov", "mov", "loop"] and ran == [ran[0], *two, *two, ran[-2], ran[-1]]
    where = ran[3]
    versions = {block.code[where - block.pc:where - block.pc + 2] for block in trace.code.values()
                if block.pc <= where < block.pc + block.size}
    assert versions == {b"\xB4\x11", b"\xB4\x22"}


def test_a_bulk_rep_is_told_once_for_each_element(tmp_path):
    trace, counters = recorded("cld; mov ax, 0x1000; mov es, ax; xor edi, edi; mov ecx, 5000; rep stosd; cli; hlt",
                               tmp_path / "t")
    assert trace.length == counters["blocks"] >= 5000


def test_a_block_that_is_made_again_is_kept_once(tmp_path):
    with Tiny() as m:
        m.load(build.kernel("ticks"))
        with Recording(m, tmp_path / "t"):
            m.run(20_000_000)
            m.engine.wrote(0x100000, 0x10000)
            m.run(40_000_000)
    trace = Trace(tmp_path / "t")
    kept = [(block.pc, block.flags, block.code, block.single) for block in trace.code.values()]
    assert len(kept) == len(set(kept))
    assert set(trace.blocks().tolist()) <= set(trace.code)


def test_a_restored_machine_is_recorded_as_the_one_that_went_on(tmp_path):
    with Tiny() as m:
        m.load(build.kernel("ring3"))
        m.run(10_000_000)
        snapshot.save(m, tmp_path / "s")
        with Recording(m, tmp_path / "a"):
            m.run(200_000_000)
    with snapshot.load(tmp_path / "s") as m, Recording(m, tmp_path / "b"):
        m.run(200_000_000)
    a, b = Trace(tmp_path / "a"), Trace(tmp_path / "b")
    assert a.instructions().tolist() == b.instructions().tolist()
    assert a.events.drop("position").equals(b.events.drop("position"))


def test_duckdb_reads_a_trace_as_it_is(tmp_path):
    duckdb = pytest.importorskip("duckdb")
    recorded("mov cx, 100; again: loop again; cli; hlt", tmp_path / "t")
    rows = duckdb.sql(f"""
        SELECT c.pc, count(*) AS n FROM '{tmp_path}/t/blocks-*.parquet' b JOIN '{tmp_path}/t/code-*.parquet' c USING (block)
        GROUP BY ALL ORDER BY n DESC LIMIT 1""").fetchall()
    assert rows == [(0x7C03, 99)]


def test_without_the_block_editor_there_is_no_recording(monkeypatch, tmp_path):
    monkeypatch.setenv("EMU_FAST", "none")
    engine = UnicornEngine(1 << 20)
    with pytest.raises(EngineError, match="EMU_FAST"):
        engine.record(object())
    engine.close()


def test_a_directory_that_is_not_empty_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with Tiny() as m, pytest.raises(TraceError, match="a new or an empty directory"):
        Recording(m, tmp_path)
    with Tiny() as m, pytest.raises(TraceError, match="Not a directory"):
        Recording(m, tmp_path / "file" / "t")


def test_what_is_no_trace_is_refused_with_a_line(tmp_path):
    with pytest.raises(BadTrace, match="no trace"):
        Trace(tmp_path)
    (tmp_path / "meta.json").write_text("{")
    with pytest.raises(BadTrace, match="damaged"):
        Trace(tmp_path)
    (tmp_path / "meta.json").write_text(json.dumps({"emu_trace": 99, "parts": []}))
    with pytest.raises(BadTrace, match="version 99; this program reads version 2"):
        Trace(tmp_path)


def test_a_corrupt_part_is_one_line(tmp_path):
    recorded("cli; hlt", tmp_path / "t")
    part = next((tmp_path / "t").glob("blocks-*.parquet"))
    part.write_bytes(part.read_bytes()[:20])
    with pytest.raises(BadTrace, match=r"blocks-000000.parquet: cannot be read"):
        Trace(tmp_path / "t").blocks()


def test_a_killed_recorder_leaves_what_it_recorded_until_then(tmp_path):
    code = (f"from emu.boards.tiny import Tiny; from emu.trace.recording import Recording\n"
            f"from emu.assembler import assemble\n"
            f"m = Tiny(1 << 20); m.load(assemble('again: jmp again', 0x7C00, 16), name='x')\n"
            f"r = Recording(m, {str(tmp_path / 't')!r}); m.run(2_000_000_000); print('ran', flush=True); m.run(1 << 60)\n")
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"ran\n"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    for _ in range(200):                        # the writer writes what it has, and ends
        trace = Trace(tmp_path / "t")
        if trace.length > 190_000_000:
            break
        time.sleep(0.05)
    assert not trace.meta["complete"] and trace.length > 190_000_000
    assert set(trace.blocks(trace.length - 1000).tolist()) <= set(trace.code)


def test_a_writer_that_fails_is_told_at_the_end_and_the_guest_goes_on(tmp_path):
    with Tiny() as m:
        m.load(build.kernel("ticks"))
        recording = Recording(m, tmp_path / "t")
        m.run(10_000_000)
        recording.sink._child.kill()
        m.run(50_000_000)
        assert m.now >= 50_000_000
        with pytest.raises(TraceError, match="the writer ended with status -9"):
            recording.stop()
        m.run(60_000_000)
        assert m.now >= 60_000_000


def test_accesses_to_device_memory_where_no_chip_is_are_events_too(tmp_path):
    code = """
        xor eax, eax; mov ds, ax; mov ax, 0xA000; mov ds, ax; mov ecx, 20000
    again:
        mov bx, [0x10]; mov byte ptr [0x23], 0x77; dec ecx; jnz again
        cli; hlt"""
    with Tiny(2 << 20) as m:
        m.load(assemble(code, 0x7C00, 16), name="program")
        m.run(1)
        with Recording(m, tmp_path / "t"):
            m.run(1_000_000_000)
        watched = m.now, m.engine.counters(), m.state_sha256()
    with Tiny(2 << 20) as m:
        m.load(assemble(code, 0x7C00, 16), name="program")
        m.run(1)
        m.run(1_000_000_000)
        assert (m.now, m.engine.counters(), m.state_sha256()) == watched
    events = Trace(tmp_path / "t").events
    rows = events.select("kind", "name", "address", "size", "value").rows()
    assert rows == [("memory read", "", 0xA0010, 2, 0xFFFF), ("memory write", "", 0xA0023, 1, 0x77)] * 19999
    assert events["time"].is_sorted() and events["position"].is_sorted()
