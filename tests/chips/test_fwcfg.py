"""FwCfg.  [Q] QEMU, docs/specs/fw_cfg.rst."""

from __future__ import annotations

import struct

import pytest

from emu.chips.fwcfg import ERROR, READ, SELECT, SKIP, WRITE, FwCfg
from tests.chips.bench import Bench

FILES = {"etc/e820": bytes(range(40)), "bootorder": b"/disk\0"}
BASE = 0x1000


class Board(Bench):
    """The bench with memory."""

    def __init__(self):
        self.memory = bytearray(b"\xAA" * 0x1000)
        super().__init__(FwCfg, {3: (64 << 20).to_bytes(8, "little"), 0x8002: b"\1"}, FILES,
                         self.load, self.store)

    def load(self, address, length):
        return bytes(self.memory[address:address + length]).ljust(length, b"\xFF")

    def store(self, address, data):
        if address < len(self.memory):
            self.memory[address:address + len(data)] = data

    def bytes(self, length):
        return bytes(self.read("DATA") for _ in range(length))

    def item(self, key, length):
        self.write("SELECTOR", key)
        return self.bytes(length)

    def dma(self, control, length=0, address=0x200):
        """A command at 100h; returns what is left in its control field."""
        self.store(0x100, struct.pack(">IIQ", control, length, address))
        self.write("DMA_HIGH", 0)
        self.write("DMA_LOW", int.from_bytes((0x100).to_bytes(4, "big"), "little"))
        return int.from_bytes(self.memory[0x100:0x104], "big")


@pytest.fixture
def b():
    return Board()


# The traditional interface

def test_the_signature_is_QEMU_and_the_features_tell_of_dma(b):
    assert b.item(0, 4) == b"QEMU"
    assert b.item(1, 4) == b"\3\0\0\0"


def test_each_read_gives_the_next_byte_and_behind_the_end_0(b):
    assert b.item(3, 10) == (64 << 20).to_bytes(8, "little") + b"\0\0"


def test_a_selection_begins_at_the_start_again(b):
    assert b.item(0, 2) == b"QE"
    assert b.item(0, 4) == b"QEMU"


def test_an_item_that_is_not_there_reads_0(b):
    assert b.item(0x7777, 3) == bytes(3)


def test_bit_14_is_not_of_the_key_and_bit_15_is(b):
    assert b.item(0x4000, 4) == b"QEMU"
    assert b.item(0x8002, 1) == b"\1" and b.item(0x0002, 1) == b"\0"


def test_writes_of_data_do_nothing(b):
    b.write("SELECTOR", 0)
    b.write("DATA", 0x55)
    assert b.bytes(4) == b"QEMU"


def test_the_directory_tells_size_key_and_name_of_each_file(b):
    count, = struct.unpack(">I", b.item(0x19, 4))
    found = {}
    for _ in range(count):
        size, key, _, name = struct.unpack(">IHH56s", b.bytes(64))
        found[name.rstrip(b"\0").decode()] = key, size
    assert found == {"etc/e820": (0x20, 40), "bootorder": (0x21, 6)}
    assert b.item(0x20, 40) == FILES["etc/e820"] and b.item(0x21, 6) == FILES["bootorder"]


def test_the_selector_is_a_half_word_and_a_byte_at_its_second_half_is_data(b):
    b.write("SELECTOR", 0)
    b.bus.write[BASE + 1 << 4 | 1](3)
    assert b.bus.read[BASE + 1 << 4 | 1]() == ord("Q")


def test_a_native_engine_finds_the_rest_of_the_item(b):
    b.write("SELECTOR", 0x20)
    b.bytes(10)
    assert bytes(b.chip.block_DATA("r")) == FILES["etc/e820"][10:]
    b.chip.moved_DATA("r", 30)
    assert b.chip.block_DATA("r") is b.chip.block_DATA("w") is None and b.read("DATA") == 0


@pytest.mark.parametrize("name", ["x" * 56, "é"])
def test_a_name_that_the_directory_cannot_hold_is_refused(name):
    with pytest.raises(ValueError, match="at most 55 characters of ASCII"):
        FwCfg({}, {name: b""}, bytes, bytes)


# DMA

def test_the_dma_register_reads_its_signature(b):
    assert b.bus.read[BASE + 4 << 4 | 4]().to_bytes(4, "little") == b"QEMU"
    assert b.bus.read[BASE + 8 << 4 | 4]().to_bytes(4, "little") == b" CFG"


def test_select_and_read_by_dma(b):
    assert b.dma(0x20 << 16 | SELECT | READ, 40) == 0
    assert b.memory[0x200:0x229] == FILES["etc/e820"] + b"\xAA"


def test_reads_go_on_where_the_last_one_ended_and_give_0_behind_the_end(b):
    b.dma(0x20 << 16 | SELECT | READ, 30)
    assert b.dma(READ, 20) == 0
    assert b.memory[0x200:0x215] == FILES["etc/e820"][30:] + bytes(10) + b"\x14"


def test_skip_leaves_memory_alone(b):
    b.dma(0x20 << 16 | SELECT | SKIP, 8)
    assert b.memory[0x200] == 0xAA
    b.dma(READ, 2)
    assert b.memory[0x200:0x202] == bytes([8, 9])


def test_of_read_write_and_skip_the_first_counts(b):
    assert b.dma(0x20 << 16 | SELECT | READ | WRITE | SKIP, 4) == 0
    assert b.memory[0x200:0x204] == bytes(range(4)) and b.chip.position == 4


def test_a_write_to_a_read_only_item_is_an_error(b):
    assert b.dma(0x20 << 16 | SELECT | WRITE, 4) == ERROR
    assert b.item(0x20, 4) == bytes(range(4))


def test_the_high_half_counts_for_one_command(b):
    b.write("DMA_HIGH", 0x01000000)
    assert b.chip.dma_high
    b.write("DMA_LOW", 0)                       # at 4 GiB, where is no memory, and then at 0
    assert b.chip.dma_high == 0 and b.memory[:4] == b"\xAA" * 4
    b.write("DMA_LOW", 0)
    assert b.memory[:4] != b"\xAA" * 4
