"""Whether a record has the shape that the literature knows, within wide bounds.  It starts nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from emu.cost.table import ratio

OURS, QEMU = "emu, bare guest", "QEMU TCG"
COMPUTE = "cpu", "calls", "memory", "float"
# form, workload, at least, at most: CPU time over the process's; of `spawn` wall time
BOUNDS: tuple[tuple[str, str, float, float, str], ...] = (
    ("runc", "cpu", 0.9, 1.1, "a container runs on the host's kernel and processor: nothing is translated"),
    ("namespaces", "cpu", 0.9, 1.1, "name spaces change what a process sees, not how it runs"),
    (OURS, "cpu", 1.5, 10, "a dynamic translator makes several instructions of one"),
    ("emu, Linux guest", "cpu", 1.5, 10, "the same translator, below a whole kernel"),
    (QEMU, "cpu", 1.5, 10, "a dynamic translator makes several instructions of one"),
    ("JVM -Xint", "cpu", 10, 300, "an interpreter decodes each step anew"),
    ("CPython", "cpu", 10, 300, "an interpreter of objects"),
    ("Ruby YARV", "cpu", 10, 300, "an interpreter of objects"),
    ("JVM compiled", "cpu", 0.5, 5, "a compiler at run time comes near machine code"),
    ("WebAssembly", "cpu", 0.5, 5, "a compiler before run time comes near machine code"),
    ("Unicorn, Python hook", "cpu", 1000, 1e6, "each instruction leaves native code and calls Python"),
    ("namespaces", "spawn", 2, 100, "the kernel makes a few tables more"),
    ("runc", "spawn", 2, 1000, "name spaces, cgroups, mounts, by a runtime that is a program itself"),
    ("emu, Linux guest", "spawn", 100, 1e6, "a whole kernel starts"),
    (OURS, "syscall", 0.2, 10, "the guest's own kernel answers: no exit"),
    ("emu, Linux guest", "syscall", 0.2, 10, "the guest's own kernel answers: no exit"),
)


@dataclass(frozen=True)
class Verdict:
    """One bound; `value` None: not in the record."""

    what: str
    value: float | None
    low: float
    high: float
    why: str

    @property
    def kept(self) -> bool | None:
        return None if self.value is None else self.low <= self.value <= self.high

    def __str__(self) -> str:
        state = {None: "not there", True: "as expected", False: "OUTSIDE"}[self.kept]
        value = "" if self.value is None else f" {self.value:,.2f}"
        return f"{state:11} {self.what}:{value} ({self.low:g} to {self.high:g}) {self.why}"


def check(record: Mapping[str, Any]) -> Iterator[Verdict]:
    """Every bound.  Raises ValueError if it is no record."""
    if not isinstance(record, dict) or record.get("format") != 1 or not isinstance(record.get("forms"), list):
        raise ValueError("not a record of emu cost --json")
    forms = {form["name"]: form for form in record["forms"]}
    for name, workload, low, high, why in BOUNDS:
        value = ratio(record, forms[name], workload) if name in forms else None
        yield Verdict(f"{workload} in {name}, over a process", value, low, high, why)
    for workload in (*COMPUTE, "syscall"):
        ours, theirs = (ratio(record, forms[name], workload) if name in forms else None for name in (OURS, QEMU))
        yield Verdict(f"{workload} in {OURS}, over {QEMU}", ours / theirs if ours and theirs else None, 0, 1.0,
                      "our machine against QEMU's translator")
