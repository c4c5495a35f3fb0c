"""What a start is made of: each form's way from its start to its end with nothing to do, in stages.

A stage is the time of a command that does less, over the one before it: the interpreter alone, then with its modules, then to
the first mark of the form's own program, then to the end of its process.  Namespaces: over a process.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

from emu.cost import forms, languages
from emu.cost.children import Child, FormError, die_with_parent
from emu.cost.forms import BOOT_LIMIT, LIMIT, Asked, Form
from emu.cost.runc import Runc
from emu.cost.workloads import WORKLOADS

TURNS = 5
SPAWN = WORKLOADS["spawn"]
Stages = list[tuple[str, float]]                # what, seconds


def stages(form: Form, process: float) -> Stages:
    """Of a form that was found; `process`: seconds of one.  Raises FormError."""
    if isinstance(form, forms.Native):
        whole = statistics.median(form.run(SPAWN, 1).wall for _ in range(TURNS))
        if type(form) is forms.Native:
            return [("clone, execve, exit, wait", whole)]
        return [("a process", process), ("its name spaces, made and taken away", whole - process)]
    turns = 1 if isinstance(form, forms.LinuxGuest) else TURNS
    known: Stages = []
    for what, command in _before(form):
        known.append((what, statistics.median(_ended(command) for _ in range(turns))))
    lives = [_life(form) for _ in range(turns)]
    known.append((_INSIDE.get(form.name, "its program"), statistics.median(to_mark for to_mark, _ in lives)))
    made = [(what, max(whole - (known[n - 1][1] if n else 0.0), 0.0)) for n, (what, whole) in enumerate(known)]
    return [*made, ("its end", statistics.median(end for _, end in lives))]


def _before(form: Form) -> list[tuple[str, Sequence[str]]]:
    """The commands that do less, from the least."""
    python = [sys.executable, "-c"]
    if isinstance(form, Runc):
        return [("runc, a program", [form.path, "--version"])]
    if isinstance(form, forms.Kvm):
        return [("Python", [*python, ""]), ("the runner", [*python, "import emu.cost.kvm"])]
    if isinstance(form, forms.Qemu):
        return [("QEMU, a program", [form.path, "--version"])]
    if isinstance(form, forms.Hooked):
        return [("Python", [*python, ""]), ("its modules", [*python, "import emu.cost.hooked, unicorn.x86_const"])]
    if isinstance(form, forms.Ours):
        return [("Python", [*python, ""]), ("emu's modules", [*python, "import emu.cost.guest"])]
    if isinstance(form, languages.WebAssembly):
        return [("Python", [*python, ""]), ("wasmtime", [*python, "import emu.cost.wasmguest, wasmtime"])]
    if isinstance(form, languages.Java):
        return [("the JVM", [*form.command()[:-3], "-version"])]
    if isinstance(form, languages.Ruby):
        return [("Ruby", [form.path, *form.options, "-e", ""])]
    return [("Python", [sys.executable, "-S", "-E", "-c", ""])]


_INSIDE = {
    Runc.name: "the container: name spaces, cgroup, mounts, its process", forms.Kvm.name: "the virtual machine, its guest",
    forms.Bare.name: "the machine, its guest", forms.LinuxGuest.name: "the machine, Linux from its first block to a shell",
    forms.Hooked.name: "the library's machine, the program", forms.Qemu.name: "the machine, its BIOS, the guest",
    forms.QemuIcount.name: "the machine, its BIOS, the guest", languages.WebAssembly.name: "the module, compiled",
    **{kind.name: "the machine, its recorder, the guest" for kind in (forms.TracedBlocks, forms.TracedInsns,
                                                                     forms.TracedMemory)},
    **{kind.name: "its classes" for kind in (languages.Java, languages.JavaCompiled)},
}


def _ended(command: Sequence[str]) -> float:
    """Wall seconds of a command."""
    start = time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, timeout=LIMIT, preexec_fn=die_with_parent)
    except (OSError, subprocess.SubprocessError) as error:
        raise FormError(str(error)) from None
    if done.returncode:
        raise FormError(f"{command[0]}: status {done.returncode}")
    return time.monotonic() - start


def _life(form: Form) -> tuple[float, float]:
    """Wall seconds to the first mark, and from there to the end."""
    assert isinstance(form, (Asked, Runc, forms.Qemu, forms.Kvm))
    command = (form.command() if isinstance(form, Asked) else form.command([str(SPAWN.number), "1"]) if isinstance(form, Runc)
               else form.whole(SPAWN, 1) if isinstance(form, forms.Qemu) else form.command(SPAWN, 1))
    child = Child(command, ask=isinstance(form, Asked), cwd=form.directory if isinstance(form, forms.Language) else None)
    done = False
    try:
        if isinstance(form, Asked):
            child.ask(form.line(SPAWN, 1))
        marks, _ = child.answer(BOOT_LIMIT)
        if child.child.stdin:
            child.child.stdin.close()
        done = True
    finally:
        _, whole = child.end(kill=isinstance(form, forms.Qemu) or not done)
    return marks[0][1] - child.began, whole - (marks[0][1] - child.began)
