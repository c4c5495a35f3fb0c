"""Other builds of the library: this one with some bytes changed, and wheels of other versions."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import unicorn

from emu.cpu.unicorn import build

PACKAGE = Path(unicorn.__file__).parent


def changed(folder: Path, *changes: tuple[bytes, bytes]) -> Path:
    """A folder for PYTHONPATH with a copy of the library; each change is old bytes, which stand there once, and new ones."""
    image = Path(build.uclib._name).read_bytes()
    for old, new in changes:
        assert image.count(old) == 1 and len(old) == len(new)
        image = image.replace(old, new)
    other = shutil.ignore_patterns("include", "lib*.so*", "lib*.a", "__pycache__")
    shutil.copytree(PACKAGE, folder / "unicorn", ignore=other)
    (folder / "unicorn" / "lib" / "libunicorn.so.2").write_bytes(image)
    return folder


def wheel(version: str, folder: Path) -> Path | str:
    """A folder for PYTHONPATH with another version, or why it cannot be had."""
    try:
        done = subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:",
                               "--dest", str(folder), f"unicorn=={version}"], capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        return f"unicorn {version} cannot be fetched in two minutes"
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        return f"unicorn {version} cannot be fetched: {(done.stderr.strip().splitlines() or ['?'])[-1]}"
    with zipfile.ZipFile(wheels[0]) as file:
        file.extractall(folder)
    return folder


def run(folder: Path, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """python ARGUMENTS with that library."""
    path = os.pathsep.join([str(folder), *filter(None, sys.path)])
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=timeout,
                          stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": path, "EMU_FAST": "all"})
