"""The user's terminal: raw mode and its end, the Ctrl-A keys, and lines of our own while a guest owns the screen.

Sources: termios(3); QEMU's system emulator manual, "Keys in the character backend multiplexer", for Ctrl-A.

Not done: stopping (Ctrl-Z goes to the guest) and the size of the window, which a serial line cannot carry.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import termios

ESCAPE = 0x01  # Ctrl-A

HELP = (
    "Ctrl-A h    this help",
    "Ctrl-A x    leave",
    "Ctrl-A Ctrl-A    send Ctrl-A to the guest",
)

SCREEN_HELP = (
    *HELP[:2],
    "Ctrl-A d    press Ctrl-Alt-Del",
    "Ctrl-A s    write what the screen shows into screenshot-N.png",
    HELP[2],
)

_raw = 0  # how many terminals are raw: then a line of ours must bring its own carriage return
_held: list[str] | None = None  # lines that wait, while a guest's screen fills the terminal


def hold(on: bool) -> None:
    """Keep what is said until `hold(False)`, which says it."""
    global _held
    kept, _held = _held or [], [] if on else None
    for text in kept:
        say(text)


def say(text: str) -> None:
    """One line on standard error, right also while the terminal is raw.  It never raises."""
    if _held is not None:
        if len(_held) < 100:
            _held.append(text)
        return
    end = "\r\n" if _raw else "\n"
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"emu: {text}{end}")
        sys.stderr.flush()


class RawTerminal:
    """The terminal behind `fd`, raw until restore(); also restored at exit.  Raises termios.error when it is none.

    Every key goes to the guest, Ctrl-C too, and output is not touched: a guest that moves the cursor down with a bare
    line feed must not be given a carriage return.
    """

    def __init__(self, fd: int):
        global _raw
        self.fd = fd
        self.saved = termios.tcgetattr(fd)
        self.active = True
        iflag, oflag, cflag, lflag, ispeed, ospeed, cc = termios.tcgetattr(fd)
        iflag &= ~(termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP)
        iflag &= ~(termios.INLCR | termios.IGNCR | termios.ICRNL | termios.IXON | termios.IXOFF)
        oflag &= ~termios.OPOST
        lflag &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.IEXTEN | termios.ISIG)
        cflag = cflag & ~(termios.CSIZE | termios.PARENB) | termios.CS8
        cc[termios.VMIN], cc[termios.VTIME] = 1, 0
        atexit.register(self.restore)
        # NOW, not DRAIN: a terminal whose far end does not read must not hold us
        termios.tcsetattr(fd, termios.TCSANOW, [iflag, oflag, cflag, lflag, ispeed, ospeed, cc])
        _raw += 1

    def restore(self) -> None:
        """Put the terminal back as it was; idempotent, and silent when the terminal is gone."""
        global _raw
        if not self.active:
            return
        self.active = False
        _raw -= 1
        atexit.unregister(self.restore)
        with contextlib.suppress(termios.error, OSError):
            termios.tcsetattr(self.fd, termios.TCSANOW, self.saved)


class Keys:
    """What is typed, with the Ctrl-A keys taken out; `left` and `help` say that they were pressed.

    `more`: further keys of the menu, in lower case; which were pressed is in `asked`.
    """

    def __init__(self, more: bytes = b"") -> None:
        self.more, self.asked = more, bytearray()
        self.escaped = False
        self.left = False
        self.help = False

    def take(self, typed: bytes) -> bytes:
        """The bytes of `typed` that are for the guest; what follows Ctrl-A x is dropped."""
        if not self.escaped and ESCAPE not in typed:
            return typed
        sent = bytearray()
        for key in typed:
            if not self.escaped:
                self.escaped = key == ESCAPE
                if not self.escaped:
                    sent.append(key)
                continue
            self.escaped = False
            if key == ESCAPE:
                sent.append(key)
            elif key in b"xX":
                self.left = True
                break
            elif key in b"hH?":
                self.help = True
            elif key | 0x20 in self.more:
                self.asked.append(key | 0x20)
        return bytes(sent)


def ours(fd: int) -> bool:
    """Whether `fd` is a terminal that we may read: a background job that does is stopped (SIGTTIN, termios(3))."""
    if not os.isatty(fd):
        return False
    try:
        foreground = os.tcgetpgrp(fd)
    except OSError:  # not our controlling terminal: then there is no job control on it
        return True
    return foreground in (0, os.getpgrp())  # 0: its group lives in another process namespace
