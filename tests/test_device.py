"""Device: one declaration is everything that a chip says of itself."""

from __future__ import annotations

import pytest

from emu.clock import Clock
from emu.device import RW, Device, In, Out, R, Reg, State, Timer, W


class Latch(Device):
    """Latches a byte, and lets it go after its time.  Not modelled: patience."""

    DATA = Reg(0, RW, "what was latched")
    CTL = Reg(1, RW, "control", "GO 0 0 0 0 0 MODE1 MODE0", reset=0x02)
    STAT = Reg(1, R, "status, in bank 1", bank=1)
    CMD = Reg(2, W, "command")
    COUNT = Reg(4, RW, "a wide counter", size=4, reset=7)
    LOG = State([], "the commands")
    FULL = Out("high while DATA holds something")
    IDLE = Out("high at power-on", reset=1)
    LINE = In("an input")
    IRQ = In("inputs", width=3)
    RELEASE = Timer("the time is over")

    def __init__(self, limit=10):
        self.limit = limit

    def write_DATA(self, value):
        self.data = value
        self.full(1 if value else 0)
        self.release.at(self.clock.now + 100)

    def read_STAT(self):
        return 0x99

    def write_CMD(self, value):
        self.log.append(value)
        self.select(value & 1)

    def on_LINE(self, pin, level):
        self.log.append(["line", pin, level])

    def on_IRQ(self, pin, level):
        self.log.append(["irq", pin, level])

    def on_RELEASE(self):
        self.data = 0
        self.full(0)


class Time:
    def __init__(self):
        self.now = 0
        self.clock = Clock(lambda: self.now)


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def latch(time):
    chip = Latch()
    chip.attach("latch", time.clock)
    return chip


# Registers

def test_a_bit_has_the_value_of_the_place_where_it_is_drawn():
    assert (Latch.CTL.GO, Latch.CTL.MODE1, Latch.CTL.MODE0) == (0x80, 0x02, 0x01)


def test_the_mask_is_what_is_drawn_and_without_a_drawing_everything():
    assert (Latch.CTL.mask, Latch.DATA.mask, Latch.COUNT.mask) == (0x83, 0xFF, 0xFFFF_FFFF)


def test_a_drawing_of_the_wrong_width_is_refused():
    with pytest.raises(ValueError, match="three: 3 bits drawn, 8 wanted"):
        Reg(0, RW, "three", "A B C")


def test_an_access_that_is_none_is_refused():
    with pytest.raises(ValueError, match="read: access 'read' is not r, w or rw"):
        Reg(0, "read", "read")


def test_asking_for_a_bit_that_is_not_drawn_names_it():
    with pytest.raises(AttributeError, match="CTL has no bit STOP"):
        Latch.CTL.STOP  # noqa: B018


def test_a_register_without_methods_is_storage(latch):
    latch.writer(Latch.COUNT)(0x1234)
    assert latch.count == 0x1234
    assert latch.reader(Latch.COUNT)() == 0x1234


def test_storage_keeps_only_the_bits_that_are_drawn(latch):
    latch.writer(Latch.CTL)(0xFF)
    assert latch.ctl == 0x83


def test_bits_outside_of_a_given_mask_stay_as_they_are():
    class Hard(Device):
        SOME = Reg(0, RW, "some bits", "1 A B 0 0 0 0 C", reset=0xC1, mask=0x60)
        ONES = Reg(1, RW, "ones clear", "A B C D 0 0 0 0", reset=0xFF, mask=0xC0, w1c=True)

    hard = Hard()
    hard.attach("hard", Clock(lambda: 0))
    hard.writer(Hard.SOME)(0x3E)
    hard.writer(Hard.ONES)(0x7F)
    assert (hard.some, hard.ones) == (0xA1, 0xBF)


def test_a_register_that_answers_only_whole_is_not_met_by_parts():
    class Whole(Device):
        WHOLE = Reg(0, RW, "a half word", size=2, whole=True)
        UNDER = Reg(1, RW, "a byte")

    assert Whole().register("at", 0, "r") is None and Whole().register("at", 1, "r") is Whole.UNDER
    with pytest.raises(ValueError, match="only answers whole is in bank 0"):
        Reg(0, RW, "banked", whole=True, bank=1)


def test_methods_take_the_place_of_storage(latch):
    latch.writer(Latch.DATA)(5)
    assert latch.full.level == 1


def test_a_subclass_has_the_parts_of_its_base_and_its_own():
    class Better(Latch):
        EXTRA = Reg(9, RW, "more")

    assert [reg.name for reg in Better.parts(Reg)] == [reg.name for reg in Latch.parts(Reg)] + ["EXTRA"]
    assert "EXTRA" not in Latch.declared


# Banks

def test_the_selected_bank_is_seen_and_bank_0_shows_through(latch):
    assert latch.register("at", 1, "r") is Latch.CTL
    latch.select(1)
    assert latch.register("at", 1, "r") is Latch.STAT
    assert latch.register("at", 1, "w") is Latch.CTL
    assert latch.register("at", 0, "r") is Latch.DATA


def test_only_a_change_of_bank_rewires(latch):
    rewired = []
    latch.on_rewire.append(lambda: rewired.append(latch.banks["at"]))
    for bank in 0, 1, 1, 0:
        latch.select(bank)
    assert rewired == [1, 0]


# Pins

def test_only_a_change_of_an_output_travels(latch):
    seen = []
    latch.full.sinks += [seen.append, lambda level: seen.append(-level)]
    for level in 0, 1, 1, 0, 0:
        latch.full(level)
    assert seen == [1, -1, 0, 0]


def test_only_a_change_of_an_input_is_told(latch):
    for level in 0, 1, 1, 0:
        latch.line(level)
    assert latch.log == [["line", 0, 1], ["line", 0, 0]]


def test_an_input_is_high_while_any_of_its_wires_is(latch):
    one, other = latch.irq[2].wire(), latch.irq[2].wire()
    one(1)
    other(1)
    one(0)
    assert latch.irq[2].level == 1
    other(0)
    assert latch.log == [["irq", 2, 1], ["irq", 2, 0]]


# Reset

def test_attach_powers_the_chip_on(latch):
    assert (latch.name, latch.ctl, latch.count, latch.log) == ("latch", 2, 7, [])
    assert (latch.full.level, latch.idle.level) == (0, 1)


def test_reset_is_the_state_after_power_on(latch, time):
    fresh = latch.save()
    latch.writer(Latch.DATA)(5)
    latch.writer(Latch.CMD)(1)
    latch.idle(0)
    latch.reset()
    assert latch.save() == fresh
    assert time.clock.next() is None


def test_reset_does_not_share_its_lists(latch):
    latch.log.append(1)
    latch.reset()
    assert latch.log == []


def test_inputs_keep_their_level_over_a_reset(latch):
    latch.line(1)
    latch.reset()
    assert latch.line.level == 1


# Save and restore

def test_restore_is_the_inverse_of_save(latch, time):
    latch.writer(Latch.DATA)(5)
    latch.writer(Latch.CMD)(1)
    latch.irq[1](1)
    saved = latch.save()
    other = Latch()
    other.attach("other", time.clock)
    other.restore(saved)
    assert other.save() == saved
    assert (other.data, other.banks, other.irq[1].level, other.release.due) == (5, {"at": 1}, 1, 100)


def test_a_saved_state_shares_nothing_with_the_chip(latch):
    saved = latch.save()
    latch.writer(Latch.CMD)(3)
    assert saved["log"] == []
    latch.restore(saved)
    latch.writer(Latch.CMD)(3)
    assert saved["log"] == []


def test_restoring_a_level_is_no_edge(latch):
    latch.full(1)
    latch.line(1)
    saved = latch.save()
    latch.reset()
    latch.line(0)
    latch.log.clear()
    edges = []
    latch.full.sinks.append(edges.append)
    latch.restore(saved)
    assert (latch.full.level, latch.line.level) == (1, 1)
    assert edges == []
    assert latch.log == saved["log"]


def test_the_wires_of_an_input_are_restored_one_by_one(latch):
    one, other = latch.line.wire(), latch.line.wire()
    one(1)
    other(1)
    saved = latch.save()
    one(0)
    other(0)
    latch.restore(saved)
    one(0)
    assert latch.line.level == 1
    other(0)
    assert latch.line.level == 0


def test_a_saved_state_with_other_parts_is_refused_by_name(latch):
    saved = latch.save()
    del saved["count"]
    with pytest.raises(ValueError, match=r"latch: .*other parts: count"):
        latch.restore(saved)
    with pytest.raises(ValueError, match="other parts: bogus, count"):
        latch.restore({**saved, "bogus": 1})


def test_what_the_constructor_sets_is_neither_saved_nor_reset(time):
    chip = Latch(limit=3)
    chip.attach("latch", time.clock)
    assert chip.limit == 3
    assert "limit" not in chip.save()


# Timers

def test_a_timer_calls_its_method_at_its_time(latch, time):
    latch.writer(Latch.DATA)(5)
    time.now = 99
    time.clock.ring(time.clock.now)
    assert latch.data == 5
    time.now = 100
    time.clock.ring(time.clock.now)
    assert (latch.data, latch.full.level) == (0, 0)


def test_a_ring_is_of_bytes_and_a_kind_is_one_that_exists():
    for native, size in (("ring", 2), ("values", 1)):
        with pytest.raises(ValueError, match="cannot be native"):
            Reg(0, RW, "wrong", native=native, size=size)
