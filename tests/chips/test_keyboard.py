"""Keyboard.  [K] IBM PS/2 Hardware Interface Technical Reference, "Keyboards (101- and 102-key)"."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emu.chips.keyboard import Keyboard
from emu.chips.scancodes import NAMES
from tests.chips.bench import PS2, goes_on_alike

MS = 1_000_000


class Cable(PS2):
    """A keyboard and what is at the other end of its cable."""

    def __init__(self):
        super().__init__(Keyboard)

    def press(self, *names):
        for name in names:
            self.chip.key(name, True)
        return self.take()

    def let_go(self, *names):
        for name in names:
            self.chip.key(name, False)
        return self.take()


@pytest.fixture
def k():
    return Cable()


# Commands

def test_echo_answers_with_echo_and_nothing_else(k):
    assert k.say(0xEE) == "ee"


def test_identify_answers_ab_83(k):
    assert k.say(0xF2) == "fa ab 83"


def test_set_indicators_lights_the_leds(k):
    assert k.say(0xED, 0b110) == "fa fa"
    assert k.chip.leds == 6
    assert (k.chip.scroll_led.level, k.chip.num_led.level, k.chip.caps_led.level) == (0, 1, 1)
    k.say(0xED, 0)
    assert k.chip.caps_led.level == 0


def test_a_command_in_the_place_of_an_option_byte_is_obeyed(k):
    assert k.say(0xED, 0xF2) == "fa fa ab 83"
    assert k.chip.leds == 0


def test_an_unknown_command_is_answered_with_resend(k):
    for value in (0x00, 0x7F, 0xEB, 0xEC, 0xEF, 0xF1):
        assert k.say(value) == "fe"


def test_resend_sends_the_last_byte_again(k):
    k.press("a")
    assert k.say(0xFE) == "1c"
    assert k.say(0xFE) == "1c"


def test_what_is_sent_again_is_never_a_resend(k):
    k.press("a")
    assert k.say(0x00) == "fe"
    assert k.say(0xFE) == "1c"


def test_the_scan_code_set_is_chosen_and_told(k):
    assert k.say(0xF0, 0) == "fa fa 02"
    assert k.say(0xF0, 1) == "fa fa"
    assert k.say(0xF0, 0) == "fa fa 01"
    assert k.say(0xF0, 4) == "fa fe"
    assert k.say(0xF0, 0) == "fa fa 01"


def test_a_typematic_rate_has_bit_7_clear(k):
    assert k.say(0xF3, 0x7F) == "fa fa"
    assert k.say(0xF3, 0x80) == "fa fe"
    assert k.chip.rate == 0x7F


def test_reset_acknowledges_and_then_tells_the_result_of_its_test(k):
    k.say(0xED, 7, 0xF0, 1, 0xF3, 0)
    assert k.say(0xFF) == "fa"
    k.advance(2 * MS)
    assert k.take() == "aa"
    assert (k.chip.leds, k.chip.set, k.chip.rate) == (0, 2, 0x2B)
    assert k.press("a") == "1c"


def test_keys_are_not_scanned_during_the_test(k):
    k.say(0xFF)
    assert k.press("a") == ""


def test_default_disable_stops_the_scanning_until_enable(k):
    assert k.say(0xF5) == "fa"
    assert k.press("a") == ""
    assert k.let_go("a") == ""
    assert k.say(0xF4) == "fa"
    assert k.press("a") == "1c"


def test_set_default_keeps_scanning_and_forgets_the_rate(k):
    k.say(0xF3, 0)
    assert k.say(0xF6) == "fa"
    assert k.chip.rate == 0x2B
    assert k.press("a") == "1c"


def test_enable_clears_the_buffer(k):
    k.chip.key("a", True)
    assert k.say(0xF4) == "fa"


def test_set_default_clears_the_buffer_and_ends_the_repeat(k):
    k.chip.key("a", True)
    assert k.say(0xF6) == "fa"
    k.advance(2000 * MS)
    assert k.take() == ""


def test_a_command_leaves_the_scan_codes_in_the_buffer(k):
    k.chip.key("a", True)
    assert k.say(0xF2) == "fa ab 83 1c"


def test_between_a_command_and_its_option_no_scan_code_is_sent(k):
    k.chip.key("a", True)
    assert k.say(0xED) == "fa"
    assert k.say(0x00) == "fa 1c"


def test_a_new_command_replaces_the_answer_to_the_last(k):
    k.chip.receive(0xF2)
    k.chip.send()
    assert k.say(0xEE) == "ee"


# Sets 1 and 2

def test_set_2_tells_a_release_with_f0h(k):
    assert k.press("a") == "1c"
    assert k.let_go("a") == "f0 1c"


def test_set_1_tells_a_release_with_bit_7(k):
    k.say(0xF0, 1)
    assert k.press("a") == "1e"
    assert k.let_go("a") == "9e"
    assert k.press("ctrl_r") == "e0 1d"
    assert k.let_go("ctrl_r") == "e0 9d"


@pytest.mark.parametrize(("held", "make", "release"), [
    ((), "e0 12 e0 7c", "e0 f0 7c e0 f0 12"),
    (("shift",), "e0 7c", "e0 f0 7c"),
    (("ctrl",), "e0 7c", "e0 f0 7c"),
    (("alt",), "84", "f0 84"),
])
def test_print_screen_depends_on_the_shifts(k, held, make, release):
    k.press(*held)
    assert k.press("print") == make
    assert k.let_go("print") == release


def test_system_request_is_the_print_screen_key(k):
    k.press("alt")
    assert k.press("sysrq") == "84"
    k.say(0xF0, 1)
    assert k.let_go("print") == "d4"


def test_pause_has_no_release(k):
    assert k.press("pause") == "e1 14 77 e1 f0 14 f0 77"
    assert k.let_go("pause") == ""


def test_pause_with_control_is_break(k):
    k.press("ctrl")
    assert k.press("pause") == "e0 7e e0 f0 7e"


def test_pause_does_not_repeat(k):
    k.press("pause")
    k.advance(2000 * MS)
    assert k.take() == ""


def test_a_grey_key_undoes_the_shift_that_is_held(k):
    k.press("shift")
    assert k.press("insert") == "e0 f0 12 e0 70"
    assert k.let_go("insert") == "e0 f0 70 e0 12"
    k.press("shift_r")
    assert k.press("up") == "e0 f0 12 e0 f0 59 e0 75"


def test_a_grey_key_wears_a_shift_while_num_lock_is_lit(k):
    k.say(0xED, 2)
    assert k.press("left") == "e0 12 e0 6b"
    assert k.let_go("left") == "e0 f0 6b e0 f0 12"
    k.press("shift")
    assert k.press("left") == "e0 6b"


def test_the_grey_slash_undoes_the_shift_and_knows_no_num_lock(k):
    assert k.press("kp_divide") == "e0 4a"
    k.let_go("kp_divide")
    k.say(0xED, 2)
    k.press("shift_r")
    assert k.press("kp_divide") == "e0 f0 59 e0 4a"
    assert k.let_go("kp_divide") == "e0 f0 4a e0 59"


def test_a_release_takes_off_what_the_press_put_on(k):
    k.press("shift", "up")
    k.let_go("shift")
    assert k.let_go("up") == "e0 f0 75 e0 12"


# Set 3

def test_set_3_letters_repeat_and_shifts_tell_of_their_release(k):
    k.say(0xF0, 3)
    assert k.press("a") == "1c"
    assert k.let_go("a") == ""
    assert k.press("shift") == "12"
    assert k.let_go("shift") == "f0 12"
    assert k.press("f1") == "07"
    k.advance(2000 * MS)
    assert k.take() == ""
    assert k.let_go("f1") == ""


def test_set_3_all_keys_are_given_a_type(k):
    k.say(0xF0, 3)
    assert k.say(0xF8) == "fa"
    k.press("a")
    assert k.let_go("a") == "f0 1c"
    k.say(0xF9)
    k.press("a")
    assert k.let_go("a") == ""
    k.say(0xFA)
    k.press("f1")
    k.advance(500 * MS)
    assert k.take() == "07"
    assert k.let_go("f1") == "f0 07"
    k.say(0xF7)
    k.press("shift")
    assert k.let_go("shift") == ""


def test_set_3_single_keys_are_given_a_type(k):
    k.say(0xF0, 3)
    assert k.say(0xFC, 0x1C) == "fa fa"
    k.press("a")
    assert k.let_go("a") == "f0 1c"
    assert k.say(0xFD, 0x1C) == "fa fa"
    k.press("a")
    assert k.let_go("a") == ""
    assert k.say(0xFB, 0x07, 0xFC, 0x00) == "fa fa fa fe"
    k.press("f1")
    k.advance(500 * MS)
    assert k.take() == "07"


def test_set_3_keeps_silent_about_keys_that_it_has_no_code_for(k):
    k.say(0xF0, 3)
    assert k.press("volumeup", "print", "pause") == "57 62"
    assert k.let_go("volumeup") == ""


# Typematic

def test_a_held_key_repeats_after_500_ms_10_9_times_a_second(k):
    k.press("a")
    k.advance(500 * MS - 1)
    assert k.take() == ""
    k.advance(1)
    assert k.take() == "1c"
    k.advance(91_666_666)
    assert k.take() == "1c"


@pytest.mark.parametrize(("option", "delay", "per_second"), [(0x00, 250, 30), (0x7F, 1000, 2), (0x20, 500, 30)])
def test_the_typematic_rate_is_from_2_to_30_characters_a_second(k, option, delay, per_second):
    k.say(0xF3, option)
    k.press("a")
    k.advance(delay * MS)
    assert k.take() == "1c"
    count = 0
    for _ in range(2000):
        k.advance(MS)
        count += k.take() == "1c"
    assert abs(count - 2 * per_second) <= 1


@pytest.mark.parametrize("option", range(32))
def test_the_period_is_8_plus_a_times_2_to_the_b_240ths_of_a_second(k, option):
    k.say(0xF3, option)
    k.press("a")
    k.advance(250 * MS)
    k.take()
    period = (8 + option % 8) * 2 ** (option // 8) * 10**9 // 240
    k.advance(period - 1)
    assert k.take() == ""
    k.advance(1)
    assert k.take() == "1c"


def test_only_the_last_key_repeats_and_its_release_ends_that(k):
    k.press("a", "b")
    k.advance(500 * MS)
    assert k.take() == "32"
    assert k.let_go("b") == "f0 32"
    k.advance(2000 * MS)
    assert k.take() == ""


def test_the_release_of_another_key_does_not_end_the_repeat(k):
    k.press("a", "b")
    k.let_go("a")
    k.advance(500 * MS)
    assert k.take() == "32"


def test_print_screen_repeats_without_its_shift(k):
    k.press("print")
    k.advance(500 * MS)
    assert k.take() == "e0 7c"


def test_while_nothing_is_taken_only_the_first_make_is_stored(k):
    k.chip.key("a", True)
    k.advance(5000 * MS)
    assert k.take() == "1c"


def test_the_hosts_own_repeat_is_not_a_press(k):
    assert k.press("a", "a") == "1c"
    assert k.let_go("a", "a") == "f0 1c"


# The buffer

def test_a_17th_byte_becomes_the_overrun_code(k):
    for name in "qwertyuiopasdfghjk":
        k.chip.key(name, True)
    assert k.take() == "15 1d 24 2d 2c 35 3c 43 44 4d 1c 1b 23 2b 34 33 00"


def test_in_set_1_the_overrun_code_is_ffh(k):
    k.say(0xF0, 1)
    for name in "qwertyuiopasdfghjk":
        k.chip.key(name, True)
    assert k.take().split()[-1] == "ff"


def test_a_sequence_that_does_not_fit_as_a_whole_is_an_overrun(k):
    for name in "qwertyuiopasdfg":
        k.chip.key(name, True)
    k.chip.key("up", True)
    assert k.take().split()[14:] == ["34", "00"]


# The host

def test_a_name_that_is_no_key_is_refused(k):
    with pytest.raises(ValueError, match="no key is called any"):
        k.chip.key("any", True)


# Contracts

def stir(k, rng, count):
    names = sorted(NAMES)
    for _ in range(count):
        what = rng.random()
        if what < 0.4:
            k.chip.receive(rng.randrange(256) if what < 0.2 else rng.randrange(0xED, 0x100))
        elif what < 0.6:
            k.chip.key(rng.choice(names), rng.random() < 0.6)
        elif what < 0.8:
            k.chip.send()
        else:
            k.advance(rng.choice((1, MS, 100 * MS, 600 * MS)))


def test_no_order_of_bytes_and_keys_raises(k):
    stir(k, random.Random(1), 20_000)
    assert k.say(0xEE)[:2] == "ee"


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 100))
def test_a_restored_keyboard_goes_on_as_the_saved_one_does(seed, length):
    goes_on_alike(Cable(), Cable(), stir, random.Random(seed), length)
