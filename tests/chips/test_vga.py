"""VGA.  [I] IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem", 1992; [Q] QEMU, docs/specs/standard-vga."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emu import screen
from emu.chips.dispi import Dispi
from emu.chips.vga import VGA
from emu.chips.vgabeam import Beam
from emu.clock import Clock
from tests.boards import vgaguest
from tests.chips.bench import Bench

MSE = 2
BEAM = "sr1", "cr00", "cr01", "cr06", "cr07", "cr10", "cr11", "cr12"


class Card(Bench):
    """The bench with the index/data pairs, and what the chip shows of its memory."""

    def __init__(self, rom=None):
        self.dispi = Dispi(16 << 20)
        self.dispi.attach("dispi", Clock(lambda: 0))
        self.seen = {}
        super().__init__(VGA, self.dispi, memoryview(bytearray(16 << 20)), memoryview(bytearray(1 << 16)), rom, self.see)

    def see(self, address, length, memory, kind):
        self.seen[address, length] = kind if memory is None else (kind, memory)

    def indexed(self, which, index, value=None):
        self.write(which + "X", index)
        if value is None:
            return self.read(which + "D")
        self.write(which + "D", value)
        return None

    def colour(self):
        self.write("MISC", 0x67)

    def mode(self, name):
        misc, sr, cr, gr, ar = vgaguest.MODES[name]
        self.write("MISC", misc)
        for which, text in ("SR", sr), ("CR", cr), ("GR", gr):
            for index, value in enumerate(bytes.fromhex(text)):
                self.indexed(which, index, value)
        self.read("IS1")
        for index, value in enumerate(ar):
            self.write("ARX", index, value)
        self.write("ARX", 0x20)


@pytest.fixture
def v():
    card = Card()
    card.colour()
    return card


# General registers

def test_ios_says_where_the_crtc_is(v):
    v.indexed("CR", 0x0F, 0x12)
    assert v.indexed("CR", 0x0F) == 0x12 and v.read("CRD_MONO") == 0xFF
    v.write("MISC", 0x66)
    assert v.read("CRD_MONO") == 0x12 and v.read("CRD") == 0xFF


def test_misc_and_feature_control_are_read_elsewhere(v):
    v.write("MISC", 0xFF)
    v.write("FCR", 0xFF)
    assert v.read("MISCR") == 0xEF and v.read("FCRR") == 0x0B


def test_registers_that_are_not_there_take_nothing(v):
    for which, index in ("SR", 7), ("GR", 15), ("CR", 0x19), ("CR", 0xFF):
        v.indexed(which, index, 0x12)
        assert v.indexed(which, index) == 0xFF


# CRTC

def test_the_protection_keeps_crtc_registers_0_to_7_but_for_line_compare(v):
    for index in range(8):
        v.indexed("CR", index, 0)
    v.indexed("CR", 0x11, 0x80)
    for index in range(8):
        v.indexed("CR", index, 0xFF)
    assert [v.indexed("CR", index) for index in range(8)] == [0] * 7 + [0x10]
    v.indexed("CR", 0x11, 0)
    v.indexed("CR", 7, 0xFF)
    assert v.indexed("CR", 7) == 0xFF


def test_display_enable_and_vertical_retrace_follow_the_beam(v):
    v.mode("text 80x25")
    period, lines = 9 * 100 * 10**9 / 28_322_000, 449       # ns of a line
    seen = []
    for line in range(lines):
        for share in (0.2, 0.95):
            v.now = round((line + share) * period)
            v.clock.ring(v.now)
            seen.append(v.read("IS1"))
    assert seen[0:800:2] == [0] * 400                       # the picture
    assert {value & 1 for value in seen[1::2]} == {1}       # the end of each line
    assert [i // 2 for i, value in enumerate(seen) if value & 8] == [line for line in (412, 413) for _ in range(2)]
    assert {value & 1 for value in seen[800:]} == {1}
    v.now = round((lines + 0.2) * period)
    v.clock.ring(v.now)
    assert v.read("IS1") == 0                               # the next frame


def test_while_nobody_asks_for_the_beam_no_time_is_kept(v):
    v.mode("text 80x25")
    v.read("IS1")
    v.advance(10**9)
    assert v.clock.next() is None


@pytest.mark.parametrize("name", vgaguest.MODES)
def test_a_loop_that_waits_for_the_retrace_ends(v, name):
    v.mode(name)
    for wanted in (0, 8, 0, 8):
        for _ in range(50_000):
            if v.read("IS1") & 8 == wanted:
                break
            v.advance(720)
        assert v.read("IS1") & 8 == wanted


@pytest.mark.parametrize("name", vgaguest.MODES)
def test_a_frame_takes_as_long_as_on_a_vga(v, name):
    """70 Hz, with 480 lines 60 Hz: also where half the clocks are as many dots (SR1 bit 3)."""
    v.mode(name)
    began = []
    for _ in range(8000):
        before, now = v.now, v.read("IS1") & 8
        if now and (not began or before - began[-1] > 10**6):
            began.append(before)
        v.advance(5_000)
    rate = (len(began) - 1) * 1e9 / (began[-1] - began[0])
    assert rate == (pytest.approx(59.8, abs=0.2) if "480" in name or "240" in name else pytest.approx(70.086, abs=0.05))


def test_any_registers_have_a_frame(v):
    for values in (0x00, 0xFF, 0x55):
        for index in (0x11, *range(25)):
            v.indexed("CR", index, values & 0x7F if index == 0x11 else values)
        for _ in range(100):
            v.read("IS1")
            v.advance(10_000)


# Attribute controller

def test_the_flip_flop_takes_index_and_data_in_turn_and_is_reset_by_input_status_1(v):
    v.write("ARX", 0x01)
    v.read("IS1")
    v.write("ARX", 0x02, 0x3A)
    assert v.chip.palette[1:3] == [0, 0x3A]
    v.write("ARX", 0x02)
    assert v.read("ARD") == 0x3A and v.read("ARX") == 0x02


def test_the_palette_is_written_only_while_pas_is_0(v):
    v.read("IS1")
    v.write("ARX", 0x25, 0x11)
    assert v.chip.palette[5] == 0
    v.write("ARX", 0x30, 0x41)
    assert v.chip.ar10 == 0x41


# Palette DAC

def test_pels_are_written_and_read_in_three_steps_of_six_bits(v):
    v.write("PELWRITE", 5)
    v.write("PELDATA", 0xFF, 1, 2, 3, 4, 5)
    assert v.read("PELWRITE") == 7 and v.read("PELSTATE") == 0
    v.write("PELREAD", 5)
    assert v.read("PELSTATE") == 3
    assert [v.read("PELDATA") for _ in range(6)] == [0x3F, 1, 2, 3, 4, 5]


def test_after_the_last_pel_comes_the_first(v):
    v.write("PELWRITE", 255)
    v.write("PELDATA", 1, 2, 3, 4, 5, 6)
    assert v.chip.dac[-3:] + v.chip.dac[:3] == [1, 2, 3, 4, 5, 6]


def test_with_the_dispis_8_bit_dac_pels_have_eight_bits(v):
    v.dispi.write_ENABLE(0x20)
    v.write("PELWRITE", 0)
    v.write("PELDATA", 0xFF)
    assert v.chip.dac[0] == 0xFF


# The adapter on PCI

def test_identity(v):
    assert [v.read("VID"), v.read("DID"), v.read("CLASSC"), v.read("RID"), v.read("HEDT")] == [0x1234, 0x1111, 0x30000, 2, 0]


def test_sizes_of_the_base_address_registers(v):
    for name in "BAR0", "BAR2", "EXPROM":
        v.write(name, 0xFFFFFFFF)
    assert [v.read(name) for name in ("BAR0", "BAR2", "EXPROM")] == [0xFF000008, 0xFFFFF000, 0]


def test_the_frame_buffer_is_shown_where_bar_0_says(v):
    v.write("BAR0", 0xE0000000)
    v.write("PCICMD", MSE)
    assert v.seen[0xE0000000, 16 << 20] == ("ram", v.chip.memory.vram)
    v.write("PCICMD", 0)
    assert v.seen[0xE0000000, 16 << 20] == "mmio"


def test_the_expansion_rom_is_shown_while_it_is_enabled():
    rom = memoryview(bytes(65536))
    v = Card(rom)
    v.write("PCICMD", MSE)
    v.write("EXPROM", 0xFEB00001)
    assert v.read("EXPROM") == 0xFEB00001 and v.seen[0xFEB00000, 65536] == ("rom", rom)
    v.write("EXPROM", 0xFEB00000)
    assert v.seen[0xFEB00000, 65536] == "mmio"


def mmio(v, at, size, value=None):
    address = v.base["mmio"] + at << 4 | size
    return v.bus.read[address]() if value is None else v.bus.write[address](value)


def test_bar_2_has_the_ports_and_the_dispi_as_memory(v):
    mmio(v, 0x404, 2, 0x0502)                               # 3C4h: the map mask is 5
    assert v.chip.sr2 == 5 and mmio(v, 0x405, 1) == 5
    mmio(v, 0x414, 2, 0x340E)                               # 3D4h
    assert v.chip.cr0e == 0x34
    assert mmio(v, 0x500, 2) == 0xB0C5
    mmio(v, 0x502, 2, 1024)
    assert v.dispi.xres == 1024
    assert [mmio(v, 0x600, 4), mmio(v, 0x604, 4)] == [8, 0x1E1E1E1E]
    mmio(v, 0x604, 4, 0xBEBEBEBE)
    assert mmio(v, 0x604, 4) == 0x1E1E1E1E
    assert mmio(v, 0x000, 4) == 0xFFFFFFFF                  # no EDID


def test_enabling_the_dispi_clears_and_shows_its_memory(v):
    v.mode("text 80x25")
    v.chip.memory.linear[:4] = b"text"
    v.dispi.write_ENABLE(1)
    assert v.seen[0xA0000, 0x10000] == ("ram", v.chip.memory.vram[:0x10000])
    assert not any(v.chip.memory.vram[:640 * 480])
    v.dispi.write_BANK(2)
    assert v.seen[0xA0000, 0x10000] == ("ram", v.chip.memory.vram[0x20000:0x30000])
    v.dispi.write_ENABLE(0)
    assert v.seen[0xA0000, 0x10000] == "mmio" and v.seen[0xB8000, 0x8000][0] == "ram"


def test_a_reset_leaves_the_memory(v):
    v.mode("text 80x25")
    v.chip.memory.linear[:2] = b"A\7"
    v.chip.reset()
    assert v.chip.memory.planes()[:2] == b"A\7"


def test_a_restored_chip_shows_the_same_windows(v):
    v.mode("text 80x25")
    v.write("BAR0", 0xE0000000)
    v.write("PCICMD", MSE)
    other = Card()
    other.chip.memory.linear[:2] = b"A\7"                   # as the snapshot's memories have it
    other.chip.restore(v.chip.save())
    assert {key: seen != "mmio" for key, seen in other.seen.items()} == {key: seen != "mmio" for key, seen in v.seen.items()}
    assert other.chip.memory.planes()[:2] == b"A\7"
    assert other.chip.memory.linear[:2] == b"A\7"


@settings(max_examples=200, deadline=None)
@given(st.fixed_dictionaries({name: st.integers(0, 255) for name in BEAM}
                             | {"misc": st.sampled_from([0x63, 0x67])}), st.integers(0, 10**10))
def test_what_the_beam_shows_holds_up_to_its_edge(registers, now):
    beam = Beam()
    beam.set(registers)
    for _ in range(50):
        status, edge = beam.look(now)
        assert edge > now
        assert {beam.look(time)[0] for time in ((now + edge) // 2, edge - 1)} == {status}
        now = edge


def test_each_edge_of_the_beam_is_one():
    beam = Beam()
    registers = vars(Card().chip) | {f"cr{i:02x}": v for i, v in enumerate(bytes.fromhex(vgaguest.MODES["text 80x25"][2]))}
    beam.set(registers)
    seen, now = [], 0
    for _ in range(2 * 400 + 3):
        status, now = beam.look(now)
        seen.append(status)
    assert seen == [0, 1] * 400 + [1, 9, 1]


def test_whatever_a_guest_writes_there_is_a_picture_and_one_place_for_each_byte():
    rng = random.Random("vga")
    v = Card(memoryview(bytes(65536)))
    ports = [v.base[block] + offset for block in ("at", "colour", "mono") for offset in range(16)]
    index = ("SR", 8), ("GR", 9), ("CR", 25)
    for i in range(6000):
        what = rng.random()
        if what < 0.35:
            which, count = rng.choice(index)
            if v.read("MISCR") & 1:
                v.indexed(which, rng.randrange(count), rng.choice([0, 0xFF, rng.randrange(256), rng.randrange(16)]))
            else:
                v.write("MISC", 0x67)
        elif what < 0.5:
            v.bus.write[rng.choice(ports) << 4 | 1](rng.randrange(256))
        elif what < 0.6:
            v.dispi.index = rng.randrange(12)
            v.dispi.write_DATA(rng.choice([0, 1, 4, 8, 16, 32, 0x41, 0xC1, 640, rng.randrange(65536)]))
        elif what < 0.65:
            v.write(rng.choice(["BAR0", "BAR2", "EXPROM", "PCICMD"]), rng.getrandbits(16) << 16 | rng.randrange(8))
        elif what < 0.9:
            size, block = rng.choice([1, 2, 4]), rng.choice(["legacy", "frame", "mmio"])
            length = {"legacy": 1 << 17, "frame": 1 << 18, "mmio": 1 << 12}[block]
            entry = v.base[block] + rng.randrange(length) << 4 | size
            if rng.random() < 0.5:
                v.bus.write[entry](rng.getrandbits(8 * size))
            else:
                assert 0 <= v.bus.read[entry]() < 1 << 8 * size
        else:
            v.advance(rng.randrange(100_000))
        if i % 100 == 0:
            p = v.chip.picture()
            assert len(p["memory"]) == (16 << 20 if p["dispi"] else 1 << 18)
            screen.text(p)
            if p["dispi"] is None or p["dispi"][0] * p["dispi"][1] < 1 << 20:
                frame = screen.frame(p)
                assert len(frame.rgb) == 3 * frame.width * frame.height
