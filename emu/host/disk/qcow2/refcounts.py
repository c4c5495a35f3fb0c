"""How often each cluster of a qcow2 image is used: the refcount table, its blocks, and the search for free clusters.

A count that reaches the file too early only leaks a cluster, one that reaches it too late corrupts the image.  So counts
that go up may be written at any time, and must be on the disk before a table names the cluster; a count goes down only when
no table on the disk names the cluster any more.  Whoever calls `decrease` answers for that.
"""

from __future__ import annotations

import errno
import struct
import sys
from array import array
from collections import OrderedDict

from emu.host.disk.file import File
from emu.host.disk.qcow2.header import Header
from emu.host.disk.qcow2.tables import SECTOR, Table, runs, unpacked

_CACHE = 16 << 20               # bytes of refcount blocks that are kept
_TABLE_LIMIT = 8 << 20
_POINTERS = 48                  # of the header: the table's offset and clusters

Counts = bytearray | array      # type: ignore[type-arg]


class Block:
    """The counts of neighbouring clusters, one number each; `dirty` the sectors that the file does not have yet."""

    __slots__ = ("counts", "dirty", "fresh", "offset")

    def __init__(self, offset: int, counts: Counts, fresh: bool = False) -> None:
        self.offset, self.counts, self.fresh = offset, counts, fresh
        self.dirty: set[int] = set()


class Refcounts:
    """`metadata`: the clusters that are header or table, kept by the owner and here; none of them is ever given out."""

    def __init__(self, file: File, header: Header, metadata: set[int]) -> None:
        self.file, self.header, self.metadata = file, header, metadata
        self.order, self.cluster = header.refcount_order, header.cluster
        self.per = self.cluster * 8 >> self.order               # clusters of one block
        self.per_sector = SECTOR * 8 >> self.order
        self.most = (1 << (1 << self.order)) - 1
        self.table = Table(header.refcount_table, unpacked(
            file.read(header.refcount_table, header.refcount_clusters * self.cluster)))
        self.blocks: OrderedDict[int, Block] = OrderedDict()
        self.limit = max(_CACHE // max(self.per, self.cluster), 4)
        self.hint = 0
        self._pieces = _split(self.order) if self.order < 3 else []

    @property
    def dirty(self) -> bool:
        """Whether the file does not have all of it."""
        return bool(self.table.dirty) or any(block.dirty or block.fresh for block in self.blocks.values())

    def block_offsets(self) -> list[int]:
        """Where the blocks lie."""
        return [entry for entry in self.table.entries if entry]

    def get(self, cluster: int) -> int:
        """How often `cluster` is used."""
        index, at = divmod(cluster, self.per)
        if index >= len(self.table.entries) or not self.table.entries[index]:
            return 0
        return int(self.block(index).counts[at])

    def set(self, cluster: int, count: int) -> None:
        """Change a count whose block exists."""
        index, at = divmod(cluster, self.per)
        block = self.block(index)
        block.counts[at] = count
        block.dirty.add(at // self.per_sector)
        if not count and cluster < self.hint:
            self.hint = cluster

    def decrease(self, cluster: int) -> None:
        """One use less."""
        count = self.get(cluster)
        if count:                       # otherwise the image was damaged before; a count below zero cannot be said
            self.set(cluster, count - 1)

    def allocate(self) -> int:
        """A free cluster, from now on used once.  Raises OSError."""
        index, at = divmod(self.hint, self.per)
        while True:
            if index >= len(self.table.entries):
                self._grow(index)
            if not self.table.entries[index]:
                self.create(index)
                at = 0
            block = self.block(index)
            found = _find(block.counts, at)
            if found >= 0:
                break
            index, at = index + 1, 0
        cluster = index * self.per + found
        if cluster in self.metadata:
            raise OSError(errno.EIO, "a cluster that holds a table is said to be free; repair the image with qemu-img check")
        block.counts[found] = 1
        block.dirty.add(found // self.per_sector)
        self.hint = cluster + 1
        return cluster

    def write(self) -> None:
        """Write what changed, and then it needs a sync; but a new block is on the disk before the table names it."""
        fresh = [block for block in self.blocks.values() if block.fresh]
        if fresh:
            for block in fresh:
                self.file.write(block.offset, self._packed(block.counts))
            self.file.sync()
            for block in fresh:
                block.fresh = False
                block.dirty.clear()
        for block in self.blocks.values():
            for first, end in runs(block.dirty):
                part = block.counts[first * self.per_sector:end * self.per_sector]
                self.file.write(block.offset + first * SECTOR, self._packed(part))
            block.dirty.clear()
        if self.table.dirty:
            self.table.write(self.file)

    def create(self, index: int, at: int | None = None) -> None:
        """A new block, which lies among the clusters that it counts: so nothing else has to be on the disk with it."""
        cluster = index * self.per if at is None else at
        if not cluster or cluster in self.metadata:
            raise OSError(errno.EIO, "the first refcount block is missing; repair the image with qemu-img check -r all")
        counts = _zeros(self.order, self.per)
        counts[cluster - index * self.per] = 1
        self._keep(index, Block(cluster * self.cluster, counts, fresh=True))
        self.table.set(index, cluster * self.cluster)
        self.metadata.add(cluster)

    def block(self, index: int) -> Block:
        """The block that counts the clusters from `index * per` on; there is one.  Raises OSError."""
        block = self.blocks.get(index)
        if block is None:
            offset = self.table.entries[index]
            if offset % self.cluster:
                raise OSError(errno.EIO, f"refcount block {index} lies at {offset:#x}, which is no place for it")
            block = Block(offset, self._unpacked(self.file.read(offset, self.cluster)))
            self._keep(index, block)
        else:
            self.blocks.move_to_end(index)
        return block

    def _keep(self, index: int, block: Block) -> None:
        if len(self.blocks) >= self.limit:
            old = next(iter(self.blocks.values()))
            if old.dirty or old.fresh:
                self.write()
            self.blocks.popitem(last=False)
        self.blocks[index] = block

    def _grow(self, index: int) -> None:
        """A larger table, beyond all clusters so far, with the blocks that count it; the header switches to it at once."""
        self.write()
        entries = len(self.table.entries)
        size = max(-(-(index + 2) * 8 // self.cluster), 2 * entries * 8 // self.cluster)
        if size * self.cluster > _TABLE_LIMIT:
            raise OSError(errno.ENOSPC, "the image's refcount table cannot grow any more", self.file.path)
        blocks = 1
        while blocks * self.per < size + blocks:
            blocks += 1
        base = entries * self.per
        area = base * self.cluster
        table = Table(area + blocks * self.cluster, self.table.entries[:], fresh=True)
        table.entries.extend([0] * (size * self.cluster // 8 - entries))
        for number in range(blocks):
            counts = _zeros(self.order, self.per)
            used = min(max(size + blocks - number * self.per, 0), self.per)
            for at in range(used):
                counts[at] = 1
            block = Block(area + number * self.cluster, counts)
            table.entries[entries + number] = block.offset
            self.file.write(block.offset, self._packed(counts))
            self._keep(entries + number, block)
        table.write(self.file)
        self.file.sync()
        self.file.write(_POINTERS, struct.pack(">QI", table.offset, size))
        self.file.sync()
        old, count = self.header.refcount_table // self.cluster, self.header.refcount_clusters
        self.header.refcount_table, self.header.refcount_clusters, self.table = table.offset, size, table
        self.metadata.update(range(base, base + blocks + size))
        for cluster in range(old, old + count):
            self.metadata.discard(cluster)
            self.decrease(cluster)

    # -- the counts as the file has them

    def _unpacked(self, data: bytes) -> Counts:
        if self.order < 3:
            return bytearray(b"".join(map(self._pieces.__getitem__, data)))
        if self.order == 3:
            return bytearray(data)
        counts = array("HIQ"[self.order - 4], data)
        if sys.byteorder == "little":
            counts.byteswap()
        return counts

    def _packed(self, counts: Counts) -> bytes:
        if self.order < 3:
            bits, packed = 1 << self.order, bytearray(len(counts) * (1 << self.order) // 8)
            for shift in range(0, 8, bits):
                for at, count in enumerate(counts[shift // bits::8 // bits]):
                    packed[at] |= count << shift
            return bytes(packed)
        if isinstance(counts, array) and sys.byteorder == "little":
            counts = counts[:]
            counts.byteswap()
        return bytes(counts)


def _zeros(order: int, length: int) -> Counts:
    return bytearray(length) if order < 4 else array("HIQ"[order - 4], bytes(length << order - 3))


def _split(order: int) -> list[bytes]:
    """For each byte the counts in it, the lowest bits first."""
    bits = 1 << order
    return [bytes(byte >> shift & (1 << bits) - 1 for shift in range(0, 8, bits)) for byte in range(256)]


def _find(counts: Counts, start: int) -> int:
    """The first count from `start` on that is 0, or -1."""
    if isinstance(counts, bytearray):
        return counts.find(0, start)
    try:
        return counts.index(0, start)
    except ValueError:
        return -1
