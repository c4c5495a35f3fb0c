"""The far ends of a serial line: file, TCP, pseudo terminal, and each when its other side goes away."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from emu.host import serial
from emu.host.serial import BadChannel, open_channel
from tests.host.lines import LIMIT, read_fd, read_until

# none, file


def test_none_takes_all_and_gives_nothing():
    channel = open_channel("none")
    channel.write(b"gone")
    assert channel.read() == b"" and not channel.interactive and not channel.left
    channel.close()


def test_a_file_holds_what_was_written(tmp_path, capfd):
    path = tmp_path / "log:1"  # a path may hold colons
    path.write_bytes(b"what was there before, which is replaced")
    channel = open_channel(f"file:{path}")
    channel.write(b"one\r\n")
    assert path.read_bytes() == b"one\r\n"  # at once: it can be followed
    channel.write(bytes(range(256)))
    channel.close()
    channel.close()
    channel.write(b"late")
    assert path.read_bytes() == b"one\r\n" + bytes(range(256))
    assert not channel.interactive
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_is_said_once(capfd):
    channel = open_channel("file:/dev/full")
    channel.write(b"x")
    channel.write(b"x")
    channel.close()
    err = capfd.readouterr().err
    assert err.count("\n") == 1 and "No space left on device" in err


@pytest.mark.parametrize(
    "spec",
    ["", "stdin", "stdio:", "none:x", "pty:1", "file", "file:", "tcp:", "tcp:4444x", "tcp:localhost", "tcp:h:65536",
     "tcp:h:-1", "tcp:h:", "file:/no/such/place", "file:/", "file:a\0b", "tcp:999.1.1.1:0"],
)  # fmt: skip
def test_a_bad_specification_is_one_line_that_names_it(spec):
    with pytest.raises(BadChannel) as error:
        open_channel(spec)
    assert "\n" not in str(error.value)
    assert spec in str(error.value) or "\0" in spec


def test_a_pipe_without_a_reader_is_refused(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(BadChannel, match="nobody reads"):
        open_channel(f"file:{tmp_path / 'fifo'}")


# tcp


@pytest.fixture
def client(monkeypatch):
    """A channel and the client that it waited for."""
    said = []
    waiting = threading.Event()
    monkeypatch.setattr(serial, "say", lambda text: (said.append(text), waiting.set()))
    far = []

    def connect():
        assert waiting.wait(LIMIT)
        far.append(socket.create_connection(("127.0.0.1", int(said[0].rpartition(":")[2])), LIMIT))

    thread = threading.Thread(target=connect)
    thread.start()
    deadline = time.monotonic() + LIMIT
    channel = open_channel("tcp:127.0.0.1:0", stop=lambda: time.monotonic() > deadline)
    thread.join()
    yield channel, far[0], said
    channel.close()
    far[0].close()


def test_tcp_says_where_it_waits_and_carries_bytes_both_ways(client):
    channel, far, said = client
    assert said[0].startswith("the serial line waits for a client on tcp:127.0.0.1:") and not said[0].endswith(":0")
    channel.write(b"login: \xff\xfd")
    assert read_fd(far.fileno(), 9) == b"login: \xff\xfd"
    far.sendall(b"root\r\x01x")
    assert read_until(channel, lambda data: len(data) >= 7) == b"root\r\x01x"
    assert channel.interactive and not channel.left
    channel.close()
    assert far.recv(1) == b""


def test_a_client_that_disconnects_is_said_once(client):
    channel, far, said = client
    far.close()
    deadline = time.monotonic() + LIMIT
    while channel.interactive:
        assert time.monotonic() < deadline
        channel.wait(0.1)
        assert channel.read() == b""
    while len(said) < 2:
        assert time.monotonic() < deadline
        channel.write(b"x")
    channel.write(b"x")
    assert len(said) == 2 and "is closed" in said[1]


def test_a_client_that_only_closed_its_sending_half_still_gets_output(client):
    channel, far, _ = client
    far.sendall(b"in")
    far.shutdown(socket.SHUT_WR)
    assert read_until(channel, lambda _: not channel.interactive) == b"in"
    channel.write(b"out")
    assert read_fd(far.fileno(), 3) == b"out"


def test_what_was_written_just_before_the_end_arrives(client):
    channel, far, _ = client
    sent = os.urandom(500_000)
    got = bytearray()

    def take():
        while piece := far.recv(65536):
            got.extend(piece)

    thread = threading.Thread(target=take)
    thread.start()
    channel.write(sent)
    channel.close()
    thread.join(LIMIT)
    assert got == sent


def test_a_port_in_use_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as other:
        spec = f"tcp:127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(BadChannel, match="in use") as error:
            open_channel(spec)
    assert spec in str(error.value)


def test_waiting_for_a_client_can_be_given_up(capfd):
    with pytest.raises(KeyboardInterrupt):
        open_channel("tcp::0", stop=lambda: True)
    assert "tcp:127.0.0.1:" in capfd.readouterr().err  # no HOST: this machine only


def test_ctrl_c_ends_the_wait_for_a_client():
    code = "from emu.host.serial import open_channel; open_channel('tcp:127.0.0.1:0')"
    child = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    assert child.stderr is not None and b"waits for a client" in child.stderr.readline()
    child.send_signal(signal.SIGINT)
    assert b"KeyboardInterrupt" in child.communicate(timeout=LIMIT)[1]


# pty


def test_pty_prints_its_path_and_carries_bytes_both_ways(monkeypatch):
    said = []
    monkeypatch.setattr(serial, "say", said.append)
    channel = open_channel("pty")
    path = said[0].rpartition(" ")[2]
    channel.write(b"before anyone came\r\n")
    near = os.open(path, os.O_RDWR | os.O_NOCTTY)
    assert read_fd(near, 20) == b"before anyone came\r\n"
    os.write(near, b"root\r\x03")
    assert read_until(channel, lambda data: len(data) >= 6) == b"root\r\x03"  # raw: nothing is cooked
    os.close(near)
    channel.write(b"away")
    assert channel.read() == b"" and channel.interactive
    near = os.open(path, os.O_RDWR | os.O_NOCTTY)  # its user comes back
    os.write(near, b"!")
    assert read_until(channel, lambda data: data) == b"!"
    assert read_fd(near, 4) == b"away"
    os.close(near)
    channel.close()
    assert len(said) == 1


def test_pty_without_a_user_never_blocks(monkeypatch):
    monkeypatch.setattr(serial, "say", lambda text: None)
    channel = open_channel("pty")
    start = time.monotonic()
    for _ in range(30):
        channel.write(bytes(100_000))
    channel.close()
    assert time.monotonic() - start < 2.0


def test_channels_give_their_descriptors_back(monkeypatch, tmp_path):
    monkeypatch.setattr(serial, "say", lambda text: None)
    before = sorted(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else pytest.skip("no /proc here")
    for _ in range(3):
        open_channel("pty").close()
        open_channel(f"file:{tmp_path / 'f'}").close()
        with pytest.raises(KeyboardInterrupt):
            open_channel("tcp:127.0.0.1:0", stop=lambda: True)
    assert sorted(os.listdir("/proc/self/fd")) == before
