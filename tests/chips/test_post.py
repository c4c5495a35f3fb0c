"""The POST code port."""

from __future__ import annotations

from emu.chips.post import Post
from tests.chips.bench import Bench


def test_the_last_code_reads_back_and_each_is_told():
    told = []
    b = Bench(Post, told.append)
    assert b.read("CODE") == 0
    b.write("CODE", 0x01, 0x55, 0x55)
    assert b.read("CODE") == 0x55
    assert told == [0x01, 0x55, 0x55]


def test_nobody_needs_to_listen():
    b = Bench(Post)
    b.write("CODE", 0xFF)
    assert b.chip.code == 0xFF


def test_the_code_is_saved():
    one, two = Bench(Post), Bench(Post)
    one.write("CODE", 0x42)
    two.chip.restore(one.chip.save())
    assert two.read("CODE") == 0x42
