"""DISPI: the display interface of Bochs and QEMU, for modes beyond the VGA's.

Sources: [B] Bochs, "VBE Display API" (vbe_display_api.txt); [Q] QEMU, docs/specs/standard-vga.

Two 16-bit ports, an index and its data; [Q] the registers lie one after the other in a memory BAR, too.  While ENABLE says
so, the interface has the screen and the window at A0000h, whatever the VGA's own registers are.  The geometry is checked
when it is enabled: what does not fit into the memory becomes smaller.

Not modelled: read and write banks apart, the later ENABLE bits of Bochs (32 KiB banks), and the changes that QEMU makes to
the VGA's registers, which keep their values here.
"""

# mypy: disable-error-code="has-type"
from __future__ import annotations

from collections.abc import Callable

from emu.bus import Bus
from emu.device import RW, Device, R, Reg

IDS = range(0xB0C0, 0xB0C6)
MAX_X, MAX_Y, MAX_BPP = 16000, 12000, 32            # [Q]
DEPTHS = (4, 8, 15, 16, 24, 32)
BANK = 1 << 16


class Dispi(Device):
    """`size` bytes of video memory.  The screen's chip sets what is called: `clear(length)` to zero the start of the
    memory, `changed()` when ENABLE or BANK are written.
    """

    INDEX = Reg(0, RW, "which register", size=2, whole=True)
    DATA = Reg(1, RW, "the register", size=2, whole=True)
    DATA2 = Reg(2, RW, "the register, at an even port", size=2, whole=True)

    ID = Reg(0x00, RW, "version", size=2, reset=0xB0C5, block="dispi")
    XRES = Reg(0x02, RW, "width; cannot be written while enabled", size=2, reset=640, block="dispi")
    YRES = Reg(0x04, RW, "height; as XRES", size=2, reset=480, block="dispi")
    BPP = Reg(0x06, RW, "bits per pixel: 4 8 15 16 24 32; as XRES", size=2, reset=8, block="dispi")
    ENABLE = Reg(0x08, RW, "what is on", "0 0 0 0 0 0 0 0 NOCLEARMEM LFB DAC8 0 0 0 GETCAPS ENABLED", size=2, block="dispi")
    BANK = Reg(0x0A, RW, "which 64 KiB (of each plane, if BPP is 4) the window at A0000h shows", size=2,
               block="dispi")
    VIRT_WIDTH = Reg(0x0C, RW, "pixels from line to line", size=2, reset=640, block="dispi")
    VIRT_HEIGHT = Reg(0x0E, R, "lines that there is memory for", size=2, reset=480, block="dispi")
    X_OFFSET = Reg(0x10, RW, "the first pixel that is shown", size=2, block="dispi")
    Y_OFFSET = Reg(0x12, RW, "the first line that is shown", size=2, block="dispi")
    VIDEO_MEMORY_64K = Reg(0x14, R, "video memory in 64 KiB", size=2, block="dispi")

    def __init__(self, size: int) -> None:
        self.size = size
        self.clear: Callable[[int], None] = lambda length: None
        self.changed: Callable[[], None] = lambda: None
        self.inside = Bus()
        self.inside.place(self, "dispi", 0)

    # The pair of ports

    def read_DATA(self) -> int:
        value: int = self.inside.read[self.index << 5 | 2]() if self.index < 0x8000 else 0xFFFF
        return value

    def write_DATA(self, value: int) -> None:
        self.inside.write[self.index << 5 | 2](value)

    read_DATA2, write_DATA2 = read_DATA, write_DATA

    # Registers

    def write_ID(self, value: int) -> None:
        if value in IDS:
            self.id = value

    def _capable(self) -> bool:
        return bool(self.enable & self.ENABLE.GETCAPS)

    def read_XRES(self) -> int:
        return MAX_X if self._capable() else self.xres

    def read_YRES(self) -> int:
        return MAX_Y if self._capable() else self.yres

    def read_BPP(self) -> int:
        return MAX_BPP if self._capable() else self.bpp

    def read_VIDEO_MEMORY_64K(self) -> int:
        return self.size // BANK

    @property
    def enabled(self) -> bool:
        return bool(self.enable & self.ENABLE.ENABLED)

    def write_XRES(self, value: int) -> None:
        if not self.enabled and value <= MAX_X:
            self.xres = value

    def write_YRES(self, value: int) -> None:
        if not self.enabled and value <= MAX_Y:
            self.yres = value

    def write_BPP(self, value: int) -> None:
        if not self.enabled and (value in DEPTHS or not value):
            self.bpp = value or 8                               # [B] 0 is 8

    def write_ENABLE(self, value: int) -> None:
        rises = value & self.ENABLE.ENABLED and not self.enabled
        self.enable = value & self.ENABLE.mask
        if rises:
            self._start()
            if not value & self.ENABLE.NOCLEARMEM:
                self.clear(self.line_bytes * self.yres)
        if rises or not self.enabled:
            self.bank = 0
        self.changed()

    def _start(self) -> None:
        """Make a geometry that fits."""
        self.xres = max(self.xres & ~7 if self.bpp == 4 else self.xres, 8)
        self.yres = max(min(self.yres, self.size // self._bytes(self.xres)), 1)
        self.x_offset = self.y_offset = 0
        self._widen(self.xres)

    def _bytes(self, pixels: int) -> int:
        return pixels // 2 if self.bpp == 4 else pixels * (self.bpp + 7 >> 3)

    def _widen(self, pixels: int) -> None:
        self.virt_width = pixels
        self.virt_height = min(self.size // self.line_bytes, 0xFFFF)

    @property
    def line_bytes(self) -> int:
        """Bytes of video memory from line to line."""
        return self._bytes(self.virt_width)

    def write_VIRT_WIDTH(self, value: int) -> None:
        value = value & ~7 if self.bpp == 4 else value
        if self.enabled and value >= self.xres and self._bytes(value) * self.yres <= self.size:
            self._widen(value)
            self.x_offset = min(self.x_offset, self.virt_width - self.xres)
            self.y_offset = min(self.y_offset, self.virt_height - self.yres)

    def write_X_OFFSET(self, value: int) -> None:
        if self.enabled:
            self.x_offset = min(value, self.virt_width - self.xres)

    def write_Y_OFFSET(self, value: int) -> None:
        if self.enabled:
            self.y_offset = min(value, self.virt_height - self.yres)

    def write_BANK(self, value: int) -> None:
        if self.enabled:
            self.bank = value & self.size // BANK // (4 if self.bpp == 4 else 1) - 1
            self.changed()
