"""8237A.  [I] Intel 8237A, 231466; [AT] IBM PC AT Technical Reference, for pages and the cascade."""

from __future__ import annotations

import pytest

from emu.chips.dmapage import DMAPage
from emu.chips.i8237 import I8237, I8237Word
from tests.chips.bench import Bench

WRITE, READ, VERIFY = 0x44, 0x48, 0x40              # single mode; add the channel
AUTO, DOWN = 0x10, 0x20


class DMA(Bench):
    """One controller in front of 1 MiB, its page registers as a list."""

    def __init__(self, cls=I8237):
        self.memory = bytearray(1 << 20)
        self.pages = [0] * 4
        self.grant = True
        super().__init__(cls, lambda at, n: bytes(self.memory[at:at + n]), self.store, lambda n: self.pages[n] << 16,
                         lambda: self.grant)

    def store(self, address, data):
        self.memory[address:address + len(data)] = data

    def program(self, channel, mode, address, count, page=0):
        """As a driver does: mask, mode, flip-flop, address, page, count less one, unmask."""
        self.write("SINGLE_MASK", 4 | channel)
        self.write("CLEAR_FF", 0)
        self.write("MODE", mode | channel)
        self.write(f"ADDRESS{channel}", address & 0xFF, address >> 8)
        self.write(f"COUNT{channel}", count - 1 & 0xFF, count - 1 >> 8)
        self.pages[channel] = page
        self.write("SINGLE_MASK", channel)

    def word(self, name):
        self.write("CLEAR_FF", 0)
        return self.read(name) | self.read(name) << 8


@pytest.fixture
def dma():
    return DMA()


# Registers

def test_the_flip_flop_takes_the_low_byte_first(dma):
    dma.write("CLEAR_FF", 0)
    dma.write("ADDRESS2", 0x34, 0x12)
    assert dma.word("ADDRESS2") == 0x1234


def test_one_flip_flop_serves_all_channels(dma):
    dma.write("ADDRESS0", 0x34)
    dma.write("COUNT1", 0x12)
    assert dma.chip.channels[1]["count"] == 0x1200


def test_master_clear_clears_command_status_request_temporary_and_flip_flop_and_sets_the_mask(dma):
    dma.program(2, WRITE, 0x1000, 1)
    dma.chip.channel(2).put(b"x")
    dma.write("CLEAR_MASK", 0)
    dma.write("COMMAND", 0x10)
    dma.write("ADDRESS0", 1)
    dma.write("MASTER_CLEAR", 0)
    assert (dma.read("STATUS"), dma.chip.command, dma.chip.flipflop, dma.read("MASK")) == (0, 0, 0, 0x0F)


def test_mask_bits_are_set_one_by_one_and_together(dma):
    dma.write("CLEAR_MASK", 0xFF)
    dma.write("SINGLE_MASK", 5)
    assert dma.read("MASK") == 2
    dma.write("SINGLE_MASK", 1)
    assert dma.read("MASK") == 0
    dma.write("MASK", 0xF9)
    assert dma.read("MASK") == 9


def test_status_shows_requests_even_of_masked_channels_and_its_read_clears_the_terminal_counts(dma):
    dma.chip.dreq[1](1)
    dma.program(3, WRITE, 0, 1)
    dma.chip.channel(3).put(b"x")
    assert [dma.read("STATUS"), dma.read("STATUS")] == [0x28, 0x20]


def test_hrq_is_raised_for_a_channel_that_is_not_masked(dma):
    dma.chip.dreq[2](1)
    assert dma.chip.hrq.level == 0
    dma.write("SINGLE_MASK", 2)
    assert dma.chip.hrq.level == 1
    dma.write("COMMAND", 0x04)
    assert dma.chip.hrq.level == 0


# Transfers

def test_a_write_transfer_moves_from_the_device_to_memory(dma):
    dma.program(2, WRITE, 0x2000, 16, page=3)
    assert dma.chip.channel(2).put(bytes(range(10))) == (10, False)
    assert dma.memory[0x32000:0x3200A] == bytes(range(10))
    assert [dma.word("ADDRESS2"), dma.word("COUNT2")] == [0x200A, 5]


def test_the_count_passing_zero_is_the_terminal_count_and_masks_the_channel(dma):
    dma.program(2, WRITE, 0x2000, 16)
    assert dma.chip.channel(2).put(bytes(512)) == (16, True)
    assert [dma.word("COUNT2"), dma.read("STATUS"), dma.read("MASK") & 4] == [0xFFFF, 0x04, 4]
    assert dma.chip.channel(2).put(bytes(512)) == (0, False)


def test_a_terminal_count_may_come_with_the_last_byte(dma):
    dma.program(2, WRITE, 0x2000, 512)
    assert dma.chip.channel(2).put(bytes(512)) == (512, True)


def test_a_read_transfer_moves_from_memory_to_the_device(dma):
    dma.memory[0x1234:0x1238] = b"four"
    dma.program(1, READ, 0x1234, 4)
    assert dma.chip.channel(1).get(3) == (b"fou", False)
    assert dma.chip.channel(1).get(3) == (b"r", True)


def test_a_verify_transfer_counts_and_touches_no_memory(dma):
    dma.program(0, VERIFY, 0x1000, 4)
    assert dma.chip.channel(0).put(b"abcd") == (4, True)
    assert dma.memory[0x1000:0x1004] == bytes(4)
    assert dma.word("ADDRESS0") == 0x1004


def test_auto_initialize_restores_address_and_count_and_leaves_the_mask(dma):
    dma.program(2, WRITE | AUTO, 0x2000, 4)
    assert dma.chip.channel(2).put(b"abcd") == (4, True)
    assert [dma.word("ADDRESS2"), dma.word("COUNT2"), dma.read("MASK") & 4] == [0x2000, 3, 0]
    assert dma.chip.channel(2).put(b"efgh") == (4, True)
    assert dma.memory[0x2000:0x2004] == b"efgh"


def test_a_channel_may_count_its_address_down(dma):
    dma.program(2, WRITE | DOWN, 0x2003, 4)
    dma.chip.channel(2).put(b"abcd")
    assert dma.memory[0x2000:0x2004] == b"dcba"
    assert dma.word("ADDRESS2") == 0x1FFF
    dma.program(2, READ | DOWN, 0x2003, 4)
    assert dma.chip.channel(2).get(4) == (b"abcd", True)


@pytest.mark.parametrize("mode, start, first", [(0, 0xFFFE, b"ab"), (DOWN, 0x0001, b"ab")])
def test_an_address_wraps_within_its_page(dma, mode, start, first):
    dma.program(2, WRITE | mode, start, 4, page=1)
    dma.chip.channel(2).put(b"abcd")
    if mode:
        assert dma.memory[0x10000:0x10002] + dma.memory[0x1FFFE:0x20000] == b"badc"
    else:
        assert dma.memory[0x1FFFE:0x20000] + dma.memory[0x10000:0x10002] == b"abcd"


@pytest.mark.parametrize("closed", ["mask", "disable", "cascade", "bus"])
def test_a_channel_that_is_closed_moves_nothing(dma, closed):
    dma.program(2, WRITE, 0x2000, 4)
    if closed == "mask":
        dma.write("SINGLE_MASK", 6)
    elif closed == "disable":
        dma.write("COMMAND", 0x04)
    elif closed == "cascade":
        dma.write("MODE", 0xC2)
    else:
        dma.grant = False
    assert dma.chip.channel(2).put(b"abcd") == (0, False)
    assert dma.chip.channel(2).get(4) == (b"", False)


def test_a_software_request_runs_a_channel_in_block_mode_although_it_is_masked(dma):
    dma.program(3, 0x84, 0x3000, 4)
    dma.write("SINGLE_MASK", 7)
    dma.write("REQUEST", 7)
    assert dma.memory[0x3000:0x3005] == b"\xFF\xFF\xFF\xFF\0"
    assert dma.read("STATUS") == 0x08                       # the terminal count has cleared the request


def test_memory_to_memory(dma):
    dma.memory[0x1000:0x1004] = b"copy"
    dma.program(0, 0x88, 0x1000, 99)
    dma.program(1, 0x84, 0x5000, 4)
    dma.write("COMMAND", 0x01)
    dma.write("REQUEST", 4)
    assert dma.memory[0x5000:0x5005] == b"copy\0"
    assert [dma.read("TEMPORARY"), dma.read("STATUS"), dma.word("COUNT0"), dma.word("COUNT1")] == [
        ord("y"), 0x02, 94, 0xFFFF]


def test_channel_0_may_hold_its_address_to_fill_memory(dma):
    dma.memory[0x1000:0x1002] = b"XY"
    dma.program(0, 0x88, 0x1000, 1)
    dma.program(1, 0x84, 0x5000, 1000)
    dma.write("COMMAND", 0x03)
    dma.write("REQUEST", 4)
    assert dma.memory[0x5000:0x5000 + 1001] == b"X" * 1000 + b"\0"


def test_where_blocks_overlap_a_byte_is_written_before_the_next_is_read(dma):
    dma.memory[0x1000:0x1004] = b"abcd"
    dma.program(0, 0x88, 0x1000, 8)
    dma.program(1, 0x84, 0x1001, 8)
    dma.write("COMMAND", 0x01)
    dma.write("REQUEST", 4)
    assert dma.memory[0x1000:0x100A] == b"a" * 9 + b"\0"


def test_channel_0_may_auto_initialize_and_channel_1_count_down(dma):
    dma.memory[0x1000:0x1003] = b"abc"
    dma.program(0, 0x98, 0x1000, 3)
    dma.program(1, 0xA4, 0x5006, 7, page=2)
    dma.write("COMMAND", 0x01)
    dma.write("REQUEST", 4)
    assert dma.memory[0x25000:0x25007] == b"acbacba"
    assert dma.read("STATUS") == 0x02                       # no terminal count of channel 0


# The AT's second controller, pages, cascade

def test_the_second_controller_counts_words():
    dma = DMA(I8237Word)
    dma.program(1, WRITE, 0x1000, 4, page=0x03)             # [AT] A16 is the controller's, not the page's
    assert dma.chip.channel(1).put(b"abcdefgh") == (8, True)
    assert dma.memory[0x22000:0x22008] == b"abcdefgh"
    dma.program(1, READ | DOWN, 0x1003, 4, page=0x02)
    assert dma.chip.channel(1).get(8) == (b"ghefcdab", True)


def test_its_registers_lie_at_even_ports():
    dma = DMA(I8237Word)
    base = dma.base["at"]
    dma.bus.write[base + 0x1E << 4 | 1](0x05)
    assert dma.read("MASK") == 5
    assert dma.bus.read[base + 0x1F << 4 | 1]() == 0xFF


@pytest.mark.parametrize("port, channel", [
    (0x87, 0), (0x83, 1), (0x81, 2), (0x82, 3), (0x8F, 4), (0x8B, 5), (0x89, 6), (0x8A, 7)])
def test_page_registers(port, channel):
    pages = Bench(DMAPage)
    base = pages.base["at"] - 0x81
    pages.bus.write[base + port << 4 | 1](0xA5)
    assert pages.chip.page(channel) == 0xA50000
    assert pages.bus.read[base + port << 4 | 1]() == 0xA5


def test_the_cascade_channel_must_be_open():
    second = DMA(I8237Word)
    first = DMA()
    first.chip.granted = lambda: second.chip.cascades(0)
    first.program(2, WRITE, 0x2000, 4)
    assert first.chip.channel(2).put(b"abcd") == (0, False)
    second.write("MODE", 0xC0)
    second.write("SINGLE_MASK", 0)
    assert first.chip.channel(2).put(b"abcd") == (4, True)
