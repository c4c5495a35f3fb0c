"""PIIX3, function 1.  [I] Intel 82371SB data sheet, 290550."""

from __future__ import annotations

import struct

import pytest

from emu.chips.piix3ide import PIIX3IDE
from tests.chips.bench import Bench

SSBM, RWCON = 0x01, 0x08
ACT, ERR, INT = 0x01, 0x02, 0x04
IOSE, BME = 0x01, 0x04
TABLE, LAST = 0x1000, 1 << 31


class Stream:
    """A channel's device with `data` for the host, or that wants `wanted` bytes; it interrupts when it is done."""

    def __init__(self):
        self.data, self.wanted, self.got, self.done = b"", 0, b"", lambda: None

    def send(self, place):
        piece, self.data = self.data[:len(place)], self.data[len(place):]
        place[:len(piece)] = piece
        if not self.data:
            self.done()
        return len(piece)

    def receive(self, data):
        self.got += bytes(data)
        self.wanted -= len(data)
        if not self.wanted:
            self.done()


class Ide(Bench):
    """The function with memory, and a stream on each channel."""

    def __init__(self):
        self.memory = bytearray(1 << 20)
        self.decoded = {}
        self.streams = Stream(), Stream()
        super().__init__(PIIX3IDE, self.streams, self.load, self.place, self.decoded.__setitem__)
        for n, stream in enumerate(self.streams):
            stream.done = lambda n=n: self.end(n)
        self.write("PCICMD", IOSE | BME)

    def load(self, address, length):
        return bytes(self.memory[address:address + length])

    def place(self, address, length, source):
        return source(memoryview(self.memory)[address:address + length])

    def end(self, n):
        self.chip.dmarq[n](0)
        self.chip.irq[n](1)

    def regions(self, *regions):
        """A descriptor table of (address, length) pairs, for the primary channel."""
        for i, (address, length) in enumerate(regions):
            last = LAST if i == len(regions) - 1 else 0
            struct.pack_into("<II", self.memory, TABLE + 8 * i, address, length & 0xFFFF | last)
        self.write("BMIDTPP", TABLE)

    def request(self, data=b"", wanted=0, n=0):
        self.streams[n].data, self.streams[n].wanted = data, wanted
        self.chip.dmarq[n](1)


@pytest.fixture
def b():
    return Ide()


DATA = bytes(range(256)) * 16


# Configuration

def test_the_header_is_that_of_an_ide_function_in_legacy_mode(b):
    assert [b.read(name) for name in ("VID", "DID", "CLASSC", "HEDT", "PCISTS", "INTPN")] == [
        0x8086, 0x7010, 0x010180, 0, 0x0280, 0]
    b.write("PCICMD", 0xFFFF)
    assert b.read("PCICMD") == IOSE | BME


def test_the_ports_of_a_channel_are_decoded_while_its_timing_register_and_the_command_register_say_so(b):
    assert b.decoded == {0: False, 1: False}
    b.write("IDETIMP", 0x8000)
    assert b.decoded == {0: True, 1: False}
    b.write("IDETIMS", 0xA307)
    assert b.decoded == {0: True, 1: True} and b.read("IDETIMS") == 0xA307
    b.write("PCICMD", BME)
    assert b.decoded == {0: False, 1: False}
    b.write("PCICMD", IOSE)
    assert b.decoded == {0: True, 1: True}
    b.chip.reset()
    assert b.decoded == {0: False, 1: False}


def test_the_bus_masters_registers_are_16_ports(b):
    b.write("BMIBA", 0xFFFFFFFF)
    assert b.read("BMIBA") == 0xFFFFFFF1
    shown = []
    b.chip.show = lambda *told: shown.append(told[1:])
    b.write("BMIBA", 0xC001)
    assert shown[-1][:3] == ("bm", "io", 0xC000)


# Registers

def test_interrupt_and_error_are_cleared_by_1_and_the_capabilities_are_softwares(b):
    b.chip.irq[0](1)
    b.write("BMISP", 0x60)
    assert b.read("BMISP") == 0x60 | INT
    b.write("BMISP", INT | 0x20)
    assert b.read("BMISP") == 0x20


def test_only_the_rise_of_an_interrupt_is_noted_for_its_channel(b):
    b.chip.irq[1](1)
    assert [b.read("BMISP"), b.read("BMISS")] == [0, INT]
    b.write("BMISS", INT)
    b.chip.irq[1](0)
    assert b.read("BMISS") == 0


def test_a_descriptor_table_begins_at_a_double_word(b):
    b.write("BMIDTPP", 0x12345677)
    assert b.read("BMIDTPP") == 0x12345674


# Transfers

def test_regions_as_long_as_the_transfer_end_it_with_interrupt_and_not_active(b):
    b.regions((0x8000, 1000), (0x20000, 3096))
    b.write("BMICP", SSBM | RWCON)
    assert b.read("BMISP") == ACT
    b.request(DATA)
    assert b.read("BMISP") == INT
    assert b.memory[0x8000:0x83E8] == DATA[:1000] and b.memory[0x20000:0x20C18] == DATA[1000:]
    assert b.read("BMICP") == SSBM | RWCON


def test_regions_longer_than_the_transfer_leave_it_active(b):
    b.regions((0x8000, 4098))
    b.write("BMICP", SSBM | RWCON)
    b.request(DATA)
    assert b.read("BMISP") == INT | ACT
    b.write("BMICP", 0)
    assert b.read("BMISP") == INT


def test_regions_shorter_than_the_transfer_leave_the_device_waiting_for_more(b):
    b.regions((0x8000, 4000))
    b.write("BMICP", SSBM | RWCON)
    b.request(DATA)
    assert b.read("BMISP") == 0 and b.chip.dmarq[0].level == 1
    b.write("BMICP", RWCON)
    b.regions((0x10000, 96))
    b.write("BMICP", SSBM | RWCON)
    assert b.read("BMISP") == INT and b.memory[0x10000:0x10060] == DATA[4000:]


def test_a_region_of_length_0_has_64_kib(b):
    b.regions((0x40000, 0))
    data = DATA * 16
    b.write("BMICP", SSBM | RWCON)
    b.request(data)
    assert b.read("BMISP") == INT and b.memory[0x40000:0x50000] == data


def test_the_lowest_bit_of_address_and_length_does_not_count(b):
    b.regions((0x8001, 4097))
    b.write("BMICP", SSBM | RWCON)
    b.request(DATA)
    assert b.read("BMISP") == INT and b.memory[0x8000:0x9000] == DATA


def test_a_write_takes_its_data_from_the_regions(b):
    b.memory[0x8000:0x9000] = DATA
    b.regions((0x8800, 0x800), (0x8000, 0x800))
    b.write("BMICP", SSBM)
    b.request(wanted=4096)
    assert b.read("BMISP") == INT and b.streams[0].got == DATA[0x800:] + DATA[:0x800]


def test_a_bus_master_may_start_after_its_device_is_ready(b):
    b.regions((0x8000, 4096))
    b.request(DATA)
    assert b.read("BMISP") == 0
    b.write("BMICP", SSBM | RWCON)
    assert b.read("BMISP") == INT and b.memory[0x8000:0x9000] == DATA


def test_nothing_moves_against_the_direction(b):
    b.regions((0x8000, 4096))
    b.request(DATA)
    b.write("BMICP", SSBM)
    assert b.read("BMISP") == ACT and b.streams[0].data == DATA


def test_nothing_moves_while_it_may_not_be_a_master(b):
    b.write("PCICMD", IOSE)
    b.regions((0x8000, 4096))
    b.write("BMICP", SSBM | RWCON)
    b.request(DATA)
    assert b.read("BMISP") == ACT and not any(b.memory[0x8000:0x9000])
    b.write("PCICMD", IOSE | BME)
    assert b.read("BMISP") == INT and b.memory[0x8000:0x9000] == DATA


def test_a_start_that_is_taken_back_moves_nothing(b):
    b.regions((0x8000, 4096))
    b.write("BMICP", SSBM | RWCON)
    b.write("BMICP", RWCON)
    b.request(DATA)
    assert b.read("BMISP") == 0 and b.streams[0].data == DATA


def test_the_channels_have_a_bus_master_each(b):
    struct.pack_into("<II", b.memory, 0x3000, 0x8000, 4096 | LAST)
    b.write("BMIDTPS", 0x3000)
    b.write("BMICS", SSBM | RWCON)
    b.request(DATA, n=1)
    assert [b.read("BMISP"), b.read("BMISS")] == [0, INT] and b.memory[0x8000:0x9000] == DATA


def test_a_table_of_many_regions(b):
    b.regions(*((0x40000 + 16 * i, 16) for i in range(256)))
    b.write("BMICP", SSBM | RWCON)
    b.request(DATA)
    assert b.read("BMISP") == INT and b.memory[0x40000:0x41000] == DATA


@pytest.mark.parametrize("at", [0x1F000, 0x1FFFC])
def test_a_table_without_an_end_ends_with_its_64_kib(b, at):
    for address in range(at, 0x20010, 8):
        struct.pack_into("<II", b.memory, address, 0x8000, 2)
    b.write("BMIDTPP", at)
    b.write("BMICP", SSBM | RWCON)
    b.request(DATA)
    moved = 2 * max((0x20000 - at) // 8, 1)
    assert b.read("BMISP") == 0 and len(b.streams[0].data) == len(DATA) - moved


def test_a_transfer_goes_on_after_a_restore(b):
    b.regions((0x8000, 1000), (0x20000, 3096))
    b.write("BMICP", SSBM | RWCON)
    b.streams[0].data = DATA[:600]
    b.streams[0].done = lambda: b.chip.dmarq[0](0)
    b.chip.dmarq[0](1)
    other = Ide()
    other.memory[:] = b.memory
    other.chip.restore(b.chip.save())
    other.request(DATA[600:])
    assert other.read("BMISP") == INT
    assert other.memory[0x8000:0x83E8] == DATA[:1000] and other.memory[0x20000:0x20C18] == DATA[1000:]
