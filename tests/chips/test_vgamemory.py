"""VideoMemory.  [I] IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem"; [F] FreeVGA."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emu.chips.vgamemory import CHAIN, PAIRS, PLANE, SIZE, VideoMemory

TEXT = {"sr2": 3, "sr4": 2, "gr4": 0, "gr5": 0x10, "gr6": 0x0E, "misc": 0x67}
CHAIN4 = {"sr2": 15, "sr4": 0x0E, "gr4": 0, "gr5": 0x40, "gr6": 5, "misc": 0x63}
PLANAR = {"sr2": 15, "sr4": 6, "gr4": 0, "gr5": 0, "gr6": 5, "misc": 0x63}
CGA2 = {"sr2": 1, "sr4": 6, "gr4": 0, "gr5": 0, "gr6": 0x0D, "misc": 0x63}
FONT = {"sr2": 4, "sr4": 6, "gr4": 2, "gr5": 0, "gr6": 4, "misc": 0x67}
VRAM, FRAME = 1 << 20, 0xE0000000
NAMES = "sr2", "sr4", *(f"gr{i}" for i in range(9)), "misc"


class Memory(VideoMemory):
    """With the registers that it is told of, and a list of what it shows."""

    def __init__(self, lays=True):
        self.registers = dict.fromkeys(NAMES, 0) | {"gr8": 0xFF, "gr7": 15}
        self.seen = {}
        super().__init__(memoryview(bytearray(VRAM)), memoryview(bytearray(1 << 16)), self.see, lays=lays)
        self.set()

    def see(self, address, length, memory, kind):
        assert (memory is None) == (kind == "mmio") and (memory is None or len(memory) == length)
        self.seen.pop((address, length), None)
        self.seen[address, length] = memory

    def set(self, **values):
        self.registers |= values
        self.set_alu(self.registers)
        self.map(self.registers, None, False)

    def ram_at(self, address):
        """The RAM that a guest sees at an address."""
        found = None
        for (first, length), memory in self.seen.items():       # the last that was told counts
            if first <= address < first + length:
                found = None if memory is None else memory[address - first:]
        return found

    def load(self, address, size=1):
        ram = self.ram_at(address)
        return self.read(address - 0xA0000, size) if ram is None else int.from_bytes(ram[:size], "little")

    def store(self, address, value, size=1):
        ram = self.ram_at(address)
        if ram is None:
            self.write(address - 0xA0000, size, value)
        else:
            ram[:size] = value.to_bytes(size, "little")

    def frame_load(self, at, size=1):
        ram = self.ram_at(FRAME + at)
        return self.read_frame(at, size) if ram is None else int.from_bytes(ram[:size], "little")

    def frame_store(self, at, value, size=1):
        ram = self.ram_at(FRAME + at)
        if ram is None:
            self.write_frame(at, size, value)
        else:
            ram[:size] = value.to_bytes(size, "little")

    def plane(self, number, address):
        return self.planes()[4 * address + number]


@pytest.fixture
def m():
    return Memory()


# What is RAM

@pytest.mark.parametrize("registers, layout, address, length", [
    (TEXT, PAIRS, 0xB8000, 0x8000), (TEXT | {"gr6": 0x0A}, PAIRS, 0xB0000, 0x8000), (CHAIN4, CHAIN, 0xA0000, 0x10000),
    (CGA2, PLANE, 0xB8000, 0x8000), (TEXT | {"gr5": 0x30, "gr6": 0x0F}, PAIRS, 0xB8000, 0x8000),
    (TEXT | {"misc": 0x47}, PAIRS + 1, 0xB8000, 0x8000),
])
def test_text_cga_and_chained_memory_is_ram(m, registers, layout, address, length):
    m.set(**registers)
    assert m.layout == layout
    assert {key: len(memory) for key, memory in m.seen.items() if memory is not None} == {(address, length): length}


@pytest.mark.parametrize("registers", [
    PLANAR, FONT, TEXT | {"sr2": 15}, TEXT | {"sr2": 1}, TEXT | {"gr8": 0x0F}, TEXT | {"gr3": 0x08}, TEXT | {"gr1": 1},
    TEXT | {"gr4": 2}, TEXT | {"gr5": 0x11}, TEXT | {"gr5": 0x18}, CHAIN4 | {"sr2": 7}, CHAIN4 | {"gr8": 1},
    TEXT | {"gr6": 0x02}, CGA2 | {"gr4": 1}, CGA2 | {"sr2": 3},
])
def test_what_a_store_would_change_on_its_way_is_no_ram(m, registers):
    m.set(**registers)
    assert m.layout is None and not any(m.seen.values())


def test_without_eram_the_memory_does_not_answer(m):
    m.set(**TEXT)
    m.store(0xB8000, 0x41)
    m.set(misc=0x65)
    assert m.load(0xB8000) == 0xFF
    m.store(0xB8000, 0x42)
    m.set(misc=0x67)
    assert m.load(0xB8000) == 0x41


def test_outside_of_the_map_the_memory_does_not_answer(m):
    m.set(**PLANAR)
    m.store(0xB8000, 0x41)
    assert m.load(0xB8000, 4) == 0xFFFFFFFF and not any(m.planes())


# Where the bytes are

def test_odd_even_addresses_alternate_between_planes_0_and_1(m):
    m.set(**TEXT)
    m.store(0xB8000, 0x07580741, 4)
    assert [m.plane(0, 0), m.plane(1, 0), m.plane(0, 2), m.plane(1, 2)] == [0x41, 7, 0x58, 7]
    assert m.plane(0, 1) == m.plane(1, 1) == 0


def test_the_page_bit_selects_the_odd_addresses_of_the_planes(m):
    m.set(**TEXT | {"misc": 0x47})
    m.store(0xB8000, 0x0741, 2)
    assert [m.plane(0, 1), m.plane(1, 1), m.plane(0, 0)] == [0x41, 7, 0]


def test_chain_4_addresses_go_around_the_planes(m):
    m.set(**CHAIN4)
    m.store(0xA0000, 0x44332211, 4)
    m.store(0xA0004, 0x55)
    assert [m.plane(p, 0) for p in range(4)] == [0x11, 0x22, 0x33, 0x44]
    assert m.plane(0, 4) == 0x55 and m.plane(0, 1) == 0
    m.store(0xAC005, 0x66)
    assert m.plane(1, 0xC004 | 3) == 0x66                       # bits 14 and 15 are the plane's bits 0 and 1


def test_a_font_loaded_while_text_is_on_the_screen_leaves_the_text(m):
    m.set(**TEXT)
    m.store(0xB8000, 0x0741, 2)
    m.set(**FONT)
    for i in range(16):
        m.store(0xA0000 + 32 * 0x41 + i, i + 1)
    m.set(**TEXT)
    assert m.load(0xB8000, 2) == 0x0741
    assert [m.plane(2, 32 * 0x41 + i) for i in range(16)] == list(range(1, 17))


def test_planes_show_what_was_written_through_a_chain_and_the_reverse(m):
    m.set(**CHAIN4)
    m.store(0xA0004, 0x44332211, 4)
    m.set(**PLANAR | {"gr4": 2})
    assert m.load(0xA0004) == 0x33
    m.set(sr2=4)
    m.store(0xA0004, 0x99)
    m.set(**CHAIN4 | {"gr4": 0})
    assert m.load(0xA0004, 4) == 0x44992211


MODES = [TEXT, CHAIN4, PLANAR, CGA2, FONT, TEXT | {"misc": 0x47}, TEXT | {"gr6": 0x02}, TEXT | {"sr2": 15},
         CHAIN4 | {"sr2": 5}, TEXT | {"gr6": 0x0C}]
steps = st.lists(st.one_of(
    st.tuples(st.just("set"), st.sampled_from(MODES)),
    st.tuples(st.just("set"), st.dictionaries(st.sampled_from(["sr2", "gr0", "gr1", "gr2", "gr3", "gr4", "gr7", "gr8"]),
                                              st.integers(0, 255), max_size=3)),
    st.tuples(st.just("set"), st.fixed_dictionaries({"gr5": st.sampled_from([0, 0x10, 1, 2, 3, 8, 0x40])})),
    st.tuples(st.just("store"), st.integers(0xA0000, 0xBFFFF), st.integers(0, 0xFFFFFFFF), st.sampled_from([1, 2, 4])),
    st.tuples(st.just("load"), st.integers(0xA0000, 0xBFFFF), st.sampled_from([1, 2, 4])),
    st.tuples(st.just("frame store"), st.integers(0, SIZE + 64), st.integers(0, 0xFFFFFFFF), st.sampled_from([1, 2, 4])),
    st.tuples(st.just("frame load"), st.integers(0, SIZE + 64), st.sampled_from([1, 2, 4]))), max_size=60)


@settings(max_examples=300, deadline=None)
@given(steps)
def test_with_and_without_linear_windows_the_memory_is_the_same(program):
    linear, plain = Memory(), Memory(lays=False)
    for m in linear, plain:
        m.show_frame(FRAME)
        m.set(**TEXT)
    for what, *rest in program:
        if what == "set":
            linear.set(**rest[0])
            plain.set(**rest[0])
            linear.latch = plain.latch          # not modelled: reads of RAM load no latches
        elif what.endswith("store"):
            address, value, size = rest
            for m in linear, plain:
                store = m.store if what == "store" else m.frame_store
                store(address & -size, value & (1 << 8 * size) - 1, size)
        elif what == "frame load":
            address, size = rest
            assert linear.frame_load(address & -size, size) == plain.frame_load(address & -size, size)
        else:
            address, size = rest
            assert linear.load(address & -size, size) == plain.load(address & -size, size)
            linear.latch = plain.latch
    assert linear.planes() == plain.planes()


def test_the_frame_buffer_shows_the_planes_while_a_window_is_linear(m):
    m.show_frame(FRAME)
    assert m.seen[FRAME, VRAM] is m.vram
    m.set(**TEXT)
    m.store(0xB8000, 0x1E41, 2)
    assert m.seen[FRAME, SIZE] is None                          # its bytes are elsewhere
    assert m.frame_load(0, 4) == 0x00001E41
    assert m.seen[FRAME, SIZE] is not None and m.ram_at(0xB8000) is None
    m.frame_store(8, 0x42)
    assert m.load(0xB8000, 4) == 0x00421E41
    assert m.seen[FRAME, SIZE] is None and m.ram_at(0xB8000) is not None


def test_what_is_lent_to_the_frame_buffer_comes_back_with_another_layout(m):
    m.show_frame(FRAME)
    m.set(**TEXT)
    m.frame_store(0, 0x41)
    m.set(**CHAIN4)
    assert m.layout == CHAIN and m.load(0xA0000) == 0x41
    m.frame_store(0, 0x42)
    m.set(**PLANAR)
    assert m.load(0xA0000) == 0x42 and m.seen[FRAME, SIZE] is not None


def test_a_frame_buffer_that_moves_leaves_nothing_behind(m):
    m.show_frame(FRAME)
    m.show_frame(0xD0000000)
    assert m.ram_at(FRAME) is None and m.seen[0xD0000000, VRAM] is m.vram
    m.show_frame(None)
    assert m.seen[0xD0000000, VRAM] is None


# Write modes

@pytest.fixture
def p():
    """Planar, with 0F 33 55 F0 at address 16 in planes 0 to 3."""
    m = Memory()
    m.set(**PLANAR)
    for plane, value in enumerate((0x0F, 0x33, 0x55, 0xF0)):
        m.set(sr2=1 << plane)
        m.store(0xA0010, value)
    m.set(sr2=15)
    return m


def at_16(m):
    return [m.plane(i, 16) for i in range(4)]


def test_write_mode_0_writes_the_byte_to_each_plane_of_the_map_mask(p):
    p.set(sr2=5)
    p.store(0xA0010, 0xAA)
    assert at_16(p) == [0xAA, 0x33, 0xAA, 0xF0]


def test_set_reset_takes_the_place_of_the_byte_where_it_is_enabled(p):
    p.set(gr0=0b0010, gr1=0b0011)
    p.store(0xA0010, 0xAA)
    assert at_16(p) == [0x00, 0xFF, 0xAA, 0xAA]


def test_the_byte_is_rotated_right(p):
    p.set(gr3=3)
    p.store(0xA0010, 0b00001011)
    assert at_16(p) == [0b01100001] * 4


@pytest.mark.parametrize("function, result", [
    (0, [0xAA] * 4), (1, [0x0A, 0x22, 0x00, 0xA0]), (2, [0xAF, 0xBB, 0xFF, 0xFA]), (3, [0xA5, 0x99, 0xFF, 0x5A])])
def test_the_function_joins_the_byte_and_the_latches(p, function, result):
    p.set(gr3=function << 3)
    p.load(0xA0010)
    p.store(0xA0010, 0xAA)
    assert at_16(p) == result


def test_the_bit_mask_lets_the_latches_through(p):
    p.set(gr8=0x0F)
    p.load(0xA0010)
    p.store(0xA0010, 0xAA)
    assert at_16(p) == [0x0A, 0x3A, 0x5A, 0xFA]


def test_the_latches_are_of_the_last_read_and_not_of_the_address_written(p):
    p.set(gr8=0x00)
    p.load(0xA0010)
    p.store(0xA0020, 0xAA)
    assert [p.plane(i, 32) for i in range(4)] == [0x0F, 0x33, 0x55, 0xF0]


def test_write_mode_1_writes_the_latches_whatever_the_byte_and_the_masks(p):
    p.load(0xA0010)
    p.set(gr5=1, gr8=0, gr3=0x18)
    p.store(0xA0020, 0xAA, 2)
    assert [p.plane(i, 32) for i in range(4)] == [p.plane(i, 33) for i in range(4)] == [0x0F, 0x33, 0x55, 0xF0]


def test_write_mode_2_fills_each_plane_with_its_bit_of_the_byte_inside_the_bit_mask(p):
    p.set(gr5=2, gr8=0xF0)
    p.load(0xA0010)
    p.store(0xA0010, 0b0101)
    assert at_16(p) == [0xFF, 0x03, 0xF5, 0x00]


def test_write_mode_3_writes_set_reset_where_the_rotated_byte_and_the_bit_mask_agree(p):
    p.set(gr5=3, gr8=0xFC, gr0=0b0110, gr3=4)
    p.load(0xA0010)
    p.store(0xA0010, 0xF1)                              # rotated: 1F; with the mask: 1C
    assert at_16(p) == [0x0F & ~0x1C, 0x33 | 0x1C, 0x55 | 0x1C, 0xF0 & ~0x1C]


# Read modes

def test_read_mode_0_reads_the_plane_that_is_selected(p):
    values = []
    for plane in range(4):
        p.set(gr4=plane)
        values.append(p.load(0xA0010))
    assert values == [0x0F, 0x33, 0x55, 0xF0]


def test_read_mode_1_compares_colours(p):
    p.set(gr5=8, gr2=0b0001, gr7=0b1111)
    assert p.load(0xA0010) == 0x0F & ~0x33 & ~0x55 & ~0xF0 & 0xFF
    p.set(gr7=0b0011)                                   # planes 2 and 3 do not matter
    assert p.load(0xA0010) == 0x0F & ~0x33 & 0xFF
    p.set(gr7=0)
    assert p.load(0xA0010) == 0xFF


def test_a_wide_read_takes_bytes_in_order_and_leaves_the_last_in_the_latches(p):
    p.store(0xA0011, 0x77)
    assert p.load(0xA0010, 2) == 0x770F
    assert p.latch == 0x77777777


def test_odd_even_reads_go_by_the_address_and_the_high_bit_of_read_map_select():
    m = Memory()
    m.set(**PLANAR)
    for plane in range(4):
        m.set(sr2=1 << plane)
        m.store(0xA0000, 0x10 + plane)
        m.store(0xA0001, 0x20 + plane)
    m.set(**TEXT | {"gr4": 2, "gr6": 4})                # COE is 0: the plane's bit 0 is the address's
    assert m.load(0xA0000, 2) == 0x2312
    m.set(gr4=0, gr8=0)                                 # no RAM
    assert m.load(0xA0000, 2) == 0x2110


def test_in_128_kib_odd_even_takes_the_planes_bit_0_from_bit_16():
    m = Memory()
    m.set(**TEXT | {"gr6": 0x02})
    m.store(0xA0000, 0x41)
    m.store(0xB0000, 0x42)
    assert [m.plane(0, 0), m.plane(0, 1)] == [0x41, 0x42]


def test_the_banked_window_of_the_dispi_is_the_frame_buffer(m):
    m.map(m.registers, 3, True)
    m.store(0xA1234, 0x99)
    assert m.vram[0x31234] == 0x99 and m.layout is None


def test_the_planar_window_of_the_dispi_is_banked_too(m):
    m.set(**PLANAR)
    m.map(m.registers, 2, False)
    m.store(0xA0005, 0x77)
    assert m.vram[4 * 0x20005:4 * 0x20005 + 4] == b"\x77" * 4
