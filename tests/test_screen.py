"""What registers and planes look like.  [I] IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem", 1992."""

from __future__ import annotations

import random
import struct
import zlib

import pytest

from emu import screen
from emu.host import png
from emu.screen import FRAME_TIME, Cursor
from tests.boards.vgaguest import MODES

RED, BLUE = 4, 1
DAC = bytes(v for i in range(256) for v in (i & 0x3F, 63 - (i & 0x3F), i >> 2))


def picture(name="text 80x25", memory=b"", **changes):
    misc, sr, cr, gr, ar = MODES[name]
    p = {"sr": bytes.fromhex(sr), "gr": bytes.fromhex(gr), "cr": bytes.fromhex(cr), "ar": ar[16:], "palette": ar[:16],
         "shown": True, "mask": 0xFF, "misc": misc, "dac": DAC, "dac_bits": 6, "now": 0, "dispi": None,
         "memory": bytearray(memory.ljust(1 << 20, b"\0"))}
    return p | changes


def changed(data, **at):
    """The registers with others in some places: _0x0A=3."""
    data = bytearray(data)
    for index, value in at.items():
        data[int(index[1:], 0)] = value
    return bytes(data)


def put(p, address, codes, attribute=7):
    """Characters in a text screen's memory, from a character's number on."""
    for i, code in enumerate(codes):
        p["memory"][8 * (address + i)], p["memory"][8 * (address + i) + 1] = code, attribute


def glyph(p, code, rows, font=0):
    for i, row in enumerate(rows):
        p["memory"][4 * (font + 32 * code + i) + 2] = row


def line(p, y, first=0, dots=9, count=1):
    """The dots of a line from one on, as palette colours."""
    frame, colours = screen.frame(p), screen.colours(p)
    at = 3 * (y * frame.width + first)
    return [colours.index(tuple(frame.rgb[i:i + 3])) for i in range(at, at + 3 * dots * count, 3)]


# Text

def test_rows_have_codes_and_attributes():
    p = picture()
    put(p, 0, b"Hello")
    put(p, 160, b"\xC9\xCD\1", 0x1E)
    shown = screen.text(p)
    assert str(shown) == "Hello\n\n╔═☺" and shown.columns == 80 and len(shown.codes) == 25
    assert shown.rows[2][:3] == [(0xC9, 0x1E), (0xCD, 0x1E), (1, 0x1E)]


@pytest.mark.parametrize("name, columns, rows", [("text 80x25", 80, 25), ("text 80x50", 80, 50), ("text 40x25", 40, 25)])
def test_sizes(name, columns, rows):
    shown = screen.text(picture(name))
    assert (shown.columns, len(shown.codes)) == (columns, rows)


def test_the_start_address_scrolls():
    p = picture()
    put(p, 0x123, b"here")
    assert str(screen.text(p | {"cr": changed(p["cr"], _0x0C=1, _0x0D=0x23)})) == "here"


def test_after_the_line_of_line_compare_the_screen_starts_at_address_0():
    p = picture()
    put(p, 0, b"status")
    put(p, 0x1000, b"scrolled")
    cr = changed(p["cr"], _0x0C=0x10, _0x07=0x0F, _0x09=0x0F, _0x18=0x1F)
    assert str(screen.text(p | {"cr": cr})) == "scrolled\n\nstatus"


def test_the_offset_is_the_way_from_row_to_row_in_pairs():
    p = picture()
    put(p, 100, b"second")
    assert str(screen.text(p | {"cr": changed(p["cr"], _0x13=50)})) == "\nsecond"


def test_the_cursor_is_where_its_address_is_shown():
    p = picture()
    cr = changed(p["cr"], _0x0A=13, _0x0B=14, _0x0F=163)
    assert screen.text(p | {"cr": cr}).cursor == Cursor(2, 3, 13, 14)
    assert screen.text(p | {"cr": changed(cr, _0x0A=0x20 | 13)}).cursor is None
    assert screen.text(p | {"cr": changed(cr, _0x0A=15)}).cursor is None         # it would end before it starts
    assert screen.text(p | {"cr": changed(cr, _0x0E=16)}).cursor is None         # elsewhere


@pytest.mark.parametrize("dark", [{"shown": False}, {"sr": bytes.fromhex("0320030002")}])
def test_a_dark_screen_shows_nothing(dark):
    p = picture()
    put(p, 0, b"Hello")
    assert str(screen.text(p | dark)) == "" and not any(screen.frame(p | dark).rgb)


def test_a_graphics_mode_has_no_text():
    assert screen.text(picture("320x200, 256 colours")) is None
    assert screen.text(picture(dispi=(640, 480, 8, 640, 0, 0))) is None


# Characters as pixels

@pytest.fixture
def a():
    """An A in the first place, whose first two lines are 81h and FFh, blue on red."""
    p = picture()
    put(p, 0, b"A", RED << 4 | BLUE)
    glyph(p, 0x41, [0x81, 0xFF])
    return p


def test_a_character_has_eight_dots_of_its_font_and_a_ninth_of_the_background(a):
    assert line(a, 0) == [BLUE, 4, 4, 4, 4, 4, 4, BLUE, 4]
    assert line(a, 1) == [BLUE] * 8 + [4]
    assert screen.frame(a).width == 720


def test_the_ninth_dot_of_line_graphics_repeats_the_eighth(a):
    for code, ninth in ((0xBF, 4), (0xC0, BLUE), (0xDF, BLUE), (0xE0, 4)):
        put(a, 0, [code], RED << 4 | BLUE)
        glyph(a, code, [0xFF])
        assert line(a, 0)[8] == ninth
        assert line(a | {"ar": changed(a["ar"], _0=0x08)}, 0)[8] == 4


def test_attribute_bit_3_selects_the_font(a):
    put(a, 1, b"A", BLUE | 8)
    glyph(a, 0x41, [0xF0], font=0x4000)
    glyph(a, 0x41, [0x0F], font=0x2000)
    sr = a["sr"]
    assert line(a | {"sr": changed(sr, _3=0x04)}, 0, 9) == [9] * 4 + [0] * 5                  # A: 4000h
    assert line(a | {"sr": changed(sr, _3=0x20)}, 0, 9) == [0] * 4 + [9] * 4 + [0]            # A: 2000h
    assert line(a | {"sr": changed(sr, _3=0x24)}, 0, 9) == [0] * 9                            # A: 6000h
    assert line(a | {"sr": changed(sr, _3=0x01)}, 0)[:4] == [BLUE] * 4                        # B: 4000h


def test_blinking_characters_are_dark_half_of_the_time(a):
    put(a, 0, b"A", 0x80 | RED << 4 | BLUE)
    dark = a | {"now": 32 * FRAME_TIME}
    assert line(a, 1)[:8] == [BLUE] * 8 and line(dark, 1)[:8] == [RED] * 8
    steady = dark | {"ar": changed(a["ar"], _0=0x04)}
    assert line(steady, 1) == [BLUE] * 8 + [RED | 8]


def test_the_cursor_covers_its_lines_and_blinks(a):
    a["cr"] = changed(a["cr"], _0x0A=4, _0x0B=5)
    assert [line(a, y)[0] for y in (3, 4, 5, 6)] == [4, BLUE, BLUE, 4]
    assert line(a | {"now": 16 * FRAME_TIME}, 4)[0] == 4


def test_attribute_1_underlines_at_the_underline_location(a):
    put(a, 0, b"A", 0x01)
    a["cr"] = changed(a["cr"], _0x14=5)
    assert line(a, 5) == [1] * 9 and line(a, 6) == [0] * 9


def test_pel_panning_moves_to_the_left(a):
    put(a, 1, b"A", BLUE << 4 | RED)
    for value, dots in ((8, 0), (0, 1), (3, 4), (7, 8)):
        assert line(a | {"ar": changed(a["ar"], _3=value)}, 1, count=2)[:9 - dots] == ([BLUE] * 8 + [RED])[dots:]


def test_byte_panning_and_the_preset_row_scan_move_by_characters_and_lines(a):
    put(a, 1, b"A", BLUE << 4 | RED)
    assert line(a | {"cr": changed(a["cr"], _8=0x20)}, 1)[:8] == [RED] * 8
    assert line(a | {"cr": changed(a["cr"], _8=0x01)}, 0)[:8] == [BLUE] * 8


# Colours

def test_the_palette_the_colour_select_and_the_pel_mask_make_the_pel(a):
    assert line(a, 1)[0] == 1
    p = a | {"ar": changed(a["ar"], _4=0x0F)}
    assert screen.colours(p)[1] == tuple(v << 2 | v >> 4 for v in DAC[3 * 0xC1:3 * 0xC1 + 3])
    p = a | {"ar": changed(a["ar"], _0=0x8C, _4=0x06)}                      # P54S
    assert screen.colours(p)[15] == tuple(v << 2 | v >> 4 for v in DAC[3 * 0x6F:3 * 0x6F + 3])
    p = a | {"mask": 0x0F}
    assert screen.colours(p)[15] == tuple(v << 2 | v >> 4 for v in DAC[3 * 0x0F:3 * 0x0F + 3])
    p = a | {"ar": changed(a["ar"], _2=0x05)}                               # colour planes 0 and 2
    assert screen.colours(p)[15] == screen.colours(a)[5]


# Graphics

def test_panning_is_off_after_the_split_if_the_attribute_controller_says_so():
    p = picture("640x480, 16 colours")
    for n in range(0, 0x40000, 4):
        p["memory"][n] = 0x80
    cr = changed(p["cr"], _0x07=0x2E, _0x09=0x00, _0x18=9)
    p |= {"cr": cr, "ar": changed(p["ar"], _0=0x21, _3=3)}
    assert line(p, 0, dots=8) == [0] * 5 + [1, 0, 0] and line(p, 10, dots=8) == [1] + [0] * 7
    p["ar"] = changed(p["ar"], _0=0x01)
    assert line(p, 10, dots=8) == [0] * 5 + [1, 0, 0]


def test_256_colours_pan_by_whole_pixels():
    p = picture("320x200, 256 colours", bytes(range(4)) * 0x10000, dac=bytes(range(256)) * 3, dac_bits=8)
    p["ar"] = changed(p["ar"], _3=2)
    assert screen.frame(p).rgb[:6] == bytes([3, 4, 5] * 2)


@pytest.mark.parametrize("x", [0, 5])
def test_the_dispis_planar_mode_has_four_planes(x):
    rng = random.Random(x)
    p = picture("640x480, 16 colours", rng.randbytes(800 * 600 // 2), dispi=(800, 600, 4, 400, x, 0))
    want = [sum((p["memory"][4 * (i // 8) + plane] >> 7 - i % 8 & 1) << plane for plane in range(4)) for i in range(x, 100)]
    assert line(p, 0, dots=100 - x) == want


@pytest.mark.parametrize("depth, data, pixel", [
    (8, b"\5", (5 << 2, 58 << 2 | 3, 1 << 2)), (15, b"\x1F\x7C", (255, 0, 255)), (16, b"\xE0\x07", (0, 255, 0)),
    (24, b"\1\2\3", (3, 2, 1)), (32, b"\1\2\3\4", (3, 2, 1))])
def test_the_dispis_pixels(depth, data, pixel):
    frame = screen.frame(picture(memory=b"\0" * 640 + data, dispi=(8, 2, depth, 640, 0, 1)))
    assert (frame.width, frame.height) == (8, 2) and tuple(frame.rgb[:3]) == pixel


def test_a_dispi_screen_beyond_the_end_of_memory_goes_on_at_its_start():
    p = picture(memory=b"\1", dispi=(64, 64, 8, 64, 0, (1 << 20) // 64 - 1))
    assert screen.frame(p).rgb[64 * 3:64 * 3 + 3] == screen.frame(picture(memory=b"\1", dispi=(64, 1, 8, 64, 0, 0))).rgb[:3]


def test_whatever_is_in_the_registers_there_is_a_frame():
    rng = random.Random("registers")
    for _ in range(60):
        p = picture(memory=rng.randbytes(1 << 18), shown=True, now=rng.randrange(1 << 40), mask=rng.randrange(256))
        p |= {name: rng.randbytes(len(p[name])) for name in ("sr", "gr", "ar")}
        p["cr"] = changed(rng.randbytes(25), _7=rng.choice([0, 0x10, 2]))
        p["sr"] = changed(p["sr"], _1=p["sr"][1] & ~0x20)
        p["palette"] = bytes(rng.randrange(64) for _ in range(16))
        frame = screen.frame(p)
        assert len(frame.rgb) == 3 * frame.width * frame.height
        screen.text(p)


# PNG

def test_a_png_has_what_the_specification_asks_for():
    data = png.encode(2, 2, bytes(range(12)))
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8:at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length)[0] == zlib.crc32(kind + body)
        chunks[kind] = body
        at += length + 12
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    assert struct.unpack(">IIBBBBB", chunks[b"IHDR"]) == (2, 2, 8, 2, 0, 0, 0)
    assert zlib.decompress(chunks[b"IDAT"]) == b"\0\0\1\2\3\4\5\0\6\7\x08\t\n\x0b"
