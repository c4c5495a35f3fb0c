"""The processes that are measured: each is ours, has a time limit, dies with us, and is ended by its own handle alone.

What one writes on standard output: 1 when its work begins, 2 when it has ended, then text, then 3.  The text is the result
in decimal, or 48 letters (see program.asm), or "result cpu wall" or "result cpu wall start_cpu start_wall" in decimal and
ns; the number of exits may follow.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PR_SET_PDEATHSIG = 1
STUCK = 10.0                    # s that what was killed may take to end
SLACK = 1 << 20                 # bytes that a child takes before it becomes another program


class FormError(Exception):
    """A run has failed: one line."""


class NoEnd(FormError):
    """It took longer than a run may."""


@dataclass(frozen=True)
class Sample:
    """One run: what it computed; CPU and wall seconds of the work, of all before it, and of the whole; peak memory, bytes.

    `exits`: how often the work left the guest's own code for what imitates its machine; None where nobody counts.
    """

    result: int
    cpu: float
    wall: float
    start_cpu: float
    start_wall: float
    whole_cpu: float
    whole_wall: float
    peak: int
    exits: int | None = None


_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """In a child, before it becomes another program: prctl(2) of Linux."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def process_clock(pid: int) -> int:
    """The CPU clock of another process, as clock_getcpuclockid(3) of Linux makes it."""
    return ~pid << 3 | 2


def _letters(text: bytes) -> int:
    value = 0
    for letter in text:
        value = value << 4 | letter - ord("a")
    return value


class Child:
    """A process that writes marks."""

    def __init__(self, command: Sequence[str], *, inside: Callable[[], None] | None = None, cwd: str | Path | None = None,
                 environment: Mapping[str, str] | None = None, ask: bool = False) -> None:
        def before() -> None:
            die_with_parent()
            if inside is not None:
                inside()

        self.name = os.path.basename(command[0])
        self.floor = resident() + SLACK
        self.began = time.monotonic()
        self.text = bytearray()
        try:
            self.child = subprocess.Popen(
                command, stdin=subprocess.PIPE if ask else subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                cwd=cwd, env=environment, preexec_fn=before)
        except (OSError, subprocess.SubprocessError) as error:
            raise FormError(f"{self.name} does not start: {error}") from None
        self.peak = 0
        self.errors = bytearray()

    def cpu(self) -> float:
        """CPU seconds so far."""
        try:
            return time.clock_gettime(process_clock(self.child.pid))
        except OSError:
            return 0.0

    def ask(self, line: str) -> None:
        """Write a line to it."""
        assert self.child.stdin
        try:
            self.child.stdin.write(line.encode() + b"\n")
            self.child.stdin.flush()
        except OSError:
            pass                                        # its end shows in `answer`, with the reason

    def answer(self, limit: float) -> tuple[list[tuple[float, float]], list[int]]:
        """(CPU, wall) at its two marks, and the numbers after the second.  Raises FormError."""
        assert self.child.stdout and self.child.stderr
        deadline = time.monotonic() + limit
        marks: list[tuple[float, float]] = []
        text = bytearray()
        streams = [self.child.stdout.fileno(), self.child.stderr.fileno()]
        while streams:
            ready = select.select(streams, [], [], max(0.0, deadline - time.monotonic()))[0]
            if not ready:
                raise NoEnd(f"no end after {limit:.0f} s")
            for stream in ready:
                data = os.read(stream, 1 << 16)
                if not data:
                    streams.remove(stream)
                elif stream != self.child.stdout.fileno():
                    self.errors = (self.errors + data)[-4000:]
                else:
                    now = self.cpu(), time.monotonic()
                    for byte in data:
                        if byte in (1, 2):
                            marks.append(now)
                            self.peak = max(self.peak, peak_of(self.child.pid))
                            text.clear()
                        elif byte == 3:
                            return marks, self._numbers(bytes(text), marks)
                        else:
                            text.append(byte)
        raise FormError(self._last(bytes(text)))

    def _numbers(self, text: bytes, marks: list[tuple[float, float]]) -> list[int]:
        if len(marks) != 2:
            raise FormError("it did not say when its work began and ended")
        try:
            if len(text) == 48 and text.isalpha():
                return [_letters(text[at:at + 16]) for at in (0, 16, 32)]
            return [int(number) for number in text.split()]
        except ValueError:
            raise FormError(f"its result is {text[:60]!r}") from None

    def _last(self, text: bytes) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.child.wait(1)
        status = self.child.returncode
        lines = (bytes(self.errors).strip() or text.strip()).decode("utf-8", "replace").splitlines()
        how = f"killed by {signal.Signals(-status).name}" if status is not None and status < 0 else f"status {status}"
        if self.name == "work" and status is not None and status > 0:
            how = os.strerror(status)                   # program.asm leaves with the error of its system call
        return f"{how}: {lines[-1][:200]}" if lines else how

    def end(self, kill: bool = True, limit: float = 10) -> tuple[float, float]:
        """Wait for its end, or bring it about; its CPU seconds with those of its children, and its wall seconds."""
        deadline = time.monotonic() + limit
        used = None
        while self.child.returncode is None:
            if kill or time.monotonic() > deadline:
                os.kill(self.child.pid, signal.SIGKILL)         # not reaped yet, so the number is still its own
            pid, status, ended = os.wait4(self.child.pid, os.WNOHANG)
            if pid:
                self.child.returncode, used = os.waitstatus_to_exitcode(status), ended
            elif time.monotonic() > deadline + STUCK:           # it is in a call of a driver that no signal ends
                break
            else:
                time.sleep(0.0005)
        wall = time.monotonic() - self.began
        for stream in (self.child.stdin, self.child.stdout, self.child.stderr):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()
        if used is None:
            return 0.0, wall
        peak = used.ru_maxrss << 10
        if peak > self.floor or not self.peak:          # below, it is that of this process, before the child became another
            self.peak = peak
        return used.ru_utime + used.ru_stime, wall


def resident() -> int:
    """What this process has in memory now, in bytes: a child has as much, until it becomes another program."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def peak_of(pid: int) -> int:
    """The largest resident set of a running process, in bytes; 0 if nobody knows."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    except (OSError, ValueError):
        pass
    return 0


def once(command: Sequence[str], limit: float, *, own: bool = False, stays: bool = False,
         inside: Callable[[], None] | None = None, cwd: str | Path | None = None,
         environment: Mapping[str, str] | None = None) -> Sample:
    """Start a process, let it work and end.  `own`: it tells its times; `stays`: it does not end by itself."""
    child = Child(command, inside=inside, cwd=cwd, environment=environment)
    done = False
    try:
        marks, numbers = child.answer(limit)
        done = True
    finally:
        whole_cpu, whole_wall = child.end(kill=stays or not done)
    cpu, wall = (number / 1e9 for number in numbers[1:3]) if own else (marks[1][0] - marks[0][0], marks[1][1] - marks[0][1])
    start = marks[0][1] - child.began
    return Sample(numbers[0], cpu, wall, max(0.0, whole_cpu - cpu) if own else marks[0][0], start, whole_cpu, whole_wall,
                  child.peak, numbers[3] if len(numbers) > 3 else None)


class Session:
    """A process that is asked again and again.

    It tells "result cpu wall start_cpu start_wall", or less: then its start is that of the process, the first time, and its
    work is between its marks.
    """

    def __init__(self, command: Sequence[str], cwd: str | Path | None = None) -> None:
        self.command, self.cwd = command, cwd
        self.child: Child | None = None

    def ask(self, line: str, limit: float) -> Sample:
        first = self.child is None
        child = self.child = self.child or Child(self.command, ask=True, cwd=self.cwd)
        begun = child.cpu(), time.monotonic()
        child.ask(line)
        try:
            marks, numbers = child.answer(limit)
        except FormError:
            self.close()
            raise
        result, *times = numbers
        cpu, wall = [time_ / 1e9 for time_ in times[:2]] or [marks[1][n] - marks[0][n] for n in (0, 1)]
        if times[2:]:
            start_cpu, start_wall = (time_ / 1e9 for time_ in times[2:4])
        else:
            since = (0.0, child.began) if first else begun
            start_cpu, start_wall = (marks[0][n] - since[n] for n in (0, 1))
        return Sample(result, cpu, wall, start_cpu, start_wall, cpu + start_cpu, wall + start_wall, peak_of(child.child.pid),
                      times[4] if times[4:] else None)

    def spawn(self, line: str, limit: float) -> Sample:
        """The whole life of a process of its own, which does what `line` says."""
        try:
            self.ask(line, limit)
            child = self.child
            assert child
            cpu, wall = self.leave()
            return Sample(0, cpu, wall, 0, 0, cpu, wall, child.peak)
        finally:
            self.close()

    def leave(self, limit: float = 10) -> tuple[float, float]:
        """Let it end by itself, for nothing more is asked; its CPU and wall seconds."""
        self.hang_up()
        child, self.child = self.child, None
        return (0.0, 0.0) if child is None else child.end(kill=False, limit=limit)

    def hang_up(self) -> None:
        """Nothing more is asked: it begins to end."""
        if self.child is not None and self.child.child.stdin:
            with contextlib.suppress(OSError):
                self.child.child.stdin.close()

    def close(self) -> None:
        if self.child is not None:
            self.child.end()
            self.child = None
