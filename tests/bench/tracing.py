"""python -m tests.bench.tracing [NAME...] [--rounds 3]: what recording and reading a trace cost, held to their bounds.

CPU seconds are the recording process's own (user and system); the wall's seconds, which the writer's process shares, are
beside them.  QEMU's log goes through a pipe whose lines are counted; its CPU seconds are its own.  Ratios are paired round
by round.  Status 1 if a bound is not kept.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from emu.host import fetch
from tests.bench import catalog
from tests.bench.children import ROOT, process_clock
from tests.bench.guest import board
from tests.bench.marks import Marks

BOOT = "boot", "debian-amd64", "--memory", "512M", "--until", "~ #", "--serial", "none"
INSTRUCTIONS = 100_000_000
LOGGED = 8.0                    # CPU seconds of QEMU that are looked at


def measured(work: Callable[[], Any]) -> dict[str, Any]:
    """CPU seconds of this process and the wall's, with what the work has found."""
    usage, wall = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    found = work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {"cpu": after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime, "wall": time.monotonic() - wall,
            "peak": after.ru_maxrss << 10, "found": found}


def child(name: str, *arguments: str) -> dict[str, Any]:
    """One of CHILDREN in a process of its own."""
    done = subprocess.run([sys.executable, "-m", "tests.bench.tracing", "--child", name, *arguments], cwd=ROOT,
                          stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=900, check=True)
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def _boot(trace: str) -> None:
    from emu.cli import main
    with open(os.devnull, "w") as nowhere:
        out, sys.stdout = sys.stdout, nowhere
        try:
            main([*BOOT, *(["--trace", trace] if trace else [])])
        finally:
            sys.stdout = out


def _crc(image: str, trace: str, level: str = "blocks", instructions: str = "0") -> float:
    """CPU seconds between the guest's marks; none when only so many instructions are wanted."""
    from emu.trace.recording import Recording
    marks = Marks()
    with board("pc", marks) as machine:
        machine.load(Path(image))
        recording = Recording(machine, trace, level) if trace else None
        limit = int(instructions) // 5 * machine.costs.block            # about five instructions a block
        machine.run_until(seconds=limit / 1e9 if limit else 600)
        if recording is not None:
            recording.stop()
        return 0 if limit else float(marks.outcome()["seconds"])


def _show(trace: str) -> int:
    from emu.trace.reader import Trace
    from emu.trace.select import Selection
    from emu.trace.text import Lines
    lines = 0
    with open(os.devnull, "w") as nowhere:
        for piece in Lines(Selection(Trace(trace), count=20_000_000)):
            nowhere.write(piece)
            lines += piece.count("\n")
    return lines


CHILDREN: dict[str, Callable[..., Any]] = {"boot": _boot, "crc": _crc, "show": _show}


def qemu(*options: str) -> float:
    """Lines of the log that QEMU writes in a CPU second."""
    with tempfile.TemporaryDirectory() as folder:
        pipe = Path(folder) / "log"
        os.mkfifo(pipe)
        process = subprocess.Popen(["qemu-system-x86_64", "-accel", "tcg", "-m", "512", "-display", "none", "-nodefaults",
                                    "-D", str(pipe), *options], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            clock, lines = process_clock(process.pid), 0
            with open(pipe, "rb") as log:
                while data := log.read(1 << 20):
                    lines += data.count(b"\nTrace")
                    if time.clock_gettime(clock) > LOGGED:
                        break
                seconds = time.clock_gettime(clock)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    return lines / seconds


def rows(folder: Path, number: int) -> Iterator[tuple[str, Callable[[], Iterator[tuple[str, float, float, bool, str]]]]]:
    """(name, function that yields (what, value, bound, at least, remark))."""
    image = folder / "crc"

    def trace() -> str:
        return tempfile.mkdtemp(dir=folder)

    def boot() -> Iterator[tuple[str, float, float, bool, str]]:
        plain, traced = child("boot", ""), child("boot", path := trace())
        meta = json.loads((Path(path) / "meta.json").read_text())
        size = sum(file.stat().st_size for file in Path(path).iterdir())
        yield ("boot_amd64: CPU of the recording process, of untraced", traced["cpu"] / plain["cpu"], 1.35, False,
               f"{plain['cpu']:.2f} s, {traced['cpu']:.2f} s; wall {plain['wall']:.1f} s, {traced['wall']:.1f} s; "
               f"{meta['blocks']:,} blocks, {size >> 20} MiB, peak {traced['peak'] >> 20} MiB")
        kernel = fetch.fetch("debian-amd64")
        rate = qemu("-d", "exec,nochain", "-kernel", str(kernel.kernel), "-append", kernel.append, "-initrd",
                    str(kernel.initrd))
        ours = meta["blocks"] / traced["cpu"]
        yield ("boot_amd64: blocks a CPU second, of qemu -d exec,nochain", ours / rate, 20, True, f"{ours / 1e6:.1f} M, "
               f"{rate / 1e6:.2f} M")

    def crc() -> Iterator[tuple[str, float, float, bool, str]]:
        plain, traced = child("crc", str(image), ""), child("crc", str(image), trace())
        yield ("crc: CPU of the recording process, of untraced", traced["found"] / plain["found"], 1.4, False,
               f"wall {plain['wall']:.1f} s, {traced['wall']:.1f} s")

    def insns() -> Iterator[tuple[str, float, float, bool, str]]:
        done = child("crc", str(image), path := trace(), "insns", str(INSTRUCTIONS))
        meta = json.loads((Path(path) / "meta.json").read_text())
        count = sum(part["rows"] for part in meta["parts"] if part["kind"] == "insns")
        rate = qemu("-singlestep", "-d", "exec,nochain", "-kernel", str(image))
        yield ("instruction level: a CPU second, of qemu -singlestep -d exec,nochain", count / done["cpu"] / rate, 40, True,
               f"{count:,} in {done['cpu']:.2f} s, wall {done['wall']:.2f} s; {rate / 1e6:.2f} M")
        yield ("expansion to text: M lines a second", (shown := child("show", path))["found"] / shown["wall"] / 1e6, 5, True,
               f"{shown['found']:,} lines, CPU {shown['cpu']:.2f} s")

    yield from (("boot", boot), ("crc", crc), ("insns", insns))


def main() -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.tracing", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="boot, crc, insns (default: all)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measured(lambda: CHILDREN[options.child[0]](*options.child[1:]))))
        return 0
    kept = True
    values: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        catalog.build("crc", Path(folder) / "crc")
        for name, work in rows(Path(folder), options.rounds):
            if options.names and name not in options.names:
                continue
            for _ in range(options.rounds):
                for what, value, bound, at_least, remark in work():
                    values.setdefault(what, []).append(value)
                    median = statistics.median(values[what])
                    print(f"{what}: {value:.2f} ({remark}); median {median:.2f}, "
                          f"at {'least' if at_least else 'most'} {bound}", flush=True)
                    if len(values[what]) == options.rounds:
                        kept &= median >= bound if at_least else median <= bound
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
