"""The font of our VGA BIOS, for kernels that are started without it."""

from __future__ import annotations

import functools
import re
from importlib import resources

HEIGHT = 16


@functools.cache
def font() -> bytes:
    """256 characters of 8 x 16 pixels, a byte for each line."""
    source = resources.files("emu.firmware").joinpath("vgabios/font16.inc").read_text()
    rows = re.findall(r"^\s*\.byte\s+([^#\n]*)", source, re.MULTILINE)
    return bytes(int(value, 0) for row in rows for value in row.split(","))


def plane() -> bytes:
    """The same as the VGA has it in plane 2: a character every 32 bytes."""
    glyphs = font()
    return b"".join(glyphs[at:at + HEIGHT].ljust(32, b"\0") for at in range(0, len(glyphs), HEIGHT))
