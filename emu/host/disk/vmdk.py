"""VMDK, VMware's format, for reading: sparse and flat extents, one or many, with compressed grains (streamOptimized) too.

Source: VMware, Virtual Disk Format 5.0.  Refused: deltas over a parent, ESX's own kinds of extent, raw devices.
An extent's file lies in the descriptor's directory: a descriptor from elsewhere does not show other files to a guest.
"""

from __future__ import annotations

import errno
import os
import re
import struct
import zlib
from bisect import bisect_right

from emu.host.disk.file import File, ImageError, becoming
from emu.host.disk.mapped import Map, Mapped
from emu.host.disk.medium import Image

SPARSE, ESX, DESCRIPTOR = b"KDMV", b"COWD", b"# Disk DescriptorFile"

_HEADER = struct.Struct("<4sIIQQQQIQQQB4sH")
_AT_END = 0xFFFF_FFFF_FFFF_FFFF         # the grain directory is told by a footer
_ZERO_GRAINS, _COMPRESSED, _MARKERS = 1 << 2, 1 << 16, 1 << 17
_TEXT_LIMIT = 1 << 20                   # bytes of a descriptor
_EXTENTS = 256
_DIRECTORY = 1 << 24                    # grain tables of an extent
_GRAIN = 1 << 21                        # bytes of a grain, at most
_LINE = re.compile(r'(RW|RDONLY|NOACCESS)\s+(\d+)\s+([A-Z]+)(?:\s+"([^"]*)"(?:\s+(\d+))?)?')
_KINDS = ("monolithicsparse", "monolithicflat", "twogbmaxextentsparse", "twogbmaxextentflat", "streamoptimized", "vmfs")


class SparseExtent(Mapped):
    """A grain lies at the sector that its entry of a grain table says, and the table where the grain directory says."""

    format = "vmdk"

    def __init__(self, file: File) -> None:
        raw = file.start()
        if _HEADER.unpack_from(raw)[9] == _AT_END:
            if file.size < 2048:
                raise ImageError(f"{file.path}: the VMDK is cut short: its footer is missing")
            raw = file.read(file.size - 1024, 512)
        (magic, version, flags, capacity, grain, text, text_length, per_table, _, directory, _, _, newlines,
         compression) = _HEADER.unpack_from(raw)
        if magic != SPARSE or directory == _AT_END:
            raise ImageError(f"{file.path}: the VMDK is cut short: its footer is missing")
        if not 1 <= version <= 3:
            raise ImageError(f"{file.path}: a VMDK extent of version {version}, and only 1 to 3 can be read")
        if flags & 1 and newlines != b"\n \r\n":
            raise ImageError(f"{file.path}: the VMDK was copied as text, and is damaged; copy it as binary")
        if not 8 <= grain <= _GRAIN // 512 or grain & grain - 1 or not 1 <= per_table <= 1 << 16:
            raise ImageError(f"{file.path}: grains of {grain} sectors, tables of {per_table}: the header is damaged")
        tables = -(-capacity // (grain * per_table))
        if not capacity or tables > _DIRECTORY:
            raise ImageError(f"{file.path}: a disk of {capacity} sectors: the header is damaged")
        if flags & _COMPRESSED and (compression != 1 or not flags & _MARKERS):
            raise ImageError(f"{file.path}: compression of type {compression}, and only deflate (1) with markers can be read")
        if directory * 512 + tables * 4 > file.size:
            raise ImageError(f"{file.path}: the grain directory ends outside of the file; the file is cut short or damaged")
        super().__init__(file, capacity * 512, grain * 512)
        self.directory = Map(file, directory * 512, tables, "I")
        self.per_table, self.zero_grains, self.compressed = per_table, bool(flags & _ZERO_GRAINS), bool(flags & _COMPRESSED)
        self.text = text * 512, text_length * 512
        self.tables: dict[int, Map] = {}
        self.unpacked: dict[int, bytes] = {}

    def _where(self, number: int) -> int | None:
        index, at = divmod(number, self.per_table)
        table = self.tables.get(index)
        if table is None:
            if len(self.tables) >= 256:
                self.tables.clear()
            table = self.tables[index] = Map(self.file, self.directory[index] * 512, self.per_table, "I")
        if not table.offset:
            return None
        sector = table[at]
        return None if not sector or (sector == 1 and self.zero_grains) else sector * 512

    def _piece(self, offset: int, length: int) -> bytes:
        if not self.compressed:
            return super()._piece(offset, length)
        number, within = divmod(offset, self.block)
        length = min(length, self.block - within)
        try:
            where = self._where(number)
            return bytes(length) if where is None else self._unpacked(where)[within:within + length]
        except OSError as error:
            raise self._damaged(error.strerror or str(error)) from error

    def _unpacked(self, where: int) -> bytes:
        """The grain whose marker (the first sector, then the length of the compressed data) lies at `where`."""
        grain = self.unpacked.get(where)
        if grain is None:
            _, length = struct.unpack("<QI", self.file.read(where, 12))
            if length > 2 * self.block + 1024:
                raise OSError(errno.EIO, f"a compressed grain of {length} bytes at {where:#x}")
            try:
                grain = zlib.decompressobj().decompress(self.file.read(where + 12, length) if length else b"", self.block)
            except zlib.error as error:
                raise OSError(errno.EIO, f"the compressed grain at {where:#x} cannot be read: {error}") from None
            grain = grain.ljust(self.block, b"\0")      # the disk's last grain may be a part of one
            if len(self.unpacked) >= 8:
                del self.unpacked[next(iter(self.unpacked))]
            self.unpacked[where] = grain
        return grain


class FlatExtent(Mapped):
    """Sectors as they are, from `start` of the file on."""

    format = "vmdk"

    def __init__(self, file: File, start: int, size: int) -> None:
        if start + size > file.size:
            raise ImageError(f"{file.path}: {start + size} bytes are needed, and the file has {file.size}: it is cut short")
        super().__init__(file, size, max(size, 1))
        self.start = start

    def _where(self, number: int) -> int | None:
        return self.start


class Nothing(Image):
    """Sectors that were never there (an extent of type ZERO)."""

    format = "vmdk"

    def _piece(self, offset: int, length: int) -> bytes:
        return bytes(length)


class Joined(Image):
    """Extents, one behind the other."""

    format = "vmdk"

    def __init__(self, path: str, extents: list[Image]) -> None:
        super().__init__(path, sum(extent.size for extent in extents))
        self.extents, self.starts = extents, [0]
        for extent in extents:
            self.starts.append(self.starts[-1] + extent.size)

    def close(self) -> None:
        """As Image.close."""
        for extent in self.extents:
            extent.close()

    def files(self) -> list[File]:
        """As Image.files."""
        return [file for extent in self.extents for file in extent.files()]

    def _piece(self, offset: int, length: int) -> bytes:
        number = bisect_right(self.starts, offset) - 1
        extent, within = self.extents[number], offset - self.starts[number]
        extent.on_trouble = self.on_trouble
        return extent.read(within, min(length, extent.size - within))


def is_descriptor(first: bytes) -> bool:
    """Whether a file that begins so is a descriptor."""
    return first.lstrip(b" \t\r\n").lower().startswith(DESCRIPTOR.lower())


def open_vmdk(file: File) -> Image:
    """The disk that a sparse extent or a descriptor describes.  Raises ImageError, OSError."""
    first = file.start()
    if first.startswith(ESX):
        raise ImageError(f"{file.path}: a VMDK of ESX's own kind; convert it with vmkfstools or qemu-img convert")
    if first.startswith(SPARSE):
        alone = SparseExtent(file)
        at, length = alone.text
        if at and length:
            _check_kind(file.path, _text(file, at, length))
        return alone
    text = _text(file, 0, file.size)
    _check_kind(file.path, text)
    extents: list[Image] = []
    try:
        for line in text.splitlines():
            if re.match(r"(RW|RDONLY|NOACCESS)\s", line):
                if len(extents) >= _EXTENTS:
                    raise ImageError(f"{file.path}: more than {_EXTENTS} extents")
                extents.append(_extent(file.path, line.strip()))
        if not sum(extent.size for extent in extents):
            raise ImageError(f"{file.path}: the VMDK's descriptor names no extent")
    except BaseException:
        for extent in extents:
            extent.close()
        raise
    file.close()
    return Joined(file.path, extents)


def _text(file: File, at: int, length: int) -> str:
    if length > _TEXT_LIMIT:
        raise ImageError(f"{file.path}: a VMDK descriptor of {length} bytes, and {_TEXT_LIMIT} is the most")
    return file.read(at, length).split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _check_kind(path: str, text: str) -> None:
    fields = dict(re.findall(r'^\s*(\w+)\s*=\s*"?([^"\r\n]*)"?', text, re.MULTILINE))
    if fields.get("parentCID", "ffffffff").strip().lower() not in ("ffffffff", "4294967295", ""):
        raise ImageError(f"{path}: a delta over {fields.get('parentFileNameHint', 'another VMDK')}; "
                         "join them with qemu-img convert or vmware-vdiskmanager")
    kind = fields.get("createType", "").strip()
    if kind.lower() not in _KINDS:
        raise ImageError(f"{path}: a VMDK of type {kind!r}, which cannot be read; convert it with qemu-img convert")


def _extent(path: str, line: str) -> Image:
    match = _LINE.fullmatch(line)
    if not match or match[1] == "NOACCESS":
        raise ImageError(f"{path}: this line of the VMDK's descriptor cannot be used: {line[:80]}")
    size, kind, name = int(match[2]) * 512, match[3], match[4]
    if size > 1 << 56:
        raise ImageError(f"{path}: an extent of {size} bytes")
    if kind == "ZERO":
        return Nothing(path, size)
    if kind not in ("SPARSE", "FLAT", "VMFS") or not name:
        raise ImageError(f"{path}: an extent of type {kind}, which cannot be read; convert the image with qemu-img convert")
    directory = os.path.dirname(os.path.realpath(path))
    where = os.path.realpath(os.path.join(directory, name.replace("\0", "")))
    if os.path.dirname(where) != directory:
        raise ImageError(f"{path}: its extent {name} lies outside of its own directory; move it there if you trust it")
    file = File(where)
    with becoming(file, where):
        if kind != "SPARSE":
            return FlatExtent(file, int(match[5] or 0) * 512, size)
        if not file.start(4).startswith(SPARSE):
            raise ImageError(f"{where}: not a sparse VMDK extent, as {path} says it is")
        extent = SparseExtent(file)
        if extent.size < size:
            raise ImageError(f"{where}: an extent of {extent.size} bytes, and {path} says {size}")
        extent.size = size
        return extent
