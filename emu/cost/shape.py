"""Whether a record has the shape that the literature knows, within wide bounds.  It starts nothing.

Each check is a sentence; what it needs and the record has not is "not there".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from emu.cost.table import ratio

OURS, LINUX, QEMU = "emu, bare guest", "emu, Linux guest", "QEMU TCG"
COMPUTE = "cpu", "calls", "memory", "float"
FASTER = "syscall", "irq"
CALLS = 1000                                    # system calls of a round of `syscall`

CONTAINER = "a container is within a few per cent of a process"
TRANSLATOR = "a dynamic translator takes 2 to 10 times as long"
INTERPRETER = "an interpreter takes 10 to 300 times as long"
COMPILER = "a compiler, before or at run time, comes near machine code"
HOOK = "a Python call for each instruction takes over 1,000 times as long"
SPAWN = "name spaces take 2 to 100 times as long to start as a process"
RUNTIME = "a container's runtime, a program itself, takes longer than the name spaces"
WHOLE = "a whole guest takes far longer to start than name spaces"
NO_EXITS = "the guest's own kernel serves a system call: no exits"
OWN_KERNEL = "a system call of a guest costs about what one of a process does"
NOT_SLOWER = "our machine takes no longer than QEMU's translator"
IS_FASTER = "our machine is faster than QEMU's translator"

# sentence, form, workload, at least, at most: CPU time over the process's; of `spawn` wall time
BOUNDS: tuple[tuple[str, str, str, float, float], ...] = (
    (CONTAINER, "runc", "cpu", 0.9, 1.1),
    (CONTAINER, "namespaces", "cpu", 0.9, 1.1),
    (TRANSLATOR, OURS, "cpu", 1.5, 10),
    (TRANSLATOR, LINUX, "cpu", 1.5, 10),
    (TRANSLATOR, QEMU, "cpu", 1.5, 10),
    (INTERPRETER, "JVM -Xint", "cpu", 10, 300),
    (INTERPRETER, "CPython", "cpu", 10, 300),
    (INTERPRETER, "Ruby YARV", "cpu", 10, 300),
    (COMPILER, "JVM compiled", "cpu", 0.5, 5),
    (COMPILER, "WebAssembly", "cpu", 0.5, 5),
    (HOOK, "Unicorn, Python hook", "cpu", 1000, 1e6),
    (SPAWN, "namespaces", "spawn", 2, 100),
    (RUNTIME, "runc", "spawn", 2, 1000),
    (WHOLE, LINUX, "spawn", 1000, 1e6),
    (OWN_KERNEL, OURS, "syscall", 0.1, 10),
    (OWN_KERNEL, LINUX, "syscall", 0.1, 10),
)
EXITS = OURS, LINUX, "KVM"                      # forms that count them
MOST_EXITS = 0.02                               # for each system call: what Linux's own timer needs is none of them

REASONS = {
    "cpu": "each block counts the guest's time, which QEMU's blocks do not; accesses to memory ask the same kind of table",
    "calls": "each call and return ends a block, and each block counts the guest's time, which QEMU's blocks do not",
    "memory": "accesses to memory ask the same kind of table as in QEMU, and each block counts the guest's time besides",
    "float": "the flags of each operation must be those of the guest's processor; and each block counts the guest's time",
    "syscall": "the ways into the kernel and back are the translator's own, of QEMU 5.0; each block counts the guest's time",
    "irq": "timer and interrupt controller are Python here and C in QEMU; each block counts the guest's time",
}


@dataclass(frozen=True)
class Verdict:
    """One check; `value` None: not in the record."""

    sentence: str
    what: str
    value: float | None
    low: float
    high: float
    why: str = ""                               # of a miss that has a known reason

    @property
    def kept(self) -> bool | None:
        return None if self.value is None else self.low <= self.value <= self.high

    def __str__(self) -> str:
        return f"{self.sentence}: {self.measured}"

    @property
    def measured(self) -> str:
        value = "" if self.value is None else f": {self.value:,.0f}" if self.value >= 1000 else f": {self.value:.3g}"
        return f"{self.what}{value} ({self.low:g} to {self.high:,g})"


def told(verdicts: Iterable[Verdict]) -> Iterator[str]:
    """The sentences, each with what was found below it."""
    last = ""
    for verdict in verdicts:
        if verdict.sentence != last:
            last = verdict.sentence
            yield last
        state = {None: "not there", True: "as expected", False: "OUTSIDE"}[verdict.kept]
        yield f"    {state:12}{verdict.measured}"
        if verdict.kept is False and verdict.why:
            yield f"    {'':12}{verdict.why}"


def check(record: Mapping[str, Any]) -> Iterator[Verdict]:
    """Every bound.  Raises ValueError if it is no record."""
    if not isinstance(record, dict) or record.get("format") != 1 or not isinstance(record.get("forms"), list):
        raise ValueError("not a record of emu cost --json")
    forms = {form["name"]: form for form in record["forms"]}
    for sentence, name, workload, low, high in BOUNDS:
        value = ratio(record, forms[name], workload) if name in forms else None
        yield Verdict(sentence, f"{workload} in {name}, over a process", value, low, high)
    for name in EXITS:
        cell = forms.get(name, {}).get("cells", {}).get("syscall", {})
        value = cell["exits"] / (cell["rounds"] * CALLS) if "exits" in cell else None
        yield Verdict(NO_EXITS, f"exits a system call in {name}", value, 0, MOST_EXITS)
    yield from against(record)


def against(record: Mapping[str, Any]) -> Iterator[Verdict]:
    """Our machine against QEMU's translator."""
    forms = {form["name"]: form for form in record["forms"]}
    for workload in (*COMPUTE, *FASTER):
        ours, theirs = (ratio(record, forms[name], workload) if name in forms else None for name in (OURS, QEMU))
        yield Verdict(IS_FASTER if workload in FASTER else NOT_SLOWER, f"{workload} in {OURS}, over {QEMU}",
                      ours / theirs if ours and theirs else None, 0, 1.0, REASONS[workload])
