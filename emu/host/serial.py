"""The far end of a serial line: the user's terminal or pipe, a file, a TCP client, a pseudo terminal, nothing.

    channel = open_channel("stdio")      # or none  file:PATH  tcp:HOST:PORT  pty

Bytes pass as they are.  What cannot be delivered is said once and dropped, never raised into the machine.
Sources: termios(3), pty(7), poll(2), pipe(7).

Not done: telnet negotiation, a second TCP client, breaks, modem lines, a terminal that comes back from the background.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from .terminal import HELP, Keys, RawTerminal, ours, say

if TYPE_CHECKING:
    import socket

SPECS = "stdio, none, file:PATH, tcp:HOST:PORT or pty"

_READ = 4096  # bytes at once
_NAP = 0.1  # seconds: the longest sleep, because a signal that only sets a flag does not end a poll
_PENDING = 1 << 20  # bytes kept for a far end that is slow
_STALL = 10.0  # seconds that a far end may hold the guest when so many are kept
_LINGER = 1.0  # seconds for the last output at close()

_CLOSED = (errno.EPIPE, errno.ECONNRESET, errno.EIO, errno.EBADF, errno.ENOTCONN)


class BadChannel(ValueError):
    """No such channel, or it cannot be opened; the message is one line for the user."""


class Channel(Protocol):
    """The far end of a serial line."""

    @property
    def interactive(self) -> bool:
        """Whether somebody may still type."""

    @property
    def left(self) -> bool:
        """Whether the user asked to leave (Ctrl-A x)."""

    def write(self, data: bytes) -> None:
        """Send.  A far end that is gone is said once, and from then on all is dropped.  Never raises."""

    def read(self) -> bytes:
        """What has arrived, at most 4096 bytes; b"" if nothing has.  Never blocks, never raises."""

    def wait(self, seconds: float) -> None:
        """Sleep up to so many seconds, or until input arrives; at most 0.1 s, so look at the clock and call again."""

    def close(self) -> None:
        """Give everything back, the terminal as it was; idempotent."""


class Line:
    """A channel over two file descriptors, None where there is none; by itself the far end that is not there.

    A sink that is `shared` with other programs blocks, and is not ours to change: it is asked before each write.
    """

    def __init__(self, name: str, source: int | None = None, sink: int | None = None, shared: bool = False):
        self.line, self.name = "serial line", name
        self.source = source
        self.sink = sink
        self.shared = shared
        self.left = False
        self.stall = _STALL
        self.pending = bytearray()

    @property
    def interactive(self) -> bool:
        return self.source is not None

    def write(self, data: bytes) -> None:
        if self.sink is not None:
            self.pending += data
            self._flush()
            if len(self.pending) > _PENDING:
                self._overflow()

    def read(self) -> bytes:
        self._flush()
        if self.source is None or not _ready(self.source, select.POLLIN):
            return b""
        try:
            data = os.read(self.source, _READ)
        except (BlockingIOError, InterruptedError):
            return b""
        except OSError:  # a terminal that hung up, a connection that was reset
            data = b""
        if not data:
            self.source = None
        return data

    def wait(self, seconds: float) -> None:
        poll = select.poll()
        events: dict[int, int] = {}
        if self.source is not None:
            events[self.source] = select.POLLIN
        if self.sink is not None and self.pending:
            events[self.sink] = events.get(self.sink, 0) | select.POLLOUT
        for fd, mask in events.items():
            poll.register(fd, mask)
        poll.poll(min(max(seconds, 0.0), _NAP) * 1000)
        self._flush()

    def close(self) -> None:
        self._drain(min(self.stall, _LINGER), 0)
        self.source = self.sink = None
        self.pending.clear()

    def _flush(self) -> None:
        """Write what goes without blocking."""
        while self.pending and self.sink is not None:
            if self.shared and not _ready(self.sink, select.POLLOUT):
                return
            try:  # a pipe that polls writable takes PIPE_BUF bytes without blocking (pipe(7))
                sent = os.write(self.sink, self.pending[: select.PIPE_BUF] if self.shared else self.pending)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                why = "is closed" if error.errno in _CLOSED else f"cannot be written ({error.strerror})"
                say(f"the far end of the {self.line} ({self.name}) {why}: what the guest sends is dropped from here on")
                self.sink = None
                self.pending.clear()
                return
            del self.pending[:sent]

    def _overflow(self) -> None:
        """Hold the guest until half of what is pending is gone; a far end that does not read loses the oldest."""
        half = _PENDING // 2
        if not self._drain(self.stall, half):
            if self.stall:
                say(f"the far end of the {self.line} ({self.name}) does not read: it misses output from here on")
            self.stall = 0.0
            del self.pending[:-half]

    def _drain(self, seconds: float, enough: int) -> bool:
        """Write until `enough` bytes or fewer are pending; False when the time is over."""
        deadline = time.monotonic() + seconds
        while self.sink is not None and len(self.pending) > enough:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            _ready(self.sink, select.POLLOUT, min(left, _NAP))
            self._flush()
        return True


class Stdio(Line):
    """Standard input and output.  A terminal is raw until close(), with the Ctrl-A keys.

    A pipe or a file passes unchanged, Ctrl-A too: it is data, and nobody is there to press a key.  At its end
    `interactive` becomes False.  A terminal of which we are a background job is not read and not changed.
    """

    def __init__(self, source: int = 0, sink: int = 1):
        super().__init__("stdio", source, sink, shared=True)
        self.keys = Keys()
        self.raw: RawTerminal | None = None
        self.screen: int | None = None
        self.mid_line = False
        if not _is_open(source):
            self.source = None
        elif os.isatty(source):
            if ours(source):
                self.raw = RawTerminal(source)
            else:
                self.source = None
        if not _is_open(sink):
            self.sink = None
        elif os.isatty(sink):
            # opened anew, it may be made non-blocking without a change to what the shell has
            with contextlib.suppress(OSError):
                self.sink = self.screen = os.open(os.ttyname(sink), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
                self.shared = False

    def write(self, data: bytes) -> None:
        if data:
            self.mid_line = not data.endswith(b"\n")
        super().write(data)

    def read(self) -> bytes:
        sent = self.take()
        self.left = self.keys.left
        if self.keys.help:
            self.keys.help = False
            self._help()
        return sent

    def take(self) -> bytes:
        """What has arrived, without the Ctrl-A keys of a terminal, which are in `keys`."""
        data = super().read()
        return data if self.raw is None else self.keys.take(data)

    def close(self) -> None:
        if self.raw is not None and self.screen is not None and self.mid_line:
            self.write(b"\r\n")  # what the shell and we say next begins a line
        super().close()
        if self.raw is not None:
            self.raw.restore()
        if self.screen is not None:
            os.close(self.screen)
            self.screen = None

    def _help(self) -> None:
        if self.screen is None:
            for line in HELP:
                say(line)
        else:
            super().write(b"\r\n" + b"".join(line.encode() + b"\r\n" for line in HELP))


class Owned(Line):
    """A channel whose descriptors are ours: non-blocking, and closed at the end."""

    def __init__(self, name: str, source: int | None, sink: int, keep: int | None = None, line: str = "serial line"):
        super().__init__(name, source, sink)
        self.line = line
        self.fds = {fd for fd in (source, sink, keep) if fd is not None}
        os.set_blocking(sink, False)

    def close(self) -> None:
        super().close()
        while self.fds:
            with contextlib.suppress(OSError):
                os.close(self.fds.pop())


class Client(Owned):
    """One TCP client."""

    def __init__(self, name: str, connection: socket.socket):
        import socket

        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # keys are small and wanted now
        self.connection = connection
        super().__init__(name, connection.fileno(), connection.fileno())
        self.fds.clear()

    def close(self) -> None:
        super().close()
        with contextlib.suppress(OSError):  # an orderly end: what was sent still arrives
            self.connection.shutdown(1)         # SHUT_WR
        self.connection.close()


def open_channel(spec: str, stop: Callable[[], bool] | None = None) -> Channel:
    """The channel that `spec` asks for: stdio, none, file:PATH, tcp:HOST:PORT or pty.  Raises BadChannel.

    tcp waits for its client; KeyboardInterrupt ends that, and is raised too when `stop()`, asked every 0.1 s, is true.
    """
    kind, colon, rest = spec.partition(":")
    if kind == "stdio" and not colon:
        try:  # None: Python was started with the descriptor closed, and 0 or 1 may be another file by now
            return Stdio(0 if sys.__stdin__ is not None else -1, 1 if sys.__stdout__ is not None else -1)
        except (OSError, termios.error) as error:
            raise BadChannel(f"serial line stdio: the terminal cannot be used: {error.args[-1]}") from None
    if kind == "none" and not colon:
        return Line("none")
    if kind == "file" and rest:
        return _file(spec, rest)
    if kind == "tcp" and rest:
        return _tcp(spec, rest, stop or (lambda: False))
    if kind == "pty" and not colon:
        return _pty()
    raise BadChannel(f"no serial line {spec!r}: it is {SPECS}")


def open_sink(spec: str) -> Channel:
    """Where a debug console's bytes go: stdio, or a file, whose name file: may come before.  Raises BadChannel."""
    if spec == "stdio":
        return Stdio(-1, 1 if sys.__stdout__ is not None else -1)
    return _file(spec, spec.removeprefix("file:"), "debug console")


def _file(spec: str, path: str, line: str = "serial line") -> Channel:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOCTTY | os.O_NONBLOCK
    try:
        return Owned(spec, None, os.open(path, flags, 0o666), line=line)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENXIO:
            raise BadChannel(f"{line} {spec}: nobody reads from that pipe") from None
        raise BadChannel(f"{line} {spec}: {getattr(error, 'strerror', None) or error}") from None


def _tcp(spec: str, rest: str, stop: Callable[[], bool]) -> Channel:
    """Listen and wait for one client; no HOST means this machine only, port 0 any that is free; IPv6 is in []."""
    import socket

    host, _, port = rest.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise BadChannel(f"serial line {spec}: it is tcp:HOST:PORT, PORT from 0 to 65535")
    name = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(name, int(port), type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(1)
            say(f"the serial line waits for a client on tcp:{host or name}:{listener.getsockname()[1]}")
            while not _ready(listener.fileno(), select.POLLIN, _NAP):
                if stop():
                    raise KeyboardInterrupt
            return Client(spec, listener.accept()[0])
    except (OSError, UnicodeError) as error:
        raise BadChannel(f"serial line {spec}: {getattr(error, 'strerror', None) or error}") from None


def _pty() -> Channel:
    """A pseudo terminal; what is sent before anyone opens it is kept, and the oldest lost without a word."""
    try:
        far, near = os.openpty()
    except OSError as error:
        raise BadChannel(f"serial line pty: {error.strerror}") from None
    tty.setraw(near, termios.TCSANOW)
    say(f"the serial line is {os.ttyname(near)}")
    # near stays open, so that the far side neither hangs up nor forgets that it is raw when its user comes and goes
    channel = Owned("pty", far, far, keep=near)
    channel.stall = 0.0
    return channel


def _ready(fd: int, events: int, seconds: float = 0.0) -> bool:
    """Whether poll has anything to say of `fd`: an error or a hang-up too, which the next call will tell."""
    poll = select.poll()
    poll.register(fd, events)
    return bool(poll.poll(seconds * 1000))


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
