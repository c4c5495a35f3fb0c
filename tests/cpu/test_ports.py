"""IN, OUT, INS, OUTS and their permission (SDM vol. 1, 19.5); RDTSC and its time."""

from __future__ import annotations

import pytest

from tests.cpu.guest import CODE, COMPAT, HALTED, LONG, PAGED, PM16, PM32, PROTECTED, REAL, TSS, V86

IN = {1: ".byte 0xEC", 2: ".byte 0xED", 4: ".byte 0xED"}
OUT = {1: ".byte 0xEE", 2: ".byte 0xEF", 4: ".byte 0xEF"}
UD2 = ".byte 0x0F, 0x0B"


def sized(mode, table, size):
    prefix = size == (4 if mode in (REAL, V86, PM16) else 2)
    return (".byte 0x66; " if prefix else "") + table[size]


@pytest.mark.parametrize("mode", [REAL, *PROTECTED])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_port_is_asked_with_its_size_and_value(guest, mode, size):
    one = guest(mode, f"{sized(mode, IN, size)}; {sized(mode, OUT, size)}; {UD2}")
    one.r.rdx, one.r.rax, seen = 0x1F0, 0x11223344, []
    one.on_in(0x1F0, lambda: 0xA1B2C3D4, size)
    one.on_out(0x1F0, seen.append, size)
    assert one.exception() == 6
    mask = (1 << 8 * size) - 1
    assert seen == [0xA1B2C3D4 & mask]
    assert one.r.rax == (0xA1B2C3D4 & mask | 0x11223344 & ~mask)
    assert one.engine.counters()["port_reads"] == one.engine.counters()["port_writes"] == 1


def test_a_port_that_nobody_has_reads_ones(guest):
    one = guest(PM32, "in al, 0x71; in eax, dx; hlt")
    one.run()
    assert one.r.rax == 0xFFFFFFFF


@pytest.mark.parametrize("mode", PROTECTED)
@pytest.mark.parametrize("iopl, allowed", [(0, False), (2, False), (3, True)])
def test_ring_3_needs_IOPL_3_without_a_bitmap(guest, mode, iopl, allowed):
    for source in ("nop; " + OUT[1], "nop; " + IN[1]):
        one = guest(mode, f"{source}; {UD2}", ring=3, flags=2 | iopl << 12)
        frame = one.frame()
        assert (frame.vector, frame.error, frame.ip) == ((6, None, CODE + 2) if allowed else (13, 0, CODE + 1))
        assert one.engine.counters()["port_reads"] + one.engine.counters()["port_writes"] == allowed


@pytest.mark.parametrize("mode", [PM32, PAGED, LONG, COMPAT, V86])
@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("port, closed, allowed", [
    (0x3F8, (), True), (0x3F8, (0x3F7, 0x3FC), True), (0x3F8, (0x3F8,), False), (0x3FF, (), True), (0xFFF8, (), True),
    (0x3F8, (0x3FB,), None), (0x3FF, (0x400,), None),
])
def test_the_bitmap_of_the_TSS_has_a_bit_for_each_port(guest, mode, size, port, closed, allowed):
    one = guest(mode, f"nop; {sized(mode, OUT, size)}; {UD2}", ring=3, flags=2)
    bitmap = bytearray(0x2001)
    bitmap[0x2000] = 0xFF
    for number in closed:
        bitmap[number >> 3] |= 1 << (number & 7)
    one.task(iomap=0x68)
    one.poke(TSS + 0x68, bytes(bitmap))
    one.r.rdx, seen = port, []
    one.on_out(port, seen.append, size)
    if allowed is None:
        allowed = not set(closed) & set(range(port, port + size))
    assert one.exception() == (6 if allowed else 13)
    assert len(seen) == allowed


@pytest.mark.parametrize("limit, port, allowed", [(0x68 + 0x20, 0xF0, True), (0x68 + 0x20, 0x100, False), (0x67, 0, False)])
def test_a_bitmap_that_ends_denies_what_is_beyond(guest, limit, port, allowed):
    one = guest(PM32, f"nop; {OUT[1]}; {UD2}", ring=3, flags=2)
    one.task(iomap=0x68)
    tr = one.r.tr
    one.r.tr = type(tr)(tr.selector, tr.base, limit, tr.attributes)
    one.r.rdx = port
    assert one.exception() == (6 if allowed else 13)


@pytest.mark.parametrize("mode", [REAL, PM16, PM32, PAGED, LONG])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_REP_INS_and_OUTS_call_once_for_each_element(guest, mode, size):
    prefix = ".byte 0x66; " if size == (4 if mode in (REAL, PM16) else 2) else ""
    ins, outs = (f"{prefix}.byte 0xF3, {0x6C + (size > 1)}", f"{prefix}.byte 0xF3, {0x6E + (size > 1)}")
    one = guest(mode, f"{ins}; mov cx, 300; {outs}; {UD2}")
    one.r.rdx, one.r.rcx, one.r.rdi, one.r.rsi = 0x1F0, 300, 0x6000, 0x6000
    values, seen = iter(range(1, 1000)), []
    one.on_in(0x1F0, lambda: next(values), size)
    one.on_out(0x1F0, seen.append, size)
    assert one.exception() == 6
    mask = (1 << 8 * size) - 1
    assert seen == [n & mask for n in range(1, 301)] == [one.peek(0x6000 + size * i, size) for i in range(300)]
    assert (one.r.rcx, one.r.rdi, one.r.rsi) == (0, 0x6000 + 300 * size, 0x6000 + 300 * size)
    assert next(values) == 301


def test_INS_is_denied_in_ring_3_before_anything_is_read(guest):
    one = guest(PM32, "nop; .byte 0xF3, 0x6C", ring=3)
    one.r.rcx, one.r.rdi = 5, 0xA000
    assert one.exception() == 13
    assert (one.r.rcx, one.r.rdi, one.engine.counters()["port_reads"]) == (5, 0xA000, 0)


# -- time

@pytest.mark.parametrize("mode", [REAL, PM32, LONG])
@pytest.mark.parametrize("source", [".byte 0x0F, 0x31", ".byte 0x0F, 0x01, 0xF9"], ids=["RDTSC", "RDTSCP"])
def test_each_reading_of_the_TSC_is_later_than_the_last(guest, mode, source):
    one = guest(mode, f"{source}; out 0xE9, al; {source}; out 0xE9, al; {source}; out 0xE9, al; {UD2}", model="haswell")
    one.r.set_msr(0xC0000103, 0x1234)
    seen = []
    one.on_out(0xE9, lambda value: seen.append((one.r.rdx << 32 | one.r.rax, one.r.rcx)))
    assert one.exception() == 6
    times = [time for time, _ in seen]
    assert times == sorted(set(times)) and times[0] > 0 and times[-1] <= one.engine.now()
    if "F9" in source:
        assert {aux for _, aux in seen} == {0x1234}
    assert one.engine.counters()["tsc_reads"] == 3


@pytest.mark.parametrize("mode", [PM32, LONG])
@pytest.mark.parametrize("ring, tsd, vector", [(0, 4, 6), (3, 0, 6), (3, 4, 13)])
@pytest.mark.parametrize("source", ["nop; .byte 0x0F, 0x31", "nop; .byte 0x0F, 0x01, 0xF9"], ids=["RDTSC", "RDTSCP"])
def test_TSD_keeps_the_TSC_from_ring_3(guest, mode, ring, tsd, vector, source):
    one = guest(mode, f"{source}; {UD2}", ring=ring, model="haswell")
    one.r.cr4 |= tsd
    assert one.exception() == vector


def test_time_goes_by_blocks_ports_and_exceptions(guest):
    one = guest(PM32, "jmp a; a: jmp b; b: in al, 0x71; out 0xE9, al; ud2")
    costs = one.engine.costs
    assert one.exception() == 6
    assert one.engine.now() == 4 * costs.block + costs.port_read + costs.port_write + costs.exception
    assert one.engine.counters()["blocks"] == 4
    assert one.run() in HALTED


def test_a_change_between_real_and_protected_mode_is_charged_and_other_writes_to_cr0_are_not(guest):
    toggle = "mov eax, cr0; xor al, 1; mov cr0, eax"
    one = guest(PM32, f"{toggle}; {toggle}; mov eax, cr0; mov cr0, eax; xor al, 2; mov cr0, eax; hlt")
    costs = one.engine.costs
    one.run()
    counters = one.engine.counters()
    assert counters["mode_switches"] == 2
    assert one.engine.now() == counters["blocks"] * costs.block + 2 * costs.mode_switch
