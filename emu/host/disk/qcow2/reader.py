"""Reading a qcow2 image: from a place on the disk to a cluster of the file, of a backing file, or zeros."""

from __future__ import annotations

import zlib

from emu.host.disk.file import File, ImageError
from emu.host.disk.medium import Image, Zeros
from emu.host.disk.qcow2.header import COMPRESSED, OFFSET, ZERO, Header, Snapshot, snapshots
from emu.host.disk.qcow2.tables import Cache, Table, unpacked
from emu.host.disk.zstd import ZstdError, decompress

_KEPT = 4                       # decompressed clusters: a guest reads in pieces


class Qcow2Reader(Image):
    """A qcow2 image as it is.  `backing` shows where it is not allocated; it is closed with this one."""

    format = "qcow2"

    def __init__(self, file: File, header: Header, backing: Image | None) -> None:
        super().__init__(file.path, header.size)
        self.file, self.header = file, header
        self.backing = backing or Zeros(file.path, 0)
        self.snapshots: list[Snapshot]
        self.snapshots, self.snapshot_length = snapshots(file, header)
        self.bits, self.cluster = header.cluster_bits, header.cluster
        self.per = self.cluster // (16 if header.extended else 8)       # clusters of one L2 table
        self.kind = OFFSET | COMPRESSED | (ZERO if header.version > 2 and not header.extended else 0)
        try:
            entries = unpacked(file.read(header.l1, header.l1_entries * 8) if header.l1_entries else b"")
        except OSError:
            raise ImageError(f"{file.path}: the L1 table ends outside of the file") from None
        self.l1 = Table(header.l1, entries)
        self.l2 = Cache(file, self.cluster, self.commit)
        self.decompressed: dict[int, bytes] = {}

    def close(self) -> None:
        """As Image.close."""
        self.file.close()
        self.backing.close()

    def files(self) -> list[File]:
        """As Image.files."""
        return [self.file, *self.backing.files()]

    def commit(self) -> None:
        """Nothing changes here."""

    def _piece(self, offset: int, length: int) -> bytes:
        number, within = offset >> self.bits, offset & self.cluster - 1
        index, at = divmod(number, self.per)
        length = min(length, (self.per - at << self.bits) - within)
        entry = self.l1.entries[index] & OFFSET
        if not entry:
            return self._below(offset, length)
        entries = self.table(entry).entries
        if self.header.extended:
            return self._subclusters(entries[2 * at], entries[2 * at + 1], offset, length)
        kind = self.kind
        entry = entries[at] & kind
        have = self.cluster - within
        if entry & COMPRESSED:
            return self._decompress(entries[at])[within:within + min(length, have)]
        if entry & ZERO or not entry:
            while have < length:
                at += 1
                other = entries[at] & kind
                if other & COMPRESSED or bool(other & ZERO) != bool(entry) or (other and not entry):
                    break
                have += self.cluster
            length = min(length, have)
            return bytes(length) if entry else self._below(offset, length)
        if entry & self.cluster - 1:
            raise self._damaged(f"cluster {number} is said to lie at {entry:#x}, which is no place for it")
        following = entry
        while have < length:
            at += 1
            following += self.cluster
            if entries[at] & kind != following:
                break
            have += self.cluster
        return self._data(entry + within, min(length, have))

    def _subclusters(self, entry: int, bitmap: int, offset: int, length: int) -> bytes:
        """A piece of one cluster that is divided into 32 ("Extended L2 Entries")."""
        within = offset & self.cluster - 1
        length = min(length, self.cluster - within)
        if entry & COMPRESSED:
            return self._decompress(entry)[within:within + length]
        size = self.cluster // 32
        number = within // size
        state = bitmap >> number & 0x1_0000_0001
        end = number + 1
        while end < 32 and bitmap >> end & 0x1_0000_0001 == state and end * size - within < length:
            end += 1
        length = min(length, end * size - within)
        if state == 1:
            if not entry & OFFSET or entry & OFFSET & self.cluster - 1:
                raise self._damaged(f"cluster {offset >> self.bits} has data and no place for it")
            return self._data((entry & OFFSET) + within, length)
        if state == 0:
            return self._below(offset, length)
        if state == 1 << 32:
            return bytes(length)
        raise self._damaged(f"cluster {offset >> self.bits} has data that is zeros")

    def table(self, offset: int) -> Table:
        if offset & self.cluster - 1:
            raise self._damaged(f"an L2 table is said to lie at {offset:#x}, which is no place for it")
        table = self.l2.tables.get(offset)
        if table is not None and next(reversed(self.l2.tables)) == offset:
            return table
        try:
            return self.l2.get(offset)
        except OSError as error:
            raise self._failed(error, "an L2 table") from error

    def _data(self, offset: int, length: int) -> bytes:
        try:
            return self.file.read(offset, length)
        except OSError as error:
            raise self._failed(error, "data") from error

    def _failed(self, error: OSError, what: str) -> OSError:
        return self._damaged(f"{what} cannot be read: {error.strerror or error}")

    def _below(self, offset: int, length: int) -> bytes:
        there = self.backing.size - offset
        if there <= 0:
            return bytes(length)
        return self.backing.read(offset, min(length, there))

    def span(self, entry: int) -> tuple[int, int]:
        """The first byte of a compressed cluster in the file, and the bytes that its sectors have from there on."""
        shift = 62 - (self.bits - 8)
        offset = entry & (1 << shift) - 1 & (1 << 56) - 1
        sectors = (entry >> shift & (1 << self.bits - 8) - 1) + 1
        return offset, sectors * 512 - offset % 512

    def _decompress(self, entry: int) -> bytes:
        entry &= ~(1 << 63)
        data = self.decompressed.get(entry)
        if data is None:
            offset, length = self.span(entry)
            packed = self._data(offset, length)
            try:
                if self.header.zstd:
                    data = decompress(packed, self.cluster)
                else:
                    data = zlib.decompressobj(-15).decompress(packed, self.cluster)
            except (zlib.error, ZstdError) as error:
                raise self._damaged(f"the compressed cluster at {offset:#x} cannot be read: {error}") from None
            if len(data) != self.cluster:
                raise self._damaged(f"the compressed cluster at {offset:#x} is cut short")
            if len(self.decompressed) >= _KEPT:
                del self.decompressed[next(iter(self.decompressed))]
            self.decompressed[entry] = data
        return data
