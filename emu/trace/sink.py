"""The recorder's side of a trace: shared memory for block numbers, a pipe for the rest, a process that writes.

The writer has a process of its own because compressing takes as long as recording: the two share nothing but the segments,
and the recorder waits only when all of them are full.  The memory is bounded whatever the length.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import select
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emu.trace import layout

SEGMENTS = 6
LEAST = 16 << 20                # bytes of a segment


class TraceError(OSError):
    """A trace cannot be written: one line that says why."""


class Sink:
    """An emu.engine.Sink that writes the directory `path`; `room`: the bytes that a slice of the machine may need.

    Raises TraceError if the directory cannot be made, or holds anything.
    """

    def __init__(self, path: str | os.PathLike[str], meta: Mapping[str, Any], room: int = 0) -> None:
        self.path = Path(path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if any(self.path.iterdir()):
                raise TraceError(f"{path}: a trace needs a new or an empty directory")
        except OSError as error:
            raise error if isinstance(error, TraceError) else TraceError(f"{path}: {error.strerror}") from None
        self.length = max(LEAST, 2 * room)
        memory = os.memfd_create("emu-trace")
        try:
            os.ftruncate(memory, self.length * SEGMENTS)
            self._memory = mmap.mmap(memory, self.length * SEGMENTS)
            self._view = memoryview(self._memory)
            self._child = subprocess.Popen(
                [sys.executable, "-m", "emu.trace.writer", str(self.path), str(memory), str(self.length)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=[memory],
                env={**os.environ, "POLARS_MAX_THREADS": "1"}, start_new_session=True)
        finally:
            os.close(memory)
        self._free, self._now = list(range(SEGMENTS)), 0
        self.failure: str | None = None             # the writer's last word: the guest goes on, unrecorded
        self._names: dict[str, int] = {}
        self._say(layout.META, json.dumps(meta).encode())

    # -- what the recorder calls

    def segment(self) -> memoryview:
        while not self._free and self.failure is None:
            self._done(None)
        self._now = self._free.pop() if self._free else self._now
        return self._view[self._now * self.length:(self._now + 1) * self.length]

    def blocks(self, position: int, count: int) -> None:
        if self.failure is None:
            self._say(layout.SEGMENT, b"", position, self._now, count * layout.NUMBER)
        self._done(0)

    def definitions(self, data: bytes, first: int, position: int) -> None:
        self._say(layout.DEFINITIONS, data, position * layout.NUMBER - first)

    def events(self, data: bytes, first: int, position: int) -> None:
        self._say(layout.EVENTS, data, position * layout.NUMBER - first)

    def name(self, text: str) -> int:
        """The number by which events know a name."""
        number = self._names.get(text)
        if number is None:
            number = self._names[text] = len(self._names)
            self._say(layout.NAMES, text.encode())
        return number

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
