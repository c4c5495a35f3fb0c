"""What clears up behind a measurement, however that ends: `python -S -E janitor.py DIRECTORY LIFE`.

It lies in a session of its own, and reads the pipe LIFE whose other end the measurement alone holds: at its end nobody does,
and what was started and made there goes: processes, containers, cgroups, files.  It imports nothing of ours: it is one
small process beside all that is measured, and sleeps.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
TRIES = 50


def cgroups(name: str) -> list[Path]:
    """A container's cgroups of that name, in either version of the hierarchy."""
    return [*CGROUPS.glob(f"*/{name}"), *CGROUPS.glob(name)]


def sweep(directory: Path) -> None:
    """Remove all that is of `directory`.  A container's cgroups have the directory's name."""
    runtime = shutil.which("runc") or shutil.which("runc", path="/usr/sbin:/sbin")
    for state in directory.glob("*/state/*"):
        if runtime:
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                subprocess.run([runtime, "--root", str(state.parent), "delete", "--force", state.name], capture_output=True,
                               timeout=20)
    for _ in range(TRIES):
        left = cgroups(directory.name)
        for group in left:
            with contextlib.suppress(OSError, ValueError):
                for pid in (group / "cgroup.procs").read_text().split():
                    os.kill(int(pid), signal.SIGKILL)
            with contextlib.suppress(OSError):
                group.rmdir()
        shutil.rmtree(directory, ignore_errors=True)        # again while something still writes there
        if not left and not directory.exists():
            return
        time.sleep(0.02)


def main() -> None:
    directory, life = Path(sys.argv[1]), int(sys.argv[2])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    while os.read(life, 1):
        pass
    sweep(directory)


if __name__ == "__main__":
    main()
