"""A CD with nothing on it but what El Torito wants.   [ELTORITO] "El Torito" Bootable CD-ROM Format Specification 1.0"""

from __future__ import annotations

import struct

BLOCK = 2048
CATALOG, IMAGE = 20, 24         # blocks
NO_EMULATION, FLOPPY_12, FLOPPY_144, FLOPPY_288, DISK = range(5)


def disc(image: bytes, media: int, *, segment: int = 0, sectors: int = 1, bootable: int = 0x88, spoil: int = 0) -> bytes:
    """A disc whose initial entry is `image`; `spoil` is added to the catalog's checksum."""
    record = b"\0CD001\x01" + b"EL TORITO SPECIFICATION".ljust(64, b"\0") + struct.pack("<I", CATALOG)
    validation = bytearray(struct.pack("<BBH24sHBB", 1, 0, 0, b"emu", 0, 0x55, 0xAA))
    total = -sum(struct.unpack("<16H", validation)) + spoil
    struct.pack_into("<H", validation, 28, total & 0xFFFF)
    entry = struct.pack("<BBHBBHI20x", bootable, media, segment, 0, 0, sectors, IMAGE)
    blocks = {16: b"\x01CD001\x01", 17: record, CATALOG: bytes(validation) + entry}
    found = b"".join(blocks.get(n, b"").ljust(BLOCK, b"\0") for n in range(IMAGE)) + image
    return found.ljust(-(-len(found) // BLOCK) * BLOCK + 150 * BLOCK, b"\0")
