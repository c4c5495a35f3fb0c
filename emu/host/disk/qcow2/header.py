"""The header of a qcow2 image, its extensions and its table of snapshots, every field checked.

Source: QEMU docs/interop/qcow2.txt ("Header", "Header extensions", "Snapshots"); limits as QEMU's own (32 MiB of L1 table,
8 MiB of refcount table, 2 MiB clusters).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from emu.host.disk.file import File, ImageError

MAGIC = b"QFI\xFB"
DIRTY, CORRUPT, EXTERNAL, COMPRESSION, EXTENDED = 1, 2, 4, 8, 16        # incompatible features
OFFSET = 0x00FF_FFFF_FFFF_FE00          # bits 9-55 of an L1 or L2 entry
COPIED, COMPRESSED, ZERO = 1 << 63, 1 << 62, 1

_FIELDS = struct.Struct(">4sIQIIQIIQQIIQ")
_MORE = struct.Struct(">QQQII")
_SNAPSHOT = struct.Struct(">QIHHIIQII")
_BACKING_FORMAT, _FEATURES = 0xE279_2ACA, 0x6803_F857
_L1_LIMIT, _REFCOUNT_LIMIT = 32 << 20, 8 << 20
_SNAPSHOTS, _SNAPSHOT_TABLE = 65536, 64 << 20
_ENTRY_EXTRA = 1024                     # bytes of extra data of a snapshot, of which 24 have a meaning


@dataclass(frozen=True)
class Snapshot:
    """An internal snapshot; `seconds` since 1970 when it was taken, `vm_state` and `size` in bytes."""

    id: str
    name: str
    seconds: int
    vm_state: int
    size: int
    l1: int
    l1_entries: int


@dataclass
class Header:
    """Offsets and sizes in bytes, `l1_entries` in entries; `bitmaps` the (offset, size) of the bitmap directory, in use."""

    version: int
    size: int
    cluster_bits: int
    l1: int
    l1_entries: int
    refcount_table: int
    refcount_clusters: int
    snapshots: int = 0
    snapshot_table: int = 0
    incompatible: int = 0
    compatible: int = 0
    autoclear: int = 0
    refcount_order: int = 4
    length: int = 72
    zstd: bool = False
    backing: str | None = None
    backing_format: str | None = None
    features: dict[int, str] = field(default_factory=dict)

    @property
    def cluster(self) -> int:
        return 1 << self.cluster_bits

    @property
    def extended(self) -> bool:
        return bool(self.incompatible & EXTENDED)


def read(file: File) -> Header:
    """The header of `file`.  Raises ImageError for what the format does not allow, and for what is not read here."""
    try:
        return _read(file)
    except (OSError, struct.error):
        raise ImageError(f"{file.path}: the qcow2 image is cut short in its header") from None


def _read(file: File) -> Header:
    def bad(what: str) -> ImageError:
        return ImageError(f"{file.path}: {what}")

    raw = file.start(112)
    (magic, version, backing_at, backing_length, bits, size, crypt, l1_entries, l1, refcounts, refcount_clusters,
     snapshots, snapshot_table) = _FIELDS.unpack_from(raw)
    if magic != MAGIC:
        raise bad("no qcow2 image")
    if version not in (2, 3):
        hint = "; qemu-img convert makes a qcow2 image of it" if version == 1 else ""
        raise bad(f"a qcow image of version {version}, and only 2 and 3 can be used{hint}")
    if not 9 <= bits <= 21:
        raise bad(f"clusters of 2^{bits} bytes, and they are of 2^9 to 2^21")
    if crypt:
        raise bad("the image is encrypted; decrypt it with qemu-img convert")
    header = Header(version, size, bits, l1, l1_entries, refcounts, refcount_clusters, snapshots, snapshot_table)
    if version == 3:
        (header.incompatible, header.compatible, header.autoclear, header.refcount_order,
         header.length) = _MORE.unpack_from(raw, 72)
        if header.length < 104 or header.length % 8 or header.length > header.cluster:
            raise bad(f"a header of {header.length} bytes")
        if header.refcount_order > 6:
            raise bad(f"reference counts of 2^{header.refcount_order} bits, and they have 64 at most")
    _extensions(file, header, backing_at or header.cluster)
    if unknown := header.incompatible & ~(DIRTY | CORRUPT | EXTERNAL | COMPRESSION | EXTENDED):
        first = (unknown & -unknown).bit_length() - 1
        raise bad(f"the image needs a feature that is not known here: {header.features.get(first) or f'bit {first}'}")
    if header.incompatible & EXTERNAL:
        raise bad("the image keeps its data in another file; join them with qemu-img convert")
    kind = raw[104] if version == 3 and header.length > 104 else 0
    if bool(header.incompatible & COMPRESSION) != bool(kind) or kind > 1:
        raise bad(f"compression of type {kind}, and only zlib (0) and zstd (1) can be read")
    header.zstd = bool(kind)
    if header.extended and bits < 14:
        raise bad(f"clusters of 2^{bits} bytes have no subclusters")
    _tables(file, header)
    if backing_at:
        if not 0 < backing_length <= 1023 or backing_at + backing_length > header.cluster:
            raise bad("the name of the backing file does not lie in the header's cluster")
        header.backing = file.read(backing_at, backing_length).decode("utf-8", "surrogateescape")
    return header


def _extensions(file: File, header: Header, end: int) -> None:
    area = file.read(header.length, max(min(end, header.cluster, file.size) - header.length, 0))
    at = 0
    while at + 8 <= len(area):
        kind, length = struct.unpack_from(">II", area, at)
        at += 8
        if not kind:
            break
        if length > len(area) - at:
            raise ImageError(f"{file.path}: a header extension ({kind:08x}) of {length} bytes does not fit into the header")
        data = area[at:at + length]
        if kind == _BACKING_FORMAT:
            header.backing_format = data.decode("ascii", "replace")
        elif kind == _FEATURES:
            for row in range(0, length - length % 48, 48):
                if data[row] == 0:
                    header.features[data[row + 1]] = data[row + 2:row + 48].rstrip(b"\0").decode("ascii", "replace")
        at += (length + 7) & ~7


def _tables(file: File, header: Header) -> None:
    cluster = header.cluster

    def place(what: str, offset: int, length: int, limit: int) -> None:
        if offset % cluster or (not offset and length):
            raise ImageError(f"{file.path}: the {what} lies at {offset:#x}, which is no place for it")
        if length > limit:
            raise ImageError(f"{file.path}: a {what} of {length} bytes, and {limit} is the most")
        if offset + length > -(-file.size // cluster) * cluster:
            raise ImageError(f"{file.path}: the {what} ends outside of the file; the file is cut short or damaged")

    place("L1 table", header.l1, header.l1_entries * 8, _L1_LIMIT)
    place("refcount table", header.refcount_table, header.refcount_clusters * cluster, _REFCOUNT_LIMIT)
    if not header.refcount_clusters:
        raise ImageError(f"{file.path}: there is no refcount table")
    per_l2 = cluster // (16 if header.extended else 8)
    if header.size > 1 << 62 or header.l1_entries < -(-header.size // (cluster * per_l2)):
        raise ImageError(f"{file.path}: the L1 table is too small for a disk of {header.size} bytes")
    if header.snapshots > _SNAPSHOTS:
        raise ImageError(f"{file.path}: {header.snapshots} snapshots, and {_SNAPSHOTS} is the most")
    if header.snapshots:
        place("snapshot table", header.snapshot_table, header.snapshots * 40, _SNAPSHOT_TABLE)


def snapshots(file: File, header: Header) -> tuple[list[Snapshot], int]:
    """The internal snapshots, and the bytes of their table.  Raises ImageError."""
    found: list[Snapshot] = []
    at = table = header.snapshot_table
    try:
        for _ in range(header.snapshots):
            l1, entries, id_length, name_length, seconds, _, _, vm_state, extra = _SNAPSHOT.unpack(
                file.read(at, _SNAPSHOT.size))
            if extra > _ENTRY_EXTRA or l1 % header.cluster or entries * 8 > _L1_LIMIT:
                raise ImageError(f"{file.path}: entry {len(found)} of the snapshot table is damaged")
            rest = file.read(at + 40, extra + id_length + name_length) if extra + id_length + name_length else b""
            if extra >= 8:
                vm_state = int.from_bytes(rest[:8], "big")
            size = int.from_bytes(rest[8:16], "big") if extra >= 16 else header.size
            found.append(Snapshot(
                rest[extra:extra + id_length].decode("utf-8", "replace"),
                rest[extra + id_length:].decode("utf-8", "replace"), seconds, vm_state, size, l1, entries))
            at += (40 + len(rest) + 7) & ~7
            if at - table > _SNAPSHOT_TABLE:
                raise ImageError(f"{file.path}: the snapshot table is longer than {_SNAPSHOT_TABLE} bytes")
    except OSError:
        raise ImageError(f"{file.path}: the snapshot table ends outside of the file") from None
    return found, at - table
