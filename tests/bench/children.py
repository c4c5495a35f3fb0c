"""The processes that are measured: each is ours, has a time limit, and is ended by its own handle alone."""

from __future__ import annotations

import json
import math
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from emu.host import fetch
from tests.bench.catalog import BOOT_MEMORY, MIB, QEMU, UNICORN, BenchError, Row
from tests.bench.marks import Marks

ROOT = Path(__file__).parents[2]
NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"     # an installed program keeps it, and so does what is measured
WORK_LIMIT, BOOT_LIMIT = 120, 900           # s of the host's time


@dataclass(frozen=True)
class Measured:
    """One run: CPU seconds, what the guest computed, and for a whole process its peak memory in bytes."""

    seconds: float
    result: int | None = None
    peak: int | None = None


@dataclass(frozen=True)
class Ended:
    """A child that is over: its user and system seconds, and its largest resident set in bytes."""

    status: int
    output: bytes
    errors: str
    seconds: float
    peak: int


def run(command: list[str], limit: float, until: Callable[[bytes], bool] = lambda data: False,
        started: Callable[[int], None] = lambda pid: None) -> Ended:
    """Run a child to its end, or until `until(its next output)`; then it is killed.  Raises BenchError when time is out."""
    deadline = time.monotonic() + limit
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT,
                             env={name: value for name, value in os.environ.items() if name != NO_BYTECODE})
    with child:
        kill = True
        try:
            started(child.pid)
            output, errors, how = _listen(child, deadline, until)
            kill = how != "closed"
        finally:
            status, used = _reap(child, deadline, kill)
    if how == "late" or (how == "closed" and time.monotonic() > deadline):
        raise BenchError(f"{command[0]}: no end after {limit:.0f} s; the last it wrote: {bytes(output[-200:])!r}")
    return Ended(status, bytes(output), errors.decode("utf-8", "replace"), used.ru_utime + used.ru_stime,
                 used.ru_maxrss << 10)


def _listen(child: subprocess.Popen[bytes], deadline: float, until: Callable[[bytes], bool]) -> tuple[bytes, bytes, str]:
    """(standard output, standard error, how it ended: "late", "until", or "closed" by the child)."""
    assert child.stdout and child.stderr
    output, errors = bytearray(), bytearray()
    open_ = {child.stdout.fileno(): output, child.stderr.fileno(): errors}
    while open_:
        ready = select.select(list(open_), [], [], max(deadline - time.monotonic(), 0))[0]
        if not ready:
            return output, errors, "late"
        for fd in ready:
            data = os.read(fd, 1 << 16)
            open_[fd].extend(data)
            if not data:
                del open_[fd]
            elif fd == child.stdout.fileno() and until(data):
                return output, errors, "until"
    return output, errors, "closed"


def _reap(child: subprocess.Popen[bytes], deadline: float, kill: bool) -> tuple[int, resource.struct_rusage]:
    """The exit status and what was used; not by Popen, which would throw that away."""
    while True:
        if kill or time.monotonic() > deadline:
            os.kill(child.pid, signal.SIGKILL)          # not reaped yet, so the number is still its own
            kill = False
            deadline = math.inf
        pid, status, used = os.wait4(child.pid, 0 if deadline == math.inf else os.WNOHANG)
        if pid:
            child.returncode = os.waitstatus_to_exitcode(status)
            return child.returncode, used
        time.sleep(0.01)


# -- workloads

def workload(engine: str, row: Row, image: Path, disk: Path | None = None) -> Measured:
    """One run of a workload.  Raises BenchError."""
    if engine == QEMU:
        return _workload_in_qemu(image, disk)
    return _workload_in_python(UNICORN if engine == UNICORN else row.board, image, disk)


def _workload_in_python(board: str, image: Path, disk: Path | None) -> Measured:
    ended = run([sys.executable, "-m", "tests.bench.guest", board, str(image), *([str(disk)] if disk else [])], WORK_LIMIT)
    if ended.status:
        raise BenchError(f"{image.name} on {board}: {_last(ended)}")
    outcome = json.loads(ended.output)
    return Measured(outcome["seconds"], outcome["result"])


def _workload_in_qemu(image: Path, disk: Path | None) -> Measured:
    """The clock is the process's own, read when a mark arrives; the guest sleeps for a tick after the first (SETTLE)."""
    clock: list[int] = []
    marks = Marks(lambda: time.clock_gettime(clock[0]))

    def until(data: bytes) -> bool:
        marks(data)
        return marks.complete

    program = find("qemu-system-i386")
    ended = run([program, "-accel", "tcg", "-m", "64", "-display", "none", "-nodefaults", "-vga", "std", "-no-reboot",
                 "-debugcon", "stdio", "-kernel", str(image),
                 *(["-drive", f"file={disk},format=raw,if=ide"] if disk else [])],
                WORK_LIMIT, until, lambda pid: clock.append(process_clock(pid)))
    try:
        outcome = marks.outcome()
    except ValueError as error:
        raise BenchError(f"{image.name} on QEMU: {error}; {_last(ended)}") from None
    return Measured(float(outcome["seconds"]), int(outcome["result"]))


def process_clock(pid: int) -> int:
    """The CPU clock of another process, as clock_getcpuclockid(3) of Linux makes it."""
    return ~pid << 3 | 2


# -- boots

def image(row: Row) -> fetch.Image:
    """The system that a row boots, from the cache: a measurement fetches nothing.  Raises BenchError."""
    try:
        found = fetch.cached(row.image)
    except fetch.FetchError as error:
        raise BenchError(str(error)) from None
    if found is None:
        raise BenchError(f"{row.image} is not on this machine yet: python -m emu images fetch {row.image}")
    return found


def boot(engine: str, row: Row) -> Measured:
    """From the start of the process to the prompt.  Raises BenchError."""
    system = image(row)
    if engine == QEMU:
        command = [find(row.system), "-accel", "tcg", "-m", str(BOOT_MEMORY // MIB), "-display", "none", "-nodefaults",
                   "-no-reboot", "-serial", "stdio"]
        if system.kernel is None:
            command += ["-vga", "std", "-snapshot", "-drive", f"file={system.files['disk']},format=raw,if=ide"]
        else:
            command += ["-kernel", str(system.kernel), "-initrd", str(system.initrd), "-append", system.append]
    else:
        command = [sys.executable, "-m", "emu", "boot", row.image, "--memory", f"{BOOT_MEMORY // MIB}M", "--no-realtime",
                   "--until", row.prompt.decode()]
    shown = bytearray()

    def until(data: bytes) -> bool:
        shown.extend(data)
        return engine == QEMU and row.prompt in shown[-len(data) - len(row.prompt):]

    ended = run(command, BOOT_LIMIT, until)
    if row.prompt not in shown or (engine != QEMU and ended.status):
        raise BenchError(f"{row.name} on {engine}: no prompt; {_last(ended)}")
    return Measured(ended.seconds, None, ended.peak)


def find(program: str) -> str:
    """Where a program is.  Raises BenchError."""
    path = shutil.which(program)
    if path is None:
        raise BenchError(f"{program} is not installed: apt-get install qemu-system-x86, or leave --against qemu out")
    return path


def _last(ended: Ended) -> str:
    lines = ended.errors.strip().splitlines() or ended.output.decode("utf-8", "replace").strip().splitlines()
    return f"status {ended.status}, {lines[-1] if lines else 'nothing said'}"
