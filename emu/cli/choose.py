"""What a machine boots, and from what: IMAGE, --kernel, --disk and their like, made into one plan."""

from __future__ import annotations

import argparse
import contextlib
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from emu import bounded
from emu.boards.board import MIB
from emu.boards.drives import ROLES, DriveFile
from emu.boards.pc import BOOT
from emu.cli.options import UsageError
from emu.firmware import build
from emu.host import fetch
from emu.host.disk import what
from emu.host.files import replacing
from emu.host.progress import ProgressLine
from emu.host.terminal import say
from emu.loaders.linux import is_linux

DEFAULT_MEMORY = 256 * MIB
MOST = {"disk": 4, "cdrom": 1, "floppy": 2}
LETTERS = {"floppy": "a", "disk": "c", "cdrom": "d"}
_ROM = 16 * MIB


@dataclass
class Boot:
    """What a machine boots; `kernel` None: what its firmware finds.  `first` is the letter of the device that IMAGE is."""

    name: str
    kernel: Path | bytes | None = None
    initrd: str | None = None
    append: str = ""
    memory: int = DEFAULT_MEMORY
    drives: list[DriveFile] = field(default_factory=list)
    first: str = ""
    firmware: Path | None = None
    vga_bios: Path | None = None
    fetched: bool = False


def chosen(options: argparse.Namespace) -> Boot:
    """What the options ask for.  Raises UsageError, FetchError, ImageError, AssemblyError."""
    boot = _image(options)
    if options.kernel:
        boot.name, boot.kernel = options.kernel, Path(options.kernel)
    if options.initrd:
        boot.initrd = options.initrd
    if options.append is not None:
        boot.append = options.append
    _drives(boot, options)
    if boot.kernel is None and not boot.drives and not (options.firmware or boot.firmware):
        boot.name, boot.kernel = "default", build.kernel("default")
    return boot


def _image(options: argparse.Namespace) -> Boot:
    """What IMAGE stands for: a name of the manifest, one of our own kernels or floppies, a file."""
    name = options.image
    if name is None:
        return Boot("the firmware")
    if not name:
        raise UsageError("IMAGE is empty")
    known = {listed.entry.name: listed.entry for listed in fetch.listing()}
    if name in known:
        return _fetched(name, options)
    if name in build.names():
        return _kernel(name, build.kernel(name), options)
    if name in build.floppies():
        return Boot(name, drives=[DriveFile("floppy", _floppy(name))], first=LETTERS["floppy"])
    if os.sep not in name and not os.path.exists(name):
        raise UsageError(f"{name}: no such file, and no image is called so; "
                         f"there are {', '.join([*known, *build.names(), *build.floppies()])}")
    if not os.path.isfile(name):
        return _kernel(name, Path(name), options)               # whose loader says what is wrong, or reads a pipe
    kind = what(name)
    if kind == "kernel":
        return _kernel(name, Path(name), options)
    return Boot(name, drives=[DriveFile(kind, name)], first=LETTERS[kind])


def _floppy(name: str) -> str:
    """The file of a floppy of our own: where fetched images are, too."""
    path = fetch.cache_directory() / "floppies" / f"{name}.img"
    image = build.floppy(name)
    try:
        if not path.exists() or path.read_bytes() != image:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                file.write(image)
    except OSError as error:
        raise UsageError(f"{name}: cannot be put into {path}: {error.strerror}") from None
    return str(path)


def _kernel(name: str, kernel: Path | bytes, options: argparse.Namespace) -> Boot:
    if options.kernel:
        raise UsageError(f"both IMAGE and --kernel name a kernel: {name}, {options.kernel}")
    return Boot(name, kernel)


def _fetched(name: str, options: argparse.Namespace) -> Boot:
    with ProgressLine() as progress:
        image = fetch.fetch(name, progress)
    if image.warning:
        say(f"warning: {image.warning}")
    if options.memory and options.memory < image.minimum:
        say(f"warning: {name} was never seen to boot with less than {image.minimum // MIB}M of memory")
    drives = [DriveFile(role, str(image.files[role])) for role in ROLES if role in image.files]
    return Boot(name, image.kernel, None if image.initrd is None else str(image.initrd), image.append,
                max(image.memory, DEFAULT_MEMORY), drives, LETTERS.get(image.kind, ""),
                image.files.get("bios"), image.files.get("vgabios"), fetched=bool(drives))


def _drives(boot: Boot, options: argparse.Namespace) -> None:
    """Add what --disk, --cdrom and --floppy say, and say of each where its writes go."""
    for role in ROLES:
        boot.drives += [DriveFile(role, path) for path in getattr(options, role) or ()]
        count, most = sum(drive.role == role for drive in boot.drives), MOST[role]
        if count > most:
            raise UsageError(f"--{role}: {count} of them, and the machine has room for {most}")
    overlays = list(options.overlay or ())
    if options.write and boot.fetched:
        raise UsageError(f"--write: {options.image} is kept as it was fetched; --overlay FILE keeps what is written")
    if overlays and options.write:
        raise UsageError("--overlay and --write: what is written goes to one place or the other")
    for number, drive in enumerate(boot.drives):
        if drive.role == "disk" and overlays:
            boot.drives[number] = replace(drive, overlay=overlays.pop(0))
        elif options.write:
            boot.drives[number] = replace(drive, write=drive.role != "cdrom")
    if overlays:
        raise UsageError(f"--overlay {overlays[0]}: there is no --disk for it")


def order(boot: Boot, options: argparse.Namespace) -> str:
    """The boot order: the user's, or the device that IMAGE is before the others."""
    return (options.boot and options.boot[0]) or boot.first + BOOT.replace(boot.first, "")


def firmware(boot: Boot, options: argparse.Namespace) -> tuple[bytes | None, bytes | None]:
    """The contents of the firmware's ROM and of the screen's, None for none.  Raises UsageError, AssemblyError."""
    direct = boot.kernel is not None and not _calls_a_bios(boot.kernel)
    wanted = options.firmware or (boot.firmware and str(boot.firmware)) or ("none" if direct else "emu")
    if wanted == "none" and boot.kernel is None:
        raise UsageError("--firmware none: without it only a kernel can be started, and there is none")
    screen = options.vga_bios or (boot.vga_bios and str(boot.vga_bios)) or ("none" if wanted == "none" else "emu")
    return (None if wanted == "none" else build.bios() if wanted == "emu" else _rom("--firmware", wanted),
            None if screen == "none" else build.vgabios() if screen == "emu" else _rom("--vga-bios", screen))


def _calls_a_bios(kernel: Path | bytes) -> bool:
    """Whether it is a Linux image that has only the real-mode entry (boot.rst, code32_start), as iPXE's."""
    start = kernel[:0x218] if isinstance(kernel, bytes) else b""
    if isinstance(kernel, Path) and kernel.is_file():
        with contextlib.suppress(OSError), open(kernel, "rb") as file:
            start = file.read(0x218)
    return len(start) == 0x218 and is_linux(start) and not any(start[0x214:])


def _rom(option: str, path: str) -> bytes:
    try:
        data = bounded.read(path, _ROM)
    except bounded.Unreadable as why:
        raise UsageError(f"{option} {path}: cannot be read: {why}") from None
    if not 0 < len(data) <= _ROM:
        raise UsageError(f"{option} {path}: {'more than ' * bool(data)}{len(data[:_ROM])} bytes are no ROM")
    return data
