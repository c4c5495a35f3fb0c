"""VHDX, Hyper-V's format, for reading: fixed and dynamic images, and what a crash left in the log.

Source: Microsoft [MS-VHDX] 2.2 to 2.5.  Refused: differencing images.  An image is not changed: what its log says is
looked up there (`_Replayed`).
"""

from __future__ import annotations

import errno
import struct
import uuid

from emu.host.disk.crc32c import crc32c
from emu.host.disk.file import File, ImageError
from emu.host.disk.mapped import Map, Mapped

SIGNATURE = b"vhdxfile"

_KIB, _MIB = 1 << 10, 1 << 20
_HEADERS, _REGIONS = (64 * _KIB, 128 * _KIB), (192 * _KIB, 256 * _KIB)
_HEADER = struct.Struct("<4sIQ16s16s16sHHIQ")
_LOG_LIMIT = 16 * _MIB            # bytes of log; Hyper-V and QEMU make 1 MiB
_ZEROS_LIMIT = 1 << 18           # sectors of 4 KiB that a log says are zeros
_ENTRY = struct.Struct("<4sIIIQII16sQQ")                # of the log: 2.3.1.1
_NO_LOG, _ZERO = bytes(16), bytes(4096)


def _guid(text: str) -> bytes:
    return uuid.UUID(text).bytes_le


_BAT, _METADATA = _guid("2DC27766-F623-4200-9D64-115E9BFD4A08"), _guid("8B7CA206-4790-4B9A-B8FE-575F050F886E")
_PARAMETERS, _SIZE = _guid("CAA16737-FA36-4D43-B3B6-33F0AA44E76B"), _guid("2FA54224-CD1B-4876-B211-5DBED83BF4B8")
_SECTOR, _PHYSICAL = _guid("8141BF1D-A96F-4709-BA47-F233A8FAAB5F"), _guid("CDA348C7-445D-4471-9CC9-E9885251C556")
_PAGE83, _PARENT = _guid("BECA12AB-B2E6-4523-93EF-C309E000C746"), _guid("A8D35F2D-B30B-454D-ABF7-D3D84834AB0C")
_KNOWN = (_PARAMETERS, _SIZE, _SECTOR, _PHYSICAL, _PAGE83, _PARENT)


class _Replayed(File):
    """The file as it is when its log has been replayed: `sectors` of 4 KiB, by their offsets."""

    def __init__(self, file: File, sectors: dict[int, bytes], size: int) -> None:
        self.path, self.fd, self.writable, self.failed, self.regular = file.path, file.fd, False, None, file.regular
        self.below, self.sectors, self.size = file, sectors, max(size, file.size)

    def read(self, offset: int, length: int) -> bytes:
        """As File.read."""
        first, last = offset >> 12, offset + length - 1 >> 12
        if last - first > len(self.sectors):
            changed = sorted(number for number in self.sectors if first <= number <= last)
        else:
            changed = [number for number in range(first, last + 1) if number in self.sectors]
        if not changed:
            return self.below.read(offset, length)
        data = bytearray(length)
        there = min(length, self.below.size - offset)
        if there > 0:
            data[:there] = self.below.read(offset, there)
        for number in changed:
            at = (number << 12) - offset
            sector = self.sectors[number]
            start, end = max(-at, 0), min(length - at, 4096)
            data[at + start:at + end] = sector[start:end]
        return bytes(data)

    def close(self) -> None:
        """As File.close."""
        self.below.close()


class Vhdx(Mapped):
    """A block lies at the MiB that its entry of the block allocation table says (2.5.1)."""

    format = "vhdx"

    def __init__(self, file: File) -> None:
        header = _header(file)
        if header.log_guid != _NO_LOG:
            file = _replay(file, header)
        regions = _regions(file)
        items = _items(file, *regions[_METADATA])
        block, flags = struct.unpack("<II", items[_PARAMETERS])
        size, sector = int.from_bytes(items[_SIZE], "little"), int.from_bytes(items[_SECTOR], "little")
        if flags & 2:
            raise ImageError(f"{file.path}: a differencing VHDX; merge it into its parent first (Hyper-V: Merge-VHD)")
        if sector not in (512, 4096) or block & block - 1 or not _MIB <= block <= 256 * _MIB:
            raise ImageError(f"{file.path}: sectors of {sector}, blocks of {block} bytes: the VHDX's metadata is damaged")
        if not size or size % sector or size > 1 << 46:
            raise ImageError(f"{file.path}: a disk of {size} bytes: the VHDX's metadata is damaged")
        blocks = -(-size // block)
        self.ratio = (sector << 23) // block
        offset, length = regions[_BAT]
        entries = blocks + (blocks - 1) // self.ratio
        if entries * 8 > length:
            raise ImageError(f"{file.path}: the block allocation table is too short for a disk of {size} bytes")
        super().__init__(file, size, block)
        self.map = Map(file, offset, entries, "Q")

    def _where(self, number: int) -> int | None:
        entry = self.map[number + number // self.ratio]
        state, offset = entry & 7, entry >> 20 << 20
        if state == 6:                                  # PAYLOAD_BLOCK_FULLY_PRESENT
            if not offset:
                raise OSError(errno.EIO, f"block {number} is present and has no place")
            return offset
        if state in (0, 1, 2, 3, 5):                    # not present, undefined, zero, unmapped (5: in drafts)
            return None
        raise OSError(errno.EIO, f"block {number} is in state {state}, which a disk without parent has not")


class _Header:
    def __init__(self, raw: bytes) -> None:
        (_, _, self.sequence, _, _, self.log_guid, _, self.version, self.log_length,
         self.log_offset) = _HEADER.unpack_from(raw)


def _header(file: File) -> _Header:
    """The valid header with the higher sequence number (2.2.2)."""
    found = []
    for at in _HEADERS:
        raw = file.read(at, 4096) if file.size > at else b""
        if raw.startswith(b"head") and _whole(raw, 4):
            found.append(_Header(raw))
    if not found:
        raise ImageError(f"{file.path}: both headers of the VHDX are damaged")
    header = max(found, key=lambda header: header.sequence)
    if header.version != 1:
        raise ImageError(f"{file.path}: a VHDX of version {header.version}, and only 1 can be read")
    return header


def _whole(raw: bytes, at: int) -> bool:
    """Whether a checksum at `at` is that of `raw` with zeros in its place."""
    return crc32c(raw[:at] + bytes(4) + raw[at + 4:]) == int.from_bytes(raw[at:at + 4], "little")


def _regions(file: File) -> dict[bytes, tuple[int, int]]:
    """(offset, length) of the regions that are needed (2.2.3)."""
    for at in _REGIONS:
        raw = file.read(at, 64 * _KIB) if file.size > at else b""
        if raw.startswith(b"regi") and _whole(raw, 4):
            break
    else:
        raise ImageError(f"{file.path}: both region tables of the VHDX are damaged")
    count = int.from_bytes(raw[8:12], "little")
    found = {}
    for number in range(min(count, 2047)):
        name, offset, length, required = struct.unpack_from("<16sQII", raw, 16 + number * 32)
        if name in (_BAT, _METADATA):
            found[name] = offset, length
        elif required & 1:
            raise ImageError(f"{file.path}: the VHDX needs a region that is not known here: {uuid.UUID(bytes_le=name)}")
        if offset < _MIB or offset % _MIB or offset + length > -(-file.size // _MIB) * _MIB:
            raise ImageError(f"{file.path}: a region of the VHDX lies outside of the file; the file is cut short or damaged")
    if len(found) < 2:
        raise ImageError(f"{file.path}: a region of the VHDX is missing")
    return found


def _items(file: File, offset: int, length: int) -> dict[bytes, bytes]:
    """The metadata items that are needed (2.6)."""
    table = file.read(offset, 64 * _KIB)
    count = int.from_bytes(table[10:12], "little")
    if not table.startswith(b"metadata") or count > 2047:
        raise ImageError(f"{file.path}: the VHDX's metadata is damaged")
    found = {}
    for number in range(count):
        name, at, size, flags = struct.unpack_from("<16sIII", table, 32 + number * 32)
        if name in (_PARAMETERS, _SIZE, _SECTOR):
            wanted = 4 if name == _SECTOR else 8
            if size < wanted or at < 64 * _KIB or at + size > length:
                raise ImageError(f"{file.path}: the VHDX's metadata is damaged")
            found[name] = file.read(offset + at, wanted)
        elif flags & 4 and name not in _KNOWN:
            raise ImageError(f"{file.path}: the VHDX needs metadata that is not known here: {uuid.UUID(bytes_le=name)}")
    if len(found) < 3:
        raise ImageError(f"{file.path}: metadata of the VHDX is missing")
    return found


# -- the log

def _replay(file: File, header: _Header) -> File:
    """`file` with what the newest whole sequence of log entries says (2.3.3)."""
    offset, length = header.log_offset, header.log_length
    if offset < _MIB or offset % _MIB or not _MIB <= length <= _LOG_LIMIT or length % _MIB:
        raise ImageError(f"{file.path}: the VHDX was not closed, and its log cannot be used; open it once where it was made")
    log = file.read(offset, length)
    valid: dict[int, _LogEntry] = {}
    best: list[int] = []
    summed = 0
    for at in range(0, length, 4096):
        if log[at:at + 4] == b"loge" and (entry := _log_entry(log, at, header.log_guid, 2 * length - summed)) is not None:
            valid[at] = entry
            summed += entry.length
    if not valid:
        return file                     # a crash before the first entry was whole: nothing was changed after it
    for start in valid:
        sequence, at = [start], start
        while (following := (at + valid[at].length) % length) in valid:
            if valid[following].sequence != valid[at].sequence + 1:
                break
            at = following
            sequence.append(at)
        if valid[at].tail in sequence and (not best or valid[at].sequence > valid[best[-1]].sequence):
            best = sequence
    if not best:
        raise ImageError(f"{file.path}: the VHDX was not closed, and its log is damaged; open it once where it was made")
    last = valid[best[-1]]
    sectors: dict[int, bytes] = {}
    for at in best[best.index(last.tail):]:
        valid[at].apply(sectors)
        if len(sectors) > _ZEROS_LIMIT:
            raise ImageError(f"{file.path}: the VHDX was not closed, and its log is too long; open it once where it was made")
    if file.size < last.flushed:
        raise ImageError(f"{file.path}: the file had {last.flushed} bytes, and {file.size} are there: it is cut short")
    return _Replayed(file, sectors, last.last)


class _LogEntry:
    """One entry of the log: descriptors, then the sectors that they speak of."""

    def __init__(self, raw: bytes) -> None:
        (_, _, self.length, self.tail, self.sequence, self.descriptors, _, self.guid, self.flushed,
         self.last) = _ENTRY.unpack_from(raw)
        self.raw = raw

    def apply(self, sectors: dict[int, bytes]) -> None:
        """Note what the entry writes."""
        at = -(-(64 + 32 * self.descriptors) // 4096) * 4096
        for number in range(self.descriptors):
            descriptor = self.raw[64 + 32 * number:96 + 32 * number]
            if descriptor.startswith(b"zero"):
                size, offset = struct.unpack_from("<QQ", descriptor, 8)
                for sector in range(offset >> 12, offset + size >> 12):
                    sectors[sector] = _ZERO
                continue
            data = self.raw[at:at + 4096]
            sectors[int.from_bytes(descriptor[16:24], "little") >> 12] = descriptor[8:16] + data[8:4092] + descriptor[4:8]
            at += 4096


def _log_entry(log: bytes, at: int, guid: bytes, longest: int) -> _LogEntry | None:
    """The entry at `at` of the log, which is a ring; None if there is no whole one."""
    entry = _LogEntry(log[at:at + 4096])
    if entry.guid != guid or not entry.sequence or entry.tail % 4096 or 64 + 32 * entry.descriptors > entry.length:
        return None
    if entry.length % 4096 or not 4096 <= entry.length <= min(len(log), longest):
        return None
    entry.raw = raw = (log[at:] + log[:at])[:entry.length] if at + entry.length > len(log) else log[at:at + entry.length]
    if not _whole(raw, 4):
        return None
    data = -(-(64 + 32 * entry.descriptors) // 4096) * 4096
    zeroed = 0
    for number in range(entry.descriptors):
        kind, _, _, offset, sequence = struct.unpack_from("<4sIQQQ", raw, 64 + 32 * number)
        if sequence != entry.sequence or offset % 4096:
            return None
        if kind == b"zero":
            zeroed += int.from_bytes(raw[72 + 32 * number:80 + 32 * number], "little")
            if zeroed > _ZEROS_LIMIT << 12:
                return None
        elif kind == b"desc":
            sector = raw[data:data + 4096]
            if len(sector) < 4096 or sector[:4] != b"data" or \
                    int.from_bytes(sector[4:8] + sector[4092:], "big") != _split(sequence):
                return None
            data += 4096
        else:
            return None
    return entry


def _split(sequence: int) -> int:
    """A sequence number as a data sector has it: the high half before the data, the low half behind, each little-endian."""
    return int.from_bytes(struct.pack("<II", sequence >> 32, sequence & 0xFFFF_FFFF), "big")
