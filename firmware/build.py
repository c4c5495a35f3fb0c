"""Our own guest kernels: assembled when one is wanted, or all at once with `python firmware/build.py`.

`python firmware/build.py --ports` writes ports.inc anew, from the declarations of the chips.
"""

from __future__ import annotations

import sys
from pathlib import Path

from emu.assembler import assemble_file

HERE = Path(__file__).resolve().parent


def names() -> list[str]:
    """The kernels there are."""
    return sorted(path.stem for path in (HERE / "kernels").glob("*.asm"))


def kernel(name: str) -> bytes:
    """The Multiboot image of one kernel.  Raises KeyError, or AssemblyError."""
    if name not in names():
        raise KeyError(f"no kernel {name!r}; there are: {', '.join(names())}")
    return assemble_file(HERE / "kernels" / f"{name}.asm")


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


if __name__ == "__main__":
    main()
