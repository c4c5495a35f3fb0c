"""The serial line on standard input and output: a terminal, pipes, and what happens when they go away."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios
import time
import tty

import pytest

from emu.host import serial, terminal
from emu.host.serial import Stdio, open_channel
from tests.host.lines import LIMIT, read_fd, read_until, shut

# the Ctrl-A keys


@pytest.mark.parametrize(
    ("typed", "sent", "left", "help_"),
    [
        (b"ls\r", b"ls\r", False, False),
        (b"\x03\x1a\x11\x13\x00\xff", b"\x03\x1a\x11\x13\x00\xff", False, False),
        (b"a\x01\x01b", b"a\x01b", False, False),
        (b"a\x01xb", b"a", True, False),
        (b"\x01hb", b"b", False, True),
        (b"\x01qb", b"b", False, False),
        (b"\x01\x01x", b"\x01x", False, False),
    ],
)
def test_ctrl_a_keys(typed, sent, left, help_):
    for cut in range(len(typed) + 1):  # wherever the terminal cuts them
        keys = terminal.Keys()
        assert (keys.take(typed[:cut]) + (b"" if keys.left else keys.take(typed[cut:]))) == sent
        assert (keys.left, keys.help) == (left, help_)


# stdio on a terminal


def test_a_terminal_is_raw_until_close(user):
    _, near = user
    before = termios.tcgetattr(near)
    channel = Stdio(near, near)
    iflag, oflag, _, lflag = termios.tcgetattr(near)[:4]
    assert not lflag & (termios.ISIG | termios.ICANON | termios.ECHO)
    assert not iflag & (termios.ICRNL | termios.IXON)
    assert not oflag & termios.OPOST
    assert channel.interactive
    channel.close()
    assert termios.tcgetattr(near) == before
    channel.close()
    tty.setraw(near)
    channel.close()  # the second one no longer touches it
    assert termios.tcgetattr(near) != before


def test_ctrl_c_is_a_byte_for_the_guest(user):
    far, near = user
    channel = Stdio(near, near)
    os.write(far, b"\x03\x1a\x1c\r\x13")
    assert read_until(channel, lambda data: len(data) >= 5) == b"\x03\x1a\x1c\r\x13"
    assert not channel.left
    channel.close()


def test_ctrl_a_x_leaves(user):
    far, near = user
    channel = Stdio(near, near)
    os.write(far, b"ab\x01")
    assert read_until(channel, lambda data: len(data) >= 2) == b"ab"
    assert not channel.left
    os.write(far, b"xcd")
    read_until(channel, lambda _: channel.left)
    channel.close()


def test_ctrl_a_h_prints_what_works_and_sends_nothing(user):
    far, near = user
    channel = Stdio(near, near)
    os.write(far, b"\x01hz")
    assert read_until(channel, lambda data: data) == b"z"
    shown = read_fd(far, 2 + sum(len(line) + 2 for line in terminal.HELP))
    assert b"Ctrl-A x" in shown and b"\n" not in shown.replace(b"\r\n", b"")
    channel.close()


def test_output_to_a_terminal_is_not_touched_and_ends_with_a_line(user):
    far, near = user
    channel = Stdio(near, near)
    channel.write(b"up\ndown\x1b[A")
    assert read_fd(far, 10) == b"up\ndown\x1b[A"
    channel.close()
    assert read_fd(far, 2) == b"\r\n"


def test_a_terminal_that_hangs_up_ends_the_input_and_never_raises(capfd):
    far, near = pty.openpty()
    channel = Stdio(near, near)
    os.close(far)
    channel.write(b"lost")
    channel.write(b"lost")
    assert channel.read() == b""
    assert not channel.interactive
    channel.close()
    os.close(near)
    assert capfd.readouterr().err.count("is closed") == 1


def test_a_terminal_that_does_not_read_never_blocks_a_write(user):
    _, near = user
    channel = Stdio(near, near)
    start = time.monotonic()
    channel.write(b"x" * 200_000)  # far more than a terminal takes
    assert time.monotonic() - start < 1.0
    termios.tcflush(near, termios.TCOFLUSH)
    channel.stall = 0.0
    channel.close()


def test_our_lines_bring_their_carriage_return_while_the_terminal_is_raw(user, capfd):
    _, near = user
    terminal.say("cooked")
    channel = Stdio(near, near)
    terminal.say("raw")
    channel.close()
    terminal.say("cooked again")
    assert capfd.readouterr().err == "emu: cooked\nemu: raw\r\nemu: cooked again\n"


CHILD = """
import os, sys, time
from emu.host.serial import open_channel
channel = open_channel("stdio")
channel.write(b"ready")
deadline = time.monotonic() + 5
while not channel.left and time.monotonic() < deadline:
    channel.wait(1)
    data = channel.read()
    if data == b"e":
        sys.exit(3)  # without close(): only what is registered at exit can restore the terminal
    channel.write(data.upper())
channel.close()
sys.exit(0 if channel.left else 9)
"""


@pytest.mark.parametrize(("typed", "status"), [(b"hi", None), (b"e", 3)])
def test_a_process_restores_its_terminal(user, typed, status):
    far, near = user
    before = termios.tcgetattr(near)
    child = subprocess.Popen([sys.executable, "-c", CHILD], stdin=near, stdout=near, stderr=near)
    assert read_fd(far, 5) == b"ready"
    os.write(far, typed)
    if status is None:
        assert read_fd(far, 2) == b"HI"
        os.write(far, b"\x01x")
        status = 0
    assert child.wait(LIMIT) == status
    assert termios.tcgetattr(near) == before


def test_a_background_job_leaves_the_terminal_alone():
    pid, far = pty.fork()
    if pid == 0:  # leads a session with this terminal; a child in another process group is a background job
        status = 1
        try:
            code = (
                "import termios; from emu.host.serial import open_channel; b = termios.tcgetattr(0); "
                "c = open_channel('stdio'); ok = not c.interactive and c.read() == b'' and termios.tcgetattr(0) == b; "
                "c.write(b'done'); c.close(); raise SystemExit(0 if ok else 7)"
            )
            status = subprocess.run([sys.executable, "-c", code], process_group=0, timeout=LIMIT).returncode
        finally:
            os._exit(status)
    assert read_fd(far, 4) == b"done"
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(far)


# stdio on pipes


def test_a_pipe_passes_all_bytes_and_its_end_ends_the_input(pipe):
    out = list(os.pipe())
    channel = Stdio(pipe[0], out[1])
    every = bytes(range(256))
    os.write(pipe[1], every)
    assert channel.interactive
    assert read_until(channel, lambda data: len(data) >= 256) == every  # Ctrl-A too: it is data
    assert channel.read() == b"" and channel.interactive
    shut(pipe, 1)
    assert channel.read() == b"" and not channel.interactive
    channel.write(every)
    assert read_fd(out[0], 256) == every
    channel.close()
    assert os.get_blocking(pipe[0]) and os.get_blocking(out[1])  # shared with others: not ours to change
    for fd in out:
        os.close(fd)  # still open: they are not ours to close


def test_the_null_device_is_the_end_of_input():
    with open(os.devnull, "rb") as null:
        channel = Stdio(null.fileno(), -1)
        assert channel.read() == b"" and not channel.interactive
        channel.write(b"nobody")
        channel.close()


def test_a_closed_pipe_is_said_once(pipe, capfd):
    channel = Stdio(-1, pipe[1])
    assert not channel.interactive
    shut(pipe, 0)
    for _ in range(3):
        channel.write(b"x")
    channel.close()
    err = capfd.readouterr().err
    assert err.count("\n") == 1 and "(stdio) is closed" in err


def test_a_pipe_that_is_full_takes_the_rest_later(pipe):
    channel = Stdio(-1, pipe[1])
    sent = os.urandom(300_000)
    got = bytearray()
    channel.write(sent)  # more than a pipe holds: comes back at once
    while len(got) < len(sent):
        got += read_fd(pipe[0], min(4096, len(sent) - len(got)))
        channel.wait(0)
    assert got == sent
    channel.close()


def test_a_reader_that_never_reads_holds_the_guest_only_so_long(pipe, capfd, monkeypatch):
    monkeypatch.setattr(serial, "_PENDING", 1 << 16)
    channel = Stdio(-1, pipe[1])
    channel.stall = 0.05
    start = time.monotonic()
    for _ in range(100):
        channel.write(bytes(10_000))
    assert 0.05 <= time.monotonic() - start < 2.0
    assert len(channel.pending) <= 1 << 16
    channel.close()
    assert capfd.readouterr().err.count("does not read") == 1


def test_wait_ends_when_the_time_is_over_and_when_input_arrives(pipe, monkeypatch):
    channel = Stdio(pipe[0], -1)
    start = time.monotonic()
    channel.wait(0.02)
    assert time.monotonic() - start >= 0.019
    monkeypatch.setattr(serial, "_NAP", 2 * LIMIT)
    os.write(pipe[1], b"k")
    start = time.monotonic()
    channel.wait(2 * LIMIT)
    assert time.monotonic() - start < LIMIT
    channel.close()


def test_wait_is_never_so_long_that_the_flag_of_a_signal_goes_unseen():
    start = time.monotonic()
    open_channel("none").wait(3600)
    assert time.monotonic() - start < LIMIT
