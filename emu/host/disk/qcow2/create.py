"""A new qcow2 image: version 3, nothing allocated."""

from __future__ import annotations

import os
import struct

from emu.host.disk.file import ImageError, sync_directory
from emu.host.disk.qcow2.header import MAGIC
from emu.host.files import replacing

_BACKING_FORMAT = 0xE279_2ACA


def create(path: str, size: int, *, backing: str | None = None, backing_format: str | None = None, cluster_bits: int = 16,
           refcount_order: int = 4) -> None:
    """Make the image `path` of `size` bytes over the file `backing`, whose name is kept as it is.  Raises ImageError.

    It is there whole or not at all.
    """
    cluster = 1 << cluster_bits
    l1_entries = -(-size // (cluster * (cluster // 8)))
    l1_clusters = -(-l1_entries * 8 // cluster)
    if l1_entries * 8 > 32 << 20:
        raise ImageError(f"{path}: a disk of {size} bytes is too large for clusters of {cluster} bytes")
    per = cluster * 8 >> refcount_order
    blocks, table = 1, 1
    while blocks * per < 1 + table + blocks + l1_clusters or table * cluster // 8 < blocks:
        blocks += 1
        table = -(-blocks * 8 // cluster)
    used = 1 + table + blocks + l1_clusters
    name = os.fsencode(backing) if backing is not None else b""
    kind = (backing_format or "").encode()
    extensions = struct.pack(">II", _BACKING_FORMAT, len(kind)) + kind + bytes(-len(kind) % 8) if kind else b""
    extensions += bytes(8)
    name_at = 112 + len(extensions) if name else 0
    if len(name) > 1023 or name_at + len(name) > cluster:
        raise ImageError(f"{path}: the name of the image below it is too long: {backing}")
    header = struct.pack(">4sIQIIQIIQQIIQ", MAGIC, 3, name_at, len(name), cluster_bits, size, 0, l1_entries,
                         (1 + table + blocks) * cluster, cluster, table, 0, 0)
    header += struct.pack(">QQQII8x", 0, 0, 0, refcount_order, 112) + extensions + name
    bits = 1 << refcount_order
    counts = sum(1 << at * bits for at in range(8 // bits if bits < 8 else 1))
    try:
        with replacing(path) as file:
            file.write(header)
            file.seek(cluster)
            file.write(b"".join(struct.pack(">Q", (1 + table + number) * cluster) for number in range(blocks)))
            file.seek((1 + table) * cluster)
            if bits >= 8:
                file.write(counts.to_bytes(bits // 8, "big") * used)
            else:
                whole, rest = divmod(used, 8 // bits)
                file.write(bytes([counts]) * whole + bytes([counts & (1 << rest * bits) - 1]))
            file.truncate(used * cluster)
        sync_directory(path)
    except OSError as error:
        raise ImageError(f"{path}: cannot be made: {error.strerror or error}") from None
