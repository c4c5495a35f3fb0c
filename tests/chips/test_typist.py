"""Typist."""

from __future__ import annotations

from emu.chips.typist import GAP, HELD, PATIENCE, Typist
from tests.chips.bench import Bench


class Hands(Bench):
    def __init__(self):
        self.log, self.ready = [], True
        super().__init__(Typist, lambda key, down: self.log.append((self.now, key, down)), lambda: self.ready)


def test_keys_of_a_chord_are_held_together():
    b = Hands()
    b.chip.type([["ctrl", "alt", "delete"]])
    b.advance(HELD)
    assert b.log == [(0, "ctrl", True), (0, "alt", True), (0, "delete", True),
                     (HELD, "delete", False), (HELD, "alt", False), (HELD, "ctrl", False)]


def test_one_key_follows_another():
    b = Hands()
    b.chip.type([["a"]])
    b.chip.type([["b"], [], ["c"]])
    b.advance(10 * (HELD + GAP))
    assert [entry for entry in b.log if entry[2]] == [(0, "a", True), (HELD + GAP, "b", True), (2 * (HELD + GAP), "c", True)]
    assert b.clock.next() is None and b.chip.moves == []


def test_while_nobody_takes_what_was_typed_the_hands_wait():
    b = Hands()
    b.ready = False
    b.chip.type([["a"]])
    b.advance(3 * PATIENCE)
    assert b.log == []
    b.ready = True
    b.advance(PATIENCE)
    assert b.log == [(4 * PATIENCE, "a", True)]
