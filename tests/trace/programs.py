"""Programs with symbols and source lines, and traces of them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from emu.boards.tiny import Tiny
from emu.trace.recording import Recording


def traced(folder: Path, source: str) -> Path:
    """`folder`, with a `program`, its source, and a trace `t` of it."""
    if not shutil.which("gcc"):
        pytest.skip("gcc is not installed")
    (folder / "program.s").write_text(source)
    command = "gcc -m32 -g -nostdlib -static -Wl,-Ttext=0x200000,--build-id=none -o program program.s"
    done = subprocess.run(command.split(), cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"gcc makes no 32-bit programs: {done.stderr.splitlines()[-1]}")
    with Tiny() as m:
        m.load(folder / "program")
        with Recording(m, folder / "t"):
            m.run(1_000_000)
    return folder
