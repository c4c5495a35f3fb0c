"""What the PC's firmware would have left behind."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from emu.boards.pc import PC


def cmos(machine, cell):
    machine.ports.write[0x70 << 4 | 1](cell)
    return machine.ports.read[0x71 << 4 | 1]()


@pytest.mark.parametrize("year, century", [(1999, 0x19), (2026, 0x20), (2105, 0x21)])
def test_the_century_is_in_cell_32h_in_BCD(year, century):
    with PC(4 << 20, rtc=datetime(year, 1, 1, tzinfo=UTC)) as machine:
        assert cmos(machine, 0x32) == century and cmos(machine, 9) == year % 10 + 16 * (year // 10 % 10)


@pytest.mark.parametrize("memory", [2, 64, 4096])
def test_the_checksum_of_cells_10h_to_2Dh_is_in_2Eh_and_2Fh(memory):
    with PC(memory << 20) as machine:
        total = sum(cmos(machine, cell) for cell in range(0x10, 0x2E))
        assert total and cmos(machine, 0x2E) << 8 | cmos(machine, 0x2F) == total


def test_the_memory_sizes_are_in_the_CMOS():
    with PC(64 << 20) as machine:
        word = {cell: cmos(machine, cell) | cmos(machine, cell + 1) << 8 for cell in (0x15, 0x17, 0x30, 0x34)}
        assert word == {0x15: 640, 0x17: 63 << 10, 0x30: 63 << 10, 0x34: 48 << 4}


def test_the_speaker_sounds_as_counter_2_and_port_61h_say():
    with PC(4 << 20) as machine:
        for port, value in ((0x43, 0xB6), (0x42, 0x33), (0x42, 0x05), (0x61, 0x03)):
            machine.ports.write[port << 4 | 1](value)
        assert round(machine["port61"].speaker.hertz) == 896
        machine.ports.write[0x61 << 4 | 1](0)
        assert machine["port61"].speaker == (0, 0)
