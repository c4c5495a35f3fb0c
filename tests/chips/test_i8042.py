"""I8042.  [P] IBM PS/2 Hardware Interface Technical Reference; [A] IBM PC AT Technical Reference; [L] Linux, i8042.c."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emu.chips.i8042 import FRAME, PULSE
from tests.chips.kbcbench import AUXDIS, AUXINT, CMD, IBF, KBDDIS, KBDINT, LATER, OBF, PC, SYS, XLAT


@pytest.fixture
def pc():
    bench = PC()
    bench.command(0x60, SYS | KBDINT | AUXINT | XLAT)
    bench.pins.clear()
    return bench


# Status and output buffer

def test_at_power_on_both_lines_are_disabled_and_the_output_buffer_is_empty():
    pc = PC()
    assert pc.read("STATUS") & (OBF | IBF | SYS) == 0
    assert pc.answer(0x20) == (False, KBDDIS | AUXDIS)


def test_reading_the_output_buffer_clears_obf_and_a_second_read_gives_the_same_byte(pc):
    pc.command(0xD2, 0x5A)
    assert pc.read("STATUS") & OBF
    assert pc.read("DBBOUT") == 0x5A
    assert not pc.read("STATUS") & OBF
    assert pc.read("DBBOUT") == 0x5A


def test_the_cmd_bit_tells_which_port_was_written_last(pc):
    pc.write("COMMAND", 0xAE)
    assert pc.read("STATUS") & CMD
    pc.write("DBBIN", 0xEE)
    assert not pc.read("STATUS") & CMD


def test_the_status_register_says_that_the_keyboard_is_not_locked(pc):
    assert pc.read("STATUS") & 0x10


def test_an_answer_waits_until_the_output_buffer_has_been_read(pc):
    pc.kbd.key("a", True)
    pc.advance(LATER)
    pc.command(0xAB)
    assert pc.read("DBBOUT") == 0x1E
    assert pc.read("STATUS") & OBF
    assert pc.read("DBBOUT") == 0


# Commands

def test_the_ram_is_written_and_read_byte_by_byte(pc):
    for i in range(1, 32):
        pc.command(0x60 | i, i * 7 & 0xFF)
    assert [pc.answer(0x20 | i)[1] for i in range(1, 32)] == [i * 7 & 0xFF for i in range(1, 32)]


def test_the_system_flag_of_the_command_byte_shows_in_the_status_register(pc):
    pc.command(0x60, 0)
    assert not pc.read("STATUS") & SYS
    pc.command(0x60, SYS)
    assert pc.read("STATUS") & SYS


def test_the_self_test_answers_55h_and_sets_the_system_flag():
    pc = PC()
    assert pc.answer(0xAA) == (False, 0x55)
    assert pc.read("STATUS") & SYS


def test_the_self_test_answers_whatever_is_in_the_output_buffer(pc):
    pc.kbd.key("a", True)
    pc.advance(LATER)
    pc.command(0xAB)
    assert pc.answer(0xAA) == (False, 0x55)


def test_the_interface_tests_find_no_line_stuck(pc):
    assert pc.answer(0xA9) == (False, 0)
    assert pc.answer(0xAB) == (False, 0)


def test_no_password_is_installed_and_one_that_is_loaded_ends_with_zero(pc):
    assert pc.answer(0xA4) == (False, 0xF1)
    pc.command(0xA5, 0x1E, 0x30, 0)
    assert pc.to_kbd(0xEE) == [0xEE]                # the next byte is the keyboard's again


def test_the_enable_and_disable_commands_are_bits_of_the_command_byte(pc):
    for command, bit, value in (0xA7, AUXDIS, AUXDIS), (0xA8, AUXDIS, 0), (0xAD, KBDDIS, KBDDIS), (0xAE, KBDDIS, 0):
        pc.command(command)
        assert pc.answer(0x20)[1] & bit == value


def test_the_input_port_is_read_and_polled_into_the_upper_half_of_the_status(pc):
    assert pc.answer(0xC0) == (False, 0xB3)
    pc.command(0xC1)
    assert pc.read("STATUS") & 0xF0 == 0x30
    pc.command(0xC2)
    assert pc.read("STATUS") & 0xF0 == 0xB0
    pc.command(0xAE)
    assert pc.read("STATUS") & 0xF0 == 0x10


def test_the_test_inputs_are_the_clock_lines(pc):
    assert pc.answer(0xE0) == (False, 3)
    pc.command(0xAD)
    assert pc.answer(0xE0) == (False, 2)
    pc.command(0xA7)
    assert pc.answer(0xE0) == (False, 0)


def test_unknown_commands_do_nothing(pc):
    before = pc.answer(0x20)
    for command in (0x00, 0x40, 0x80, 0xA6, 0xB0, 0xCA, 0xE1, 0xEF):
        pc.command(command)
    assert pc.wait(2) is None
    assert pc.answer(0x20) == before


# A20 and reset

def test_a20_is_high_after_power_on_and_the_output_port_gates_it(pc):
    assert pc.chip.a20.level == 1
    pc.command(0xD1, 0xDD)
    assert pc.chip.a20.level == 0
    assert pc.answer(0xD0)[1] & 3 == 1
    pc.command(0xD1, 0xDF)
    assert pc.chip.a20.level == 1
    assert pc.answer(0xD0)[1] & 3 == 3


def test_ddh_closes_the_a20_gate_and_dfh_opens_it(pc):
    pc.command(0xDD)
    assert pc.chip.a20.level == 0
    pc.command(0xDF)
    assert pc.chip.a20.level == 1


def test_the_output_port_shows_the_interrupt_lines(pc):
    for command, line in (0xD2, 0x10), (0xD3, 0x20):
        pc.command(command, 0)
        pc.command(0xD0)
        assert pc.read("DBBOUT") == 0
        assert pc.read("DBBOUT") & 0x30 == line


def test_feh_pulses_the_reset_line_for_six_microseconds(pc):
    pc.command(0xFE)
    assert pc.pins == [("RC", 1)]
    pc.advance(PULSE - 1)
    assert pc.chip.rc.level == 1
    pc.advance(1)
    assert pc.pins == [("RC", 1), ("RC", 0)]


def test_ffh_pulses_nothing(pc):
    pc.command(0xFF)
    pc.advance(PULSE)
    assert pc.pins == []


def test_fch_pulses_the_a20_gate_as_well(pc):
    pc.command(0xFC)
    assert ("A20", 0) in pc.pins
    pc.advance(PULSE)
    assert pc.chip.a20.level == 1


def test_d1h_with_bit_0_clear_resets_the_cpu(pc):
    pc.command(0xD1, 0xFE)
    assert pc.pins == [("RC", 1)]


def test_a_board_may_reset_the_controller_from_its_reset_line(pc):
    pc.chip.rc.sinks.append(lambda level: level and pc.chip.reset())
    pc.command(0xFE)
    assert pc.chip.save() == PC().chip.save() | {
        "kbd_request": pc.chip.save()["kbd_request"], "aux_request": pc.chip.save()["aux_request"]}


# Contracts

def stir(pc, rng, count):
    names = ("DBBIN", "COMMAND", "DBBOUT", "STATUS")
    keys = ("a", "shift", "print", "pause", "up", "ctrl")
    for _ in range(count):
        what = rng.random()
        if what < 0.45:
            pc.write(rng.choice(names[:2]), rng.choice((rng.randrange(256), 0xD4, 0xF3, 0x60, 0xAE, 0xF4, 200, 80)))
        elif what < 0.7:
            pc.read(rng.choice(names[2:]))
        elif what < 0.8:
            pc.kbd.key(rng.choice(keys), rng.random() < 0.5)
        elif what < 0.9:
            pc.mouse.move(rng.randrange(-300, 300), rng.randrange(-300, 300), rng.randrange(-20, 20))
            pc.mouse.buttons(rng.randrange(32))
        else:
            pc.advance(rng.choice((1, FRAME // 2, FRAME, 10 * FRAME, 300_000_000)))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 200))
def test_a_restored_trio_goes_on_as_the_saved_one_does(seed, length):
    rng = random.Random(seed)
    one, two = PC(), PC()
    stir(one, rng, length)
    two.now = one.now
    for chip, state in zip((two.chip, two.kbd, two.mouse), one.snapshot(), strict=True):
        chip.restore(state)
    assert two.snapshot() == one.snapshot()
    one.pins.clear()
    state = rng.getstate()
    stir(one, rng, 100)
    rng.setstate(state)
    stir(two, rng, 100)
    assert two.snapshot() == one.snapshot()
    assert two.pins == one.pins


def test_no_order_of_accesses_raises():
    pc = PC()
    stir(pc, random.Random(1), 20_000)
    alone = PC(False, False)
    stir(alone, random.Random(2), 5_000)


def test_after_any_accesses_a_driver_can_bring_everything_up_again():
    for seed in range(20):
        pc = PC()
        stir(pc, random.Random(seed), 300)
        pc.command(0x60, SYS | XLAT | KBDINT | AUXINT)
        pc.all()
        pc.to_kbd(0xFF)
        pc.to_mouse(0xFF)
        assert pc.to_kbd(0xF2)[:3] == [0xFA, 0xAB, 0x41]
        assert pc.to_mouse(0xF2) == [0xFA, 0]


def test_a_reset_controller_equals_a_fresh_one():
    pc = PC()
    fresh = pc.chip.save()
    stir(pc, random.Random(3), 500)
    pc.kbd.reset()
    pc.mouse.reset()
    pc.chip.reset()
    assert pc.chip.save() == fresh
