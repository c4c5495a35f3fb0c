"""Diskettes, told by their size, and the drives that turn them.

[EC] ECMA-147 and ECMA-125 (3.5 inch), ECMA-78 and ECMA-99 (5.25 inch); [AT] IBM PC AT Technical Reference, for the rates.

An image of another size is a diskette of 1.44 MB, or of 2.88 MB where that is too short, blank behind its end.

Not modelled: sectors of other sizes than 512 bytes, copy protection, the gaps.
"""

from __future__ import annotations

from typing import NamedTuple

from emu.chips.media import Medium

SECTOR = 512
KBPS = {500: 0, 300: 1, 250: 2, 1000: 3}        # what DRATE1-0 say

NONE, D360, D1200, D720, D1440, D2880 = range(6)        # types of drives, as in cell 10h of the CMOS
CYLINDERS = (0, 42, 84, 84, 84, 84)             # where the head of a drive is stopped


class Format(NamedTuple):
    """How a diskette was formatted; `rates` in kbit/s by type of drive: a 1.2 MB drive turns faster than a 360 KB drive."""

    cylinders: int
    heads: int
    sectors: int
    rates: dict[int, int]

    @property
    def size(self) -> int:
        return self.cylinders * self.heads * self.sectors * SECTOR

    def offset(self, cylinder: int, head: int, sector: int) -> int:
        """Where a sector lies in the image; `sector` counts from 1."""
        return ((cylinder * self.heads + head) * self.sectors + sector - 1) * SECTOR


OLD = {D360: 250, D1200: 300}
DOUBLE = {D720: 250, D1440: 250, D2880: 250}
HIGH = {D1440: 500, D2880: 500}
FORMATS = (
    Format(40, 1, 8, OLD), Format(40, 1, 9, OLD), Format(40, 2, 8, OLD), Format(40, 2, 9, OLD),
    Format(80, 2, 9, DOUBLE), Format(80, 2, 15, {D1200: 500}), Format(80, 2, 18, HIGH), Format(80, 2, 21, HIGH),
    Format(82, 2, 21, HIGH), Format(80, 2, 36, {D2880: 1000}))


USUAL = (Format(80, 2, 18, HIGH), FORMATS[-1])


def format_of(size: int) -> Format:
    """The format of a diskette of `size` bytes.  Raises ValueError if there is no such diskette."""
    for form in FORMATS:
        if size == form.size:
            return form
    for form in USUAL:
        if 0 < size <= form.size:
            return form
    raise ValueError(f"{size} bytes are no diskette: the largest has {FORMATS[-1].size}")


def drive_for(size: int) -> int:
    """The type of drive that a PC would have for such a diskette."""
    rates = format_of(size).rates
    return next(kind for kind in (D1440, D1200, D2880) if kind in rates)


class Unit:
    """What can be plugged to one of the four drive selects."""

    def __init__(self, kind: int, medium: Medium | None = None) -> None:
        self.kind = kind
        self.insert(medium)

    def insert(self, medium: Medium | None) -> None:
        """Change the medium.  Raises ValueError for one that is no diskette."""
        if medium is not None:
            format_of(medium.size)
        self.medium = medium

    def format(self, rate: int) -> Format | None:
        """The format of the diskette, if the drive can read it at `rate` (DRATE)."""
        if self.medium is None:
            return None
        form = format_of(self.medium.size)
        kbps = form.rates.get(self.kind)
        return form if kbps is not None and KBPS[kbps] == rate else None

    def read(self, offset: int) -> bytes:
        """One sector.  Raises OSError."""
        assert self.medium is not None
        length = min(max(self.medium.size - offset, 0), SECTOR)
        data = self.medium.read(offset, length) if length else b""
        return data + bytes(SECTOR - length)

    def write(self, offset: int, data: bytes) -> None:
        """Write one sector.  Raises OSError."""
        assert self.medium is not None
        length = min(max(self.medium.size - offset, 0), SECTOR)
        if length < SECTOR and any(data[length:]):
            raise OSError("behind the end of the image")
        if length:
            self.medium.write(offset, data[:length])
