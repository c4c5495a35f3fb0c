"""The screen in a terminal: a pseudo terminal stands for the user's, and a small one of our own reads what is written."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import termios
import time

import pytest

from emu.host import halfblocks, terminal
from emu.host.display import Display, sgr

GREY = 7


class Terminal:
    """Understands as much of ECMA-48 as Display uses."""

    def __init__(self, columns, rows):
        self.far, self.near = pty.openpty()
        os.set_blocking(self.far, False)
        self.before = termios.tcgetattr(self.near)
        self.resize(columns, rows)
        self.cells, self.x, self.y, self.pen, self.cursor, self.modes, self.written = {}, 0, 0, "", False, set(), 0

    def resize(self, columns, rows):
        self.columns, self.rows = columns, rows
        fcntl.ioctl(self.near, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def close(self):
        os.close(self.far)
        os.close(self.near)

    def read(self):
        data = b""
        while True:
            try:
                data += os.read(self.far, 65536)
            except BlockingIOError:
                break
        self.written = len(data)
        for sequence, char in re.findall(r"(\x1b\[[?0-9; ]*[A-Za-z])|([^\x1b])", data.decode()):
            if char:
                assert self.x < self.columns and self.y < self.rows, "nothing is written outside"
                self.cells[self.y, self.x] = self.pen, char
                self.x += 1
            elif sequence.endswith("H"):
                self.y, self.x = (int(part) - 1 for part in sequence[2:-1].split(";"))
            elif sequence.endswith("m"):
                self.pen = sequence
            elif sequence.endswith("J"):
                self.cells.clear()
            elif sequence.endswith(("h", "l")):
                (self.modes.add if sequence[-1] == "h" else self.modes.discard)(sequence[2:-1])

    def row(self, y):
        return "".join(self.cells.get((y, x), ("", " "))[1] for x in range(self.columns)).rstrip()


@pytest.fixture
def made():
    opened = []

    def make(columns=80, rows=25):
        screen = Terminal(columns, rows)
        display = Display(screen.near, screen.near)
        opened.append((screen, display))
        return screen, display

    yield make
    for screen, display in opened:
        display.close()
        screen.close()


def show(display, rows, attribute=GREY, cursor=None, blinks=True):
    wide = max(map(len, rows))
    display.text([row.ljust(wide) for row in rows], [bytes([attribute]) * wide] * len(rows), blinks, cursor)


def test_text_is_drawn_with_the_sixteen_colours(made):
    screen, display = made()
    show(display, ["Hello", "╔═☺"], 0x1E)
    screen.read()
    assert screen.row(0) == "Hello" and screen.row(1) == "╔═☺"
    assert screen.cells[0, 0] == ("\x1b[0;93;44m", "H")


def test_attribute_bit_7_blinks_or_is_a_bright_background():
    assert sgr(0x9E, True) == "\x1b[0;5;93;44m"
    assert sgr(0x9E, False) == "\x1b[0;93;104m"


def test_only_what_has_changed_is_written(made):
    screen, display = made()
    rows = ["x" * 80] * 25
    show(display, rows)
    screen.read()
    assert screen.written > 2000
    show(display, rows)
    screen.read()
    assert screen.written == 0
    rows[12] = "x" * 40 + "y" + "x" * 39
    show(display, rows)
    screen.read()
    assert 0 < screen.written < 30 and screen.cells[12, 40][1] == "y"


def test_the_cursor_shows_where_the_guest_has_it(made):
    screen, display = made()
    show(display, ["login: "], cursor=(0, 7, False))
    screen.read()
    assert (screen.y, screen.x) == (0, 7) and "?25" in screen.modes
    show(display, ["login: "])
    screen.read()
    assert "?25" not in screen.modes


def test_of_a_larger_screen_the_part_around_the_cursor_shows(made):
    screen, display = made(40, 10)
    rows = [f"row {i:02}".ljust(80, ".") for i in range(25)]
    show(display, rows)
    screen.read()
    assert screen.row(0).startswith("row 00") and screen.row(9).startswith("row 09")
    show(display, rows, cursor=(24, 79, True))
    screen.read()
    assert screen.row(0) == "." * 40 and (screen.y, screen.x) == (9, 39)
    show(display, rows, cursor=(24, 0, True))
    screen.read()
    assert screen.row(9).startswith("row 24")


def test_a_terminal_of_another_size_is_drawn_anew(made):
    screen, display = made(40, 10)
    rows = [f"row {i:02}".ljust(80, ".") for i in range(25)]
    show(display, rows)
    screen.read()
    screen.resize(100, 30)
    show(display, rows)
    screen.read()
    assert screen.row(24) == rows[24]


def test_a_smaller_screen_than_before_leaves_nothing(made):
    screen, display = made()
    show(display, ["x" * 80] * 25)
    show(display, ["y" * 40] * 10)
    screen.read()
    assert screen.row(0) == "y" * 40 and screen.row(10) == ""


def test_pixels_are_half_blocks_in_the_screens_proportions(made):
    screen, display = made(40, 10)
    display.pixels(2, 2, bytes([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9]), 1.0)
    screen.read()
    assert screen.cells[0, 0] == ("\x1b[0;38;2;255;0;0;48;2;255;0;0m", "▀")
    assert screen.cells[9, 0][0] == "\x1b[0;38;2;0;0;255;48;2;0;0;255m" and screen.cells[9, 19][0].endswith("48;2;9;9;9m")
    assert (0, 20) not in screen.cells


@pytest.mark.parametrize("aspect, size, fits", [
    (4 / 3, (80, 25), (67, 50)), (4 / 3, (40, 25), (40, 30)), (1.0, (1, 1), (1, 1)), (2.0, (200, 10), (40, 20))])
def test_a_picture_keeps_its_proportions(aspect, size, fits):
    assert halfblocks.fit(aspect, *size) == fits


def test_a_scaled_pixel_is_the_mean_of_those_that_it_stands_for():
    rows = halfblocks.scaled(4, 2, bytes([0, 0, 0, 100, 0, 0, 50, 0, 0, 50, 0, 0] * 2), (2, 1)).tolist()
    assert rows == [[[50, 0, 0], [50, 0, 0]]]


def typed(screen, display, data):
    os.write(screen.far, data)
    found = []
    for _ in range(40):
        found += display.read()
        time.sleep(0.005)
    return found


def test_keys_come_as_chords(made):
    screen, display = made()
    assert typed(screen, display, b"aB\x1b[A\x1bOP\x1bx") == [("a",), ("shift", "b"), ("up",), ("f1",), ("alt", "x")]
    assert typed(screen, display, b"\x1b") == [("esc",)]
    assert typed(screen, display, b"\x03") == [("ctrl", "c")]


def test_ctrl_a_is_the_menu(made):
    screen, display = made()
    assert typed(screen, display, b"\x01d\x01S") == [] and display.asked == b"ds" and display.asked == b""
    assert typed(screen, display, b"\x01\x01") == [("ctrl", "a")]
    assert not display.left
    typed(screen, display, b"\x01x")
    assert display.left


def test_the_help_covers_the_screen_until_the_next_key(made):
    screen, display = made()
    rows = ["x" * 80] * 25
    typed(screen, display, b"\x01h")
    show(display, rows)
    screen.read()
    assert screen.row(2).startswith(" Ctrl-A d    press Ctrl-Alt-Del ")
    typed(screen, display, b"q")
    show(display, rows)
    screen.read()
    assert [screen.row(y) for y in range(25)] == rows


def test_the_terminal_is_given_back(made, capsys):
    screen, display = made()
    show(display, ["x"], cursor=(0, 0, True))
    terminal.say("while the screen shows")
    assert capsys.readouterr().err == ""
    display.close()
    assert capsys.readouterr().err == "emu: while the screen shows\n"
    display.close()
    screen.read()
    assert screen.modes == {"?25", "?7"}                        # of those that we have touched
    assert termios.tcgetattr(screen.near) == screen.before


def test_while_the_terminal_does_not_read_nothing_more_is_drawn(made):
    screen, display = made()
    assert display.ready
    for i in range(100):
        if not display.ready:
            break
        show(display, [chr(0x41 + i % 26) * 80] * 25)
    assert not display.ready and len(display.line.pending) < 100_000
    screen.read()
    assert display.ready or screen.written
