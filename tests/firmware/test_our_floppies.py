"""Our own floppies: the volume is one that others read, and both run on an independent machine, QEMU."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from emu.firmware import build, floppy
from tests.firmware.test_our_kernels import converse

SHELL = [
    ("type help.\n", ""), ("A> ", "help\r"), ("reboot, off  leave", ""), ("A> ", "dir\r"), ("README   TXT", ""),
    ("HELLO    COM", ""), ("2 files", ""), ("A> ", "mem\r"), ("639 KiB below", ""), ("A> ", "type readme.txt\r"),
    ("INT 21h 02h, 09h and 4Ch will do.\n", ""), ("A> ", "hellx\x08o\r"), ("hello from a .COM program\n", ""),
    ("A> ", "type nothing\r"), ("no such file\n", ""), ("A> ", "what\r"), ("no such command", ""), ("A> ", "off\r"),
]


def tool(name: str) -> str:
    found = shutil.which(name)
    if not found:
        pytest.skip(f"{name} is not installed")
    return found


def test_the_shell_works_on_qemu_and_turns_it_off(tmp_path):
    image = tmp_path / "shell.img"
    image.write_bytes(build.floppy("shell"))
    said, status = converse([tool("qemu-system-i386"), "-accel", "tcg", "-m", "16", "-display", "none", "-monitor", "none",
                             "-serial", "stdio", "-drive", f"file={image},format=raw,if=floppy"], SHELL, 20)
    assert status == 0, said


def test_the_volume_is_one_that_mtools_reads(tmp_path):
    image = tmp_path / "volume.img"
    files = {"ODD.TXT": b"odd" * 1000, "EMPTY": b"", "EVEN.BIN": bytes(range(256)) * 4}
    image.write_bytes(floppy.fat12(build.floppy("shell")[:8192], files))
    for name, content in files.items():
        read = subprocess.run([tool("mtype"), "-i", image, f"::{name}"], capture_output=True, check=True).stdout
        assert read == content
    subprocess.run([tool("fsck.fat"), "-n", image], capture_output=True, check=True)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="do not fit"):
        floppy.fat12(build.floppy("shell")[:8192], {"BIG.BIN": bytes(1440 << 10)})


def test_the_game_is_one_boot_sector():
    image = build.floppy("snake")
    assert len(image) == floppy.SIZE and image[510:512] == b"\x55\xAA" and not any(image[512:])


def test_an_unknown_floppy_is_an_error():
    with pytest.raises(KeyError, match="there are: shell, snake"):
        build.floppy("no-such")
