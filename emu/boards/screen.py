"""The screen of a board: what is on it, as text and as pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from emu import screen
from emu.chips.dispi import Dispi
from emu.chips.vga import FRAME_BUFFER, ROM_SIZE, VGA
from emu.host import png
from emu.machine import Machine


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
