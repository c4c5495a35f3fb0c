"""Bus: a flat table of the chips' own methods."""

from __future__ import annotations

import pytest

from emu import bus as bus_module
from emu.bus import Bus
from emu.clock import Clock
from emu.device import RW, Device, R, Reg, W


class Chip(Device):
    A = Reg(0, RW, "a byte")
    B = Reg(1, RW, "a byte with methods")
    H = Reg(2, RW, "a half word", size=2)
    D = Reg(4, RW, "a double word", size=4)
    RO = Reg(8, R, "read-only", reset=0x11)
    WO = Reg(9, W, "write-only")
    LOW = Reg(0xA, RW, "seen in bank 0", reset=0x10)
    HIGH = Reg(0xA, RW, "seen in bank 1", reset=0x20, bank=1)
    FAR = Reg(0, RW, "in a block of its own", block="far", reset=0x77)

    def __init__(self):
        self.calls = []

    def read_B(self):
        self.calls.append("read B")
        return 0xB0

    def write_B(self, value):
        self.calls.append(("write B", value))

    def write_A(self, value):
        self.a = value
        self.calls.append(("write A", value))


@pytest.fixture
def chip():
    chip = Chip()
    chip.attach("chip", Clock(lambda: 0))
    return chip


@pytest.fixture
def told():
    return []


@pytest.fixture
def bus(chip, told):
    bus = Bus(lambda access, address, size: told.append((access, address, size)))
    bus.place(chip, "at", 0x100)
    return bus


def read(bus, address, size=1):
    return bus.read[address << 4 | size]()


def write(bus, address, value, size=1):
    bus.write[address << 4 | size](value)


def test_an_access_is_the_method_of_the_chip_itself(bus, chip):
    assert bus.read[0x101 << 4 | 1] == chip.read_B
    assert bus.write[0x101 << 4 | 1] == chip.write_B


def test_each_register_answers_at_its_offset(bus, chip):
    write(bus, 0x100, 0x12)
    write(bus, 0x102, 0x3456, 2)
    write(bus, 0x104, 0x789ABCDE, 4)
    assert (chip.a, chip.h, chip.d) == (0x12, 0x3456, 0x789ABCDE)
    assert [read(bus, 0x100), read(bus, 0x102, 2), read(bus, 0x104, 4)] == [0x12, 0x3456, 0x789ABCDE]


def test_an_entry_is_made_once(bus):
    assert bus.read[0x1041] is bus.read[0x1041]


def test_a_wide_access_becomes_one_per_register_from_the_lowest_on(bus, chip):
    write(bus, 0x100, 0xDEADBEEF, 4)
    assert chip.calls == [("write A", 0xEF), ("write B", 0xBE)]
    assert chip.h == 0xDEAD
    assert read(bus, 0x100, 4) == 0xDEADB0EF


def test_a_narrow_access_reads_and_replaces_its_part_of_a_register(bus, chip):
    chip.d = 0x11223344
    assert [read(bus, 0x104 + i) for i in range(4)] == [0x44, 0x33, 0x22, 0x11]
    write(bus, 0x106, 0x99)
    assert chip.d == 0x11993344
    write(bus, 0x105, 0xAABB, 2)
    assert chip.d == 0x11AABB44


def test_an_access_may_straddle_registers(bus, chip):
    chip.h, chip.d = 0x2211, 0x66554433
    assert read(bus, 0x103, 4) == 0x55443322
    write(bus, 0x103, 0xAABBCCDD, 4)
    assert (chip.h, chip.d) == (0xDD11, 0x66AABBCC)


def test_a_read_only_register_drops_writes_and_a_write_only_one_reads_ones(bus, chip, told):
    write(bus, 0x108, 0x55)
    assert chip.ro == 0x11
    write(bus, 0x109, 0x66)
    assert chip.wo == 0x66
    assert read(bus, 0x109) == 0xFF
    assert told == []


@pytest.mark.parametrize("size, ones", [(1, 0xFF), (2, 0xFFFF), (4, 0xFFFFFFFF)])
def test_what_nobody_claims_reads_all_ones_and_drops_writes(bus, size, ones):
    write(bus, 0x500, 0, size)
    assert read(bus, 0x500, size) == ones


def test_what_is_partly_claimed_reads_ones_for_the_rest(bus, chip):
    assert read(bus, 0xFF, 2) == 0x00FF
    chip.high = 0
    assert read(bus, 0x10A, 4) == 0xFFFFFF10


def test_what_nobody_claims_is_told_once_for_each_address_and_direction(bus, told):
    for _ in range(3):
        read(bus, 0x500, 2)
        write(bus, 0x500, 0)
        bus.rewire()
    assert told == [("r", 0x500, 1), ("r", 0x501, 1), ("w", 0x500, 1)]


def test_with_a_grain_it_is_told_once_for_each_of_the_larger_places(told):
    bus = Bus(lambda access, address, size: told.append((access, address, size)), 0x100)
    for address in (0x4F0, 0x4FF, 0x500, 0x5FF):
        assert bus.read[address << 4 | 4]() == 0xFFFFFFFF
    assert told == [("r", 0x4F0, 1), ("r", 0x500, 1), ("r", 0x600, 1)]


def test_what_is_said_to_be_absent_is_not_told(bus, told):
    bus.leave(0x500, 8, "COM2")
    assert read(bus, 0x500, 2) == 0xFFFF
    write(bus, 0x507, 1)
    assert told == []
    assert bus.absent[0x503] == "COM2"


def test_a_bank_switch_is_seen_from_the_next_access_on(bus, chip):
    assert read(bus, 0x10A) == 0x10
    chip.select(1)
    assert read(bus, 0x10A) == 0x20
    write(bus, 0x10A, 0x21)
    chip.select(0)
    assert (read(bus, 0x10A), chip.high) == (0x10, 0x21)


def test_a_bank_that_is_restored_is_seen(bus, chip):
    chip.select(1)
    saved = chip.save()
    chip.select(0)
    assert read(bus, 0x10A) == 0x10
    chip.restore(saved)
    assert read(bus, 0x10A) == 0x20


def test_a_bank_switch_inside_a_wide_access_leaves_it_whole(chip):
    class Switch(Device):
        SEL = Reg(0, RW, "selects its neighbour")
        ONE = Reg(1, RW, "bank 0")
        TWO = Reg(1, RW, "bank 1", bank=1)

        def write_SEL(self, value):
            self.sel = value
            self.select(value & 1)

    switch, bus = Switch(), Bus()
    switch.attach("switch", Clock(lambda: 0))
    bus.place(switch, "at", 0)
    write(bus, 0, 0x5501, 2)
    assert (switch.sel, switch.one, switch.two) in [(1, 0x55, 0), (1, 0, 0x55)]
    write(bus, 1, 0x66)
    assert switch.two == 0x66


def test_blocks_are_placed_apart(bus, chip):
    bus.place(chip, "far", 0x300)
    assert read(bus, 0x300) == 0x77
    assert read(bus, 0x100) == 0


def test_an_overlap_is_refused_with_both_names(bus):
    other = Chip()
    other.attach("other", Clock(lambda: 0))
    with pytest.raises(ValueError, match="other and chip both claim 0x108"):
        bus.place(other, "at", 0x108)


def test_a_block_that_is_not_declared_is_refused(bus, chip):
    with pytest.raises(ValueError, match="chip: no registers in a block named near"):
        bus.place(chip, "near", 0x200)


class Wide(Device):
    """As port CF8h: a double word, with other things beneath."""

    WHOLE = Reg(0, RW, "answers double words", size=4, whole=True, reset=0x12345678, native="value")
    BYTE = Reg(1, RW, "a byte beneath it")
    CLEAR = Reg(4, RW, "ones clear", size=2, w1c=True, mask=0xF00F, reset=0xFFFF)
    blank = 0


@pytest.fixture
def wide():
    wide = Wide()
    wide.attach("wide", Clock(lambda: 0))
    return wide


def test_a_register_that_answers_only_whole_leaves_the_rest_to_what_lies_beneath(bus, wide):
    bus.place(wide, "at", 0x300)
    write(bus, 0x301, 0x55)
    assert (wide.byte, wide.whole) == (0x55, 0x12345678)
    assert [read(bus, 0x300, 4), read(bus, 0x300, 2), read(bus, 0x301)] == [0x12345678, 0x55FF, 0x55]
    write(bus, 0x300, 0xAABBCCDD, 4)
    assert (wide.byte, wide.whole) == (0x55, 0xAABBCCDD)
    assert bus.native(0x300, 4, "r").kind == "value" and bus.native(0x301, 1, "r") is None


def test_two_registers_that_answer_only_whole_overlap_where_their_size_is_the_same(bus, wide):
    other = Wide()
    other.attach("other", Clock(lambda: 0))
    bus.place(wide, "at", 0x300)
    with pytest.raises(ValueError, match="other and wide both claim 0x301"):
        bus.place(other, "at", 0x300)


def test_of_a_register_that_ones_clear_a_narrow_write_clears_only_its_part(bus, wide):
    bus.place(wide, "at", 0x300)
    write(bus, 0x304, 0xFF)
    assert wide.clear == 0xFFF0
    write(bus, 0x305, 0x80)
    assert wide.clear == 0x7FF0
    write(bus, 0x304, 0xFFFF, 2)
    assert wide.clear == 0x0FF0


def test_a_place_may_have_a_length_beyond_its_registers(bus, wide, told):
    bus.place(wide, "at", 0x300, 0x10)
    write(bus, 0x308, 1, 4)
    assert [read(bus, 0x308, 4), read(bus, 0x300), read(bus, 0x310)] == [0, 0, 0xFF]
    assert told == [("r", 0x310, 1)]


def test_a_block_that_is_removed_answers_no_more_and_may_be_placed_elsewhere(bus, wide):
    bus.place(wide, "at", 0x300, 0x10)
    write(bus, 0x300, 1, 4)
    bus.remove(wide, "at")
    assert read(bus, 0x300, 4) == 0xFFFFFFFF and read(bus, 0x301) == 0xFF
    bus.place(wide, "at", 0x400)
    assert read(bus, 0x400, 4) == 1
    assert read(bus, 0x100) == 0                # the other chip's block at its place


def test_a_block_that_yields_leaves_what_is_taken_to_who_has_it(bus, chip, wide):
    chip.h = 0x7777
    bus.place(wide, "at", 0x102, yields=True)
    assert read(bus, 0x102, 2) == 0x7777
    assert read(bus, 0x102, 4) == 0x7777 and read(bus, 0x106) == 0
    bus.remove(wide, "at")
    assert read(bus, 0x102, 2) == 0x7777


def test_a_guest_that_scans_all_addresses_does_not_fill_the_memory(bus, monkeypatch):
    monkeypatch.setattr(bus_module, "CACHED", 100)
    for address in range(0x1000, 0x1200):
        read(bus, address)
        write(bus, address, 0)
    assert len(bus.read) <= 100
    assert len(bus.write) <= 100
    assert len(bus.told) <= 100


class Told(Device):
    """Registers of which an engine may answer some."""

    STATUS = Reg(0, R, "status", native="value")
    TEXT = Reg(0, W, "text", native="ring")
    DATA = Reg(2, RW, "data", size=2, native="block")
    PLAIN = Reg(4, RW, "asked each time")
    BANKED = Reg(4, R, "the same place", bank=1, native="value")

    def holds_TEXT(self) -> bool:
        return False

    def collect_TEXT(self, data: bytes) -> None:
        """Nothing."""

    def block_DATA(self, access: str) -> None:
        """Nothing to move."""

    def moved_DATA(self, access: str, length: int) -> None:
        """Nothing."""


def test_an_engine_may_answer_what_is_declared_and_what_is_not_there():
    bus, chip = Bus(), Told()
    bus.place(chip, "at", 0x10)

    def kind(address, size, access):
        native = bus.native(address, size, access)
        return native and native.kind

    assert [kind(0x10, 1, "r"), kind(0x10, 1, "w")] == ["value", "ring"]
    assert kind(0x12, 2, "r") == kind(0x12, 2, "w") == "block"
    assert bus.native(0x10, 1, "r").holds() and not bus.native(0x10, 1, "w").holds()
    assert kind(0x10, 2, "r") is kind(0x12, 1, "r") is kind(0x13, 1, "r") is kind(0x0F, 2, "r") is kind(0x14, 1, "r") is None
    assert kind(0x20, 4, "r") == kind(0x0C, 4, "w") == "value"
    rewired = []
    bus.on_rewire.append(lambda: rewired.append(1))
    chip.select(1)
    assert rewired and kind(0x14, 1, "r") == "value" and kind(0x14, 1, "w") is None
