"""The two lines of an I8042.  [P] IBM PS/2 Hardware Interface Technical Reference; [L] Linux, i8042.c."""

from __future__ import annotations

import pytest

from emu.chips.i8042 import FRAME, PATIENCE
from tests.chips.kbcbench import AUXB, AUXDIS, AUXINT, IBF, KBDDIS, KBDINT, LATER, OBF, PC, SYS, TIM, XLAT


@pytest.fixture
def pc():
    bench = PC()
    bench.command(0x60, SYS | KBDINT | AUXINT | XLAT)
    bench.pins.clear()
    return bench


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
