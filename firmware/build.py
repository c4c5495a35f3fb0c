"""Our own guests, our BIOS and our VGA BIOS: made when one is wanted, or all at once with `python firmware/build.py`.

`python firmware/build.py --ports` writes ports.inc anew, from the declarations of the chips.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from emu import assembler
from emu.assembler import AssemblyError, assemble_file
from emu.firmware import floppy as floppy_image

HERE = Path(__file__).resolve().parent
FLOPPIES = "shell", "snake"
HALF = 0x10000                          # bytes of each half of the BIOS
README = b"""This floppy begins with a boot sector and a small shell (firmware/floppies/shell.asm).\r
HELLO runs HELLO.COM; any .COM program that asks for no more than INT 21h 02h, 09h and 4Ch will do.\r
"""


def names() -> list[str]:
    """The kernels there are."""
    return sorted(path.stem for path in (HERE / "kernels").glob("*.asm"))


def kernel(name: str) -> bytes:
    """The Multiboot image of one kernel.  Raises KeyError, or AssemblyError."""
    if name not in names():
        raise KeyError(f"no kernel {name!r}; there are: {', '.join(names())}")
    return _kept(name, "kernels", lambda: assemble_file(HERE / "kernels" / f"{name}.asm"))


def floppies() -> list[str]:
    """The floppies there are."""
    return sorted(FLOPPIES)


def floppy(name: str) -> bytes:
    """The image of one floppy, 1.44 MB.  Raises KeyError, or AssemblyError."""
    if name not in FLOPPIES:
        raise KeyError(f"no floppy {name!r}; there are: {', '.join(floppies())}")
    boot = assemble_file(HERE / "floppies" / f"{name}.asm", bits=16)
    if name == "snake":
        return floppy_image.alone(boot)
    program = assemble_file(HERE / "floppies" / "hello.asm", bits=16)
    return floppy_image.fat12(boot, {"README.TXT": README, "HELLO.COM": program})


@functools.cache
def vgabios() -> bytes:
    """The VGA BIOS, an expansion ROM with its length and checksum.  Raises AssemblyError."""
    return _kept("vgabios", "vgabios", _vgabios)


def _vgabios() -> bytes:
    code = assemble_file(HERE / "vgabios" / "vgabios.asm", bits=16)
    units = len(code) // 512 + 1                                    # of 512 bytes; the last byte is the checksum's
    rom = bytearray(code.ljust(512 * units, b"\0"))
    rom[2] = units
    structure = int.from_bytes(rom[0x18:0x1A], "little")
    rom[structure + 0x10:structure + 0x12] = units.to_bytes(2, "little")    # PCI Firmware Specification 3.0, 5.1.2
    rom[-1] = -sum(rom) & 0xFF
    return bytes(rom)


def bios() -> bytes:
    """The BIOS, 128 KiB: 32-bit code for E0000, then the segment F000 with the reset vector.  Raises AssemblyError."""
    return _kept("bios", "bios", _bios)


def _bios() -> bytes:
    image = b""
    for name, bits in (("flat", 32), ("bios", 16)):
        half = assemble_file(HERE / "bios" / f"{name}.asm", bits=bits)
        if len(half) > HALF:
            raise AssemblyError(f"{name}.asm: {len(half)} bytes are more than half of the image")
        image += half.ljust(HALF, b"\xFF")
    return image


def _kept(name: str, directory: str, make: Callable[[], bytes]) -> bytes:
    """What `make` assembles from a directory when its source or the assembler has changed, otherwise from firmware/build."""
    digest = hashlib.sha256()
    for path in sorted([HERE / "ports.inc", Path(assembler.__file__), Path(__file__), *(HERE / directory).iterdir()]):
        if path.is_file():
            digest.update(path.read_bytes())
    kept = HERE / "build" / f"{name}-{digest.hexdigest()[:16]}.bin"
    with contextlib.suppress(OSError):
        return kept.read_bytes()
    image = make()
    with contextlib.suppress(OSError):      # an installed copy may not be written to
        kept.parent.mkdir(exist_ok=True)
        for old in kept.parent.glob(f"{name}-*.bin"):
            old.unlink()
        with tempfile.NamedTemporaryFile(dir=kept.parent, delete=False) as new:
            new.write(image)
        Path(new.name).replace(kept)
    return image


def ports() -> str:
    """The text of ports.inc: the registers of the board `pc`, of which `tiny` has a part."""
    from emu import datasheet
    from emu.boards.pc import PC

    with PC() as board:
        return datasheet.ports_inc(datasheet.placements(board.chips.values(), board.ports))


def main() -> None:
    if "--ports" in sys.argv:
        (HERE / "ports.inc").write_text(ports())
    out = HERE / "build"
    out.mkdir(exist_ok=True)
    for name in names():
        image = kernel(name)
        (out / f"{name}.bin").write_bytes(image)
        print(f"{name:10}{len(image):6} bytes")
    for name in floppies():
        (out / f"{name}.img").write_bytes(floppy(name))
    (out / "vgabios.bin").write_bytes(vgabios())
    (out / "bios.bin").write_bytes(bios())


if __name__ == "__main__":
    main()
