"""python -m tests.bench.tracing [NAME...] [--rounds 3] [--json FILE]
python -m tests.bench.tracing --check FILE

What recording and reading a trace cost, held to their bounds; the record goes to a JSON file.  --check reads a record, starts
nothing, and holds it against the bounds.  Status 1 if one is not kept.

CPU seconds are the recording process's own (user and system); the wall's seconds, which the writer's process shares, are
beside them.  QEMU's log goes through a pipe whose lines are counted; its CPU seconds are its own.  Of the boot, which would
take it a quarter of an hour, QEMU's rate is that of its first LOGGED seconds; `calls` is run by both to its end.  Ratios are
paired round by round.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import select
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
LOGGED = 30.0                   # CPU seconds of QEMU that are looked at
FORMAT = 1                      # of the record
FLIGHT = 1_000_000
ACCESSED = 100_000_000          # ns of guest time of the memory level


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


def _boot(trace: str, *more: str) -> None:
    from emu.cli import main
    with open(os.devnull, "w") as nowhere:
        out, sys.stdout = sys.stdout, nowhere
        try:
            main([*BOOT, *(["--trace", trace, *more] if trace else [])])
        finally:
            sys.stdout = out


def _work(image: str, trace: str, level: str = "blocks", instructions: str = "0") -> float:
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


def _memory(image: str, trace: str) -> int:
    """How many accesses the memory level has kept."""
    from emu.trace.recording import Recording
    with board("pc", Marks()) as machine:
        machine.load(Path(image))
        with Recording(machine, trace, "memory"):
            machine.run(ACCESSED)
    meta = json.loads((Path(trace) / "meta.json").read_text())
    return sum(part["rows"] for part in meta["parts"] if part["kind"] == "accesses")


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


CHILDREN: dict[str, Callable[..., Any]] = {"boot": _boot, "work": _work, "memory": _memory, "show": _show}


def qemu(*options: str, marks: bool = False) -> tuple[float, float]:
    """(lines of the log, CPU seconds) of QEMU: of its first seconds, or with `marks` what the guest takes between its two."""
    with tempfile.TemporaryDirectory() as folder:
        pipe = Path(folder) / "log"
        os.mkfifo(pipe)
        log = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        process = subprocess.Popen(["qemu-system-x86_64", "-accel", "tcg", "-m", "512", "-display", "none", "-nodefaults",
                                    "-debugcon", "stdio", "-D", str(pipe), *options], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdout
        said = process.stdout.fileno()
        try:
            clock, lines, counts = process_clock(process.pid), 0, []
            shown = Marks(lambda: (counts.append(lines), time.clock_gettime(clock))[1])
            while process.poll() is None:
                ready = select.select([log, said], [], [])[0]
                if log in ready:
                    lines += os.read(log, 1 << 20).count(b"\nTrace")
                if said in ready:
                    shown(os.read(said, 1 << 10))
                if shown.complete if marks else time.clock_gettime(clock) > LOGGED:
                    break
            seconds = time.clock_gettime(clock)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdout.close()
            os.close(log)
    return (counts[1] - counts[0], shown.times[1] - shown.times[0]) if marks else (lines, seconds)


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
        lines, seconds = qemu("-d", "exec,nochain", "-kernel", str(kernel.kernel), "-append", kernel.append, "-initrd",
                              str(kernel.initrd))
        rate = lines / seconds
        ours = meta["blocks"] / traced["cpu"]
        yield ("boot_amd64: blocks a CPU second, of qemu -d exec,nochain", ours / rate, 20, True, f"{ours / 1e6:.1f} M, "
               f"{rate / 1e6:.2f} M")

    def flight() -> Iterator[tuple[str, float, float, bool, str]]:
        plain, kept = child("boot", ""), child("boot", trace(), "--flight", str(FLIGHT))
        yield (f"boot_amd64 with --flight {FLIGHT}: CPU, of untraced", kept["cpu"] / plain["cpu"], 1.2, False,
               f"{plain['cpu']:.2f} s, {kept['cpu']:.2f} s; wall {plain['wall']:.1f} s, {kept['wall']:.1f} s; "
               f"peak {kept['peak'] >> 20} MiB")

    def calls() -> Iterator[tuple[str, float, float, bool, str]]:
        ours, theirs = child("work", str(folder / "calls"), path := trace()), qemu(
            "-d", "exec,nochain", "-kernel", str(folder / "calls.settle"), marks=True)
        blocks = json.loads((Path(path) / "meta.json").read_text())["blocks"]
        yield ("calls to its end: CPU of qemu -d exec,nochain, of the recording process", theirs[1] / ours["found"], 20, True,
               f"{theirs[1]:.1f} s for {theirs[0]:,} lines, {ours['found']:.2f} s for {blocks:,} blocks")

    def memory() -> Iterator[tuple[str, float, float, bool, str]]:
        done = child("memory", str(image), trace())
        yield ("memory level: M accesses a CPU second", done["found"] / done["cpu"] / 1e6, 5, True,
               f"{done['found']:,} in {done['cpu']:.2f} s, wall {done['wall']:.2f} s")

    def crc() -> Iterator[tuple[str, float, float, bool, str]]:
        plain, traced = child("work", str(image), ""), child("work", str(image), trace())
        yield ("crc: CPU of the recording process, of untraced", traced["found"] / plain["found"], 1.4, False,
               f"wall {plain['wall']:.1f} s, {traced['wall']:.1f} s")

    def insns() -> Iterator[tuple[str, float, float, bool, str]]:
        done = child("work", str(image), path := trace(), "insns", str(INSTRUCTIONS))
        meta = json.loads((Path(path) / "meta.json").read_text())
        count = sum(part["rows"] for part in meta["parts"] if part["kind"] == "insns")
        lines, seconds = qemu("-singlestep", "-d", "exec,nochain", "-kernel", str(image))
        rate = lines / seconds
        yield ("instruction level: a CPU second, of qemu -singlestep -d exec,nochain", count / done["cpu"] / rate, 40, True,
               f"{count:,} in {done['cpu']:.2f} s, wall {done['wall']:.2f} s; {rate / 1e6:.2f} M")
        yield ("expansion to text: M lines a second", (shown := child("show", path))["found"] / shown["wall"] / 1e6, 5, True,
               f"{shown['found']:,} lines, CPU {shown['cpu']:.2f} s")

    yield from (("boot", boot), ("flight", flight), ("crc", crc), ("calls", calls), ("insns", insns), ("memory", memory))


def check(record: Any) -> list[tuple[bool, str]]:
    """(whether it is kept, the bound) of each row of a record.  Raises ValueError if it is not one."""
    if not isinstance(record, dict) or record.get("format") != FORMAT or not record.get("rows"):
        raise ValueError(f"not a record of format {FORMAT}")
    out = []
    for row in record["rows"]:
        median, least = statistics.median(row["values"]), row["at_least"]
        kept = median >= row["bound"] if least else median <= row["bound"]
        out.append((kept, f"{'pass' if kept else 'FAIL'}  {row['what']} {median:.2f}, at {'least' if least else 'most'} "
                          f"{row['bound']}"))
    return out


def _told(record: Any) -> int:
    verdicts = check(record)
    for _, line in verdicts:
        print(line)
    return 0 if all(kept for kept, _ in verdicts) else 1


def main() -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.tracing", description=(__doc__ or "").split("\n\n", 1)[1],
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="boot, flight, crc, calls, insns, memory (default: all)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", metavar="FILE", help="where the record goes")
    parser.add_argument("--check", metavar="FILE", help="hold a record against the bounds")
    parser.add_argument("--child", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measured(lambda: CHILDREN[options.child[0]](*options.child[1:]))))
        return 0
    if options.check:
        try:
            return _told(json.loads(Path(options.check).read_text()))
        except (OSError, ValueError, KeyError, TypeError) as error:
            print(f"tests.bench.tracing: {options.check}: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
            return 2
    record: dict[str, Any] = {"format": FORMAT, "rounds": options.rounds, "rows": []}
    with tempfile.TemporaryDirectory() as folder:
        for name in "crc", "calls":
            catalog.build(name, Path(folder) / name)
        catalog.build("calls", Path(folder) / "calls.settle", {"SETTLE": 1})
        for name, work in rows(Path(folder), options.rounds):
            if options.names and name not in options.names:
                continue
            for _ in range(options.rounds):
                for what, value, bound, at_least, remark in work():
                    row = next((row for row in record["rows"] if row["what"] == what), None)
                    if row is None:
                        row = {"what": what, "bound": bound, "at_least": at_least, "values": [], "remarks": []}
                        record["rows"].append(row)
                    row["values"].append(value)
                    row["remarks"].append(remark)
                    print(f"{what}: {value:.2f} ({remark})", file=sys.stderr, flush=True)
                if options.json:
                    Path(options.json).write_text(json.dumps(record, indent=1) + "\n")    # it may be broken off
    return _told(record)


if __name__ == "__main__":
    sys.exit(main())
