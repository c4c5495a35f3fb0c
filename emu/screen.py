"""What a VGA's registers and planes look like: text, and pixels.  Pure functions of the plain data that VGA.picture gives.

Sources: [I] IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem", 1992; [F] J. Neal, FreeVGA.

    sr gr cr ar     the registers, by index (ar from AR10h on)
    palette         AR0-ARF
    dac, dac_bits   768 bytes: red, green, blue of each PEL, with 6 or 8 bits; `mask` is the PEL mask
    shown           PAS: the attribute controller shows the memory, and not the overscan colour
    memory          byte 4 * n + p is address n of plane p; what lies behind the planes' 256 KiB is the DISPI's
    dispi           width, height, bits per pixel, bytes a line, first x and y; None while the VGA has the screen
    now             ns, for what blinks

A frame is the raster as the monitor gets it, without the border: 720 x 400 for 80 x 25 characters, 640 x 400 for 320 x 200
pixels.  numpy draws it, and is imported only then.

Not modelled: borders, skews, blanking, SR1's shift loads with graphics (S4, SL), blinking graphics, HRS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FRAME_TIME = 14_285_714             # ns: what blinks counts frames of 70 Hz
CP437 = ("\0☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼" + bytes(range(0x20, 0x7F)).decode() + "⌂"
         + bytes(range(0x80, 0x100)).decode("cp437"))
UNICODE = " " + CP437[1:0xFF] + " "
_TABLE = dict(enumerate(UNICODE))
Picture = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where it is, and the scan lines of the character that it covers."""

    row: int
    column: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Text:
    """A text screen.  `codes` and `attributes` have a bytes object for each row; no cursor is None.

    `colours`: the 16 colours of the attributes as (red, green, blue), 0 to 255.  `blinks`: bit 7 of an attribute blinks, and
    is no part of the background's colour.
    """

    columns: int
    codes: list[bytes]
    attributes: list[bytes]
    cursor: Cursor | None
    colours: list[tuple[int, int, int]]
    blinks: bool

    @property
    def rows(self) -> list[list[tuple[int, int]]]:
        """The cells as (character code, attribute)."""
        return [list(zip(codes, attributes)) for codes, attributes in zip(self.codes, self.attributes)]

    @property
    def strings(self) -> list[str]:
        """The rows in Unicode, by code page 437."""
        return [row.decode("latin-1").translate(_TABLE) for row in self.codes]

    def __str__(self) -> str:
        """The rows as lines, without what is blank at their ends, and at the end of all."""
        return "\n".join(row.rstrip() for row in self.strings).rstrip()


@dataclass(frozen=True, slots=True)
class Frame:
    """Pixels: `rgb` has three bytes for each, row by row."""

    width: int
    height: int
    rgb: bytes


def is_text(p: Picture) -> bool:
    """Whether characters are on the screen."""
    return p["dispi"] is None and not p["gr"][6] & 1


def lines(cr: bytes) -> list[tuple[int, int, bool]]:
    """For each scan line: the memory address counter where it begins, the row scan counter, whether it is after the split."""
    over = cr[7]
    height = (cr[0x12] | (over & 2) << 7 | (over & 0x40) << 3) + 1
    compare = cr[0x18] | (over & 0x10) << 4 | (cr[9] & 0x40) << 3
    row, scan, last = (cr[0x0C] << 8 | cr[0x0D]) + (cr[8] >> 5 & 3), cr[8] & 0x1F, cr[9] & 0x1F
    twice, again, split, found = cr[9] >> 7, 0, False, []
    for y in range(height):
        found.append((row & 0xFFFF, scan, split))
        if y == compare:                            # [I] CR18: the next line is that of address 0
            row = scan = again = 0
            split = True
            continue
        again ^= twice
        if not again:
            if scan == last:
                row, scan = row + 2 * cr[0x13], 0
            else:
                scan = scan + 1 & 0x1F
    return found


def address(cr: bytes, counter: Any, scan: Any) -> Any:
    """[I] "Memory Address Bits": the planes' address for a state of the counters; numbers or arrays."""
    if cr[0x14] & 0x40:                             # DW
        where = counter << 2 | counter >> 12 & 3
    elif not cr[0x17] & 0x40:                       # WB: 0 is words
        where = counter << 1 | counter >> (15 if cr[0x17] & 0x20 else 13) & 1
    else:
        where = counter
    if not cr[0x17] & 1:                            # CMS0
        where = where & ~0x2000 | (scan & 1) << 13
    if not cr[0x17] & 2:                            # SRC
        where = where & ~0x4000 | (scan & 2) << 13
    return where & 0xFFFF


def text(p: Picture) -> Text | None:
    """The text on the screen; None if it shows pixels."""
    if not is_text(p):
        return None
    cr, memory, columns = p["cr"], p["memory"], p["cr"][1] + 1
    dark = not p["shown"] or p["sr"][1] & 0x20
    codes: list[bytes] = []
    attributes: list[bytes] = []
    where = cr[0x0E] << 8 | cr[0x0F]
    first, last = cr[0x0A] & 0x1F, cr[0x0B] & 0x1F
    cursor, before = None, (-1, False, 0)
    for row, scan, split in lines(cr):
        same, before = (row, split) == before[:2] and scan >= before[2], (row, split, scan)
        if same:
            continue
        cells = [4 * address(cr, row + i & 0xFFFF, 0) for i in range(columns)]
        codes.append(bytes(columns) if dark else bytes([memory[at] for at in cells]))
        attributes.append(bytes(columns) if dark else bytes([memory[at + 1] for at in cells]))
        if row <= where < row + columns and not cr[0x0A] & 0x20 and first <= last and first <= cr[9] & 0x1F and not dark:
            cursor = Cursor(len(codes) - 1, where - row, first, last)
    return Text(columns, codes, attributes, cursor, colours(p), bool(p["ar"][0] & 8))


def colours(p: Picture) -> list[tuple[int, int, int]]:
    """The 16 colours of the attribute controller, through the palette and the DAC."""
    return [_rgb(p, _pel(p, i)) for i in range(16)]


def _pel(p: Picture, colour: int) -> int:
    """The PEL of a colour of four bits: [I] "Attribute Controller"."""
    ar = p["ar"]
    pel: int = p["palette"][colour & ar[2] & 0xF]
    if ar[0] & 0x80:                                # P54S
        pel = pel & 0xF | (ar[4] & 3) << 4
    return pel | (int(ar[4]) & 0xC) << 4


def _rgb(p: Picture, pel: int) -> tuple[int, int, int]:
    at = 3 * (pel & p["mask"])
    red, green, blue = p["dac"][at:at + 3]
    if p["dac_bits"] == 8:
        return red, green, blue
    return red << 2 & 0xFC | red >> 4 & 3, green << 2 & 0xFC | green >> 4 & 3, blue << 2 & 0xFC | blue >> 4 & 3


# -- pixels

def frame(p: Picture) -> Frame:
    """The pixels on the screen, in any mode."""
    import numpy as np

    if p["dispi"] is not None:
        return _dispi(np, p)
    cr, sr1 = p["cr"], p["sr"][1]
    drawn = lines(cr)
    is_characters = is_text(p)
    dots = 9 if is_characters and not sr1 & 1 else 8
    columns, twice = cr[1] + 1, 2 if sr1 & 8 else 1
    width, height = columns * dots * twice, len(drawn)
    if not p["shown"] or sr1 & 0x20:
        return Frame(width, height, bytes(3 * width * height))
    start, scan, split = (np.array(values, dtype=np.int64) for values in zip(*drawn))
    step = 2 if cr[0x14] & 0x20 else 1 if cr[0x17] & 8 else 0       # CB4, CB2
    counter = (start[:, None] + (np.arange(columns + 1) >> step)) & 0xFFFF
    scan = scan[:, None]
    memory = np.frombuffer(p["memory"], dtype=np.uint8, count=0x40000).reshape(-1, 4)
    cells = memory[address(cr, counter, scan)]
    pixels = (_characters(np, p, cells, counter, scan, memory[:, 2], dots) if is_characters
              else _shifted(np, p["gr"][5], cells))
    pixels = pixels.reshape(height, -1)
    byte_wide = p["ar"][0] & 0x40 and not is_characters
    pan = _panning(p, dots)
    if p["ar"][0] & 0x20 and split.any():           # PP: after the split there is no panning
        pixels = np.where(split[:, None].astype(bool), pixels[:, :columns * dots], pixels[:, pan:pan + columns * dots])
    else:
        pixels = pixels[:, pan:pan + columns * dots]
    if byte_wide:                                   # PW: two of four bits are one of eight
        rgb = _dac(np, p)[pixels[:, ::2] << 4 | pixels[:, 1::2]].repeat(2, axis=1)
    else:
        rgb = np.array(colours(p), dtype=np.uint8)[pixels]
    return Frame(width, height, (rgb.repeat(2, axis=1) if twice == 2 else rgb).tobytes())


def _panning(p: Picture, dots: int) -> int:
    """[I] AR13: dots to the left."""
    value: int = p["ar"][3] & 0xF
    if p["ar"][0] & 0x40:
        return value & 6
    return (value + 1 if value < 8 else 0) if dots == 9 else value & 7


def _characters(np: Any, p: Picture, cells: Any, counter: Any, scan: Any, font: Any, dots: int) -> Any:
    """Colours of 0 to 15 for each dot of each character's line."""
    cr, mode, sr3 = p["cr"], p["ar"][0], p["sr"][3]
    codes, attributes = cells[..., 0].astype(np.int64), cells[..., 1]
    maps = [(sr3 & 3) << 14 | (sr3 & 0x10) << 9, (sr3 & 0xC) << 12 | (sr3 & 0x20) << 8]        # [I] SR3: B, A
    glyphs = font[np.array(maps)[attributes >> 3 & 1] + 32 * codes + scan]
    bits = np.unpackbits(glyphs[..., None], axis=-1).astype(bool)
    if dots == 9:
        joined = (codes >= 0xC0) & (codes < 0xE0) & bool(mode & 4)                             # ELG
        bits = np.concatenate([bits, (bits[..., 7] & joined)[..., None]], axis=-1)
    behind = attributes >> 4
    if mode & 8:                                    # EB
        if p["now"] // FRAME_TIME >> 5 & 1:         # [I] characters blink at 1/32 of the frame rate
            bits &= (attributes < 0x80)[..., None]
        behind = behind & 7
    bits |= ((attributes & 7 == 1) & (scan == cr[0x14] & 0x1F))[..., None]
    if not cr[0x0A] & 0x20 and not p["now"] // FRAME_TIME >> 4 & 1:         # [I] the cursor at 1/16
        inside = (scan >= cr[0x0A] & 0x1F) & (scan <= cr[0x0B] & 0x1F)
        bits |= ((counter == (cr[0x0E] << 8 | cr[0x0F])) & inside)[..., None]
    return np.where(bits, (attributes & 0xF)[..., None], behind[..., None])


def _shifted(np: Any, gr5: int, cells: Any) -> Any:
    """Four bits for each of the eight dots: [I] GR5, the shift registers."""
    if gr5 & 0x40:                                  # C256
        return np.stack([cells >> 4, cells & 0xF], axis=-1)
    if gr5 & 0x20:                                  # SR: pairs of bits from the even and then the odd planes
        shifts = np.array([6, 4, 2, 0], dtype=np.uint8)
        pairs = cells[..., None] >> shifts & 3
        return np.concatenate([pairs[..., 0, :] | pairs[..., 2, :] << 2, pairs[..., 1, :] | pairs[..., 3, :] << 2], axis=-1)
    return _planar(np, cells)


def _planar(np: Any, cells: Any) -> Any:
    bits = np.unpackbits(cells[..., None], axis=-1)
    return bits[..., 0, :] | bits[..., 1, :] << 1 | bits[..., 2, :] << 2 | bits[..., 3, :] << 3


def _dac(np: Any, p: Picture) -> Any:
    dac = np.frombuffer(p["dac"], dtype=np.uint8).reshape(256, 3)
    dac = dac if p["dac_bits"] == 8 else dac << 2 | dac >> 4 & 3
    return dac[np.arange(256) & p["mask"]]


def _dispi(np: Any, p: Picture) -> Frame:
    """A mode of the DISPI: lines of pixels in the frame buffer."""
    width, height, depth, pitch, x, y = p["dispi"]
    memory = np.frombuffer(p["memory"], dtype=np.uint8)
    size = 1 if depth == 4 else depth + 7 >> 3      # of a pixel, or of what four planes have of eight
    count = (width + 15 >> 3) * 4 if depth == 4 else width * size
    at = y * pitch + (x // 8 * 4 if depth == 4 else x * size)
    if at + height * pitch <= len(memory) and count <= pitch:
        data = memory[at:at + height * pitch].reshape(height, pitch)[:, :count]
    else:
        data = memory[(at + pitch * np.arange(height)[:, None] + np.arange(count)) % len(memory)]
    if depth == 4:
        pixels = _planar(np, data.reshape(height, -1, 4)).reshape(height, -1)[:, x % 8:x % 8 + width]
        rgb = np.array(colours(p), dtype=np.uint8)[pixels]
    elif depth == 8:
        rgb = _dac(np, p)[data]
    elif depth in (15, 16):
        words = np.ascontiguousarray(data).view("<u2")
        green = 5 if depth == 15 else 6
        parts = [words >> 5 + green & 0x1F, words >> 5 & (1 << green) - 1, words & 0x1F]
        rgb = np.stack([v << 8 - n | v >> 2 * n - 8 for v, n in zip(parts, (5, green, 5))], axis=-1).astype(np.uint8)
    else:
        rgb = data.reshape(height, width, size)[..., 2::-1]
    return Frame(width, height, rgb.tobytes())
