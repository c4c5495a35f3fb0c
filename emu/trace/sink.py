"""The recorder's side of a trace: shared memory for block numbers, a pipe for the rest, a process that writes.

The writer has a process of its own because compressing takes as long as recording: the two share nothing but the segments,
and the recorder waits only when all of them are full.  The memory is bounded whatever the length.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import mmap
import os
import select
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emu.trace import layout
from emu.trace.layout import TraceError
from emu.trace.window import FOREVER, Gate, Window

SEGMENTS = 4
LENGTH = 8 << 20                # bytes of a segment
PIPE = 1 << 20                  # bytes that the writer may be behind with the rest before the recorder waits
PERIOD = 0.5                    # seconds of the host's time after which the writer gets all that there is


def prepare(path: str | os.PathLike[str]) -> int:
    """Make the directory `path`; it is the caller's until he closes the descriptor that he gets.

    Raises TraceError if it cannot be made or written, holds anything, or is somebody else's.
    """
    directory = Path(path)
    if directory.exists() and not directory.is_dir():
        raise TraceError(f"{path}: a trace is a directory, and this is none")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        mine = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            _claim(mine, path)
            if any(directory.iterdir()):
                raise TraceError(f"{path}: a trace needs a new or an empty directory")
            probe = directory / f".{layout.META_FILE}"
            probe.touch()
            probe.unlink()
        except BaseException:
            os.close(mine)
            raise
    except OSError as error:
        raise error if isinstance(error, TraceError) else TraceError(f"{path}: {error.strerror}") from None
    return mine


def _claim(directory: int, path: str | os.PathLike[str]) -> None:
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise TraceError(f"{path}: another recorder writes into it") from None
    except OSError:
        pass                                        # a file system without locks


class Sink:
    """An emu.engine.Sink that writes the directory `path`, which is prepared, as far as `window` lets it."""

    def __init__(self, path: str | os.PathLike[str], meta: Mapping[str, Any], window: Window | None = None) -> None:
        self.path = Path(path)
        self.length = LENGTH
        memory = os.memfd_create("emu-trace")
        try:
            os.ftruncate(memory, self.length * SEGMENTS)
            self._memory = mmap.mmap(memory, self.length * SEGMENTS)
            self._view = memoryview(self._memory)
            self._child = subprocess.Popen(
                [sys.executable, "-m", "emu.trace.writer", str(self.path), str(memory), str(self.length)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=[memory],
                env={**os.environ, "POLARS_MAX_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}, start_new_session=True)
        finally:
            os.close(memory)
        assert self._child.stdin
        with contextlib.suppress(OSError):          # more than a user may have: then it stays small
            fcntl.fcntl(self._child.stdin, fcntl.F_SETPIPE_SZ, PIPE)
        self._free, self._now = list(range(SEGMENTS)), 0
        self.failure: str | None = None             # the writer's last word: the guest goes on, unrecorded
        self._names: dict[str, int] = {}
        self._log = meta.get("level") == "events"
        self.memory = meta.get("level") == "memory"
        self._sent = time.monotonic()
        window = window or Window()
        gated = window.time is not None or window.start is not None or window.end is not None
        self.gate = Gate(window, self._turn) if gated else None
        self._say(layout.META, json.dumps({**meta, "window": window.told(), "gated": gated}).encode())

    def _turn(self, position: int, open_: bool) -> None:
        self._say(layout.GATE, b"", position, int(open_))

    # -- what the recorder calls

    def segment(self) -> memoryview:
        while not self._free and self.failure is None:
            self._done(None)
        self._now = self._free.pop() if self._free else self._now
        return self._view[self._now * self.length:(self._now + 1) * self.length]

    def blocks(self, position: int, count: int) -> None:
        self._sent = time.monotonic()
        if self.failure is None and not self._log and (self.gate is None or self.gate.overlaps(position, position + count)):
            self._say(layout.SEGMENT, b"", position, self._now, count * layout.NUMBER)
            self._done(0)
        else:
            self._free.append(self._now)

    def definitions(self, data: bytes, first: int, position: int, anew: bool = False) -> None:
        self._say(layout.DEFINITIONS, data, position * layout.NUMBER - first)

    def events(self, data: bytes, first: int, position: int) -> None:
        self._rows(layout.EVENTS, data, layout.EVENT.size, position * layout.NUMBER - first)

    def accesses(self, data: bytes, first: int, position: int) -> None:
        self._rows(layout.ACCESSES, data, layout.ACCESS.size, position * layout.NUMBER - first)

    def _rows(self, letter: bytes, data: bytes, size: int, base: int) -> None:
        """Rows that begin with their raw position, unless all are outside of the windows."""
        if self.gate is not None:
            start, end = (struct.unpack_from("<Q", data, at)[0] + base for at in (0, len(data) - size))
            if not self.gate.overlaps(start // layout.NUMBER, end // layout.NUMBER):
                return
        self._say(letter, data, base)

    def look(self, position: int, time_: int) -> tuple[bool, int]:
        return time.monotonic() - self._sent > PERIOD, FOREVER if self.gate is None else self.gate.look(position, time_)

    def name(self, text: str) -> int:
        """The number by which events know a name."""
        number = self._names.get(text)
        if number is None:
            number = self._names[text] = len(self._names)
            self._say(layout.NAMES, text.encode())
        return number

    def symbols(self, memory: memoryview) -> None:
        """Names of addresses that the machine itself knew, by the part of its memory that holds them."""
        self._say(layout.SYMBOLS, bytes(memory))

    # -- the writer

    def _done(self, wait: float | None) -> None:
        """Take back what the writer has done with; wait for it so many seconds (None: as long as it takes)."""
        out = self._child.stdout
        assert out
        if self.failure is None and select.select([out], [], [], wait)[0]:
            done = os.read(out.fileno(), SEGMENTS)
            self._free += done
            if not done:
                self._fail()

    def _say(self, letter: bytes, data: bytes, position: int = 0, segment: int = 0, length: int | None = None) -> None:
        if self.failure is not None:
            return
        pipe = self._child.stdin
        assert pipe
        try:
            pipe.write(layout.HEAD.pack(letter, segment, position, len(data) if length is None else length) + data)
            pipe.flush()
        except BrokenPipeError:
            self._fail()

    def _fail(self) -> None:
        self._child.wait()
        assert self._child.stderr
        said = self._child.stderr.read().decode(errors="replace").strip().splitlines()
        self.failure = said[-1] if said else f"the writer ended with status {self._child.returncode}"
        self._free = list(range(SEGMENTS))

    def close(self, meta: Mapping[str, Any] | None = None) -> None:
        """Wait until all is written.  Raises TraceError if it was not."""
        self._say(layout.CLOSE, json.dumps(meta or {}).encode())
        assert self._child.stdin
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.close()
        assert self._child.stderr and self._child.stdout
        said = self._child.stderr.read().decode(errors="replace").strip().splitlines()
        if self._child.wait() and self.failure is None:
            self.failure = said[-1] if said else f"the writer ended with status {self._child.returncode}"
        for out in (self._child.stdout, self._child.stderr):
            out.close()
        self._view.release()
        if self.failure is not None:
            raise TraceError(f"{self.path}: {self.failure}")
