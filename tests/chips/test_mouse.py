"""Mouse.  [P] IBM PS/2 Hardware Interface Technical Reference, "Mouse"; [C] Chapweske, "The PS/2 Mouse Interface"."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emu.chips.mouse import Mouse
from tests.chips.bench import PS2, goes_on_alike

MS = 1_000_000
WHEEL = 0xF3, 200, 0xF3, 100, 0xF3, 80
EXPLORER = 0xF3, 200, 0xF3, 200, 0xF3, 80


class Cable(PS2):
    """A mouse and what is at the other end of its cable."""

    def __init__(self):
        super().__init__(Mouse)

    def packet(self):
        self.advance(200 * MS)
        return self.take()


@pytest.fixture
def m():
    return Cable()


@pytest.fixture
def on(m):
    """A mouse that reports."""
    m.say(0xF4)
    m.advance(100 * MS)
    return m


# Commands

def test_reset_acknowledges_and_then_tells_the_result_of_its_test_and_its_id(m):
    m.say(*WHEEL)
    assert m.say(0xFF) == "fa"
    m.advance(2 * MS)
    assert m.take() == "aa 00"
    assert m.say(0xF2) == "fa 00"


def test_the_defaults_are_100_samples_4_counts_1_to_1_stream_mode_and_disabled(m):
    assert m.say(0xE9) == "fa 00 02 64"
    m.say(0xF3, 40, 0xE8, 0, 0xE7, 0xF4, 0xF0)
    assert m.say(0xE9) == "fa 70 00 28"
    assert m.say(0xF6) == "fa"
    assert m.say(0xE9) == "fa 00 02 64"


def test_the_status_shows_the_buttons_left_in_bit_2_and_right_in_bit_0(m):
    m.chip.buttons(1)
    assert m.say(0xE9) == "fa 04 02 64"
    m.chip.buttons(2)
    assert m.say(0xE9) == "fa 01 02 64"
    m.chip.buttons(4)
    assert m.say(0xE9) == "fa 02 02 64"


def test_an_invalid_command_is_answered_with_resend_and_a_second_with_error(m):
    assert m.say(0x00) == "fe"
    assert m.say(0x00) == "fc"
    assert m.say(0x00) == "fe"
    assert m.say(0xE6) == "fa"


def test_an_invalid_parameter_may_be_sent_again(m):
    assert m.say(0xF3, 99) == "fa fe"
    assert m.say(80) == "fa"
    assert m.chip.rate == 80
    assert m.say(0xE8, 4, 4) == "fa fe fc"
    assert m.say(0xE8, 3) == "fa fa"


def test_a_command_in_the_place_of_a_parameter_is_obeyed(m):
    assert m.say(0xF3, 0xF2) == "fa fa 00"


def test_resend_sends_the_last_packet_again(on):
    on.chip.move(1, 0)
    assert on.packet() == "08 01 00"
    assert on.say(0xFE) == "08 01 00"
    assert on.say(0x00, 0xFE) == "fe 08 01 00"


def test_wrap_mode_sends_back_all_but_reset_and_reset_wrap(m):
    assert m.say(0xEE) == "fa"
    assert m.say(0x00, 0xF2, 0xEE, 0xFE) == "00 f2 ee fe"
    assert m.say(0xEC) == "fa"
    assert m.say(0xF2) == "fa 00"
    m.say(0xEE)
    assert m.say(0xFF) == "fa"
    m.advance(2 * MS)
    assert m.take() == "aa 00"


def test_nothing_is_reported_in_wrap_mode(on):
    on.say(0xEE)
    on.chip.move(1, 1)
    assert on.packet() == ""


def test_read_data_answers_in_remote_mode_and_in_stream_mode(m):
    m.chip.move(3, 0)
    assert m.say(0xEB) == "fa 08 03 00"
    m.say(0xF0)
    m.chip.move(3, -2)
    assert m.packet() == ""
    assert m.say(0xEB) == "fa 08 03 02"
    assert m.say(0xEB) == "fa 08 00 00"


def test_set_stream_mode_ends_remote_mode(on):
    on.say(0xF0, 0xEA)
    on.chip.move(1, 0)
    assert on.packet() == "08 01 00"


def test_disable_stops_the_reports_and_enable_starts_from_zero(on):
    on.say(0xF5)
    on.chip.move(9, 9)
    on.chip.buttons(1)
    assert on.packet() == ""
    on.say(0xF4)
    assert on.packet() == ""
    on.chip.move(1, 0)
    assert on.packet() == "09 01 00"


@pytest.mark.parametrize("command", [(0xEA,), (0xF0, 0xEA), (0xEE, 0xEC), (0xF4,), (0xF3, 100), (0xE8, 2)])
def test_setting_a_mode_starts_the_counters_from_zero(on, command):
    on.chip.move(1, 1)
    on.say(*command)
    assert on.packet() == ""


def test_asking_for_the_status_leaves_the_counters(on):
    on.chip.move(1, 0)
    on.say(0xE9)
    assert on.packet() == "08 01 00"


def test_a_command_takes_the_place_of_the_rest_of_a_packet(on):
    on.chip.move(1, 0)
    on.advance(200 * MS)
    on.chip.send()
    assert on.say(0xE6) == "fa"


# Packets

@pytest.mark.parametrize(("dx", "dy", "packet"), [
    (1, 0, "08 01 00"), (-1, 0, "18 ff 00"), (0, 1, "28 00 ff"), (0, -1, "08 00 01"), (255, -255, "08 ff ff"),
    (-256, 256, "38 00 00"),
])
def test_x_counts_to_the_right_and_y_up(on, dx, dy, packet):
    on.chip.move(dx, dy)
    assert on.packet() == packet


@pytest.mark.parametrize(("dx", "dy", "packet"), [
    (256, 0, "48 ff 00"), (-257, 0, "58 00 00"), (0, 257, "a8 00 00"), (0, -256, "88 00 ff"), (9999, -9999, "c8 ff ff"),
])
def test_a_counter_that_reaches_its_end_sets_the_overflow_bit(on, dx, dy, packet):
    on.chip.move(dx, dy)
    assert on.packet() == packet
    assert on.packet() == ""


def test_the_buttons_are_left_right_and_middle_from_bit_0(on):
    for mask in (1, 2, 4, 7, 0):
        on.chip.buttons(mask)
        assert on.packet() == f"{8 | mask:02x} 00 00"


def test_a_click_within_one_sample_is_reported_as_press_and_release(on):
    on.chip.buttons(1)
    on.chip.buttons(0)
    on.advance(10 * MS)
    assert on.take() == "09 00 00"
    on.advance(10 * MS)
    assert on.take() == "08 00 00"


def test_the_last_state_of_the_buttons_is_told_however_many_clicks_there_were(on):
    for _ in range(50):
        on.chip.buttons(1)
        on.chip.buttons(0)
    on.chip.buttons(2)
    told = [on.packet() for _ in range(30)]
    assert [packet for packet in told if packet][-1] == "0a 00 00"


def test_buttons_that_have_not_changed_are_not_reported(on):
    on.chip.buttons(0)
    assert on.packet() == ""


def test_movements_between_samples_are_added_up(on):
    on.chip.move(1, 0)
    on.advance(0)
    assert on.take() == "08 01 00"
    on.chip.move(2, 0)
    on.chip.move(3, 0)
    on.advance(10 * MS - 1)
    assert on.take() == ""
    on.advance(1)
    assert on.take() == "08 05 00"


@pytest.mark.parametrize("rate", [10, 20, 40, 60, 80, 100, 200])
def test_packets_come_at_the_sample_rate_at_most(on, rate):
    on.say(0xF3, rate)
    count = 0
    for _ in range(1000):
        on.chip.move(1, 1)
        on.advance(MS)
        count += on.take() != ""
    assert rate * 0.9 - 1 <= count <= rate + 1


def test_while_nothing_is_taken_the_counters_go_on(on):
    on.chip.move(1, 0)
    on.advance(100 * MS)
    on.chip.move(2, 0)
    on.chip.move(3, 0)
    assert on.take() == "08 01 00"
    assert on.packet() == "08 05 00"


def test_scaling_2_to_1_holds_for_reports_but_not_for_read_data(on):
    assert on.say(0xE7) == "fa"
    for moved, reported in (1, 1), (2, 1), (3, 3), (4, 6), (5, 9), (6, 12), (100, 200):
        on.chip.move(moved, 0)
        assert on.packet() == f"08 {reported:02x} 00"
    on.chip.move(4, 0)
    assert on.say(0xEB) == "fa 08 04 00"
    on.say(0xE6)
    on.chip.move(4, 0)
    assert on.packet() == "08 04 00"


# The wheel

def test_without_the_knock_the_wheel_is_not_told(on):
    on.chip.move(0, 0, 1)
    assert on.packet() == ""
    on.chip.move(1, 0, 1)
    assert on.packet() == "08 01 00"


def test_200_100_80_turns_the_wheel_on(on):
    on.say(*WHEEL)
    assert on.say(0xF2) == "fa 03"
    on.chip.move(0, 0, 1)
    assert on.packet() == "08 00 00 01"
    on.chip.move(0, 0, -1)
    assert on.packet() == "08 00 00 ff"


def test_200_200_80_turns_five_buttons_on(on):
    on.say(*EXPLORER)
    assert on.say(0xF2) == "fa 04"
    on.chip.buttons(0x18)
    on.chip.move(0, 0, -1)
    assert on.packet() == "08 00 00 3f"
    on.chip.buttons(0x10)
    assert on.packet() == "08 00 00 20"


def test_a_long_turn_is_told_in_steps_of_at_most_seven(on):
    on.say(*WHEEL)
    on.chip.move(0, 0, 10)
    assert on.packet() == "08 00 00 07"
    assert on.packet() == "08 00 00 03"
    assert on.packet() == ""


def test_set_default_keeps_the_wheel_and_reset_does_not(m):
    m.say(*WHEEL)
    m.say(0xF6)
    assert m.say(0xF2) == "fa 03"
    m.say(0xFF)
    m.advance(2 * MS)
    m.take()
    assert m.say(0xF2) == "fa 00"


# Contracts

def stir(m, rng, count):
    for _ in range(count):
        what = rng.random()
        if what < 0.4:
            m.chip.receive(rng.choice((rng.randrange(256), rng.randrange(0xE6, 0x100), 200, 100, 80, 0xF4)))
        elif what < 0.5:
            m.chip.buttons(rng.randrange(256))
        elif what < 0.6:
            m.chip.move(rng.randrange(-999, 999), rng.randrange(-999, 999), rng.randrange(-99, 99))
        elif what < 0.8:
            m.chip.send()
        else:
            m.advance(rng.choice((1, MS, 10 * MS, 100 * MS)))


def test_no_order_of_bytes_and_movements_raises(m):
    stir(m, random.Random(1), 20_000)
    m.say(0xEC, 0xEC)
    assert m.say(0xF2)[:2] == "fa"


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 100))
def test_a_restored_mouse_goes_on_as_the_saved_one_does(seed, length):
    goes_on_alike(Cable(), Cable(), stir, random.Random(seed), length)
