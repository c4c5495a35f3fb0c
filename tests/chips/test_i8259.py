"""8259A: the data sheet's sentences for one chip."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from emu.chips.i8259 import I8259
from tests.chips.bench import Bench

EOI, ISR, IRR = 0x20, 0x0B, 0x0A            # OCW2 non-specific EOI, OCW3 read ISR, OCW3 read IRR


class Pic(Bench):
    """One 8259A, by default alone, with vector base 08h."""

    def __init__(self, cascade: dict[int, Callable[[], int]] | None = None, icw1: int = 0x13, icw3: int = 0, icw4: int = 1):
        super().__init__(I8259, cascade)
        self.initialize(icw1, 0x08, icw3, icw4)

    def initialize(self, icw1: int, icw2: int, icw3: int = 0, icw4: int = 1) -> None:
        self.write("ICW1", icw1)
        self.write("ICW2", icw2)
        if not icw1 & 2:
            self.write("ICW3", icw3)
        if icw1 & 1:
            self.write("ICW4", icw4)

    def raise_ir(self, *levels: int) -> None:
        for level in levels:
            self.chip.ir[level](0)
            self.chip.ir[level](1)

    def serve(self, *levels: int) -> None:
        for level in levels:
            self.raise_ir(level)
            assert self.chip.acknowledge() == 8 + level

    def get(self, ocw3: int) -> int:
        self.write("OCW3", ocw3)
        return self.read("IRR")

    @property
    def intr(self) -> int:
        return int(self.chip.int.level)


@pytest.fixture
def pic() -> Pic:
    return Pic()


# The interrupt sequence

def test_a_request_sets_irr_and_int_and_inta_moves_it_to_isr(pic: Pic) -> None:
    pic.raise_ir(3)
    assert (pic.get(IRR), pic.get(ISR), pic.intr) == (8, 0, 1)
    assert pic.chip.acknowledge() == 0x0B
    assert (pic.get(IRR), pic.get(ISR), pic.intr) == (0, 8, 0)
    pic.write("OCW2", EOI)
    assert (pic.get(IRR), pic.get(ISR), pic.intr) == (0, 0, 0)


def test_the_low_bits_of_icw2_are_the_level(pic: Pic) -> None:
    pic.initialize(0x13, 0x77)
    pic.raise_ir(2)
    assert pic.chip.acknowledge() == 0x72


def test_the_highest_priority_is_ir0(pic: Pic) -> None:
    pic.raise_ir(7, 4, 0, 2)
    vectors = []
    while pic.intr:
        vectors.append(pic.chip.acknowledge())
        pic.write("OCW2", EOI)
    assert vectors == [8, 10, 12, 15]


def test_while_a_level_is_in_service_only_higher_levels_interrupt(pic: Pic) -> None:
    pic.serve(3)
    pic.raise_ir(3, 4)
    assert pic.intr == 0
    pic.raise_ir(2)
    assert pic.intr == 1
    assert pic.chip.acknowledge() == 10
    pic.write("OCW2", EOI)
    assert pic.intr == 0                                        # IR3 is still in service
    pic.write("OCW2", EOI)
    assert pic.chip.acknowledge() == 11


def test_masking_a_higher_level_does_not_affect_the_lower_ones(pic: Pic) -> None:
    pic.write("IMR", 0x01)
    pic.raise_ir(0, 1)
    assert pic.chip.acknowledge() == 9
    assert pic.read("IMR") == 0x01


def test_a_masked_request_is_kept_in_irr_and_interrupts_when_unmasked(pic: Pic) -> None:
    pic.write("IMR", 0xFF)
    pic.raise_ir(5)
    assert (pic.get(IRR), pic.intr) == (0x20, 0)
    pic.write("IMR", 0x00)
    assert pic.intr == 1


def test_masking_a_pending_request_drops_int(pic: Pic) -> None:
    pic.raise_ir(5)
    pic.write("IMR", 0x20)
    assert pic.intr == 0
    assert pic.chip.acknowledge() == 15


# Edge and level

def test_an_edge_interrupts_once_though_the_line_stays_high(pic: Pic) -> None:
    pic.serve(1)
    pic.write("OCW2", EOI)
    assert pic.intr == 0


def test_an_input_that_drops_before_inta_gives_a_default_ir7_without_an_isr_bit(pic: Pic) -> None:
    pic.raise_ir(3)
    pic.chip.ir[3](0)
    assert pic.intr == 0
    assert pic.chip.acknowledge() == 15
    assert pic.get(ISR) == 0


def test_a_real_ir7_sets_its_isr_bit(pic: Pic) -> None:
    pic.serve(7)
    assert pic.get(ISR) == 0x80


def test_with_ltim_a_level_interrupts_until_it_drops() -> None:
    pic = Pic(icw1=0x1B)
    pic.raise_ir(4)
    assert pic.chip.acknowledge() == 12
    pic.write("OCW2", EOI)
    assert pic.intr == 1
    assert pic.chip.acknowledge() == 12
    pic.chip.ir[4](0)
    pic.write("OCW2", EOI)
    assert pic.intr == 0


def test_elcr_makes_single_inputs_level_sensitive() -> None:
    pic = Pic({})
    pic.write("ELCR", 0x20)
    pic.serve(5, 3)
    pic.write("OCW2", EOI, EOI)
    assert pic.get(IRR) == 0x20
    assert pic.chip.acknowledge() == 13


def test_an_input_that_is_high_when_it_becomes_level_sensitive_requests() -> None:
    pic = Pic({})
    pic.serve(5)
    pic.write("OCW2", EOI)
    pic.write("ELCR", 0x20)
    assert pic.intr == 1


def test_elcr_survives_icw1() -> None:
    pic = Pic({})
    pic.write("ELCR", 0x20)
    pic.raise_ir(5)
    pic.initialize(0x13, 8)
    assert pic.get(IRR) == 0x20


@pytest.mark.parametrize("cascade, writable", [({}, 0xF8), (None, 0xDE)])
def test_irq_0_1_2_8_and_13_cannot_be_level_sensitive(cascade: dict[int, Callable[[], int]] | None, writable: int) -> None:
    pic = Pic(cascade)
    pic.write("ELCR", 0xFF)
    assert pic.read("ELCR") == writable


# Initialization

def test_icw1_clears_the_imr_and_the_edge_sense_latch_and_selects_irr(pic: Pic) -> None:
    pic.write("IMR", 0x51)
    pic.serve(2)
    pic.raise_ir(3)
    pic.write("OCW3", ISR)
    pic.write("OCW3", 0x68)                                     # special mask
    pic.write("OCW2", 0xC3)                                     # IR3 lowest
    pic.initialize(0x13, 8)
    assert (pic.read("IRR"), pic.read("IMR"), pic.get(ISR), pic.intr) == (0, 0, 0, 0)
    pic.serve(4, 3)
    pic.raise_ir(5)
    assert pic.intr == 0


def test_after_icw1_an_input_must_make_a_low_to_high_transition(pic: Pic) -> None:
    pic.raise_ir(3)
    pic.initialize(0x13, 8)
    pic.chip.ir[3](1)
    assert pic.intr == 0
    pic.raise_ir(3)
    assert pic.intr == 1


@pytest.mark.parametrize("icw1, words", [(0x10, "ICW2 ICW3"), (0x11, "ICW2 ICW3 ICW4"), (0x12, "ICW2"), (0x13, "ICW2 ICW4")])
def test_sngl_and_ic4_say_which_words_follow(pic: Pic, icw1: int, words: str) -> None:
    pic.write("ICW1", icw1)
    for word in words.split():
        pic.write(word, 0x00)
    pic.write("IMR", 0xA5)
    assert pic.read("IMR") == 0xA5


def test_a_word_that_is_written_to_the_first_address_is_icw1_and_icw2(pic: Pic) -> None:
    pic.bus.write[pic.base["at"] << 4 | 2](0x4013)
    pic.write("ICW4", 0x01)
    pic.raise_ir(1)
    assert pic.chip.acknowledge() == 0x41


def test_icw1_starts_the_sequence_anew_in_its_middle(pic: Pic) -> None:
    pic.write("ICW1", 0x11)
    pic.write("ICW2", 0x40)
    pic.initialize(0x13, 0x50)
    pic.raise_ir(1)
    assert pic.chip.acknowledge() == 0x51


def test_if_ic4_is_0_all_functions_of_icw4_are_0() -> None:
    pic = Pic(icw4=0x03)
    pic.initialize(0x12, 8)
    pic.serve(3)
    assert pic.get(ISR) == 8


# End of interrupt and rotation

def test_a_specific_eoi_resets_the_isr_bit_it_names(pic: Pic) -> None:
    pic.serve(5, 3)
    pic.write("OCW2", 0x65)
    assert pic.get(ISR) == 0x08


def test_a_non_specific_eoi_resets_the_highest_isr_bit(pic: Pic) -> None:
    pic.serve(5, 3)
    pic.write("OCW2", EOI)
    assert pic.get(ISR) == 0x20


def test_a_non_specific_eoi_with_nothing_in_service_does_nothing(pic: Pic) -> None:
    for word in (EOI, 0xA0):
        pic.write("OCW2", word)
    pic.raise_ir(0, 7)
    assert pic.chip.acknowledge() == 8


def test_in_automatic_eoi_mode_the_isr_bit_is_reset_by_inta() -> None:
    pic = Pic(icw4=0x03)
    pic.serve(3)
    assert pic.get(ISR) == 0
    pic.serve(3)


def test_rotate_on_non_specific_eoi_makes_the_served_level_the_lowest(pic: Pic) -> None:
    pic.serve(4)
    pic.write("OCW2", 0xA0)
    pic.raise_ir(4, 0, 5)
    vectors = []
    while pic.intr:
        vectors.append(pic.chip.acknowledge())
        pic.write("OCW2", EOI)
    assert vectors == [13, 8, 12]


def test_rotate_on_specific_eoi_makes_the_named_level_the_lowest(pic: Pic) -> None:
    pic.serve(6, 4)
    pic.write("OCW2", 0xE6)
    assert pic.get(ISR) == 0x10
    pic.raise_ir(7)
    assert pic.chip.acknowledge() == 15


def test_set_priority_names_the_lowest_level_and_ends_nothing(pic: Pic) -> None:
    pic.serve(5)
    pic.write("OCW2", 0xC5)
    assert pic.get(ISR) == 0x20
    pic.raise_ir(0)
    assert pic.intr == 1
    pic.raise_ir(6)
    assert pic.chip.acknowledge() == 14


def test_rotate_in_automatic_eoi_mode() -> None:
    pic = Pic(icw4=0x03)
    pic.write("OCW2", 0x80)
    vectors = []
    for _ in range(6):
        pic.raise_ir(1, 2)
        vectors.append(pic.chip.acknowledge())
    assert vectors == [9, 10] * 3
    pic.write("OCW2", 0x00)
    pic.write("OCW2", 0xC7)
    pic.raise_ir(1, 2)
    assert pic.chip.acknowledge() == 9
    pic.raise_ir(1)
    assert pic.chip.acknowledge() == 9


def test_ocw2_010_is_no_operation(pic: Pic) -> None:
    pic.serve(5)
    state = pic.chip.save()
    pic.write("OCW2", 0x45)
    assert pic.chip.save() == state | {"ocw2": 0x45}


# Special mask, poll, reading

def test_in_special_mask_mode_a_masked_level_in_service_does_not_hold_off_lower_ones(pic: Pic) -> None:
    pic.serve(3)
    pic.write("IMR", 0x08)
    pic.raise_ir(6)
    assert pic.intr == 0
    pic.write("OCW3", 0x68)
    assert pic.intr == 1
    assert pic.chip.acknowledge() == 14
    pic.write("OCW3", 0x08)                                     # ESMM = 0: no change
    pic.write("OCW2", EOI)
    assert pic.get(ISR) == 0x08
    pic.write("OCW2", EOI)                                      # an IS bit that is masked is not cleared
    assert pic.get(ISR) == 0x08
    pic.write("OCW3", 0x48)
    pic.write("OCW2", EOI)
    assert pic.get(ISR) == 0x00


def test_reading_the_poll_word_acknowledges_the_interrupt(pic: Pic) -> None:
    pic.raise_ir(5, 2)
    pic.write("OCW3", 0x0C)
    assert pic.read("IRR") == 0x82
    assert pic.read("IRR") == 0x20
    assert pic.get(ISR) == 0x04
    pic.write("OCW2", EOI)
    pic.write("OCW3", 0x0C)
    assert pic.read("IMR") == 0x85                              # at either address


def test_the_poll_word_is_0_without_a_request(pic: Pic) -> None:
    pic.write("OCW3", 0x0C)
    assert pic.read("IRR") & 0x80 == 0
    assert pic.get(ISR) == 0


def test_the_register_to_read_is_remembered(pic: Pic) -> None:
    pic.serve(4)
    pic.write("OCW3", ISR)
    pic.write("OCW3", 0x08)
    assert [pic.read("IRR"), pic.read("IRR")] == [0x10, 0x10]
    pic.write("OCW3", IRR)
    assert pic.read("IRR") == 0


def test_reset_is_power_on() -> None:
    pic = Bench(I8259)
    fresh = pic.chip.save()
    pic.write("ICW1", 0x11)
    pic.write("ICW2", 0x70)
    pic.chip.reset()
    assert pic.chip.save() == fresh
