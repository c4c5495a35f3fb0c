"""The directory of a measurement: of this process alone, and gone with it, however it ends (see janitor.py)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from emu.cost import janitor

PREFIX = "emu-cost-"
LOCK = "lock"


class NoRoom(Exception):
    """There is no place for files: one line."""


class Room:
    """`with Room() as directory`.  Raises NoRoom."""

    def __init__(self) -> None:
        try:
            self.directory = Path(tempfile.mkdtemp(prefix=PREFIX))
        except OSError as error:
            raise NoRoom(f"no directory for temporary files (TMPDIR): {error.strerror or error}") from None
        self.life = -1
        self.janitor: subprocess.Popen[bytes] | None = None
        try:
            self._hold()
            hearing, self.life = os.pipe()
            try:
                self.janitor = subprocess.Popen(
                    [sys.executable, "-S", "-E", janitor.__file__, str(self.directory), str(hearing)], pass_fds=(hearing,),
                    start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    cwd="/")
            finally:
                os.close(hearing)
        except BaseException as error:                  # ^C, too: without a janitor the directory would stay
            self.close()
            if isinstance(error, OSError):
                raise NoRoom(f"{self.directory} cannot be used: {error.strerror or error}") from None
            raise
        sweep_old()

    def _hold(self) -> None:
        self.lock = os.open(self.directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self.lock, fcntl.LOCK_EX)

    def close(self) -> None:
        """Everything in it, and of it, goes."""
        if self.life >= 0:
            os.close(self.life)
            self.life = -1
        if self.janitor is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.janitor.wait(30)
            self.janitor = None
        janitor.sweep(self.directory)

    def __enter__(self) -> Path:
        return self.directory

    def __exit__(self, *exception: object) -> None:
        self.close()


def sweep_old() -> None:
    """What a measurement of this user left whose janitor was killed, too: nobody holds its lock."""
    for directory in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if directory.stat().st_uid != os.geteuid():
                continue
            lock = os.open(directory / LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                janitor.sweep(directory)
            finally:
                os.close(lock)
