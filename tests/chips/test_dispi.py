"""Dispi.  [B] Bochs, "VBE Display API"; [Q] QEMU, docs/specs/standard-vga."""

from __future__ import annotations

import pytest

from emu.chips.dispi import Dispi
from tests.chips.bench import Bench

XRES, YRES, BPP, ENABLE, BANK, WIDTH, HEIGHT, X, Y, MEMORY = range(1, 11)
ENABLED, GETCAPS, DAC8, LFB, NOCLEAR = 1, 2, 0x20, 0x40, 0x80


class Card(Bench):
    """The bench with the pair of ports: card[register]."""

    def __init__(self):
        super().__init__(Dispi, 16 << 20)
        self.cleared, self.changes = [], 0
        self.chip.clear = self.cleared.append
        self.chip.changed = self.count

    def count(self):
        self.changes += 1

    def __getitem__(self, index):
        self.write("INDEX", index)
        return self.read("DATA")

    def __setitem__(self, index, value):
        self.write("INDEX", index)
        self.write("DATA", value)

    def set(self, width, height, bits, flags=ENABLED | LFB):
        self[ENABLE] = 0
        self[XRES], self[YRES], self[BPP] = width, height, bits
        self[ENABLE] = flags


@pytest.fixture
def card():
    return Card()


def test_the_version_is_the_newest_and_older_ones_are_taken(card):
    assert card[0] == 0xB0C5
    for version in range(0xB0C0, 0xB0C6):
        card[0] = version
        assert card[0] == version
    card[0] = 0xB0C6
    assert card[0] == 0xB0C5


def test_the_data_is_at_an_even_port_too(card):
    card.write("INDEX", XRES)
    card.write("DATA2", 800)
    assert card.read("DATA2") == card.read("DATA") == 800


def test_the_ports_answer_words_only(card):
    base = card.base["at"]
    assert card.bus.read[base + 1 << 4 | 1]() == 0xFF


def test_an_index_without_a_register_reads_all_ones(card):
    for index in (11, 0x7FFF, 0x8000, 0xFFFF):
        assert card[index] == 0xFFFF
        card[index] = 0


def test_video_memory_is_told_in_64_kib(card):
    assert card[MEMORY] == 256


def test_getcaps_shows_the_most_that_can_be_had(card):
    card[ENABLE] = GETCAPS
    assert [card[XRES], card[YRES], card[BPP]] == [16000, 12000, 32]
    card[ENABLE] = 0
    assert [card[XRES], card[YRES], card[BPP]] == [640, 480, 8]


def test_a_mode_cannot_be_changed_while_it_is_enabled(card):
    card.set(800, 600, 16)
    card[XRES], card[YRES], card[BPP] = 640, 480, 8
    assert [card[XRES], card[YRES], card[BPP]] == [800, 600, 16]


@pytest.mark.parametrize("bits, taken", [(4, 4), (8, 8), (15, 15), (16, 16), (24, 24), (32, 32), (0, 8), (12, 8), (33, 8)])
def test_depths(card, bits, taken):
    card[BPP] = bits
    assert card[BPP] == taken


@pytest.mark.parametrize("bits, pitch", [(4, 400), (8, 800), (15, 1600), (16, 1600), (24, 2400), (32, 3200)])
def test_enabling_clears_what_is_shown(card, bits, pitch):
    card.set(800, 600, bits)
    assert card.cleared == [600 * pitch] and card.chip.line_bytes == pitch
    assert card[WIDTH] == 800 and card[HEIGHT] == min((16 << 20) // pitch, 0xFFFF)


def test_noclearmem_does_not(card):
    card.set(800, 600, 8, ENABLED | NOCLEAR)
    card[ENABLE] = ENABLED | DAC8
    assert card.cleared == []


def test_what_does_not_fit_becomes_smaller(card):
    card.set(16000, 12000, 32)
    assert card[XRES] == 16000 and card[YRES] == (16 << 20) // 64000
    card.set(0, 0, 8)
    assert card[XRES] == 8 and card[YRES] == 1
    card.set(1366, 768, 4)
    assert card[XRES] == 1360


def test_the_screen_is_a_part_of_a_larger_one(card):
    card.set(640, 480, 8)
    card[WIDTH] = 1024
    card[X], card[Y] = 100, 200
    assert [card[WIDTH], card[HEIGHT], card[X], card[Y]] == [1024, 16384, 100, 200]
    card[X], card[Y] = 1000, 0xFFFF
    assert [card[X], card[Y]] == [1024 - 640, 16384 - 480]
    card[WIDTH] = 639
    assert card[WIDTH] == 1024
    card.set(640, 480, 8)
    assert [card[WIDTH], card[X], card[Y]] == [640, 0, 0]


def test_a_width_that_leaves_no_room_for_the_screen_is_not_taken(card):
    card.set(1024, 1024, 32)
    card[WIDTH] = 4097
    assert card[WIDTH] == 1024
    card[WIDTH] = 4096
    assert card[WIDTH] == 4096 and card[HEIGHT] == 1024


def test_banks_are_as_many_as_the_memory_has(card):
    card[BANK] = 3
    assert card[BANK] == 0                          # not while it is disabled
    card.set(640, 480, 8)
    card[BANK] = 0x1FF
    assert card[BANK] == 0xFF
    card.set(640, 480, 4)
    assert card[BANK] == 0
    card[BANK] = 0xFF
    assert card[BANK] == 0x3F
    card[ENABLE] = 0
    assert card[BANK] == 0


def test_the_screens_chip_is_told(card):
    card.set(640, 480, 8)
    before = card.changes
    card[BANK] = 1
    card[ENABLE] = 0
    assert card.changes == before + 2
