"""One inner loop in every form, side by side: what is executed, how long each step took, and where the time went.

The ledger puts a model beside the measurement: exits times the price of one, what is moved for them, and the work.  None of
it is taken from the measurement itself: see exits.py.  A start is told by its stages: see spawning.py.
"""

from __future__ import annotations

import contextlib
import statistics
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from emu.cost import exits, languages, loops, spawning
from emu.cost import forms as kinds
from emu.cost.catalog import FORMS
from emu.cost.children import Sample
from emu.cost.forms import Form, Missing
from emu.cost.loops import LOOPS, Loop
from emu.cost.measure import FAILURES, Cell, said
from emu.cost.room import Room
from emu.cost.table import seconds
from emu.cost.workloads import CRC, WORKLOADS, Workload

TURNS = 3
NAMES, WIDTH = 22, 110
MOST = 6                        # ways out that are told, for each form
Progress = Callable[[str, float | None], None]


def explain(name: str = "cpu", record: Any = None, progress: Progress = lambda what, done: None) -> str:
    """The whole text of a workload; without a record the loop is measured now.  Raises NoRoom."""
    loop = LOOPS[name]
    with Room() as directory:
        lines = [f"{name}: {WORKLOADS[name].what}. The inner loop: {loop.what}",
                 *loops.side_by_side(loops.columns(loop, directory))]
        if name == "spawn" and record is None:
            return "\n".join([*lines, "", *_starts(directory, progress)])
        steps = times(record, name) if record is not None else _measure(name, directory, progress)
    return "\n".join([*lines, "", *ledger(steps, loop)])


def _starts(directory: Path, progress: Progress) -> Iterator[str]:
    """One line a form: its start and its stages."""
    process = 0.0
    yield f"{'':{NAMES}}{'start to end':>13}   its stages"
    for name, form in _found(directory, progress, "spawn"):
        if isinstance(form, str):
            yield f"{name:{NAMES}}{'-':>13}   {form}"
            continue
        try:
            made = spawning.stages(form, process)
        except (Missing, *FAILURES) as error:
            yield f"{form.name:{NAMES}}{'-':>13}   {said(error)}"
            continue
        if type(form) is kinds.Native:
            process = made[0][1]
        head = f"{form.name:{NAMES}}{seconds(sum(spent for _, spent in made)):>13}   "
        told = "; ".join(f"{seconds(spent)} {what}" for what, spent in made)
        yield from textwrap.wrap(told, WIDTH, initial_indent=head, subsequent_indent=" " * len(head))
    yield ""
    yield "Wall time, medians of several. A stage is what a command takes that goes so far, over the one that goes less far."


def _found(directory: Path, progress: Progress, what: str) -> Iterator[tuple[str, Form | str]]:
    """The name of every form, and it, or why it is not here."""
    for number, kind in enumerate(FORMS):
        form = kind(directory / str(number))
        progress(f"{what} in {form.name}", number / len(FORMS))
        try:
            form.directory.mkdir()
            form.find()
        except (Missing, *FAILURES) as error:
            yield form.name, said(error)
            continue
        try:
            yield form.name, form
        finally:
            with contextlib.suppress(OSError):
                form.close()


def times(record: Any, name: str = "cpu") -> dict[str, Any]:
    """From a record: of `cpu` with the sieve in it."""
    steps = WORKLOADS[name].rounds * LOOPS[name].steps
    made: dict[str, Any] = {}
    for form in record["forms"]:
        cell = form.get("cells", {}).get(name, {})
        if "cpu" in cell:
            made[form["name"]] = {"step": cell["cpu"]["median"] / steps}
            if "exits" in cell:
                made[form["name"]]["exits"] = cell["exits"] / (cell["rounds"] * LOOPS[name].steps)
        else:
            made[form["name"]] = {"why": cell.get("why") or form.get("missing") or "not in this record"}
    return made


def _measure(name: str, directory: Path, progress: Progress) -> dict[str, Any]:
    """Form -> seconds a step, its exits and their price, or why there are none."""
    workload = CRC if name == "cpu" else WORKLOADS[name]
    made: dict[str, Any] = {}
    native: Sample | None = None
    for found, form in _found(directory, progress, workload.name):
        if isinstance(form, str):
            made[found] = {"why": form}
            continue
        try:
            made[found], sample = _one(form, workload, LOOPS[name], native)
            if type(form) is kinds.Native:
                native = sample
        except (Missing, *FAILURES) as error:
            made[found] = {"why": said(error)}
    return made


def _one(form: Form, workload: Workload, loop: Loop, native: Sample | None) -> tuple[dict[str, Any], Sample | None]:
    cell = Cell(form, workload)
    for _ in range(TURNS):
        if cell.state == "ok":
            cell.run()
    if cell.state != "ok":
        return {"why": cell.why}, None
    cpu = statistics.median(sample.cpu for sample in cell.samples)
    sample = min(cell.samples, key=lambda sample: abs(sample.cpu - cpu))
    made: dict[str, Any] = {"step": cpu / cell.rounds / loop.steps}
    if isinstance(form, kinds.Kvm) and not kinds.hardware():
        made["aside"] = "; but KVM is emulated here, and ring 0 interpreted"
    try:
        found = exits.exits(form, workload, sample, native)
    except FAILURES as error:
        return {**made, "unpriced": said(error)}, sample
    if found is not None:
        steps = found.rounds * loop.steps
        made |= {"exits": found.count / steps, "price": found.price, "work": found.work / steps,
                 "device": found.device / steps,
                 "ways": [(way, count, spent) for way, count, spent in found.ways if count], "rounds": found.rounds}
    return made, sample


def ledger(steps: dict[str, Any], loop: Loop) -> Iterator[str]:
    """One line a form: its time a step, and the model where there is one; then why, and the ways out."""
    yield (f"{'':{NAMES}}{'a step':>8}{'exits':>13} x {'price':>7} + {'moved':>7} + {'work':>7} = {'model':>7}"
           f"{'measured/model':>16}")
    for name, found in steps.items():
        if "step" not in found:
            yield f"{name:{NAMES}}{'-':>8}   {found['why']}"
            continue
        head = f"{name:{NAMES}}{seconds(found['step']):>8}{'' if 'exits' not in found else rate(found['exits']):>13}"
        if "price" in found:
            moved = found.get("device", 0.0)
            model = found["exits"] * found["price"] + moved + found["work"]
            head += (f" x {seconds(found['price']) if found['exits'] else '-':>7} + {seconds(moved) if moved else '-':>7} + "
                     f"{seconds(found['work']):>7} = {seconds(model):>7}"
                     f"{format(found['step'] / model, '.2f') if model else '':>16}")
        yield head.rstrip()
    yield ""
    yield f"A step: {loop.step}; {loop.steps:,} in a round. Times are CPU time."
    if any("price" in found for found in steps.values()):
        yield "Exits are those of a step. The model is of other runs than the measurement: exits x price of one, what is"
        yield "moved for them to and from a file of the host, and the work. emu's are of its ledger, less what that takes;"
        yield "QEMU's of its log, a guest that only leaves, and half of the work; KVM's of its count, the same guest, and"
        yield "the process (emulated: half of the work); a hook's of its count, another workload, and no hook."
        yield "measured/model was from 0.6 to 1.5, but for QEMU's io, whose own rounds lie as far apart as 1.8."
    else:
        yield "From a record: its whole workload by the number of these steps; the price of an exit is not in it."
    yield ""
    yield "Why:"
    for name, found in steps.items():
        if "step" in found and (why := found.get("unpriced") or WHY.get(name, "")):
            yield f"    {name:{NAMES}}{why}{found.get('aside', '')}"
    for name, found in steps.items():
        ways = sorted(found.get("ways", ()), key=lambda way: -way[2])
        if ways:
            yield ""
            yield f"The ways out of {name}, {found['rounds']:,} rounds:"
            for way, count, spent in ways[:MOST]:
                yield f"    {way:40}{count:>10,} x {seconds(spent / count):>8} = {seconds(spent):>8}"
            if len(ways) > MOST:
                yield f"    and {len(ways) - MOST} more, {seconds(sum(spent for _, _, spent in ways[MOST:]))}"


def rate(value: float) -> str:
    """Exits of a step."""
    return "0" if not value else f"{value:.3g}" if value >= 0.001 else f"1/{1 / value:,.0f}"


WHY = {
    kinds.Native.name: "the processor itself",
    "runc": "the same kernel and processor: no exits",
    kinds.Namespaces.name: "the same kernel and processor: no exits",
    kinds.Bare.name: "translated once, then run; each access asks a table (TLB), each block counts time",
    kinds.LinuxGuest.name: "the same, and the guest's kernel takes its timer interrupts",
    kinds.TracedBlocks.name: "a number stored for each block",
    kinds.TracedInsns.name: "a record for each instruction",
    kinds.TracedMemory.name: "a record for each access to memory",
    kinds.Hooked.name: "each instruction leaves for Python, a system call once more",
    kinds.Qemu.name: "translated once, then run",
    kinds.QemuIcount.name: "the same, and every block counts its instructions",
    kinds.Kvm.name: "the processor runs it; exits only for the marks",
    languages.Java.name: "each byte code decoded anew",
    languages.JavaCompiled.name: "compiled from byte code while it ran",
    kinds.CPython.name: "each byte code decoded, each number an object",
    languages.Ruby.name: "each byte code decoded, numbers tagged",
    languages.RubyJit.name: "compiled block by block, numbers tagged",
    languages.WebAssembly.name: "compiled before it ran; accesses below a guard page",
}
