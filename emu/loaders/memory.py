"""Files with a limit, and room for them in the machine's RAM."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from emu import bounded
from emu.loaders.start import BadImage, MemoryMap

PAGE = 4096
MIB = 1 << 20
END = 1 << 32  # what a 32-bit kernel can reach

Area = tuple[int, int]  # start, end: the first byte after it


def up(value: int, unit: int = PAGE) -> int:
    """`value` rounded up to a multiple of `unit`."""
    return -(-value // unit) * unit


def without(areas: Iterable[Area], taken: Iterable[Area]) -> list[Area]:
    """What remains of `areas` (sorted, apart) when `taken` (in any order, may overlap) is cut out, in one pass."""
    rest: list[Area] = []
    cuts = sorted(cut for cut in taken if cut[0] < cut[1])
    i = reach = 0  # all below `reach` has been cut, or lies in no area
    for start, end in areas:
        reach = max(reach, start)
        while i < len(cuts) and cuts[i][0] < end:
            if reach < cuts[i][0]:
                rest.append((reach, cuts[i][0]))
            reach = max(reach, cuts[i][1])
            i += 1
        if reach < end:
            rest.append((reach, end))
    return rest


class Ram:
    """The RAM of a memory map: what is of type 1, and not also of another type."""

    def __init__(self, memory_map: MemoryMap) -> None:
        merged: list[Area] = []
        for start, length, _ in sorted(area for area in memory_map if area[2] == 1 and area[1] > 0):
            if merged and start <= merged[-1][1]:
                merged[-1] = merged[-1][0], max(merged[-1][1], start + length)
            else:
                merged.append((start, start + length))
        self.areas = without(merged, [(a, a + n) for a, n, kind in memory_map if kind != 1])
        self.size = sum(end - start for start, end in self.areas)

    @property
    def mib(self) -> int:
        """Size in MiB as one buys it: the part of the first MiB that is not RAM counts."""
        return -(-self.size // MIB)

    def holds(self, start: int, length: int) -> bool:
        return any(a <= start and start + length <= b for a, b in self.areas)

    def demand(self, name: str, what: str, start: int, length: int) -> None:
        """Raise BadImage unless RAM, all of it, lies at `start` for `length` bytes."""
        end = start + length
        if end > END:
            raise BadImage(f"{name}: {what} ends at {end:X}h, beyond the 4 GiB that a 32-bit kernel can reach")
        if not self.holds(start, length):
            if end > max((b for a, b in self.areas if a < END), default=0):
                raise BadImage(
                    f"{name}: {what} needs {up(end, MIB) // MIB} MiB, and the machine has {self.mib} MiB: "
                    "give the machine more memory"
                )
            raise BadImage(f"{name}: {what} goes to {start:X}h-{end - 1:X}h, which is not all RAM in this machine")

    def find(
        self, length: int, taken: Iterable[Area], low: int = 0, high: int = END, *, highest: bool = False
    ) -> int | None:
        """A page-aligned place for `length` bytes inside low..high, not over `taken`: the lowest, or the highest."""
        found = [
            (up(max(a, low)), (min(b, high) - length) // PAGE * PAGE)
            for a, b in without(self.areas, taken)
        ]
        found = [(first, last) for first, last in found if first <= last]
        if not found:
            return None
        return max(last for _, last in found) if highest else min(first for first, _ in found)

    def ends(self, start: int) -> int:
        """The end of the RAM without a gap that begins at or before `start`; `start` itself where there is none."""
        return next((b for a, b in self.areas if a <= start < b), start)


def read(path: str | Path, limit: int, what: str) -> bytes:
    """A file's bytes; BadImage when it cannot be read, is no file, or is longer than `limit` bytes."""
    try:
        data = bounded.read(path, limit)
    except bounded.Unreadable as why:
        raise BadImage(f"{path}: cannot read the {what}: {why}") from None
    if len(data) > limit:
        raise BadImage(f"{path}: the {what} is longer than {limit // MIB} MiB, which is more than the machine can hold")
    return data


def text(name: str, string: str) -> bytes:
    """A command line as the guest gets it: UTF-8 (bytes that were none stay as they were) and a NUL at the end."""
    try:
        data = string.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise BadImage(f"{name}: the command line has a character that UTF-8 cannot say") from None
    if b"\0" in data:
        raise BadImage(f"{name}: the command line has a NUL in it, and it would end there")
    return data + b"\0"
