"""Whether a qcow2 image's reference counts are right: every table is walked, every use of a cluster counted.

A count that is too high is a leak, which wastes room and is taken back; one that is too low is an error, for the cluster
would be given out a second time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emu.host.disk.file import ImageError
from emu.host.disk.qcow2.header import COMPRESSED, COPIED, OFFSET
from emu.host.disk.qcow2.tables import unpacked

if TYPE_CHECKING:
    from array import array

    from emu.host.disk.qcow2.writer import Qcow2

_ENTRIES = 1 << 24              # L2 entries that are walked: 1 TiB with clusters of 64 KiB, some seconds
_CLUSTERS = 1 << 28             # clusters of a file that are counted, a byte each
_COUNTS = 1 << 27               # counts that are looked at
_ERRORS = 20
_NOT_COMPRESSED = bytes(byte for byte in range(256) if not byte & 0x40)


@dataclass
class Found:
    """`errors` but for leaks; `wrong` by cluster: the uses that were found where the count says otherwise."""

    errors: list[str] = field(default_factory=list)
    wrong: dict[int, int] = field(default_factory=dict)
    flags: list[tuple[int, int | None, int]] = field(default_factory=list)     # L1 index, L2 index, the entry as it should be

    def error(self, what: str) -> None:
        """Only the first ones are kept."""
        if len(self.errors) < _ERRORS:
            self.errors.append(what)


class Uses:
    """How often each cluster of the file is used."""

    def __init__(self, clusters: int) -> None:
        self.clusters = clusters
        self.first = bytearray(clusters)
        self.more: dict[int, int] = {}          # counts from 2 on

    def add(self, cluster: int) -> bool:
        """One use more; False if the file has no such cluster."""
        if cluster >= self.clusters:
            return False
        if self.first[cluster]:
            self.more[cluster] = self.more.get(cluster, 1) + 1
        self.first[cluster] = 1
        return True

    def get(self, cluster: int) -> int:
        """The uses of a cluster."""
        return self.more.get(cluster) or (self.first[cluster] if cluster < self.clusters else 0)


def balanced(image: Qcow2) -> bool:
    """Whether the counts' sum is the number of uses, as it is unless something leaked or is damaged: much the faster look."""
    refcounts, cluster = image.refcounts, image.cluster
    if len(refcounts.block_offsets()) * refcounts.per > _COUNTS:
        return True                             # too large to look at each time
    counted = 0
    for index, offset in enumerate(refcounts.table.entries):
        if offset:
            counted += sum(refcounts.block(index).counts)
    used = sum(-(-length // cluster) for _, length in _areas(image)) + len(refcounts.block_offsets())
    walked = 0
    for l1 in _l1s(image):
        for entry in l1:
            if not entry & OFFSET:
                continue
            walked += image.per
            if walked > _ENTRIES:
                return True
            raw = image.file.read(entry & OFFSET, cluster)
            entries = unpacked(raw)
            used += 1 + image.per - entries.count(0) - entries.count(1)
            if raw[::8].translate(None, _NOT_COMPRESSED):
                used += sum(len(image.uses(entry)) - 1 for entry in entries if entry & COMPRESSED)
    return counted == used


def check(image: Qcow2) -> Found:
    """Count every use.  Raises ImageError if there is too much to look at, OSError."""
    clusters = -(-image.file.size // image.cluster)
    if clusters > _CLUSTERS or len(image.refcounts.block_offsets()) * image.refcounts.per > _COUNTS:
        raise ImageError(f"{image.path}: too large to be checked here; check it with qemu-img check")
    found, uses = Found(), Uses(clusters)
    for offset, length in _areas(image):
        for cluster in range(offset // image.cluster, -(-(offset + length) // image.cluster)):
            if not uses.add(cluster):
                found.error(f"a table at {offset:#x} lies outside of the file")
    for offset in image.refcounts.block_offsets():
        if offset % image.cluster or not uses.add(offset // image.cluster):
            found.error(f"a refcount block lies at {offset:#x}, which is no place for it")
    walked = 0
    for number, l1 in enumerate(_l1s(image)):
        for entry in l1:
            if entry & OFFSET:
                walked += image.per
                if walked > _ENTRIES:
                    raise ImageError(f"{image.path}: too large to be checked here; check it with qemu-img check")
                _walk(image, entry, found, uses, "snapshot " * bool(number))
    _compare(image, found, uses)
    _flags(image, found, uses)
    return found


def _areas(image: Qcow2) -> Iterator[tuple[int, int]]:
    """(offset, length) of what lies in whole clusters of its own."""
    header = image.header
    yield 0, 1
    yield header.l1, header.l1_entries * 8
    yield header.refcount_table, header.refcount_clusters * image.cluster
    yield header.snapshot_table, image.snapshot_length
    for snapshot in image.snapshots:
        yield snapshot.l1, snapshot.l1_entries * 8


def _l1s(image: Qcow2) -> Iterator[array[int]]:
    yield image.l1.entries
    for snapshot in image.snapshots:
        if snapshot.l1_entries:
            yield unpacked(image.file.read(snapshot.l1, snapshot.l1_entries * 8))


def _walk(image: Qcow2, l1_entry: int, found: Found, uses: Uses, where: str) -> None:
    offset = l1_entry & OFFSET
    if offset % image.cluster or not uses.add(offset // image.cluster):
        found.error(f"a {where}L2 table lies at {offset:#x}, which is no place for it")
        return
    shift, mask = image.bits, image.cluster - 1
    for entry in unpacked(image.file.read(offset, image.cluster)):
        if not entry:
            continue
        if entry & COMPRESSED:
            for cluster in image.uses(entry):
                if not uses.add(cluster):
                    found.error(f"compressed data lies at {cluster << shift:#x}, outside of the file")
        elif (host := entry & OFFSET) and (host & mask or not uses.add(host >> shift)):
            found.error(f"a cluster of data lies at {host:#x}, which is no place for it")


def _compare(image: Qcow2, found: Found, uses: Uses) -> None:
    refcounts = image.refcounts
    per = refcounts.per
    for index in range(max(len(refcounts.table.entries), -(-uses.clusters // per))):
        base = index * per
        if index < len(refcounts.table.entries) and refcounts.table.entries[index]:
            counts = refcounts.block(index).counts
        elif base < uses.clusters:
            counts = bytearray(per)
        else:
            continue
        if bytes(counts) == bytes(len(bytes(counts))) and not any(uses.first[base:base + per]):
            continue
        for at, count in enumerate(counts):
            used = uses.get(base + at)
            if count == used:
                continue
            found.wrong[base + at] = used
            if count < used:
                found.error(f"cluster {base + at} is used {used} times and counted {count} times")


def _flags(image: Qcow2, found: Found, uses: Uses) -> None:
    """COPIED says that a count is exactly one, in the tables of the disk as it is now."""
    for index, entry in enumerate(image.l1.entries):
        offset = entry & OFFSET
        if not offset or offset % image.cluster:
            continue
        one = COPIED * (uses.get(offset >> image.bits) == 1)
        if entry & COPIED != one:
            found.flags.append((index, None, entry & ~COPIED | one))
            if not one:
                found.error(f"the L2 table at {offset:#x} is shared, and said to be not")
        for at, entry in enumerate(unpacked(image.file.read(offset, image.cluster))):
            if not entry & OFFSET or entry & COMPRESSED:
                continue
            one = COPIED * (uses.get((entry & OFFSET) >> image.bits) == 1)
            if entry & COPIED != one:
                found.flags.append((index, at, entry & ~COPIED | one))
                if not one:
                    found.error(f"the cluster at {entry & OFFSET:#x} is shared, and said to be not")


def repair(image: Qcow2, found: Found) -> None:
    """Make the counts what was found: leaked clusters are free again.  Raises ImageError, OSError."""
    refcounts = image.refcounts
    for cluster, used in sorted(found.wrong.items()):
        index = cluster // refcounts.per
        if used > refcounts.most or index >= len(refcounts.table.entries):
            raise ImageError(f"{image.path}: cluster {cluster} is used {used} times, and that cannot be counted; "
                             "repair the image with qemu-img check -r all")
        if not refcounts.table.entries[index]:
            free = next((at for at in range(index * refcounts.per, (index + 1) * refcounts.per)
                         if not found.wrong.get(at)), None)
            if free is None:
                raise ImageError(f"{image.path}: no room for a refcount block; repair the image with qemu-img check -r all")
            refcounts.create(index, free)
        refcounts.set(cluster, used)
    if refcounts.dirty:
        refcounts.write()
        image.file.sync()
    for index, at, entry in found.flags:
        if at is None:
            image.l1.set(index, entry)
        else:
            image.table(image.l1.entries[index] & OFFSET).set(at, entry)
    if found.flags:
        image.unsynced = True
        image.commit()
