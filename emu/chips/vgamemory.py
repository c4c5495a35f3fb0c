"""The VGA's memory and the processor's way to it: four planes, the linear windows to them, and the frame buffer.

Sources: [I] IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem", 1992; [F] J. Neal, FreeVGA, "Accessing
the VGA Display Memory".

`vram` holds the planes side by side: byte 4 * n + p is address n of plane p, so a planar access is one of 32 bits.  That is
also where the linear frame buffer has them.  Text, CGA and 256-colour programs see one run of bytes instead, whose
neighbours lie in different planes.  While the registers ask for such a layout, and stores go through unchanged, these bytes
are kept in `linear`, in the guest's order, and shown to it as RAM.  When the layout ends they go back into the planes: each
byte has one true place at any time, and a switch holds from the guest's next access on.  Meanwhile the frame buffer's first
256 KiB are not RAM.  An access there lends it the bytes: they go back, the frame buffer is RAM, and the window is not, up to
the first access to that.

    PAIRS   odd/even: address a is plane a & 1; [I] address bit 0 of the plane is the page select
    CHAIN   chain-4: plane a & 3; address bits 0 and 1 of the plane are bits 14 and 15, as the CRTC's double-word mode
            counts ([I], "Memory Address Bits")
    PLANE   the one plane that is written, and read, too
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

SIZE = 0x40000                      # bytes of four planes
WINDOW = 0xA0000
MAPS = (0, 0x20000), (0, 0x10000), (0x10000, 0x8000), (0x18000, 0x8000)     # [I] GR6: place and length
CHUNKS = (0, 0x10000), (0x10000, 0x8000), (0x18000, 0x8000)         # what one view shows
ALL = 0x01010101                    # times a byte: that byte in each plane
FILL = [sum(0xFF << 8 * p for p in range(4) if mask >> p & 1) for mask in range(16)]
PAIRS, CHAIN, PLANE = 0, 2, 3       # PAIRS + page select, PLANE + number
ONES = {1: 0xFF, 2: 0xFFFF, 4: 0xFFFFFFFF, 8: 0xFFFFFFFFFFFFFFFF}


def _layouts() -> dict[int, list[tuple[slice, slice]]]:
    """What lies where: (bytes of the planes, bytes of the linear window)."""
    layouts = {PAIRS + page: [(slice(4 * page + p, SIZE, 8), slice(p, 0x10000, 2)) for p in (0, 1)] for page in (0, 1)}
    layouts[CHAIN] = [(slice(0x10004 * k + p, 0x10000 * (k + 1), 16), slice(0x4000 * k + p, 0x4000 * (k + 1), 4))
                      for k in range(4) for p in range(4)]
    return layouts | {PLANE + p: [(slice(p, SIZE, 4), slice(0, 0x10000))] for p in range(4)}


LAYOUTS = _layouts()


def view_nothing(address: int, length: int, memory: memoryview | None, kind: str) -> None:
    """Nobody looks: each access comes to `read` and `write`."""


def unchanged(memory: memoryview) -> None:
    """Nobody runs what is there."""


class VideoMemory:
    """`map` and the `set_` methods are told of registers; `read` and `write` are the accesses that are not to RAM.

    `view(address, length, memory, kind)` as Machine.view; `changed(memory)`: bytes that the guest may have run are others.
    All but `latch` and `lent` follows from the chip's registers, or is in `vram` and `linear`.
    """

    read_plane: int
    planes_written: int

    def __init__(self, vram: memoryview, linear: memoryview, view: Callable[..., None] = view_nothing,
                 changed: Callable[[memoryview], None] = unchanged, lays: bool = True) -> None:
        self.vram, self.linear, self.view, self.changed, self.lays = vram, linear, view, changed, lays
        self.words = vram.cast("I")
        self.latch = 0
        self.lent = 0                               # the frame buffer has what the window asks for
        self.wanted: int | None = None              # the layout that the registers ask for
        self.direct: memoryview | None = None       # the part of `vram` that is to be shown
        self.layout: int | None = None
        self.window: memoryview | None = None       # the RAM that is shown
        self.shown: dict[int, tuple[bool, int] | None] = {}
        self.frame: int | None = None
        self.split = False                          # part of the frame buffer is not RAM
        self.first = self.whole = self.length = self.base = self.page = 0
        self.chained = self.pairs_read = self.pairs_write = self.paged = False
        self.planar = False                         # four planes, whatever the ALU's registers say
        self.set_alu({f"gr{i}": 0 for i in range(9)})
        self.planes_written = 0

    # -- registers

    def set_alu(self, r: Mapping[str, Any]) -> None:
        """GR0-GR5, GR7, GR8 in expanded form."""
        self.rotate, self.function = r["gr3"] & 7, r["gr3"] >> 3 & 3
        self.enabled = FILL[r["gr1"] & 15]
        self.preset = FILL[r["gr0"] & 15]
        self.bits = r["gr8"] * ALL
        self.plain = not (self.rotate or self.function or self.enabled or r["gr8"] != 0xFF)
        self.mode, self.compare = r["gr5"] & 3, r["gr5"] & 8
        self.colour, self.care = FILL[r["gr2"] & 15], FILL[r["gr7"] & 15]
        self.read_plane = r["gr4"] & 3

    def map(self, r: Mapping[str, Any], bank: int | None, linear: bool, anew: bool = False) -> None:
        """How the processor sees the memory, by SR2, SR4, GR4-GR6, MISC, and the bank, if the DISPI has the screen.

        `anew`: the memories are a snapshot's, and have the layout already.
        """
        self.planes_written = r["sr2"] & 15
        self.chained = bool(r["sr4"] & 8)
        self.pairs_write, self.pairs_read = not r["sr4"] & 4, bool(r["gr5"] & 0x10)
        self.paged = bool(r["gr6"] & 2)
        self.page = 0 if r["misc"] & 0x20 else 1    # [I] MISC: page bit for odd/even, 0 is the high one
        self.planar = not (self.chained or self.pairs_write or self.pairs_read or self.paged)
        self.first, self.whole = MAPS[r["gr6"] >> 2 & 3] if r["misc"] & 2 else (0, 0)
        self.base, self.direct, wanted = 0, None, None
        if bank is not None:
            self.first, self.whole, self.base = 0, 0x10000, bank << 16
            if linear:
                self.direct = self.vram[self.base:self.base + 0x10000]
        elif self.whole in (0x8000, 0x10000) and self.lays:
            wanted = self._layout(r)
        if anew:
            self.layout = None if self.lent else wanted
            self.shown.clear()
        elif wanted != self.wanted:
            self.lent = 0
        self.wanted = wanted
        self._settle()

    def _settle(self) -> None:
        """Keep and show the bytes as `wanted`, or as the frame buffer has them."""
        lent = self.lent and self.wanted is not None
        self.lay(None if lent else self.wanted)
        self.length = 0 if lent else self.whole
        self.window = self.direct if self.layout is None else self.linear[:self.length]
        self._show()

    def _lend(self, lent: int) -> None:
        self.lent = lent
        self._settle()

    def _layout(self, r: Mapping[str, Any]) -> int | None:
        """The linear layout, if each store has its own place and goes through unchanged."""
        if self.mode or self.compare or self.rotate or self.function or r["gr8"] != 0xFF:
            return None
        planes, preset = self.planes_written, int(r["gr1"]) & 15
        if self.chained:
            return CHAIN if planes == 15 and not preset else None
        if self.pairs_write:
            good = self.pairs_read and self.paged and planes == 3 and not preset & 3 and not self.read_plane & 2
            return PAIRS + self.page if good else None
        if self.planar and self.first and planes == 1 << self.read_plane and not preset & planes:
            return PLANE + self.read_plane
        return None

    @property
    def settled(self) -> bool:
        """Whether the window stays what it is, whatever the ALU's registers and the map mask say."""
        return self.base > 0 or (self.planar and not self.first) or not self.whole

    # -- what is shown

    def lay(self, layout: int | None) -> None:
        """Keep the bytes of the window in this layout from now on."""
        if layout == self.layout:
            return
        if self.layout is not None:
            self.vram[:SIZE] = self.planes()
            self.changed(self.vram[:SIZE])
        self.layout = layout
        if layout is not None:
            planes, linear = bytes(self.vram[:SIZE]), bytearray(len(self.linear))
            for there, here in LAYOUTS[layout]:
                linear[here] = planes[there]
            self.linear[:] = linear
            self.changed(self.linear)
        self._split()

    def planes(self) -> bytearray:
        """The 256 KiB as they are, a copy: byte 4 * n + p is address n of plane p."""
        planes = bytearray(self.vram[:SIZE])
        if self.layout is not None:
            linear = bytes(self.linear)
            for there, here in LAYOUTS[self.layout]:
                planes[there] = linear[here]
        return planes

    def _show(self) -> None:
        for first, length in CHUNKS:
            inside = self.window is not None and first == self.first
            shown = (self.layout is not None, self.base) if inside else None
            if first not in self.shown or self.shown[first] != shown:
                self.shown[first] = shown
                memory = self.window[:length] if inside and self.window is not None else None
                self.view(WINDOW + first, length, memory, "ram" if inside else "mmio")

    def show_frame(self, base: int | None) -> None:
        """The linear frame buffer is decoded from `base` on, or nowhere."""
        if self.frame is not None and self.frame != base:
            self.view(self.frame, len(self.vram), None, "mmio")
        self.frame, self.split = base, False
        if base is not None:
            self.view(base, len(self.vram), self.vram, "ram")
            self._split()

    def _split(self) -> None:
        """Bytes that are kept in another layout are not RAM in the frame buffer."""
        split = self.layout is not None
        if self.frame is not None and split != self.split:
            self.split = split
            self.view(self.frame, SIZE, None if split else self.vram[:SIZE], "mmio" if split else "ram")

    # -- accesses to the frame buffer's part that is not RAM

    def read_frame(self, at: int, size: int) -> int:
        self._lend(1)
        return int.from_bytes(self.vram[at:at + size], "little")

    def write_frame(self, at: int, size: int, value: int) -> None:
        self._lend(1)
        self.vram[at:at + size] = value.to_bytes(size, "little")

    # -- accesses to the window that is not RAM

    def read(self, at: int, size: int) -> int:
        """`size` bytes from `at` on in A0000h-BFFFFh."""
        at -= self.first
        if at < 0 or at + size > self.length:
            if at < 0 or at + size > self.whole:
                return ONES[size]
            self._lend(0)
        if self.window is not None:
            return int.from_bytes(self.window[at:at + size], "little")
        if not self.planar:
            return sum(self._read_other(at + i) << 8 * i for i in range(size))
        at = self.base + (at & 0xFFFF)
        if size == 1 and not self.compare:
            latch: int = self.words[at]
            self.latch = latch
            return latch >> 8 * self.read_plane & 0xFF
        value, shift = 0, 8 * self.read_plane
        for i in range(size):
            word: int = self.words[at + i]
            self.latch = word
            value |= (self._compared(word) if self.compare else word >> shift & 0xFF) << 8 * i
        return value

    def _compared(self, word: int) -> int:
        """[I] read mode 1: a bit is 1 where the planes that matter have the colour."""
        other: int = (word ^ self.colour) & self.care
        return ~(other | other >> 8 | other >> 16 | other >> 24) & 0xFF

    def _read_other(self, at: int) -> int:
        """A byte through a chain."""
        plane = at & 3 if self.chained else self.read_plane & 2 | at & 1 if self.pairs_read else self.read_plane
        self.latch = word = self.words[self._chain(at)]
        return self._compared(word) if self.compare else word >> 8 * plane & 0xFF

    def _chain(self, at: int) -> int:
        """The address in each plane."""
        if self.chained:
            return at & 0xFFFC | at >> 14 & 3
        if self.paged:                              # [I] GR6 COE: bit 0 comes from elsewhere
            return at & 0xFFFE | (at >> 16 if self.whole > 0x10000 else self.page)
        return self.base + (at & 0xFFFF)

    def write(self, at: int, size: int, value: int) -> None:
        """`size` bytes to `at` and on in A0000h-BFFFFh."""
        at -= self.first
        if at < 0 or at + size > self.length:
            if at < 0 or at + size > self.whole:
                return
            self._lend(0)
        if self.planar and self.window is None:
            at = self.base + (at & 0xFFFF)
            mask = FILL[self.planes_written]
            if self.plain and mask == 0xFFFFFFFF and not self.mode:
                if size == 1:
                    self.words[at] = value * ALL
                else:
                    for i in range(size):
                        self.words[at + i] = (value >> 8 * i & 0xFF) * ALL
            elif size == 1:
                self._store(at, value, mask)
            elif self.mode == 1:
                latch, words = self.latch & mask, self.words
                for i in range(size):
                    words[at + i] = words[at + i] & ~mask | latch
            else:
                for i in range(size):
                    self._store(at + i, value >> 8 * i & 0xFF, mask)
        elif self.window is not None:
            self.window[at:at + size] = value.to_bytes(size, "little")
        else:
            for i in range(size):
                planes = 1 << (at + i & 3) if self.chained else 5 << (at + i & 1) if self.pairs_write else 15
                self._store(self._chain(at + i), value >> 8 * i & 0xFF, FILL[planes & self.planes_written])

    def _store(self, n: int, byte: int, mask: int) -> None:
        """[I] write modes 0 to 3: rotate, set/reset, function, bit mask, map mask."""
        latch, bits, mode = self.latch, self.bits, self.mode
        if mode == 1:
            value = latch
        else:
            if mode == 2:
                value = FILL[byte & 15]
            else:
                byte = (byte >> self.rotate | byte << 8 - self.rotate) & 0xFF
                if mode == 0:
                    value = byte * ALL & ~self.enabled | self.preset & self.enabled
                else:
                    value, bits = self.preset, bits & byte * ALL
            if self.function == 1:
                value &= latch
            elif self.function == 2:
                value |= latch
            elif self.function == 3:
                value ^= latch
            value = value & bits | latch & ~bits
        words = self.words
        words[n] = words[n] & ~mask | value & mask
