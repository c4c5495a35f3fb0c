"""An ATAPI CD-ROM drive.  [MMC] T10/1228-D, MMC-3; [SFF] SFF-8020i revision 2.6 where it is older; [SPC] SPC-2.

A disc is one data track of sectors of 2048 bytes.  One with more sectors than minutes, seconds and frames can say is told as
a DVD-ROM.  A sector that the medium cannot read is MEDIUM ERROR, UNRECOVERED READ ERROR, after those before it have moved.

Not modelled: audio, sub-channels, raw sectors (READ CD gives user data only), DVD structures, MODE SELECT, time to spin up;
see atapi.py.
"""

# mypy: disable-error-code="has-type"
from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from emu.chips import atapidisc as disc
from emu.chips.atapi import ILLEGAL_REQUEST, UNIT_ATTENTION, PacketDrive
from emu.chips.media import Medium
from emu.device import State

SECTOR = 2048
CHUNK = 512                     # sectors that are in memory at a time: 1 MiB
NOT_READY, MEDIUM_ERROR = 2, 3
NO_MEDIUM, LBA_RANGE, CHANGED, UNRECOVERED = 0x3A, 0x21, 0x28, 0x11
ILLEGAL_MODE, NO_SAVING, PREVENTED = 0x64, 0x39, 0x53
NEW_MEDIA, MEDIA_REMOVAL = 2, 3                 # events


class ATAPICDROM(PacketDrive):
    """`medium` is what lies in the tray, or None; the host changes it by `insert`."""

    LEFT = State(0, "sectors that the command has still to move")
    SECTOR_AT = State(0, "the next of them")
    TRAY = State(0, "1 the tray is open, 2 it is locked")
    EVENT = State(0, "the media event that GET EVENT STATUS NOTIFICATION will tell")

    def __init__(self, medium: Medium | None = None, number: int = 0, other: bool = False,
                 serial: str = "EMU00003", model: str = "EMU CD-ROM", firmware: str = "1.0") -> None:
        super().__init__(number, other, (model, serial, firmware))
        self.medium: Any = medium

    def insert(self, medium: Medium | None) -> None:
        """Put a disc into the tray, or take it out; the tray closes."""
        self.medium = medium
        self.tray &= ~disc.OPEN
        self.swap()

    def swap(self) -> None:
        """The drive sees another disc, or none."""
        self.event = NEW_MEDIA if self.loaded else MEDIA_REMOVAL
        if self.loaded:
            self.attend(CHANGED, 0)

    @property
    def loaded(self) -> bool:
        """Whether there is a disc in the closed tray."""
        return self.medium is not None and not self.tray & disc.OPEN

    @property
    def sectors(self) -> int:
        """Of the disc; 0 without one."""
        return int(self.medium.size // SECTOR) if self.loaded else 0

    def soft_reset(self) -> None:
        super().soft_reset()
        self.tray &= ~disc.LOCKED

    def has_disc(self) -> bool:
        """Whether there is a disc; else the command has ended."""
        if not self.loaded:
            self.check(NOT_READY, NO_MEDIUM, 2 if self.tray & disc.OPEN else 1)
        return self.loaded

    # Reading

    def expected(self) -> int:
        operation = self.cdb[0]
        count = (self.field(7, 2) if operation == 0x28 else self.field(6, 4) if operation == 0xA8
                 else self.field(6, 3) if operation == 0xBE else 0)
        return min(count, self.sectors) * SECTOR

    def read_10(self) -> None:
        self.read_sectors(self.field(2, 4), self.field(7, 2))

    def read_12(self) -> None:
        self.read_sectors(self.field(2, 4), self.field(6, 4))

    def read_cd(self) -> None:
        kind, main = self.cdb[1] >> 2 & 7, self.cdb[9]
        if kind not in (0, 2):                                  # any, or mode 1
            self.check(ILLEGAL_REQUEST, ILLEGAL_MODE)
        elif main & 0xFE not in (0, 0x10) or self.cdb[10] & 7:
            self.invalid()
        else:
            self.read_sectors(self.field(2, 4), self.field(6, 3) if main & 0x10 else 0)

    def read_sectors(self, first: int, count: int) -> None:
        if not self.has_disc():
            return
        if first + count > self.sectors:
            self.check(ILLEGAL_REQUEST, LBA_RANGE)
            return
        self.sector_at, self.left = first, count
        if not count:
            self.good()
            return
        data = self.fetch()
        if data:
            self.reply(data)

    def fetch(self) -> bytes:
        """The next sectors, and not those from one in error on; none: the command has ended with that."""
        count = min(self.left, CHUNK)
        if not self.has_disc():                                   # the host has taken the disc out
            return b""
        data = self.readable(count)
        if not data:
            self.check(MEDIUM_ERROR, UNRECOVERED, 0, self.sector_at)
        self.sector_at += len(data) // SECTOR
        self.left -= len(data) // SECTOR
        return data

    def readable(self, count: int) -> bytes:
        """The sectors before the first that cannot be read."""
        medium, first = self.medium, self.sector_at
        count = min(count, max(self.sectors - first, 0))
        try:
            return medium.read(first * SECTOR, count * SECTOR) if count else b""
        except OSError:
            good = bytearray()
        for sector in range(first, first + count):
            try:
                good += medium.read(sector * SECTOR, SECTOR)
            except OSError:
                break
        return bytes(good)

    def more(self) -> bool:
        if not self.left:
            return False
        data = self.fetch()
        if data and self.by_dma:
            self.buffer, self.at = data, 0
        elif data:
            self.offer(data, self.limit)
        return True

    # Other commands

    def execute(self) -> None:
        self.left = 0
        super().execute()

    def test_unit_ready(self) -> None:
        if self.has_disc():
            self.good()

    def request_sense(self) -> None:
        sense: list[Any] = self.sense
        if not sense[0] and self.attention:
            sense = [UNIT_ATTENTION, *self.attention.pop(0), None]
        self.sense = [0, 0, 0, None]
        self.reply(disc.sense(*sense)[:self.cdb[4]])

    def inquiry(self) -> None:
        if self.cdb[1] & 1 or self.cdb[2]:                      # no vital product data
            self.invalid()
        else:
            vendor, _, product = self.names[0].partition(" ")
            self.reply(disc.inquiry(vendor, product, self.names[2])[:self.cdb[4]])

    def read_capacity(self) -> None:
        if self.has_disc():
            self.reply(max(self.sectors - 1, 0).to_bytes(4, "big") + SECTOR.to_bytes(4, "big"))

    def seek(self) -> None:
        if self.has_disc():
            self.good() if self.field(2, 4) < self.sectors else self.check(ILLEGAL_REQUEST, LBA_RANGE)

    def read_toc(self) -> None:
        if not self.has_disc():
            return
        form = self.cdb[2] & 0xF or self.cdb[9] >> 6            # [SFF] 10.8.20 has it in byte 9
        data = disc.toc(form, self.cdb[6], self.sectors, bool(self.cdb[1] & 2))
        if data is None:
            self.invalid()
        else:
            self.reply(data[:self.field(7, 2)])

    def mode_sense_6(self) -> None:
        data = self.mode_pages()
        if data is not None:
            kind = disc.medium_type(self.loaded, self.tray)
            self.reply((bytes((3 + len(data), kind, 0, 0)) + data)[:self.cdb[4]])

    def mode_sense_10(self) -> None:
        data = self.mode_pages()
        if data is not None:
            kind = disc.medium_type(self.loaded, self.tray)
            self.reply(((6 + len(data)).to_bytes(2, "big") + bytes((kind, 0, 0, 0, 0, 0)) + data)[:self.field(7, 2)])

    def mode_pages(self) -> bytes | None:
        """None: the command has ended."""
        control = self.cdb[2] >> 6                              # current, changeable, default, saved
        if control == 3:
            self.check(ILLEGAL_REQUEST, NO_SAVING)
            return None
        data = disc.pages(self.cdb[2] & 0x3F, self.tray, control == 1)
        if data is None:
            self.invalid()
        return data

    def start_stop(self) -> None:
        load, start = self.cdb[4] & 2, self.cdb[4] & 1
        if load and not start:
            if self.tray & disc.LOCKED:
                self.check(ILLEGAL_REQUEST, PREVENTED, 2)
                return
            if not self.tray & disc.OPEN:
                self.tray |= disc.OPEN
                self.swap()
        elif load and self.tray & disc.OPEN:
            self.tray &= ~disc.OPEN
            if self.medium:
                self.swap()
        self.good()

    def prevent(self) -> None:
        self.tray = self.tray & ~disc.LOCKED | (disc.LOCKED if self.cdb[4] & 1 else 0)
        self.good()

    def event_status(self) -> None:
        if not self.cdb[1] & 1:                                 # [MMC] 6.7: asynchronous operation is not there
            self.invalid()
            return
        media = 0x10
        if self.cdb[4] & media:
            status = (1 if self.tray & disc.OPEN else 0) | (2 if self.loaded else 0)
            data = bytes((0, 6, 4, media, self.event, status, 0, 0))
            self.event = 0
        else:
            data = bytes((0, 2, 0x80, media))                   # no event of these classes
        self.reply(data[:self.field(7, 2)])

    def get_configuration(self) -> None:
        kind = self.cdb[1] & 3
        if kind == 3:
            self.invalid()
        else:
            self.reply(disc.configuration(kind, self.field(2, 2), self.sectors)[:self.field(7, 2)])

    def disc_information(self) -> None:
        if self.has_disc():
            self.reply(disc.disc_information()[:self.field(7, 2)])

    def mechanism(self) -> None:
        """[MMC] 6.10: no changer."""
        door = 0x10 if self.tray & disc.OPEN else 0
        self.reply(bytes((0, door, 0, 0, 0, 1, 0, 0))[:self.field(8, 2)])

    COMMANDS: ClassVar[dict[int, Callable[[Any], None]]] = {
        0x00: test_unit_ready, 0x03: request_sense, 0x12: inquiry, 0x1A: mode_sense_6, 0x1B: start_stop, 0x1E: prevent,
        0x25: read_capacity, 0x28: read_10, 0x2B: seek, 0x43: read_toc, 0x46: get_configuration, 0x4A: event_status,
        0x51: disc_information, 0x5A: mode_sense_10, 0xA8: read_12, 0xBB: PacketDrive.good, 0xBD: mechanism, 0xBE: read_cd,
    }
