"""The tables of scan codes, against the rows of [K] that can be had by heart."""

from __future__ import annotations

import pytest

from emu.chips.scancodes import ALIASES, GREY, MAKES3, NAMES, SET2, SET3, SHIFTS3, XLAT, set1

ROWS = ("esc", *"1234567890", "minus", "equal", "backspace", "tab", *"qwertyuiop", "bracket_left", "bracket_right", "ret",
        "ctrl", *"asdfghjkl", "semicolon", "apostrophe", "grave_accent", "shift", "backslash", *"zxcvbnm", "comma", "dot",
        "slash", "shift_r", "kp_multiply", "alt", "spc", "caps_lock",
        *(f"f{i}" for i in range(1, 11)), "num_lock", "scroll_lock", "kp_7", "kp_8", "kp_9", "kp_subtract", "kp_4", "kp_5",
        "kp_6", "kp_add", "kp_1", "kp_2", "kp_3", "kp_0", "kp_decimal")


def test_set_1_counts_the_keys_of_the_pc_from_1_to_53h():
    assert [set1(SET2[name]) for name in ROWS] == [bytes([code]) for code in range(1, 0x54)]


@pytest.mark.parametrize(("name", "code"), [
    ("f11", "57"), ("f12", "58"), ("less", "56"), ("kp_enter", "e01c"), ("ctrl_r", "e01d"), ("alt_r", "e038"),
    ("kp_divide", "e035"), ("insert", "e052"), ("home", "e047"), ("pgup", "e049"), ("delete", "e053"), ("end", "e04f"),
    ("pgdn", "e051"), ("up", "e048"), ("left", "e04b"), ("down", "e050"), ("right", "e04d"), ("meta_l", "e05b"),
    ("meta_r", "e05c"), ("compose", "e05d"), ("power", "e05e"), ("sleep", "e05f"), ("wake", "e063"),
    ("volumeup", "e030"), ("volumedown", "e02e"), ("audiomute", "e020"), ("ac_home", "e032"), ("ro", "73"), ("yen", "7d"),
    ("henkan", "79"), ("muhenkan", "7b"), ("katakanahiragana", "70"), ("kp_comma", "7e"), ("kp_equals", "59"),
])
def test_the_later_keys_have_their_codes_in_set_1(name, code):
    assert set1(SET2[name]).hex() == code


def test_a_release_in_set_1_has_bit_7_set():
    assert set1(b"\xe0\xf0\x75") == b"\xe0\xc8"


def test_the_pause_and_print_sequences_translate_as_the_tables_say():
    assert set1(bytes.fromhex("e11477e1f014f077")).hex() == "e11d45e19dc5"
    assert set1(bytes.fromhex("e012e07c")).hex() == "e02ae037"
    assert set1(bytes.fromhex("e0f07ce0f012")).hex() == "e0b7e0aa"


def test_the_translation_gives_no_two_codes_below_80h_the_same_value():
    assert len(XLAT) == 256
    assert len(set(XLAT[:0x80])) == 0x80


def test_answers_of_the_keyboard_pass_the_translation_unchanged():
    assert all(XLAT[byte] == byte for byte in (0xAA, 0xAB, 0xE0, 0xE1, 0xEE, 0xFA, 0xFC, 0xFE, 0xFF))


def test_no_two_keys_share_a_code():
    assert len(set(SET2.values())) == len(SET2)
    assert len(set(SET3.values())) == len(SET3)


def test_all_the_names_lead_to_codes():
    assert {*SET3, *ALIASES.values(), *GREY} <= NAMES
    assert not SHIFTS3 & MAKES3


def test_set_3_knows_the_102_keys_and_three_more():
    assert len(SET3) == 102 + 3
