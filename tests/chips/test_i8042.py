"""I8042.  [P] IBM PS/2 Hardware Interface Technical Reference; [A] IBM PC AT Technical Reference; [L] Linux, i8042.c."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emu.chips.i8042 import FRAME, I8042, PATIENCE, PULSE
from emu.chips.keyboard import Keyboard
from emu.chips.mouse import Mouse
from tests.chips.bench import Bench

OBF, IBF, SYS, CMD, AUXB, TIM = 1, 2, 4, 8, 0x20, 0x40
KBDINT, AUXINT, KBDDIS, AUXDIS, XLAT = 1, 2, 0x10, 0x20, 0x40
LATER = 3 * FRAME


class PC(Bench):
    """A controller with its two devices, as the board joins them."""

    def __init__(self, keyboard=True, mouse=True):
        self.kbd, self.mouse = Keyboard(), Mouse()
        super().__init__(I8042, self.kbd if keyboard else None, self.mouse if mouse else None)
        self.kbd.attach("kbd", self.clock)
        self.mouse.attach("mouse", self.clock)

    def command(self, *values):
        """[L] i8042_command: the command, then its parameters."""
        self.write("COMMAND", values[0])
        for value in values[1:]:
            self.wait_write()
            self.write("DBBIN", value)

    def wait_write(self):
        for _ in range(10000):
            if not self.read("STATUS") & IBF:
                return
            self.advance(50_000)
        raise AssertionError("the input buffer stays full")

    def wait(self, ms=30):
        """[L] i8042_wait_read: (AUXB, value), or None."""
        for _ in range(ms * 20):
            status = self.read("STATUS")
            if status & OBF:
                return bool(status & AUXB), self.read("DBBOUT")
            self.advance(50_000)
        return None

    def answer(self, *values):
        self.command(*values)
        return self.wait(1)

    def all(self):
        """Everything that is to come, as one list."""
        out = []
        while (got := self.wait(5)) is not None:
            out.append(got[1])
        return out

    def to_kbd(self, *values):
        self.wait_write()
        self.write("DBBIN", *values)
        return self.all()

    def to_mouse(self, *values):
        out = []
        for value in values:
            self.command(0xD4, value)
            out += self.all()
        return out

    def snapshot(self):
        return [chip.save() for chip in (self.chip, self.kbd, self.mouse)]


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


# The keyboard's line

def test_a_scan_code_arrives_one_frame_after_the_key(pc):
    pc.kbd.key("a", True)
    pc.advance(FRAME - 1)
    assert not pc.read("STATUS") & OBF
    pc.advance(1)
    assert pc.pins == [("KBD_IRQ", 1)]
    assert pc.read("DBBOUT") == 0x1E
    assert pc.pins == [("KBD_IRQ", 1), ("KBD_IRQ", 0)]


def test_each_byte_makes_an_edge_of_irq1(pc):
    pc.kbd.key("up", True)
    pc.advance(10 * FRAME)
    assert pc.pins == [("KBD_IRQ", 1)]              # the line is held while the buffer is full
    assert pc.all() == [0xE0, 0x48]
    assert pc.pins == [("KBD_IRQ", 1), ("KBD_IRQ", 0)] * 2


def test_without_the_interrupt_enable_bit_the_byte_is_there_to_be_polled(pc):
    pc.command(0x60, XLAT)
    pc.kbd.key("a", True)
    assert pc.all() == [0x1E]
    assert pc.pins == []


def test_translation_turns_f0h_into_bit_7_of_the_next_byte(pc):
    pc.kbd.key("a", True)
    pc.kbd.key("a", False)
    assert pc.all() == [0x1E, 0x9E]


def test_without_translation_scan_code_set_2_comes_through(pc):
    pc.command(0x60, KBDINT)
    pc.kbd.key("a", True)
    pc.kbd.key("a", False)
    assert pc.all() == [0x1C, 0xF0, 0x1C]


def test_translation_changes_the_identity_but_not_the_acknowledgement(pc):
    assert pc.to_kbd(0xF2) == [0xFA, 0xAB, 0x41]


def test_translation_shows_scan_code_set_2_as_41h(pc):
    assert pc.to_kbd(0xF0) == [0xFA]
    assert pc.to_kbd(0x00) == [0xFA, 0x41]


def test_a_disabled_keyboard_keeps_its_bytes(pc):
    pc.command(0xAD)
    pc.kbd.key("a", True)
    pc.advance(LATER)
    assert not pc.read("STATUS") & OBF
    pc.command(0xAE)
    assert pc.all() == [0x1E]


def test_disabling_the_keyboard_in_the_middle_of_a_byte_loses_nothing(pc):
    pc.kbd.key("a", True)
    pc.advance(FRAME // 2)
    pc.command(0xAD)
    pc.advance(LATER)
    pc.command(0xAE)
    assert pc.all() == [0x1E]


def test_a_disabled_keyboard_lets_the_answer_to_a_command_be_polled(pc):
    pc.command(0xAD)
    pc.command(0xD0)
    assert pc.pins == []
    assert pc.wait() is not None


def test_a_byte_for_the_keyboard_enables_it_again(pc):
    pc.command(0xAD)
    assert pc.to_kbd(0xEE) == [0xEE]


def test_a_second_byte_waits_in_the_input_buffer(pc):
    pc.write("DBBIN", 0xED)
    assert not pc.read("STATUS") & IBF
    pc.write("DBBIN", 0x02)
    assert pc.read("STATUS") & IBF
    pc.advance(FRAME)
    assert not pc.read("STATUS") & IBF
    pc.advance(FRAME)
    assert pc.kbd.leds == 2


def test_a_command_from_the_host_interrupts_a_scan_code_which_is_repeated(pc):
    pc.kbd.key("a", True)
    pc.advance(FRAME // 2)
    assert pc.to_kbd(0xF3) == [0xFA]                # held back until the option byte
    assert pc.to_kbd(0x20) == [0xFA, 0x1E]


def test_an_absent_keyboard_times_out_with_feh(pc):
    pc = PC(keyboard=False)
    pc.write("DBBIN", 0xFF)
    pc.advance(PATIENCE - 1)
    assert not pc.read("STATUS") & OBF
    pc.advance(1)
    assert pc.read("STATUS") & (OBF | TIM | AUXB) == OBF | TIM
    assert pc.read("DBBOUT") == 0xFE
    assert pc.answer(0xAB) == (False, 0)
    assert not pc.read("STATUS") & TIM


def test_a_device_that_withdraws_its_byte_is_not_read(pc):
    pc.kbd.key("a", True)
    pc.advance(FRAME // 2)
    pc.kbd.reset()
    pc.advance(LATER)
    assert not pc.read("STATUS") & OBF


def test_an_answer_in_the_middle_of_a_byte_makes_the_device_repeat_it(pc):
    pc.kbd.key("a", True)
    pc.advance(FRAME // 2)
    assert pc.answer(0xAB) == (False, 0)
    pc.advance(FRAME - 1)
    assert not pc.read("STATUS") & OBF
    assert pc.all() == [0x1E]


def test_a_byte_for_the_keyboard_gets_through_while_the_output_buffer_is_full(pc):
    pc.command(0xD2, 0x55)
    pc.write("DBBIN", 0xED)
    pc.mouse.receive(0xF2)
    pc.advance(LATER)
    assert pc.kbd.wants == 0xED
    assert pc.all() == [0x55, 0xFA, 0xFA, 0x00]


def test_switching_the_translation_off_forgets_a_release_that_was_begun(pc):
    pc.kbd.key("a", True)
    pc.all()
    pc.kbd.key("a", False)
    pc.advance(FRAME)
    assert pc.kbd.codes == [0x1C]                   # F0h has been swallowed
    pc.command(0x60, 0)
    pc.command(0x60, XLAT)
    assert pc.all() == [0x1E]


def test_d2h_is_a_byte_as_if_from_the_keyboard_and_not_translated(pc):
    assert pc.answer(0xD2, 0x1C) == (False, 0x1C)
    assert pc.pins == [("KBD_IRQ", 1), ("KBD_IRQ", 0)]


# The auxiliary line

def test_d3h_is_a_byte_as_if_from_the_auxiliary_device(pc):
    assert pc.answer(0xD3, 0x5A) == (True, 0x5A)
    assert pc.pins == [("AUX_IRQ", 1), ("AUX_IRQ", 0)]


def test_d4h_sends_one_byte_to_the_auxiliary_device(pc):
    assert pc.to_mouse(0xF2) == [0xFA, 0x00]
    assert pc.to_kbd(0xEE) == [0xEE]


def test_bytes_of_the_auxiliary_device_are_not_translated(pc):
    pc.to_mouse(0xEE)
    assert pc.to_mouse(0x1C, 0xF0) == [0x1C, 0xF0]


def test_an_absent_mouse_times_out_on_the_auxiliary_line(pc):
    pc = PC(mouse=False)
    pc.command(0xD4, 0xFF)
    pc.advance(PATIENCE)
    assert pc.read("STATUS") & (OBF | TIM | AUXB) == OBF | TIM | AUXB


def test_a_packet_and_a_key_share_the_output_buffer(pc):
    pc.to_mouse(0xF4)
    pc.advance(20_000_000)
    pc.mouse.move(5, -3)
    pc.kbd.key("a", True)
    got = []
    while (byte := pc.wait(5)) is not None:
        got.append(byte)
    assert [value for aux, value in got if aux] == [0x08, 5, 3]
    assert [value for aux, value in got if not aux] == [0x1E]


# Linux

def test_linux_finds_the_controller_and_its_auxiliary_line(pc):
    """[L] i8042_controller_selftest, i8042_controller_init, i8042_check_aux, i8042_set_mux_mode."""
    assert pc.answer(0xAA) == (False, 0x55)
    ctr = pc.answer(0x20)[1]
    assert pc.answer(0x20)[1] == ctr
    assert ctr & XLAT
    ctr = (ctr | KBDDIS) & ~KBDINT
    pc.command(0x60, ctr)
    assert pc.answer(0xD3, 0x5A) == (True, 0x5A)
    assert pc.answer(0xA9) == (False, 0)
    pc.command(0xA7)
    assert pc.answer(0x20)[1] & AUXDIS
    pc.command(0xA8)
    assert not pc.answer(0x20)[1] & AUXDIS
    for value in (0xF0, 0x56, 0xA4):                # an active multiplexer would change the last
        assert pc.answer(0xD3, value) == (True, value)
    pc.pins.clear()
    pc.command(0x60, ctr & ~AUXDIS | AUXINT)
    pc.command(0xD3, 0xA5)                          # its interrupt handler reads this
    assert pc.pins == [("AUX_IRQ", 1)]
    assert pc.wait() == (True, 0xA5)


def test_linux_atkbd_finds_a_translated_set_2_keyboard(pc):
    """[L] atkbd_probe, atkbd_select_set, atkbd_activate."""
    assert pc.to_kbd(0xF2) == [0xFA, 0xAB, 0x41]
    assert pc.to_kbd(0xF5) == [0xFA]
    assert pc.to_kbd(0xED) + pc.to_kbd(0) == [0xFA, 0xFA]
    assert pc.to_kbd(0xF3) + pc.to_kbd(0) == [0xFA, 0xFA]
    assert pc.to_kbd(0xF4) == [0xFA]
    pc.kbd.key("ret", True)
    assert pc.all() == [0x1C]


def test_linux_psmouse_finds_an_explorer_mouse(pc):
    """[L] psmouse_probe, intellimouse_detect, im_explorer_detect, psmouse_activate."""
    assert pc.to_mouse(0xF2) == [0xFA, 0x00]
    assert pc.to_mouse(0xF6) == [0xFA]
    assert pc.to_mouse(0xFF) == [0xFA, 0xAA, 0x00]
    assert pc.to_mouse(0xE8, 0, 0xE6, 0xE6, 0xE6) == [0xFA] * 5
    assert pc.to_mouse(0xE9) == [0xFA, 0x00, 0x00, 100]         # genius_detect: 55h would be one
    assert pc.to_mouse(0xE1) == [0xFE]                          # trackpoint_detect
    assert pc.to_mouse(0xF3, 200, 0xF3, 100, 0xF3, 80, 0xF2) == [0xFA] * 7 + [3]
    assert pc.to_mouse(0xF3, 200, 0xF3, 200, 0xF3, 80, 0xF2) == [0xFA] * 7 + [4]
    assert pc.to_mouse(0xF3, 100, 0xE8, 3, 0xE6, 0xF4) == [0xFA] * 6
    pc.mouse.buttons(8)
    assert pc.all() == [0x08, 0, 0, 0x10]


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
