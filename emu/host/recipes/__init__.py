"""Images that no package holds, made of files that packages hold, with tools of this machine.

A recipe is a function (kitchen) that writes the files `kitchen.wanted`.  It takes what it needs of other images through
`kitchen.file`, runs tools through `kitchen.run`, and leaves nothing outside `kitchen.scratch`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..manifest import FetchError, Origin, Progress

Find = Callable[[str, str], Path]
PATH = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
"""Where tools are looked for: Debian keeps mkfs and its like where a user's PATH does not lead."""


@dataclass(frozen=True)
class Kitchen:
    """Where a recipe works: `wanted` is member -> file to make; `find(image, role)` fetches another image's file."""

    wanted: Mapping[str, Path]
    scratch: Path
    find: Find
    progress: Progress

    def run(self, *command: str | Path, stdin: str = "", **environment: str) -> str:
        """What a tool prints; `stdin` is typed to it.  Raises FetchError with the last line of its complaint."""
        done = subprocess.run([str(word) for word in command], input=stdin, capture_output=True, text=True, errors="replace",
                              cwd=self.scratch, env={**os.environ, "PATH": PATH, "LC_ALL": "C", **environment}, check=False)
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines() or [f"status {done.returncode}"]
            raise FetchError(f"{command[0]} failed: {said[-1]}")
        return done.stdout

    def text(self, name: str, content: str) -> Path:
        """A file of the scratch directory."""
        path = self.scratch / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path


def obtain(origin: Origin, wanted: Mapping[str, Path], scratch: Path, find: Find, progress: Progress) -> str:
    """Make the files `wanted` and return the recipe's version.  Raises FetchError, and OSError (a full disk)."""
    from . import debian, grub, initrd, syslinux

    recipes: dict[str, Callable[[Kitchen], None]] = {
        "busybox": initrd.busybox, "grub-cd": grub.cd, "grub-floppy": grub.floppy, "syslinux-floppy": syslinux.floppy,
        "isolinux-cd": syslinux.cd, "debian-disk": debian.disk,
    }
    if origin.package not in recipes:
        raise FetchError(f"the image manifest: no recipe is called {origin.package!r}; known: {', '.join(recipes)}")
    missing = sorted({package for tool, package in origin.tools.items() if not _has(tool)})
    if missing:
        raise FetchError(f"{origin.package} is made here, with tools that are missing: apt-get install {' '.join(missing)}")
    progress(f"making {origin.package}", None)
    work = scratch / "work"
    work.mkdir()
    try:
        recipes[origin.package](Kitchen(wanted, work, find, progress))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return origin.version


def _has(tool: str) -> bool:
    return os.path.exists(tool) if tool.startswith("/") else shutil.which(tool, path=PATH) is not None

