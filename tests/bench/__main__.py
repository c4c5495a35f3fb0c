"""python -m tests.bench [NAME...] [--rounds 5] [--against qemu] [--against unicorn] [--quick] [--json FILE] [--list]
python -m tests.bench --check FILE [NAME...]

CPU seconds of this machine, beside QEMU's own translator (`--against qemu`, where it is installed) and beside the library
alone (`--against unicorn`, see bare.py); both if `--against` is not given.  The engines take turns, the order is turned round
every round, a native loop runs beside every round, and ratios are made pair by pair: a noisy machine moves the seconds and
shows in the loop.  Every run's result is checked.  The table goes to standard output, the record to a JSON file
(tests/bench/results/ unless --json says where).

--check reads a record, starts nothing, and holds it against the bounds of the project: status 1 if one is not kept.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench import catalog, children, figures
from tests.bench.catalog import ALONE, NAMES, OURS, QEMU, ROWS, UNICORN, BenchError, Row

RESULTS = Path(__file__).with_name("results")
LOOP = bytes(32 << 20)


def calibrate() -> float:
    """Seconds of a loop that never changes: CRC-32 of 128 MiB by the host's zlib."""
    start = time.process_time()
    for _ in range(4):
        zlib.crc32(LOOP)
    return time.process_time() - start


def measure(row: Row, others: Sequence[str], rounds: int, directory: Path) -> dict[str, Any]:
    """Every round of one row.  Raises BenchError."""
    engines = [OURS, *(engine for engine in row.engines if engine in others or engine == ALONE)]
    seconds: dict[str, list[float]] = {engine: [] for engine in engines}
    peaks: dict[str, list[int]] = {}
    calibration = []
    for number in range(rounds):
        calibration.append(calibrate())
        for engine in engines if number % 2 == 0 else engines[::-1]:
            done = children.boot(engine, row) if row.image else _work(engine, row, directory)
            seconds[engine].append(done.seconds)
            if done.peak is not None:
                peaks.setdefault(engine, []).append(done.peak)
            print(f"{row.name} {number + 1}/{rounds} {engine} {done.seconds:.3f} s", file=sys.stderr)
    calibration.append(calibrate())
    return figures.entry(row, seconds, calibration, peaks)


def _work(engine: str, row: Row, directory: Path) -> children.Measured:
    """One run of a workload, its result checked."""
    if engine == ALONE:
        engine, row = OURS, NAMES["tight"]
    defines = {"SETTLE": 1} if engine == QEMU else {}
    image = directory / f"{row.source}{'.settle' if defines else ''}"
    if not image.exists():
        catalog.build(row.source, image, defines)
    disk = directory / f"{row.disk}.raw" if row.disk else None
    if disk and not disk.exists():
        catalog.disk(disk, row.disk)
    done = children.workload(engine, row, image, disk)
    if done.result != row.result and not (row.result is None and done.result):
        raise BenchError(f"{row.name} on {engine} computed {done.result}, not {row.result}")
    return done


def versions(others: Sequence[str]) -> dict[str, str]:
    """What was measured."""
    found = {"python": platform.python_version(), "unicorn": importlib.metadata.version("unicorn")}
    if QEMU in others:
        line = subprocess.run([children.find("qemu-system-i386"), "--version"], capture_output=True, text=True, timeout=60,
                              check=False).stdout
        found["qemu"] = line.split("version ")[-1].split()[0] if "version " in line else "?"
    return found


def main() -> int:
    """The command; returns its exit status."""
    options = _options()
    try:
        if options.check:
            return _check(options.check, options.names)
        if options.list:
            for row in ROWS:
                print(f"{row.name:18} {row.what}")
            return 0
        return _bench(options)
    except BenchError as error:
        print(f"tests.bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _bench(options: argparse.Namespace) -> int:
    rows = [NAMES[name] for name in options.names] or [row for row in ROWS if not (options.quick and row.image)]
    rounds = 1 if options.quick else options.rounds
    others = options.against or [UNICORN, *([QEMU] if shutil.which("qemu-system-i386") else [])]
    record: dict[str, Any] = {
        "format": figures.FORMAT, "command": _command(options.names, rounds, others), "rounds": rounds,
        "date": datetime.now(UTC).isoformat(timespec="seconds"), "versions": versions(others), "rows": [],
    }
    path = Path(options.json) if options.json else RESULTS / f"{datetime.now(UTC):%Y%m%dT%H%M%S}.json"
    failed = False
    with tempfile.TemporaryDirectory() as directory:
        for row in rows:
            try:
                record["rows"].append(measure(row, others, rounds, Path(directory)))
            except BenchError as error:
                print(f"tests.bench: {row.name}: {error}", file=sys.stderr)
                failed = True
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(record, indent=1) + "\n")        # after every row: a run may be broken off
    print(figures.table(record))
    return 2 if failed else 0


def _command(names: Sequence[str], rounds: int, others: Sequence[str]) -> str:
    """What to type for the same record."""
    return " ".join(["python -m tests.bench", *names, f"--rounds {rounds}", *(f"--against {other}" for other in others)])


def _check(file: str, names: Sequence[str]) -> int:
    try:
        verdicts = figures.check(json.loads(Path(file).read_text()), names)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BenchError(f"{file}: {getattr(error, 'strerror', None) or error}") from None
    for verdict in verdicts:
        print(verdict)
    return 0 if all(verdict.kept for verdict in verdicts) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=(__doc__ or "").split("\n\n", 1)[1],
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="rows to measure, or to check (default: all; see --list)")
    parser.add_argument("--rounds", type=int, default=5, help="of each row (default 5)")
    parser.add_argument("--against", action="append", choices=(QEMU, UNICORN), help="measure beside it; may be repeated")
    parser.add_argument("--quick", action="store_true", help="one round, and no boots unless they are named")
    parser.add_argument("--json", metavar="FILE", help="where the record goes")
    parser.add_argument("--list", action="store_true", help="what can be measured")
    parser.add_argument("--check", metavar="FILE", help="hold a record against the bounds")
    options = parser.parse_args()
    for name in options.names:
        if name not in NAMES:
            parser.error(f"no row named {name}; see --list")
    if options.rounds < 1:
        parser.error("--rounds: at least one")
    return options


if __name__ == "__main__":
    sys.exit(main())
