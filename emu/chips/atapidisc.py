"""What a CD-ROM drive tells of itself and of a disc with one data track, as bytes.

[MMC] T10/1228-D, MMC-3; [SFF] SFF-8020i.  Sectors are of 2048 bytes; an MSF address is minute, second and frame of 1/75 s,
and sector 0 is at 00:02:00.

Not modelled: audio, several tracks or sessions, CD-TEXT, writing.
"""

from __future__ import annotations

import struct

LEAD_OUT = 0xAA
DATA_TRACK = 0x14               # ADR 1: a position; CONTROL 4: data, uninterrupted
CD_ROM, DVD_ROM = 0x0008, 0x0010                # profiles
CD_MOST = 99 * 60 * 75          # sectors: what MSF can say; a bigger image is taken for a DVD
SPEED = 32 * 176                # kB/s
OPEN, LOCKED = 1, 2


def msf(sector: int) -> bytes:
    """The address, as one reserved byte, minute, second, frame; what does not fit is the last that does."""
    frames = min(sector + 150, 255 * 4500 + 4499)
    return bytes((0, frames // 4500, frames // 75 % 60, frames % 75))


def place(sector: int, as_msf: bool) -> bytes:
    return msf(sector) if as_msf else struct.pack(">I", sector)


def toc(form: int, first: int, sectors: int, as_msf: bool) -> bytes | None:
    """READ TOC ([MMC] 6.26): format 0, 1 or 2, from track or session `first` on; None: there is no such thing."""
    entries: list[bytes] = []
    if form == 0:
        if first > 1 and first != LEAD_OUT:
            return None
        for track, sector in (1, 0), (LEAD_OUT, sectors):
            if track >= first:
                entries.append(bytes((0, DATA_TRACK, track, 0)) + place(sector, as_msf))
    elif form == 1:
        entries.append(bytes((0, DATA_TRACK, 1, 0)) + place(0, as_msf))
    elif form == 2:
        if first > 1:
            return None
        for point, where in (0xA0, bytes((0, 1, 0, 0))), (0xA1, bytes((0, 1, 0, 0))), (0xA2, msf(sectors)), (1, msf(0)):
            entries.append(bytes((1, DATA_TRACK, 0, point, 0, 0, 0)) + where)
    else:
        return None
    body = b"".join(entries)
    return struct.pack(">HBB", 2 + len(body), 1, 1) + body


def inquiry(vendor: str, product: str, revision: str) -> bytes:
    """[SFF] 10.8.1: a removable CD-ROM."""
    names = "".join((vendor.ljust(8)[:8], product.ljust(16)[:16], revision.ljust(4)[:4]))
    return bytes((0x05, 0x80, 0x00, 0x21, 31, 0, 0, 0)) + names.encode("ascii", "replace")


def sense(key: int, asc: int, ascq: int, where: int | None) -> bytes:
    """[MMC] REQUEST SENSE: fixed format."""
    valid = 0x80 if where is not None else 0
    return struct.pack(">BBBIBIBBB3x", 0x70 | valid, 0, key, where or 0, 10, 0, asc, ascq, 0)


def pages(code: int, state: int, changeable: bool) -> bytes | None:
    """Mode pages: `code`, or all of them for 3Fh; None: there is no such page."""
    every = {
        0x01: bytes((0x01, 0x06, 0x00, 0x05, 0, 0, 0, 0)),          # read error recovery: 5 retries
        0x2A: struct.pack(">BBBBBBBBHHHHH2x", 0x2A, 0x12, 0x03, 0, 0, 0,       # reads CD-R and CD-RW; no audio
                          0x29 | (0x02 if state & LOCKED else 0), 0,            # a tray that ejects and locks
                          SPEED, 0, 128, SPEED, 0),
    }
    if code == 0x3F:
        chosen = list(every.values())
    elif code in every:
        chosen = [every[code]]
    else:
        return None
    if changeable:                                                  # nothing can be changed
        chosen = [page[:2] + bytes(len(page) - 2) for page in chosen]
    return b"".join(chosen)


def medium_type(present: bool, state: int) -> int:
    """[SFF] table 70."""
    return 0x71 if state & OPEN else 0x01 if present else 0x70


def profile(sectors: int) -> int:
    """What is in the drive."""
    return 0 if not sectors else CD_ROM if sectors <= CD_MOST else DVD_ROM


def configuration(kind: int, first: int, sectors: int) -> bytes:
    """GET CONFIGURATION ([MMC] 6.6): `kind` 0 all features from `first` on, 1 the current ones of them, 2 only `first`."""
    now = profile(sectors)
    profiles = b"".join(struct.pack(">HBB", number, number == now, 0) for number in (DVD_ROM, CD_ROM))
    features = (
        (0x0000, 3, profiles),
        (0x0001, 3, struct.pack(">I", 2)),                          # core: ATAPI
        (0x0003, 3, bytes((0x29, 0, 0, 0))),                        # removable medium: tray, eject, lock
        (0x0010, 1 if now else 0, struct.pack(">IHBB", 2048, 1, 0, 0)),         # random readable
        (0x001E, 1 if now == CD_ROM else 0, b""),                   # CD read
        (0x001F, 1 if now == DVD_ROM else 0, b""),                  # DVD read
        (0x0100, 3, b""),                                           # power management
    )
    body = b"".join(
        struct.pack(">HBB", code, current, len(data)) + data for code, current, data in features
        if (code == first if kind == 2 else code >= first and (kind == 0 or current & 1)))
    return struct.pack(">IHH", 4 + len(body), 0, now) + body


def disc_information() -> bytes:
    """READ DISC INFORMATION ([MMC] 6.21): a complete disc with one session of one track."""
    return struct.pack(">HBBBBBBBBBBIIIQBB", 32, 0x0E, 1, 1, 1, 1, 0x20, 0, 0, 0, 0, 0,
                       0xFFFF_FFFF, 0xFFFF_FFFF, 0, 0, 0)
