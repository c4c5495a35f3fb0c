"""SerialLine, alone and on a UART."""

from __future__ import annotations

import json

from emu.chips.serialline import SerialLine
from emu.chips.uart16550 import UART16550
from tests.chips.bench import Bench

CHARACTER = 1000


def line():
    got, room = [], [True]
    bench = Bench(SerialLine, got.append, lambda: room[0], lambda: CHARACTER)
    return bench, got, room


def test_characters_arrive_one_character_time_apart():
    b, got, _ = line()
    b.chip.type(b"abc")
    arrivals = []
    for _ in range(40):
        b.advance(100)
        arrivals.append(len(got))
    assert arrivals == [0] * 9 + [1] * 10 + [2] * 10 + [3] * 11
    assert bytes(got) == b"abc"


def test_what_is_typed_later_comes_after():
    b, got, _ = line()
    b.chip.type(b"one ")
    b.advance(1500)
    b.chip.type(b"two")
    b.advance(10_000)
    assert bytes(got) == b"one two"


def test_nothing_typed_is_nothing_sent():
    b, got, _ = line()
    b.chip.type(b"")
    b.advance(10_000)
    assert got == []
    assert b.clock.next() is None


def test_a_receiver_that_is_not_ready_is_waited_for():
    b, got, room = line()
    room[0] = False
    b.chip.type(b"ab")
    b.advance(50_000_000)
    assert got == []
    room[0] = True
    b.advance(2_000_000)
    assert bytes(got) == b"ab"
    assert b.clock.next() is None


def test_what_is_still_queued_is_saved():
    b, got, _ = line()
    b.chip.type(b"abcdef")
    b.advance(2500)
    saved = b.chip.save()
    assert json.dumps(saved, default=bytes.hex)
    other, rest, _ = line()
    other.now = b.now
    other.chip.restore(saved)
    b.advance(10_000)
    other.advance(10_000)
    assert (bytes(got), bytes(rest)) == (b"abcdef", b"cdef")


def test_a_uart_that_is_read_slowly_loses_nothing():
    uart = Bench(UART16550, lambda data: None)
    uart.write("FCR", 1)
    chip = uart.chip
    peer = SerialLine(chip.receive, lambda: chip.ready, lambda: chip.character_time)
    peer.attach("peer", uart.clock)
    text = bytes(i & 0xFF for i in range(500))
    peer.type(text)
    read = []
    while len(read) < len(text):
        uart.advance(30_000_000)
        while uart.read("LSR") & 1:
            assert not uart.read("LSR") & 2
            read.append(uart.read("RBR"))
    assert bytes(read) == text
