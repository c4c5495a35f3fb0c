"""emu boot --display terminal, in a pseudo terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest

from emu.assembler import assemble
from emu.host.display import ENTER, LEAVE
from tests.boards.test_screen import ECHO

TIME = 20


class Run:
    """The command, with its terminal's output so far in `seen`."""

    def __init__(self, where, *arguments, source=ECHO):
        (where / "image").write_bytes(assemble(source, 0x7C00, 16))
        self.far, near = pty.openpty()
        fcntl.ioctl(near, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 90, 0, 0))
        self.before = termios.tcgetattr(near)
        self.near, self.seen = near, b""
        os.set_blocking(self.far, False)
        self.child = subprocess.Popen(
            [sys.executable, "-m", "emu", "boot", where / "image", "--display", "terminal", *arguments],
            stdin=near, stdout=near, stderr=near, cwd=where, env=os.environ | {"PYTHONPATH": os.getcwd()})

    def expect(self, text):
        end = time.monotonic() + TIME
        while text not in self.seen:
            assert time.monotonic() < end, self.seen
            time.sleep(0.01)
            self.read()

    def read(self):
        with contextlib.suppress(OSError):
            self.seen += os.read(self.far, 65536)

    def type(self, data):
        os.write(self.far, data)

    def end(self):
        status = self.child.wait(TIME)
        self.read()
        assert termios.tcgetattr(self.near) == self.before
        os.close(self.far)
        os.close(self.near)
        return status


def test_what_is_typed_comes_to_the_guest_and_its_screen_to_the_terminal(tmp_path):
    run = Run(tmp_path)
    run.expect(ENTER)
    run.type(b"a")
    run.expect("▲".encode())                                    # 1Eh, the key's code
    run.type(b"\x01d")
    run.expect(b"S")                                    # 53h, of Delete
    run.type(b"\x01s")
    end = time.monotonic() + TIME
    while not (tmp_path / "screenshot-1.png").exists() and time.monotonic() < end:
        time.sleep(0.01)
    assert (tmp_path / "screenshot-1.png").read_bytes()[1:4] == b"PNG"
    run.type(b"\x01x")
    assert run.end() == 0
    assert run.seen.count(LEAVE) == 1
    said = run.seen[run.seen.index(LEAVE):].decode()
    assert "the screen is in screenshot-1.png" in said and "left by Ctrl-A x" in said


@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_gives_the_terminal_back(tmp_path, number, status):
    run = Run(tmp_path)
    run.expect(ENTER)
    run.type(b"a")
    run.expect("▲".encode())
    run.child.send_signal(number)
    assert run.end() == status
    assert LEAVE in run.seen


def test_an_idle_guest_waits_for_the_keyboard(tmp_path):
    run = Run(tmp_path, source="again: hlt; jmp again")
    run.expect(ENTER)
    time.sleep(0.5)
    assert run.child.poll() is None
    run.type(b"\x01x")
    assert run.end() == 0


def test_while_a_script_types_only_the_menu_is_for_the_person(tmp_path):
    (tmp_path / "script").write_text('wait 3000\n')
    run = Run(tmp_path, "--script", tmp_path / "script")
    run.expect(ENTER)
    run.type(b"a")
    time.sleep(0.5)
    run.read()
    assert "▲".encode() not in run.seen
    run.type(b"\x01x")
    assert run.end() == 0


def test_the_help_is_shown(tmp_path):
    run = Run(tmp_path)
    run.expect(ENTER)
    run.type(b"\x01h")
    run.expect(b"press Ctrl-Alt-Del")
    run.type(b"\x01x")
    assert run.end() == 0
