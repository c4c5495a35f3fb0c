"""What an exit costs, and how many there are: for each form counted and priced by what the form itself offers.

Our machine: emu's ledger, which counts and times every way out of the guest's code into Python.  QEMU: its own log counts
accesses to device registers and interrupts; a guest that does nothing but OUT gives the price.  KVM: its runner counts, and a
guest that does nothing but OUT gives the price.  A hook in Python: it counts its calls, and another workload gives the price.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emu.assembler import assemble_file
from emu.cost import programs
from emu.cost.children import FormError, Sample, die_with_parent, once
from emu.cost.forms import BOOT_LIMIT, LIMIT, Form, Hooked, Kvm, LinuxGuest, Ours, Qemu, Traced
from emu.cost.workloads import CRC, WORKLOADS, Workload

OUTS = 200_000                  # of the guest that does nothing else
DEBUGCON = "0xe9"               # what a guest says of itself is no part of its work


@dataclass
class Exits:
    """Of a run of `rounds`: how many, seconds that one takes, seconds of the work without them, and the ways by name."""

    rounds: int
    count: int
    price: float
    work: float
    ways: list[tuple[str, int, float]] = field(default_factory=list)            # name, how often, seconds in all


def exits(form: Form, workload: Workload, sample: Sample, native: Sample | None) -> Exits | None:
    """None where there is nothing to leave: a process, a container, a language machine.  Raises FormError."""
    rounds = form.rounds(workload)
    if isinstance(form, Hooked):
        other = WORKLOADS["cpu" if workload.name == "float" else "float"]
        priced = form.run(other, form.rounds(other))
        if not (sample.exits and priced.exits):
            raise FormError("the hook was not called")
        return Exits(rounds, sample.exits, priced.cpu / priced.exits, _native(form, workload, native))
    if isinstance(form, Kvm):
        return Exits(rounds, sample.exits or 0, form.exit_seconds, _native(form, workload, native))
    if isinstance(form, Qemu):
        return _qemu(form, workload)
    if isinstance(form, Traced) or not isinstance(form, Ours) or form.kind not in ("bare", "linux"):
        return None
    return _ours(form, workload)


def _native(form: Form, workload: Workload, native: Sample | None) -> float:
    """What the processor itself takes for that share of the work."""
    return 0.0 if native is None else native.cpu * form.rounds(workload) / workload.rounds


def _ours(form: Ours, workload: Workload) -> Exits:
    """By emu's ledger, in a run of its own."""
    rounds = form.rounds(workload)
    own = form.directory / "ledger"                     # the form's machine has a disk in its directory
    own.mkdir(exist_ok=True)
    facts = told([sys.executable, "-m", "emu.cost.guest", "ledger", str(own), form.kind, str(workload.number),
                  str(rounds)], BOOT_LIMIT if isinstance(form, LinuxGuest) else LIMIT)
    unit = min(1.0, facts["cpu_ns"] / facts["host_ns"]) / 1e9       # the ledger's clock is on the wall; others share the host
    ways = [(f"{row['way']} {row['name']}", int(row["count"]), row["ns"] * unit) for row in facts["rows"] if row["count"]]
    count = sum(way[1] for way in ways)
    return Exits(rounds, count, facts["exits_ns"] * unit / count if count else 0.0, facts["guest_ns"] * unit, ways)


def told(command: list[str], limit: float) -> Any:
    """What a child of ours prints as JSON.  Raises FormError."""
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=limit, preexec_fn=die_with_parent)
    except (OSError, subprocess.SubprocessError) as error:
        raise FormError(str(error)) from None
    try:
        return json.loads(ended.stdout)
    except ValueError:
        raise FormError((ended.stderr.strip() or f"status {ended.returncode}").splitlines()[-1]) from None


def _qemu(form: Qemu, workload: Workload) -> Exits:
    """The work is that of a quarter of the rounds, less its own exits; of `irq` that without a timer."""
    rounds = form.rounds(workload)
    ways = _logged(form, workload, rounds)
    price = _price(form)
    less = CRC if workload.name == "irq" else workload
    part = max(1, rounds // 4)
    sample = form.run(less, part)
    inside = _logged(form, less, part)
    work = sample.cpu - sum(count for _, count, _ in inside) * price
    return Exits(rounds, sum(count for _, count, _ in ways), price, max(work, 0.0) * rounds / part,
                 [(name, count, count * price) for name, count, _ in ways])


def _logged(form: Qemu, workload: Workload, rounds: int) -> list[tuple[str, int, float]]:
    """The exits of a run of its own, from QEMU's log, less those of a run that has nothing to do: QEMU starts by its BIOS."""
    disk = workload.name == "io"                        # its BIOS looks at a disk, too
    before = _lines(form, WORKLOADS["spawn"], 1, disk)
    return [(name, max(count - before[name], 0), 0.0) for name, count in _lines(form, workload, rounds, disk).items()]


def _lines(form: Qemu, workload: Workload, rounds: int, disk: bool) -> dict[str, int]:
    path = form.directory / "log"
    form.directory.joinpath("kernel").write_bytes(programs.kernel(workload.number, rounds))
    once([*form.command(disk), "-D", str(path), "-d",
          "int,trace:memory_region_ops_read,trace:memory_region_ops_write",
          "-kernel", str(form.directory / "kernel")], LIMIT, stays=True)
    found = {"access to a device register": 0, "interrupt": 0}
    with path.open(errors="replace") as file:
        for line in file:
            if "memory_region_ops" in line and f"addr {DEBUGCON} " not in line:
                found["access to a device register"] += 1
            elif re.match(r"Servicing hardware INT", line):
                found["interrupt"] += 1
    path.unlink()
    return found


def _price(form: Qemu) -> float:
    kernel: Path = form.directory / "exits"
    kernel.write_bytes(assemble_file(Path(__file__).with_name("exits.asm"), {"COUNT": OUTS}))
    return once([*form.command(), "-kernel", str(kernel)], LIMIT, stays=True).cpu / OUTS
