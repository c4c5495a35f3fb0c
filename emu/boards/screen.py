"""The screen of a board: what is on it, as text and as pixels.

Source: [I] IBM PS/2 Hardware Interface Technical Reference.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from emu import screen
from emu.boards.font import plane
from emu.chips.dispi import Dispi
from emu.chips.vga import FRAME_BUFFER, ROM_SIZE, VGA
from emu.host import png
from emu.machine import Machine

# IBM's parameters of the text mode of 80 x 25 characters: [I], "Video Subsystem", BIOS mode 3
MISC = 0x67
SR = bytes.fromhex("0300030002")
CR = bytes.fromhex("5F4F50825581BF1F004F0D0E000000009C8E8F281F96B9A3FF")
GR = bytes.fromhex("0000000000100E00FF")
AR = bytes.fromhex("000102030405140738393A3B3C3D3E3F0C000F0800")
COLOURS = bytes((i >> 2 - n & 1) * 0x2A + (i >> 5 - n & 1) * 0x15 for i in range(64) for n in range(3))


class Screen:
    """What the monitor at `vga` shows now."""

    def __init__(self, vga: VGA) -> None:
        self.vga = vga
        self._key: Any = None
        self._text: screen.Text | None = None
        self._string = ""

    def read(self) -> screen.Text | None:
        """The characters with their attributes and the cursor; None while it shows pixels."""
        key = self.vga.glance()
        if key != self._key:
            self._key, self._text = key, screen.text(self.vga.picture())
            self._string = "" if self._text is None else str(self._text)
        return self._text

    @property
    def text(self) -> str:
        """The rows of text, without what is blank at their ends; empty while it shows pixels."""
        self.read()
        return self._string

    def frame(self) -> screen.Frame:
        """The pixels, in any mode."""
        return screen.frame(self.vga.picture())

    @property
    def aspect(self) -> float:
        """How many times wider than high the picture is: the VGA's modes fill a monitor of 4:3."""
        dispi = self.vga.dispi
        return float(dispi.xres / dispi.yres) if dispi.enabled else 4 / 3

    def png(self) -> bytes:
        """The pixels as a PNG file."""
        frame = self.frame()
        return png.encode(frame.width, frame.height, frame.rgb)


def adapter(board: Machine, rom: bytes | None, view: Callable[..., None]) -> VGA:
    """Add the VGA and its DISPI, with `rom` as the expansion ROM; slot and windows of a PCI function are the caller's.

    `view` shows memory, as Machine.view.
    """
    vram, linear = board.memory("vram", FRAME_BUFFER), board.memory("vga", 0x10000)
    image = None if rom is None else board.rom("vga", rom.ljust(ROM_SIZE, b"\xFF"))
    dispi = board.add("dispi", Dispi, FRAME_BUFFER, at=0x1CE)
    vga = board.add("vga", VGA, dispi, vram, linear, image, view, board.engine.changed,
                    at=0x3C0, colour=0x3D0, mono=0x3B0)
    board.mmio.place(vga, "legacy", 0xA0000)
    return vga


def text_mode(board: Machine) -> None:
    """What a VGA BIOS leaves: its font, 80 x 25 blank characters, grey on black, and the cursor."""
    def out(port: int, *values: int) -> None:
        for value in values:
            board.ports.write[port << 4 | 1](value)

    out(0x3C2, MISC)
    for port, values in (0x3C4, SR), (0x3CE, GR), (0x3D4, CR[:0x11] + b"\0"), (0x3D4, CR):        # protection off first
        for index, value in enumerate(values):
            out(port, index)
            out(port + 1, value)
    board.ports.read[0x3DA << 4 | 1]()
    for index, value in enumerate(AR):
        out(0x3C0, index, value)
    out(0x3C0, 0x20)
    out(0x3C6, 0xFF)
    out(0x3C8, 0)
    out(0x3C9, *COLOURS)
    board.memories["vga"][:4000] = b" \7" * 2000      # where the window of this mode has its bytes
    glyphs = plane()
    planes = bytearray(board.memories["vram"][:4 * len(glyphs)])
    planes[2::4] = glyphs
    board.memories["vram"][:len(planes)] = planes
