"""The mode of a board's screen in a few words: `text 80x25`, `graphics 640x480x4`, or nothing where there is none."""

from __future__ import annotations

from typing import Any

from emu.boards.board import Board


def mode(machine: Board) -> str:
    """What the registers of the VGA and the DISPI amount to: columns and rows, or width, height, bits of a pixel."""
    vga: Any = machine.chips.get("vga")
    if vga is None or machine.screen is None:
        return ""
    dispi = vga.dispi
    if dispi.enabled:
        return f"graphics {dispi.xres}x{dispi.yres}x{dispi.bpp}"
    columns = vga.cr01 + 1
    lines = (vga.cr12 | (vga.cr07 & 2) << 7 | (vga.cr07 & 0x40) << 3) + 1          # [F] vertical display end
    height = lines // ((vga.cr09 & 0x1F) + 1) >> (vga.cr09 >> 7)
    if not vga.gr6 & 1:
        return f"text {columns}x{height}"
    deep = bool(vga.gr5 & 0x40)                         # C256: two dots a pixel
    return f"graphics {columns * 8 >> deep}x{height}x{8 if deep else 4}"
