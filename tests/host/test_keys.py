"""Keys by their names, for characters, and out of what terminals send."""

from __future__ import annotations

import pytest

from emu.chips.scancodes import NAMES
from emu.host import keys
from emu.host.keys import Decoder


@pytest.mark.parametrize("name, chord", [
    ("ret", ("ret",)), ("shift-a", ("shift", "a")), ("ctrl-alt-delete", ("ctrl", "alt", "delete"))])
def test_names_as_sendkey_has_them(name, chord):
    assert keys.chord(name) == chord


def test_every_character_of_a_us_keyboard_has_keys_that_exist():
    for char in [*map(chr, range(0x20, 0x7F)), "\n", "\t", "\b", "\x1b"]:
        assert set(keys.chords(char)[0]) <= NAMES, char
    assert keys.chords("aA~ \n") == [("a",), ("shift", "a"), ("shift", "grave_accent"), ("spc",), ("ret",)]


def test_other_characters_have_none():
    with pytest.raises(ValueError, match="no key types 'ä'"):
        keys.chords("ä")


@pytest.mark.parametrize("sent, chords", [
    (b"a", [("a",)]), (b"A", [("shift", "a")]), (b"\r", [("ret",)]), (b"\x7f", [("backspace",)]), (b"\t", [("tab",)]),
    (b"\x03", [("ctrl", "c")]), (b"\x00", [("ctrl", "spc")]), (b"\x1d", [("ctrl", "bracket_right")]),
    (b"\x1b[A", [("up",)]), (b"\x1bOB", [("down",)]), (b"\x1b[C\x1b[D", [("right",), ("left",)]),
    (b"\x1bOP", [("f1",)]), (b"\x1b[11~", [("f1",)]), (b"\x1b[[A", [("f1",)]), (b"\x1b[[E", [("f5",)]),
    (b"\x1b[15~", [("f5",)]), (b"\x1b[24~", [("f12",)]), (b"\x1b[3~", [("delete",)]), (b"\x1b[5~", [("pgup",)]),
    (b"\x1b[H", [("home",)]), (b"\x1b[4~", [("end",)]), (b"\x1b[Z", [("shift", "tab")]),
    (b"\x1b[1;5C", [("ctrl", "right")]), (b"\x1b[3;3~", [("alt", "delete")]), (b"\x1b[1;2P", [("shift", "f1")]),
    (b"\x1b[15;6~", [("shift", "ctrl", "f5")]), (b"\x1bx", [("alt", "x")]), (b"\x1bX", [("alt", "shift", "x")]),
    (b"\x1b\r", [("alt", "ret")]), ("ä€x".encode(), [("x",)]), (b"\xff\xfex", [("x",)]),
    (b"\x1b[?1;2cx", [("x",)]), (b"\x1b[999999999999~x", [("x",)]), (b"\x1b[200~", []),
])
def test_what_terminals_send(sent, chords):
    decoder = Decoder()
    assert decoder.take(sent) + decoder.flush() == chords


@pytest.mark.parametrize("sent", [b"\x1b[1;5C", b"\x1bOP", b"\x1b[[A", "x€y".encode(), b"\x1b[24~"])
def test_a_sequence_may_come_in_pieces(sent):
    whole = Decoder().take(sent)
    decoder, found = Decoder(), []
    for byte in sent:
        found += decoder.take(bytes([byte]))
    assert found == whole and decoder.pending == b""


def test_escape_alone_is_the_key_when_nothing_follows():
    decoder = Decoder()
    assert decoder.take(b"\x1b") == [] and decoder.pending
    assert decoder.flush() == [("esc",)] and not decoder.pending
    assert decoder.take(b"\x1b[") == []
    assert decoder.flush() == [("alt", "bracket_left")]
    assert decoder.take(b"\x1b\x1b[A") + decoder.flush() == [("esc",), ("up",)]


def test_every_key_that_a_terminal_can_name_exists():
    for final in map(chr, range(0x40, 0x7F)):
        for sent in (f"\x1b[{final}", f"\x1bO{final}", *(f"\x1b[{i};8{final}" for i in range(35))):
            for chord in Decoder().take(sent.encode()):
                assert set(chord) <= NAMES, (sent, chord)
