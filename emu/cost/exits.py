"""What an exit costs, and how many there are: for each form counted and priced by what the form itself offers.

Our machine: emu's ledger, which counts and times every way out of the guest's code into Python, less what it takes itself.
QEMU: its own log counts accesses to device registers and interrupts; a guest that does nothing but OUT gives the price, and
half of the rounds, less their exits, the work.  KVM: its runner counts, a guest that does nothing but OUT gives the price,
and the process the work; of `io` the guest whose disk does nothing gives the work, and the disk's commands without a guest
what the device takes; where KVM is emulated, so that nothing runs as in a process, half of the rounds gives the work.
A hook in Python: it counts its calls, another workload gives the price, and the same guest that is not hooked the work.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emu.assembler import assemble_file
from emu.cost import programs
from emu.cost.children import FormError, Sample, die_with_parent, once
from emu.cost.forms import BOOT_LIMIT, LIMIT, Form, Hooked, Kvm, LinuxGuest, Ours, Qemu, Traced, hardware
from emu.cost.workloads import CRC, WORKLOADS, Workload

OUTS = 200_000                  # of the guest that does nothing else
TURNS = 3
DEBUGCON = "0xe9"               # what a guest says of itself is no part of its work


@dataclass
class Exits:
    """Of a run of `rounds`: how many, seconds that one takes, seconds of the work without them, and the ways by name.

    `device`: seconds of what is moved for them, to and from a file of the host, with its flush.
    """

    rounds: int
    count: int
    price: float
    work: float
    ways: list[tuple[str, int, float]] = field(default_factory=list)            # name, how often, seconds in all
    device: float = 0.0


def exits(form: Form, workload: Workload, sample: Sample, native: Sample | None) -> Exits | None:
    """None where there is nothing to leave: a process, a container, a language machine.  Raises FormError."""
    rounds = form.rounds(workload)
    if isinstance(form, Hooked):
        other = WORKLOADS["cpu" if workload.name == "float" else "float"]
        priced = form.run(other, form.rounds(other))
        if not (sample.exits and priced.exits):
            raise FormError("the hook was not called")
        without = form.session.ask(f"{form.line(workload, rounds)} 0", LIMIT)
        return Exits(rounds, sample.exits, priced.cpu / priced.exits, without.cpu)
    if isinstance(form, Kvm):
        return _kvm(form, workload, sample, native)
    if isinstance(form, Qemu):
        return _qemu(form, workload)
    if isinstance(form, Traced) or not isinstance(form, Ours) or form.kind not in ("bare", "linux"):
        return None
    return _ours(form, workload)


def _kvm(form: Kvm, workload: Workload, sample: Sample, native: Sample | None) -> Exits:
    rounds, count = form.rounds(workload), sample.exits or 0
    device = 0.0
    if workload.name == "io":
        unserved = once([*form.command(workload, rounds), "unserved"], LIMIT, own=True)
        work = max(unserved.cpu - count * form.exit_seconds, 0.0)
        device = told([sys.executable, "-m", "emu.cost.kvm", "alone", str(rounds)], LIMIT) / 1e9
    elif hardware():
        work = 0.0 if native is None else native.cpu * rounds / workload.rounds
    else:
        part = max(1, rounds // 2)
        work = statistics.median(form.run(workload, part).cpu for _ in range(TURNS)) * rounds / part
    return Exits(rounds, count, form.exit_seconds, work, device=device)


def _ours(form: Ours, workload: Workload) -> Exits:
    """By emu's ledger, in a run of its own."""
    rounds = form.rounds(workload)
    own = form.directory / "ledger"                     # the form's machine has a disk in its directory
    own.mkdir(exist_ok=True)
    facts = told([sys.executable, "-m", "emu.cost.guest", "ledger", str(own), form.kind, str(workload.number),
                  str(rounds)], BOOT_LIMIT if isinstance(form, LinuxGuest) else LIMIT)
    unit = min(1.0, facts["cpu_ns"] / facts["host_ns"]) / 1e9       # the ledger's clock is on the wall; others share the host
    inside, beside = facts["inside_ns"] / 1e9, facts["beside_ns"] / 1e9
    ways = [(f"{row['way']} {row['name']}", int(row["count"]), max(row["ns"] * unit - row["count"] * inside, 0.0))
            for row in facts["rows"] if row["count"]]
    device = sum(spent for way, _, spent in ways if way.startswith("medium"))
    count = sum(number for way, number, _ in ways if not way.startswith("medium"))
    served = sum(spent for _, _, spent in ways) - device
    work = max(facts["guest_ns"] * unit - sum(number for _, number, _ in ways) * beside, 0.0)
    return Exits(rounds, count, served / count if count else 0.0, work, ways, device)


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
    """The work is that of half of the rounds, less its own exits; of `irq` that without a timer."""
    rounds = form.rounds(workload)
    ways = _logged(form, workload, rounds)
    price = _price(form)
    less = CRC if workload.name == "irq" else workload
    part = max(1, rounds // 2)
    cpu = statistics.median(form.run(less, part).cpu for _ in range(TURNS))
    inside = _logged(form, less, part)
    work = cpu - sum(count for _, count, _ in inside) * price
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
