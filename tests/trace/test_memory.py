"""The memory level: every load and store with linear address, size and value, and the run is the one that nobody watches."""

from __future__ import annotations

import polars as pl
import pytest

from emu import snapshot
from emu.assembler import assemble
from emu.boards.tiny import Tiny
from emu.cli import main
from emu.debug.instruction import stores_of
from emu.firmware import build
from emu.trace.reader import Trace
from emu.trace.recording import Recording
from emu.trace.window import Window


def recorded(code, path, until=1_000_000, **options):
    with Tiny(1 << 20) as m:
        m.load(assemble(code, 0x7C00, 16), name="program")
        with Recording(m, path, "memory", **options):
            m.run(until)
    trace = Trace(path)
    return trace, list(trace.rows("accesses").select("address", "size", "write", "value").iter_rows())


def test_loads_and_stores_have_address_size_and_value(tmp_path):
    _, rows = recorded("""
        mov ax, 0x100; mov ds, ax
        mov dword ptr [0x10], 0x11223344
        mov al, [0x11]
        mov bx, [0x12]
        add word ptr [0x10], 1
        movsx ecx, byte ptr [0x13]
        xor sp, sp; mov ss, sp; mov sp, 0x600
        push bx
        cli; hlt""", tmp_path / "t")
    assert rows == [
        (0x1010, 4, True, 0x11223344), (0x1011, 1, False, 0x33), (0x1012, 2, False, 0x1122),
        (0x1010, 2, False, 0x3344), (0x1010, 2, True, 0x3345), (0x1013, 1, False, 0x11), (0x5FE, 2, True, 0x1122)]


def test_an_access_that_is_not_aligned_is_one_row(tmp_path):
    _, rows = recorded("""
        mov dword ptr [0x0ffe], 0xa1b2c3d4
        mov eax, [0x0ffe]
        mov eax, [0x0fff]
        mov bx, [0x2001]
        cli; hlt""", tmp_path / "t")
    assert rows == [(0xFFE, 4, True, 0xA1B2C3D4), (0xFFE, 4, False, 0xA1B2C3D4), (0xFFF, 4, False, 0xA1B2C3),
                    (0x2001, 2, False, 0)]


def test_a_rep_is_a_row_for_each_element_and_the_clock_counts_as_ever(tmp_path):
    code = "cld; mov ax, 0x1000; mov es, ax; xor edi, edi; mov eax, 7; mov ecx, 500; rep stosd; cli; hlt"
    _, rows = recorded(code, tmp_path / "t")
    assert rows == [(0x10000 + 4 * i, 4, True, 7) for i in range(500)]


def test_an_access_that_faults_is_none_and_the_processors_own_are_told(tmp_path):
    trace, rows = recorded("""
        xor ax, ax; mov ds, ax; mov ss, ax; mov sp, 0x600
        mov word ptr [0x80], handler; mov word ptr [0x82], 0
        int 0x20
        cli; hlt
    handler:
        iret""", tmp_path / "t")
    pushed = [(address, value) for address, size, write, value in rows if write and address < 0x600 and address > 0x100]
    assert [address for address, _ in pushed] == [0x5FE, 0x5FC, 0x5FA]
    assert (0x80, 2) in [(address, size) for address, size, write, _ in rows if not write]
    assert set(trace.rows("accesses")["position"].to_list()) <= set(range(1, trace.length + 1))


@pytest.mark.parametrize("name", ["hello", "ticks", "paging", "long", "ring3"])
def test_the_run_is_the_same_block_for_block(name, tmp_path):
    limit = 11_000_000
    ends = []
    for path, level in (tmp_path / "a", "blocks"), (tmp_path / "b", "memory"):
        with Tiny() as m:
            m.load(build.kernel(name))
            with Recording(m, path, level):
                m.run(limit)
            ends.append((m.now, m.engine.counters(), m.text, m.state_sha256()))
    a, b = Trace(tmp_path / "a"), Trace(tmp_path / "b")
    assert ends[0] == ends[1] and a.events.equals(b.events)
    assert a.instructions().tolist() == b.instructions().tolist()
    assert len(b.rows("accesses"))


def test_the_stores_of_a_trace_make_the_memory_that_is_there(tmp_path):
    with Tiny() as m:
        m.load(build.kernel("hello"))
        snapshot.save(m, tmp_path / "s")
        before = bytearray(m.ram)
        with Recording(m, tmp_path / "t", "memory"):
            m.run(1_000_000_000)
        after = bytes(m.ram)
    for address, size, write, value in Trace(tmp_path / "t").rows("accesses").select(
            "address", "size", "write", "value").iter_rows():
        if write:
            before[address:address + size] = value.to_bytes(size, "little")
        else:
            assert int.from_bytes(before[address:address + size], "little") == value
    assert bytes(before) == after


def test_a_window_holds_for_accesses(tmp_path):
    with Tiny() as m:
        m.load(build.kernel("ring3"))
        with Recording(m, tmp_path / "t", "memory", Window(cpl=3, time=(0, 300_000))):
            m.run(1_000_000)
    trace = Trace(tmp_path / "t")
    places = {int(place) for positions, _ in trace.pieces() for place in positions}
    rows = trace.rows("accesses")
    assert len(rows) and {position - 1 for position in rows["position"].to_list()} <= places


def test_afterwards_the_machine_is_as_fast_as_before_and_records_no_more(tmp_path):
    with Tiny() as m:
        m.load(build.kernel("ring3"))
        with Recording(m, tmp_path / "t", "memory"):
            m.run(1_000_000)
        m.run(2_000_000)
        with Recording(m, tmp_path / "u"):
            m.run(3_000_000)
    assert len(Trace(tmp_path / "t").rows("accesses")) and not len(Trace(tmp_path / "u").rows("accesses"))


def test_show_tells_the_accesses_behind_their_instructions(tmp_path, capfd):
    recorded("mov dword ptr [0x1000], 0x11223344; mov al, [0x1001]; jmp on; on: cli; hlt", tmp_path / "t")
    assert main(["trace", "show", str(tmp_path / "t"), "--accesses"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line.strip() for line in lines if ".." in line] == [".. store 4 at 1000, 11223344", ".. load 1 at 1001, 33"]
    assert main(["trace", "show", str(tmp_path / "t"), "--accesses", "--range", "0-10"]) == 0
    assert capfd.readouterr().out == ""


def test_accesses_of_a_trace_that_has_none_are_refused(tmp_path, capfd):
    with Tiny(1 << 20) as m:
        m.load(assemble("cli; hlt", 0x7C00, 16), name="program")
        with Recording(m, tmp_path / "t"):
            m.run(1000)
    assert main(["trace", "show", str(tmp_path / "t"), "--accesses"]) == 2
    assert "--trace-level memory" in capfd.readouterr().err


def test_each_access_knows_its_instruction(tmp_path):
    trace, _ = recorded("""
        xor ax, ax; mov ds, ax; mov ss, ax; mov sp, 0x600
        mov word ptr [0x80], handler; mov word ptr [0x82], 0
        mov cx, 2
    again:
        add byte ptr [0x1000], 1
        push word ptr [0x1001]
        loop again
        int 0x20
        mov al, [0x1003]
        cli; hlt
    handler:
        iret""", tmp_path / "t")
    text = {address: mnemonic for block in trace.code.values() for address, _, mnemonic, _ in trace.disassemble(block)}
    by = [(text[rip], write) for rip, write in trace.rows("accesses").select("rip", "write").iter_rows()]
    delivery = [(mnemonic, write) for mnemonic, write in by if mnemonic == "int"]
    assert [what for what in by if what[0] != "int"] == [
        ("mov", True), ("mov", True), *[("add", False), ("add", True), ("push", False), ("push", True)] * 2,
        *[("iret", False)] * 3, ("mov", False)]
    assert sorted(delivery) == [("int", False)] * 2 + [("int", True)] * 3


@pytest.mark.parametrize("name", ["hello", "paging", "long", "ring3"])
def test_the_instruction_of_each_store_is_one_that_stores(name, tmp_path):
    """By capstone, which knows nothing of the library's blocks."""
    with Tiny() as m:
        m.load(build.kernel(name))
        with Recording(m, tmp_path / "t", "memory"):
            m.run(5_000_000)
            m.engine._anew()                        # the library's buffer begins anew: other blocks at the same addresses
            m.run(11_000_000)
    trace = Trace(tmp_path / "t")
    numbers, known, told = trace.blocks(), {}, 0
    delivered = set(trace.events.filter(pl.col("vector") != 0)["position"].to_list())
    for (position,), rows in trace.rows("accesses").filter(pl.col("write")).group_by("position"):
        number = int(numbers[position - 1])
        if number not in known:
            block = trace.code[number]
            known[number] = [address for address, _ in stores_of(block.code, block.pc, block.bits)]
        if position not in delivered and len(rows) == len(known[number]):
            assert rows["rip"].to_list() == known[number]
            told += 1
    assert told > 10
