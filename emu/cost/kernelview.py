"""Who serves a system call: the same program reads /proc as a process, in a container, and in a Linux guest.

A container's files say the host's release, and its counters lie between those of the host before and after; the guest's
kernel is another, and counts for itself.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from emu.cost.children import FormError, die_with_parent
from emu.cost.forms import Form, LinuxGuest, Missing, Native
from emu.cost.room import Room
from emu.cost.runc import Runc

FILES = "/proc/version", "/proc/stat"
COUNTERS = "ctxt", "processes"


def facts(text: str) -> tuple[str, dict[str, int]]:
    """The kernel's release, and its counters."""
    release = re.search(r"Linux version (\S+)", text)
    return release[1] if release else "?", {
        name: int(found[1]) for name in COUNTERS if (found := re.search(rf"^{name} (\d+)", text, re.MULTILINE))}


def run(command: list[str], cwd: Path | None = None) -> str:
    """What a child writes.  Raises FormError."""
    try:
        ended = subprocess.run(command, capture_output=True, timeout=300, cwd=cwd, preexec_fn=die_with_parent)
    except (OSError, subprocess.SubprocessError) as error:
        raise FormError(str(error)) from None
    text = ended.stdout.decode("utf-8", "replace")
    if "Linux version" not in text:
        raise FormError(ended.stderr.decode("utf-8", "replace").strip()[-200:] or f"status {ended.returncode}")
    return text


def native(form: Native) -> str:
    return "".join(subprocess.run([str(form.program()), "c", path], capture_output=True, text=True, timeout=30,
                                  check=True).stdout for path in FILES)


def contained(form: Runc) -> str:
    return "".join(form.output(["c", path]) for path in FILES)


def guest(form: Form) -> str:
    return run([sys.executable, "-m", "emu.cost.guest", "show", str(form.directory), *FILES])


def show() -> str:
    """The whole view, as text."""
    lines = [f"{'':18}{'kernel':28}" + "".join(f"{name:>14}" for name in COUNTERS)]
    room = Room()
    forms: list[Form] = []
    rows: dict[str, tuple[str, dict[str, int]]] = {}
    try:
        for number, kind in enumerate((Native, Runc, LinuxGuest, Native)):
            own = room.directory / str(number)
            own.mkdir()
            form = kind(own)
            forms.append(form)
            name = form.name + (", again" if number == 3 else "")
            try:
                form.find()
                text = native(form) if isinstance(form, Native) else (
                    contained(form) if isinstance(form, Runc) else guest(form))
                rows[name] = facts(text)
                release, counters = rows[name]
                lines.append(f"{name:18}{release:28}" + "".join(f"{counters.get(c, 0):>14,}" for c in COUNTERS))
            except (Missing, FormError, OSError, subprocess.SubprocessError) as error:
                lines.append(f"{name:18}not shown: {error}")
    finally:
        for form in forms:
            form.close()
        room.close()
    return "\n".join([*lines, "", *verdict(rows)])


def verdict(rows: dict[str, tuple[str, dict[str, int]]]) -> list[str]:
    """What the rows say."""
    made = []
    host, after = rows.get(Native.name), rows.get(f"{Native.name}, again")
    for name in (Runc.name, LinuxGuest.name):
        if host is None or after is None or name not in rows:
            continue
        release, counters = rows[name]
        between = all(host[1].get(c, 0) <= counters.get(c, -1) <= after[1].get(c, 0) for c in COUNTERS)
        if release == host[0] and between:
            made.append(f"{name}: the host's kernel serves its system calls; its counters go on from the host's")
        else:
            made.append(f"{name}: a kernel of its own serves its system calls, and counts for itself")
    return made
