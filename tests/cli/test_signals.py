"""Signals, terminals, pipes and sockets: the command in a process of its own."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import termios
import time

import pytest

from tests import guests

EMU = [sys.executable, "-m", "emu", "boot"]
PATIENCE = 60


@pytest.fixture
def start(tmp_path):
    """Starts `emu boot` with pipes; what is left of it at the end is killed."""
    running = []

    def run(*arguments, **how):
        how = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | how
        running.append(subprocess.Popen([*EMU, *map(str, arguments)], **how))
        return running[-1]

    yield run
    for process in running:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def wait_for(descriptor, text):
    """Read until `text` has come; all that was read."""
    seen = b""
    end = time.monotonic() + PATIENCE
    while text not in seen:
        assert select.select([descriptor], [], [], max(end - time.monotonic(), 0))[0], f"no {text!r} in {seen!r}"
        data = os.read(descriptor, 4096)
        assert data, f"no {text!r} in {seen!r}"
        seen += data
    return seen


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_a_spinning_guest_with_its_report(number, status, start, tmp_path):
    (tmp_path / "spin").write_bytes(guests.assemble("mov dx, 0x3F8; mov al, '!'; out dx, al; again: jmp again", 0x7C00, 16))
    process = start(tmp_path / "spin", "--report", tmp_path / "report", "--save", tmp_path / "snapshot")
    wait_for(process.stdout.fileno(), b"!")
    sent = time.monotonic()
    process.send_signal(number)
    assert process.wait(PATIENCE) == status
    assert time.monotonic() - sent < 5
    assert process.stderr.read().startswith(b"emu: ended by " + number.name.encode())
    report = json.loads((tmp_path / "report").read_text())
    assert report["stop"] == number.name and report["exit_code"] == status and report["blocks"] > 1000
    assert (tmp_path / "snapshot").exists()


@pytest.mark.parametrize("name", ["nowhere", "flood", "reset", "spin_enabled"])
def test_ctrl_c_ends_every_kind_of_busy_guest(name, start, tmp_path):
    console = tmp_path / "console"
    process = start(guests.write(name, tmp_path), "--serial", f"file:{console}")
    until = time.monotonic() + PATIENCE
    while not console.exists() and time.monotonic() < until:            # it is opened just before the guest runs
        time.sleep(0.02)
    time.sleep(0.2)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130


def test_a_signal_ends_the_wait_for_a_client(start):
    process = start("hello", "--serial", "tcp:127.0.0.1:0")
    wait_for(process.stderr.fileno(), b"waits for a client")
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 143


def test_a_signal_ends_fetching(tmp_path):
    with (tmp_path / "lock").open("wb") as lock:        # another process fetches, it seems
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = subprocess.Popen([sys.executable, "-m", "emu", "images", "fetch", "debian-i386"], stderr=subprocess.PIPE,
                                   env={**os.environ, "EMU_CACHE": str(tmp_path)})
        wait_for(process.stderr.fileno(), b"waiting for another process")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
        assert process.stderr.read().endswith(b"emu: ended by SIGINT\n")
        process.stderr.close()


def test_a_tcp_client_is_the_console(start):
    process = start("echo", "--serial", "tcp:127.0.0.1:0")
    port = re.search(rb"tcp:127.0.0.1:(\d+)", wait_for(process.stderr.fileno(), b"\n"))[1]
    with socket.create_connection(("127.0.0.1", int(port)), PATIENCE) as client:
        wait_for(client.fileno(), b"ends")
        client.sendall(b"abc")
        wait_for(client.fileno(), b"abc")
        client.sendall(b"q")
        wait_for(client.fileno(), b"done")
    assert process.wait(PATIENCE) == 33


def test_a_pty_is_the_console(start):
    process = start("echo", "--serial", "pty")
    path = re.search(rb"/dev/\S+", wait_for(process.stderr.fileno(), b"\n"))[0]
    side = os.open(path, os.O_RDWR | os.O_NOCTTY)
    try:
        wait_for(side, b"ends")
        os.write(side, b"xyz")
        wait_for(side, b"xyz")
        os.write(side, b"q")
        assert process.wait(PATIENCE) == 33
    finally:
        os.close(side)


@pytest.fixture
def terminal():
    """A terminal: our side, and the side that the program gets."""
    ours, theirs = pty.openpty()
    yield ours, theirs
    for descriptor in (ours, theirs):
        with contextlib.suppress(OSError):
            os.close(descriptor)


def on(terminal):
    return {"stdin": terminal, "stdout": terminal, "stderr": terminal, "start_new_session": True}


def test_ctrl_a_x_leaves_with_0_and_the_terminal_as_it_was(start, terminal):
    ours, theirs = terminal
    before = termios.tcgetattr(theirs)
    process = start("echo", **on(theirs))
    wait_for(ours, b"ends")
    assert termios.tcgetattr(theirs) != before
    os.write(ours, b"\x01h")
    wait_for(ours, b"Ctrl-A x")
    os.write(ours, b"hi\x03")                           # Ctrl-C is the guest's
    wait_for(ours, b"hi\x03")
    os.write(ours, b"\x01x")
    wait_for(ours, b"left by Ctrl-A x")
    assert process.wait(PATIENCE) == 0
    assert termios.tcgetattr(theirs) == before


def test_ctrl_a_x_is_heard_though_the_guest_reads_nothing(start, terminal, tmp_path):
    ours, theirs = terminal
    before = termios.tcgetattr(theirs)
    process = start(guests.write("spin", tmp_path), **on(theirs))
    until = time.monotonic() + PATIENCE
    while termios.tcgetattr(theirs) == before and time.monotonic() < until:
        time.sleep(0.05)
    os.write(ours, b"typed ahead " * 100)
    time.sleep(0.2)
    os.write(ours, b"\x01x")
    wait_for(ours, b"left by Ctrl-A x")
    assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize("how", [("--timeout", "0.3"), ("--host-timeout", "1"), ()])
def test_every_end_leaves_the_terminal_as_it_was(how, start, terminal, tmp_path):
    theirs = terminal[1]
    before = termios.tcgetattr(theirs)
    process = start(guests.write("spin", tmp_path), "--realtime", *how, **on(theirs))
    if not how:
        until = time.monotonic() + PATIENCE
        while termios.tcgetattr(theirs) == before and time.monotonic() < until:
            time.sleep(0.05)
        process.terminate()
    assert process.wait(PATIENCE) == (4 if how else 143)
    assert termios.tcgetattr(theirs) == before


def test_an_idle_guest_on_a_terminal_takes_the_time_that_it_says(start, terminal):
    ours, theirs = terminal
    process = start("ticks", **on(theirs))
    wait_for(ours, b"100 Hz")
    began = time.monotonic()
    wait_for(ours, b"done")
    assert time.monotonic() - began > 0.35              # half a second of ticks; a bound from above would test the host
    assert process.wait(PATIENCE) == 33


def test_with_a_script_the_terminal_is_not_touched_and_ctrl_c_is_a_signal(start, terminal, tmp_path):
    ours, theirs = terminal
    before = termios.tcgetattr(theirs)
    (tmp_path / "script").write_text('expect "never"\n')
    process = start("echo", "--script", tmp_path / "script", **on(theirs))
    assert process.wait(PATIENCE) == 3                  # nobody else types: halted for good
    assert termios.tcgetattr(theirs) == before
    wait_for(ours, b"the guest died")


def test_a_halted_guest_waits_for_a_pipe_that_may_still_speak(start):
    process = start("echo", stdin=subprocess.PIPE)
    wait_for(process.stdout.fileno(), b"ends")
    time.sleep(0.3)
    assert process.poll() is None
    process.stdin.write(b"late q")
    process.stdin.flush()
    wait_for(process.stdout.fileno(), b"late ")
    assert process.wait(PATIENCE) == 33


def test_a_halted_guest_dies_when_the_pipe_is_closed(start):
    process = start("echo", stdin=subprocess.PIPE)
    wait_for(process.stdout.fileno(), b"ends")
    process.stdin.close()
    assert process.wait(PATIENCE) == 3


def test_a_reader_who_goes_away_does_no_harm(start):
    process = start("ticks")
    process.stdout.close()
    assert process.wait(PATIENCE) == 33
    assert b"Traceback" not in process.stderr.read()
