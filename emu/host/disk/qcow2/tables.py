"""Tables of 64-bit big-endian entries, as L1 and L2 are: in memory as numbers, written by the sectors that changed."""

from __future__ import annotations

import sys
from array import array
from collections import OrderedDict
from collections.abc import Callable

from emu.host.disk.file import File

SECTOR = 512                    # what a disk writes whole or not at all
PER_SECTOR = SECTOR // 8
_CACHE = 32 << 20               # bytes of L2 tables that are kept: 256 GiB of disk with clusters of 64 KiB


def unpacked(data: bytes) -> array[int]:
    """Big-endian entries as numbers."""
    entries = array("Q", data)
    if sys.byteorder == "little":
        entries.byteswap()
    return entries


def packed(entries: array[int]) -> bytes:
    """The inverse of `unpacked`."""
    if sys.byteorder == "little":
        entries = entries[:]
        entries.byteswap()
    return entries.tobytes()


class Table:
    """A table at `offset` of the file; `dirty` the numbers of its sectors that the file does not have yet."""

    __slots__ = ("dirty", "entries", "fresh", "offset")

    def __init__(self, offset: int, entries: array[int], fresh: bool = False) -> None:
        self.offset, self.entries, self.fresh = offset, entries, fresh      # fresh: no part of it is in the file
        self.dirty: set[int] = set()

    def set(self, index: int, entry: int) -> None:
        """Change one entry."""
        self.entries[index] = entry
        self.dirty.add(index // PER_SECTOR)

    def write(self, file: File) -> None:
        """Write what changed; neighbours together.  Raises OSError, and then all of it is still to be written."""
        if self.fresh:
            file.write(self.offset, packed(self.entries))
        else:
            for first, end in runs(self.dirty):
                part = self.entries[first * PER_SECTOR:end * PER_SECTOR]
                file.write(self.offset + first * SECTOR, packed(part))
        self.fresh = False
        self.dirty.clear()


def runs(numbers: set[int]) -> list[tuple[int, int]]:
    """The (first, end) of neighbours, in order."""
    found: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number:
            found[-1] = found[-1][0], number + 1
        else:
            found.append((number, number + 1))
    return found


class Cache:
    """The L2 tables used last, by their offsets.  `commit` is called when only changed ones are left to be dropped."""

    def __init__(self, file: File, cluster: int, commit: Callable[[], None]) -> None:
        self.file, self.cluster, self.commit = file, cluster, commit
        self.tables: OrderedDict[int, Table] = OrderedDict()
        self.limit = min(max(_CACHE // cluster, 4), 4096)

    def get(self, offset: int) -> Table:
        """The table at `offset`.  Raises OSError."""
        table = self.tables.get(offset)
        if table is None:
            table = Table(offset, unpacked(self.file.read(offset, self.cluster)))
            self.add(table)
        else:
            self.tables.move_to_end(offset)
        return table

    def add(self, table: Table) -> None:
        """Keep a table, at the cost of the one that was used longest ago."""
        if len(self.tables) >= self.limit:
            oldest = next(iter(self.tables.values()))
            if oldest.dirty or oldest.fresh:
                self.commit()
            self.tables.popitem(last=False)
        self.tables[table.offset] = table

    def dirty(self) -> list[Table]:
        """The tables that the file does not have as they are."""
        return [table for table in self.tables.values() if table.dirty or table.fresh]
