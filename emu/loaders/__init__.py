"""What a kernel file asks of the machine: `load` reads files and returns a plan, a `Start`.  It touches no machine."""

from __future__ import annotations

from pathlib import Path

from emu.loaders import elf, flat, linux, multiboot, pieces
from emu.loaders.memory import Ram, read
from emu.loaders.start import BadImage, MemoryMap, Screen, Start

__all__ = ["BadImage", "MemoryMap", "Screen", "Start", "load"]

LIMIT = 1 << 30  # bytes of a kernel file; more than RAM, as debug information need not fit into it


def load(
    kernel: Path | bytes,
    *,
    memory_map: MemoryMap,
    initrd: str | None = None,
    append: str = "",
    screen: Screen | None = None,
    name: str | None = None,
    top: int | None = None,
) -> Start:
    """How the machine starts with `kernel`, a file or its bytes; the content tells the kind.

    `initrd`: Linux: a file.  Multiboot: modules, `file args,file args` (`,,` is a comma); the first word is the file.
    `append`: the command line.  `screen`: the board's text screen, None where it has none.
    `top`: the end of the RAM below 4 GiB, where a firmware is to start Linux kernels.
    `name`: what messages, and the first word of a Multiboot command line, call the kernel; by default the file's path.
    Raises BadImage, with one line for the user, and nothing else, whatever the files hold.
    """
    name = name or ("kernel" if isinstance(kernel, bytes) else str(kernel))
    data = kernel if isinstance(kernel, bytes) else read(kernel, LIMIT, "kernel")
    ram = Ram(memory_map)
    if linux.is_linux(data) and top is not None:
        return pieces.pieces(data, name, top, initrd, append)
    if linux.is_linux(data):
        return linux.load(data, name, ram, memory_map, initrd, append, screen)
    if multiboot.find_header(data) is not None:
        return multiboot.load(data, name, ram, memory_map, initrd, append)
    if multiboot.is_multiboot2(data):
        raise BadImage(f"{name}: a Multiboot 2 kernel; build it for Multiboot 1, or boot it from a disk with GRUB")
    kind = "an ELF kernel" if data.startswith(elf.MAGIC) else "a flat binary"
    start = elf.load(data, name, ram) if data.startswith(elf.MAGIC) else flat.load(data, name, ram)
    if initrd or append:
        what = "initrd" if initrd else "command line"
        raise BadImage(f"{name}: {kind} takes no {what}; only Linux and Multiboot kernels do")
    return start
