"""A BIOS on QEMU's board and on ours, until the guest says that it is done: what came out of each port."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from emu.boards.pc import PC
from emu.firmware import build

QEMU = shutil.which("qemu-system-i386")
SEABIOS = Path("/usr/share/seabios/bios-256k.bin")
COLUMNS, ROWS = 80, 25
START = """
    cli
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov sp, 0x7C00
"""                                 # of a boot sector: all segments are 0, the stack lies below the sector


@dataclass
class Run:
    """What a machine left: COM1, port E9h, the text screen (if it was asked for), the exit status (None: killed)."""

    serial: str
    debug: bytes
    screen: str
    status: int | None


def ours() -> Path:
    """Our BIOS as a file."""
    path = Path(tempfile.gettempdir()) / f"emu-bios-{os.getpid()}.bin"
    image = build.bios()
    if not path.is_file() or path.read_bytes() != image:
        path.write_bytes(image)
    return path


@contextmanager
def temporary(data: bytes) -> Iterator[str]:
    """The name of a file that holds `data`."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        yield file.name


def on_qemu(arguments: Sequence[str], *, bios: Path | None = None, until: str = "", seconds: float = 20,
            keys: Sequence[tuple[str, str]] = ()) -> Run:
    """Run QEMU's pc until the guest writes port F4h, or `until` shows on screen or serial line.

    A reset ends it too.  `keys`: when the text of a pair has shown up, the keys of its second half are pressed (QEMU's
    names, by blanks).
    """
    if not QEMU:
        pytest.skip("qemu-system-i386 is not installed")
    waiting = list(keys)
    with tempfile.TemporaryDirectory() as place:
        serial, debug, control = (os.path.join(place, name) for name in ("serial", "debug", "qmp"))
        command = [QEMU, "-M", "pc", "-accel", "tcg", "-bios", str(bios or ours()), "-display", "none", "-nic", "none",
                   "-serial", f"file:{serial}", "-debugcon", f"file:{debug}", "-nodefaults", "-vga", "std",
                   "-no-reboot",
                   "-device", "isa-debug-exit,iobase=0xf4,iosize=1", "-qmp", f"unix:{control},server=on,wait=off", *arguments]
        with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
            end, screen, said = time.monotonic() + seconds, "", ""
            with Monitor(control, process) as monitor:
                while time.monotonic() < end and process.poll() is None:
                    time.sleep(0.05)
                    if not until and not waiting:
                        continue
                    screen = monitor.screen() or screen
                    said = Path(serial).read_text("latin-1")
                    if waiting and (waiting[0][0] in said or waiting[0][0] in screen):
                        for key in waiting.pop(0)[1].split():
                            monitor.human(f"sendkey {key}")
                            time.sleep(0.1)
                    elif until and not waiting and (until in said or until in screen):
                        break
                if process.poll() is None:
                    screen = monitor.screen() or screen
            status = process.poll()
            process.kill()
            assert process.stderr
            complaint = process.stderr.read().decode()
        assert os.path.exists(serial), complaint
        return Run(Path(serial).read_text("latin-1"), Path(debug).read_bytes(), screen, status)


class Monitor:
    """QEMU's machine protocol, as far as it is needed."""

    def __init__(self, path: str, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + 10
        self.socket, self.open = socket.socket(socket.AF_UNIX), False
        while not self.open and process.poll() is None and time.monotonic() < end:
            try:                            # the file is there before anybody listens
                self.socket.connect(path)
                self.open = True
            except (FileNotFoundError, ConnectionRefusedError):
                time.sleep(0.02)
        if self.open:
            self.lines = self.socket.makefile("r")
            self.lines.readline()
            self.ask("qmp_capabilities")

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *exception: object) -> None:
        self.socket.close()

    def ask(self, command: str, **arguments: object) -> object:
        """The answer, None once QEMU is gone."""
        if not self.open:
            return None
        try:
            self.socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
            for line in self.lines:
                message = json.loads(line)
                if "return" in message or "error" in message:
                    return message.get("return")
        except OSError:
            pass
        self.open = False
        return None

    def human(self, line: str) -> str:
        return str(self.ask("human-monitor-command", **{"command-line": line}) or "")

    def screen(self) -> str:
        """The text in B8000, 80 columns."""
        rows = self.human(f"xp /{COLUMNS * ROWS * 2}xb 0xb8000").splitlines()
        cells = bytes(int(cell, 16) for row in rows if ": 0x" in row for cell in row.split(": ")[1].split())[::2]
        return "\n".join(cells[at:at + COLUMNS].decode("cp437").rstrip() for at in range(0, len(cells), COLUMNS))


def on_ours(*, firmware: bytes | None = None, seconds: float = 60, until: str = "", memory: int = 64 << 20,
            **parts: object) -> Run:
    """The same on our own board; `parts` go to PC(); `seconds` are guest seconds."""
    debug = bytearray()
    with PC(memory, firmware=firmware or build.bios(), vga_bios=build.vgabios(), debug=debug.extend,
            **parts) as board:                                  # type: ignore[arg-type]
        board.run_until(until or None, seconds=seconds, when=lambda: bool(until) and until in board.screen.text)
        return Run(board.text, bytes(debug), board.screen.text, board.exit_code)
