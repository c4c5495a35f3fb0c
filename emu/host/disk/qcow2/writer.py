"""Writing a qcow2 image, so that the file is a valid image at every moment.

    data, counts that go up, new L2 tables  ->  sync  ->  L2 and L1 entries that name them  ->  sync  ->  counts that go down

Whatever part of the writes between two syncs reaches the disk, a table there names only clusters that are counted and
filled: a crash costs at most leaked clusters, which the next opening for writing takes back (`check.py`).
"""

from __future__ import annotations

import errno
import struct

from emu.host.disk.file import File, ImageError
from emu.host.disk.medium import ZEROS, Image
from emu.host.disk.qcow2 import check
from emu.host.disk.qcow2.header import COMPRESSED, COPIED, CORRUPT, DIRTY, OFFSET, ZERO, Header
from emu.host.disk.qcow2.reader import Qcow2Reader
from emu.host.disk.qcow2.refcounts import Refcounts
from emu.host.disk.qcow2.tables import Table, unpacked

_INCOMPATIBLE, _AUTOCLEAR = 72, 88      # of the header
_SNAPSHOT_TABLES = 1 << 22              # entries of the L1 tables of all snapshots
_TABLES = 1 << 20                       # clusters that hold tables: 60 MiB of memory
_REPAIR = "repair it with qemu-img check -r all"


class Qcow2(Qcow2Reader):
    """A qcow2 image that takes writes."""

    def __init__(self, file: File, header: Header, backing: Image | None) -> None:
        super().__init__(file, header, backing)
        self.readonly = False
        if header.incompatible & CORRUPT:
            raise ImageError(f"{file.path}: the image is marked as corrupt, and cannot be written; {_REPAIR}")
        if header.extended:
            raise ImageError(f"{file.path}: an image with subclusters can only be read; use --overlay, or qemu-img convert")
        if self.l1.entries and any(entry & self.cluster - 1 & OFFSET for entry in self.l1.entries):
            raise ImageError(f"{file.path}: the L1 table is damaged; {_REPAIR}")
        try:
            self.metadata = self._tables()
            self.refcounts = Refcounts(file, header, self.metadata)
        except OSError as error:
            raise ImageError(f"{file.path}: {error.strerror or error}; {_REPAIR}") from None
        blocks = self.refcounts.block_offsets()
        if len(set(blocks)) < len(blocks):
            raise ImageError(f"{file.path}: the refcount table names a block twice; {_REPAIR}")
        self.metadata.update(offset // self.cluster for offset in blocks)
        self.freed: list[int] = []
        self.unsynced = False
        self._begin()

    # -- opening and closing

    def _tables(self) -> set[int]:
        """The clusters that a guest's data may never lie in."""
        header, tables = self.header, {0}

        def area(offset: int, length: int) -> None:
            tables.update(range(offset // self.cluster, -(-(offset + length) // self.cluster)))

        area(header.l1, header.l1_entries * 8)
        area(header.refcount_table, header.refcount_clusters * self.cluster)
        area(header.snapshot_table, self.snapshot_length)
        l1s = [self.l1.entries]
        if sum(snapshot.l1_entries for snapshot in self.snapshots) > _SNAPSHOT_TABLES:
            raise ImageError(f"{self.path}: more in its snapshots than can be looked through; it can only be read")
        for snapshot in self.snapshots:
            area(snapshot.l1, snapshot.l1_entries * 8)
            if snapshot.l1_entries:
                l1s.append(unpacked(self.file.read(snapshot.l1, snapshot.l1_entries * 8)))
        for entries in l1s:
            tables.update((entry & OFFSET) // self.cluster for entry in entries if entry & OFFSET)
            if len(tables) > _TABLES:
                raise ImageError(f"{self.path}: more tables than can be kept in mind; it can only be read: use an overlay "
                                 "or larger clusters (qemu-img convert)")
        return tables

    def _begin(self) -> None:
        """Make the image good to write: features that we do not keep up, counts that a crash left behind."""
        header = self.header
        try:
            if header.version > 2 and header.autoclear:
                header.autoclear = 0
                self.file.write(_AUTOCLEAR, bytes(8))
                self.file.sync()
            dirty = bool(header.incompatible & DIRTY)
            if dirty or not check.balanced(self):
                found = check.check(self)
                if found.errors and not dirty:
                    raise ImageError(f"{self.path}: the image is damaged ({found.errors[0]}); {_REPAIR}")
                check.repair(self, found)
            if dirty:
                header.incompatible &= ~DIRTY
                self.file.write(_INCOMPATIBLE, struct.pack(">Q", header.incompatible))
                self.file.sync()
        except OSError as error:
            raise ImageError(f"{self.path}: {error.strerror or error}; {_REPAIR}") from None

    def flush(self) -> None:
        """As Image.flush.  Raises OSError."""
        self.commit()

    def settle(self) -> None:
        """As Image.settle.  Raises OSError."""
        self.commit()
        self.commit()                   # the counts that have gone down

    def close(self) -> None:
        """As Image.close."""
        try:
            if self.file.fd >= 0:
                self.settle()
        finally:
            super().close()

    def commit(self) -> None:
        tables = self.l2.dirty()
        if self.refcounts.dirty or tables or self.l1.dirty:
            self.unsynced = True
            self._extend()
            self.refcounts.write()
            for table in tables:
                if table.fresh:
                    table.write(self.file)
        if self.unsynced:
            self.file.sync()
            self.unsynced = False
        if tables or self.l1.dirty:
            self.unsynced = True
            for table in tables:
                if table.dirty:
                    table.write(self.file)
            self.l1.write(self.file)
            self.file.sync()
            self.unsynced = False
        freed, self.freed = self.freed, []
        for cluster in freed:
            self.refcounts.decrease(cluster)

    def _extend(self) -> None:
        """The file ends with a whole cluster."""
        if self.file.regular and self.file.size % self.cluster:
            self.file.truncate(-(-self.file.size // self.cluster) * self.cluster)

    # -- writing

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """As Image.write.  Raises OSError."""
        view = memoryview(data)
        self._inside(offset, len(view))
        done = 0
        while done < len(view):
            index, at = divmod(offset + done >> self.bits, self.per)
            within = offset + done & self.cluster - 1
            length = min(len(view) - done, (self.per - at << self.bits) - within)
            self._write(index, at, within, view[done:done + length], offset + done)
            done += length

    def _write(self, index: int, at: int, within: int, view: memoryview, offset: int) -> None:
        """Write what one L2 table describes, from its entry `at` on."""
        if not self.l1.entries[index] & OFFSET and self.backing.size <= offset and _zero(view):
            return                              # nothing is there, which reads as zeros already
        table = self._own_table(index)
        place = _Placement(self, view)
        try:
            done = 0
            while done < len(view):
                length = min(len(view) - done, self.cluster - within)
                self._place(place, table, at, within, offset + done, done, length)
                done += length
                at, within = at + 1, 0
            self.unsynced = True
            place.write()
        except BaseException:
            for cluster in place.allocated:     # no table names them
                self.refcounts.decrease(cluster)
            raise
        for number, entry in place.entries:
            table.set(number, entry)
        self.freed += place.freed

    def _place(self, place: _Placement, table: Table, at: int, within: int, offset: int, start: int, length: int) -> None:
        """Where one cluster's part of a write goes, and what its entry becomes."""
        entry = table.entries[at]
        kind = entry & self.kind
        if entry & COPIED and not kind & (COMPRESSED | ZERO) and kind:
            self._check_place(kind)
            place.put(kind + within, start, start + length)
            return
        part = place.view[start:start + length]
        if not kind and self.backing.size <= offset - within and _zero(part):
            return
        if kind & ZERO and not kind & COMPRESSED and _zero(part):
            return
        whole = length == self.cluster or (offset - within + self.cluster > self.size and not within \
            and offset + length == self.size)
        if whole and self.header.version > 2 and _zero(part):
            if kind:
                place.freed += self.uses(entry)
            place.entries.append((at, ZERO))
            return
        if entry & COPIED and kind & OFFSET and not kind & COMPRESSED:          # zeros with a place kept for them
            host = kind & OFFSET
            self._check_place(host)
        else:
            host = self._allocate() << self.bits
            place.allocated.append(host >> self.bits)
            if kind:
                place.freed += self.uses(entry)
        if length == self.cluster:
            place.put(host, start, start + length)
        else:
            base = offset - within
            end = min(base + self.cluster, self.size)
            place.add(host, b"".join((self.read(base, within), part, self.read(offset + length, end - offset - length),
                                      bytes(base + self.cluster - end))))
        place.entries.append((at, host | COPIED))

    def uses(self, entry: int) -> list[int]:
        """The clusters of the file that an L2 entry uses."""
        if entry & COMPRESSED:
            offset, length = self.span(entry)
            return list(range(offset >> self.bits, (offset + length - 1 >> self.bits) + 1))
        return [(entry & OFFSET) >> self.bits] if entry & OFFSET else []

    def _check_place(self, host: int) -> None:
        if host >> self.bits in self.metadata or host & self.cluster - 1:
            raise self._damaged(f"a cluster of data is said to lie at {host:#x}, where a table is; {_REPAIR}")
        if host >= self.file.size:
            raise self._damaged(f"a cluster of data is said to lie at {host:#x}, outside of the file; {_REPAIR}")

    def _own_table(self, index: int) -> Table:
        """The L2 table of an L1 entry, made or copied if it cannot be written where it is."""
        entry = self.l1.entries[index]
        if entry & COPIED and entry & OFFSET:
            return self.table(entry & OFFSET)
        entries = self.table(entry & OFFSET).entries[:] if entry & OFFSET else unpacked(bytes(self.cluster))
        cluster = self._allocate()
        table = Table(cluster << self.bits, entries, fresh=True)
        self.l2.add(table)
        self.metadata.add(cluster)
        self.l1.set(index, table.offset | COPIED)
        if entry & OFFSET:
            self.freed.append((entry & OFFSET) >> self.bits)
        return table

    def _allocate(self) -> int:
        try:
            return self.refcounts.allocate()
        except OSError as error:
            raise self._damaged(str(error.strerror)) if error.errno == errno.EIO else error from None


class _Placement:
    """One write on its way: runs of bytes for the file, and the entries to change when they are there."""

    def __init__(self, image: Qcow2, view: memoryview) -> None:
        self.image, self.view = image, view
        self.allocated: list[int] = []
        self.freed: list[int] = []
        self.entries: list[tuple[int, int]] = []
        self.runs: list[tuple[int, int, int]] = []              # offset in the file, start and end in the view
        self.pieces: list[tuple[int, bytes]] = []

    def put(self, host: int, start: int, end: int) -> None:
        """The view's bytes from `start` to `end` go to `host`."""
        if self.runs:
            first, begun, ended = self.runs[-1]
            if ended == start and first + ended - begun == host:
                self.runs[-1] = first, begun, end
                return
        self.runs.append((host, start, end))

    def add(self, host: int, data: bytes) -> None:
        """`data` goes to `host`."""
        self.pieces.append((host, data))

    def write(self) -> None:
        """Raises OSError."""
        file = self.image.file
        for host, start, end in self.runs:
            file.write(host, self.view[start:end])
        for host, data in self.pieces:
            file.write(host, data)


def _zero(view: memoryview) -> bool:
    """Whether all is zeros; what is not is seldom zero at its ends."""
    if view[0] or view[-1] or view[len(view) // 2]:
        return False
    length = len(view)
    return bytes(view) == (ZEROS[:length] if length <= len(ZEROS) else bytes(length))
