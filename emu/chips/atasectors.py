"""How an ATA disk addresses its sectors, and moves them between the medium and the host.

[ATA] AT Attachment with Packet Interface - 6, T13/1410D, 6.2 and 9.5 to 9.7.  The task file at the end of a command is that
of ATA/ATAPI-4: the address of the last sector, or of the one in error, as the command gave its own.

This is no part by itself; see atadisk.py.

A sector that the medium cannot read is UNC; one that it cannot write, or a flush that fails, is a device fault (DF) with
ABRT; a sector beyond the end is IDNF; a write where none may be is WP and ABRT.  The sectors before one in error have moved.

Not modelled: see atadisk.py.
"""

# mypy: disable-error-code="has-type"
from __future__ import annotations

from typing import NamedTuple

from emu.chips.atadrive import ABRT, ACCESS, BYTE, COMMAND, IDNF, UNC, WP, Drive
from emu.chips.media import Medium, read_into
from emu.device import State

SECTOR = 512
PIO_CHUNK, DMA_CHUNK = 256, 2048                # sectors that are in memory at a time
HEADS, TRACK, CYLINDERS = 16, 63, 16383         # [ATA] 6.2.1: the default translation
CHS, LBA, EXT = 0, 1, 2                         # how a command says where
NOWHERE = -1                                    # it does not
WRITE, MULTI, DMA, FUA = 1, 2, 4, 8


class Row(NamedTuple):
    """A command: the method that does it, LBA (or CHS, as the device register says), EXT or NOWHERE, and what else."""

    step: str
    how: int = NOWHERE
    options: int = 0


class Sectors(Drive):
    """Sectors of `medium`; a part of one at its end is not seen."""

    LEFT = State(0, "sectors that the command has still to move")
    SECTOR_AT = State(0, "the next of them")
    HOW = State(LBA, "how the command said where: 0 CHS, 1 LBA, 2 LBA of 48 bits")
    DRQ_BLOCK = State(1, "sectors of the command's DRQ block")
    FORCED = State(0, "the command's data is on the medium before it ends")

    HEAD_COUNT = State(HEADS, "heads of the current translation")
    TRACK_LENGTH = State(TRACK, "sectors of its tracks")
    MULTIPLE = State(0, "sectors of a DRQ block of READ and WRITE MULTIPLE; 0: disabled")
    CACHE = State(1, "the write cache is on")

    READY = IDLE = 0x50                         # DRDY DSC

    def __init__(self, medium: Medium, number: int, other: bool) -> None:
        super().__init__(number, other)
        self.medium = medium
        self.sectors = medium.size // SECTOR

    def access(self, row: Row) -> None:
        """Begin a command that says where."""
        options = row.options
        self.address(row.how)
        self.drq_block = self.multiple if options & MULTI else 1
        self.forced = int(options & FUA or not self.cache)
        if options & WRITE and self.medium.readonly:
            self.later(COMMAND, "protected")
        elif options & MULTI and not self.multiple:
            self.later(COMMAND, "abort")
        elif row.step == "take":
            self.take(tell=False)               # [ATA] figure 22: no interrupt before the first DRQ block
        else:
            count = min(self.left, max(self.sectors - self.sector_at, 0))
            self.later(ACCESS + (count * SECTOR * BYTE if options & DMA else 0), row.step)

    # Addresses

    def address(self, how: int) -> None:
        """Where the command begins, and how many sectors it wants."""
        low, middle, high, device = self.lbal, self.lbam, self.lbah, self.device
        sector, count = high << 16 | middle << 8 | low, self.count
        if how == EXT:
            _, count_hob, low_hob, middle_hob, high_hob = self.hob
            sector |= (high_hob << 16 | middle_hob << 8 | low_hob) << 24
            self.left = (count_hob << 8 | count) or 65536
        else:
            self.left = count or 256
            if device & self.DEVICE.LBA:
                sector |= (device & 0xF) << 24
            else:
                how = CHS
                cylinder, head = high << 8 | middle, device & 0xF
                there = 0 < low <= self.track_length and head < self.head_count and cylinder < self.cylinders()
                sector = (cylinder * self.head_count + head) * self.track_length + low - 1 if there else self.sectors
        self.sector_at, self.how = sector, how

    def cylinders(self) -> int:
        """Of the current translation."""
        heads, track = self.head_count, self.track_length
        return int(min(self.sectors // (heads * track), CYLINDERS if (heads, track) == (HEADS, TRACK) else 0xFFFF))

    def tell(self, sector: int) -> None:
        """Put an address into the task file."""
        if self.how == CHS:
            if sector >= self.sectors:
                return                          # it has no such address: what the host gave stays
            track, sector = divmod(sector, self.track_length)
            cylinder, head = divmod(track, self.head_count)
            sector = cylinder << 8 | sector + 1
            self.device = self.device & 0xF0 | head
        elif self.how == LBA:
            self.device = self.device & 0xF0 | sector >> 24 & 0xF
        else:
            self.hob[2:] = sector >> 24 & 0xFF, sector >> 32 & 0xFF, sector >> 40 & 0xFF
        self.lbal, self.lbam, self.lbah = sector & 0xFF, sector >> 8 & 0xFF, sector >> 16 & 0xFF

    # Ends

    def fault(self, error: int, status: int = 0) -> None:
        """The next sector is in error."""
        self.tell(self.sector_at)
        self.fail(error, status)

    def protected(self) -> None:
        self.fault(WP | ABRT)

    def done(self) -> None:
        """All sectors have moved."""
        self.tell(self.sector_at - 1)
        self.count = 0
        self.finish()

    def settle(self) -> None:
        """All is written: end the command, and if need be only when the medium has it for good."""
        if self.forced and not self.flushed():
            self.fault(ABRT, self.STATUS.DF)
        else:
            self.done()

    def flushed(self) -> bool:
        try:
            self.medium.flush()
        except OSError:
            return False
        return True

    # Reading

    def fetch(self, chunk: int) -> bytes:
        """The next sectors, `chunk` at most, and not those from one in error on; none: the command has ended with that."""
        first, count = self.sector_at, min(self.left, chunk, max(self.sectors - self.sector_at, 0))
        if not count:
            self.fault(IDNF)
            return b""
        try:
            return self.medium.read(first * SECTOR, count * SECTOR)
        except OSError:
            data = self.readable(first, count)
        if not data:
            self.fault(UNC)
        return data

    def readable(self, first: int, count: int) -> bytes:
        """The sectors before the one that the medium cannot read."""
        good = bytearray()
        for sector in range(first, first + count):
            try:
                good += self.medium.read(sector * SECTOR, SECTOR)
            except OSError:
                break
        return bytes(good)

    def took(self, length: int) -> None:
        self.sector_at += length // SECTOR
        self.left -= length // SECTOR

    def give(self) -> None:
        """PIO data-in: read some DRQ blocks ahead, and present the first."""
        data = self.fetch(PIO_CHUNK // self.drq_block * self.drq_block)
        if data:
            self.offer(data, self.drq_block * SECTOR)

    def emptied(self) -> None:
        size, addressed = self.drq_block * SECTOR, self.left > 0
        if addressed:
            self.took((self.at - 1) % size + 1)
        if self.at < len(self.buffer):
            self.present(size)
        elif self.left:
            self.give()
        else:
            if addressed:
                self.tell(self.sector_at - 1)
                self.count = 0
            self.still()                        # [ATA] figure 21: the end of PIO data-in is no interrupt
            self.status = self.IDLE
            self.update()

    def pour(self) -> None:
        """DMA data-in."""
        if self.sector_at < self.sectors:
            self.buffer = b""
            self.ask("dma in")
        else:
            self.fault(IDNF)

    def send(self, place: memoryview) -> int:
        """As Drive.send; whole sectors come straight from the medium."""
        count = min(len(place) // SECTOR, self.left, self.sectors - self.sector_at)
        if count <= 0 or self.phase != "dma in" or self.at < len(self.buffer):
            return super().send(place)
        whole = place if len(place) == count * SECTOR else place[:count * SECTOR]
        try:
            read_into(self.medium, self.sector_at * SECTOR, whole)
        except OSError:
            return super().send(place)                  # those before the one in error
        self.sector_at += count
        self.left -= count
        if not self.left:
            self.done()
        return len(whole) if len(whole) == len(place) else len(whole) + self.send(place[len(whole):])

    def reload(self) -> bool:
        if not self.left:
            self.done()
            return False
        data = self.fetch(DMA_CHUNK)
        if data:
            self.took(len(data))
            self.buffer, self.at = data, 0
        return bool(data)

    def verify(self) -> None:
        while self.left:
            data = self.fetch(DMA_CHUNK)
            if not data:
                return
            self.took(len(data))
        self.done()

    # Writing

    def take(self, tell: bool = True) -> None:
        """PIO data-out: the next DRQ block."""
        if self.sector_at >= self.sectors:
            self.fault(IDNF)
        else:
            self.accept(min(self.drq_block, self.left) * SECTOR, tell)

    def filled(self) -> None:
        if self.left > self.drq_block:
            if self.put(self.buffer):
                self.take()
        else:
            self.phase, self.status = "", self.STATUS.BSY
            self.later(ACCESS, "last")

    def last(self) -> None:
        if self.put(self.buffer):
            self.settle()

    def draw(self) -> None:
        """DMA data-out."""
        if self.sector_at >= self.sectors:
            self.fault(IDNF)
            return
        self.buffer, self.end = bytearray(), min(self.left, DMA_CHUNK) * SECTOR
        self.ask("dma out")

    def unload(self) -> None:
        data = self.buffer
        self.buffer = bytearray()
        if self.put(data):
            if self.left:
                self.end = min(self.left, DMA_CHUNK) * SECTOR
            else:
                self.settle()

    def put(self, data: bytearray) -> bool:
        """Write the next sectors; False: the command has ended in error."""
        count = min(len(data) // SECTOR, max(self.sectors - self.sector_at, 0))
        whole = memoryview(data)[:count * SECTOR]
        try:
            if count:
                self.medium.write(self.sector_at * SECTOR, whole)
        except OSError:
            self.scratch(whole)
            return False
        self.took(len(whole))
        if len(whole) < len(data):
            self.fault(IDNF)
            return False
        return True

    def scratch(self, data: memoryview) -> None:
        """Write sector by sector, up to the one that the medium cannot write."""
        for at in range(0, len(data), SECTOR):
            try:
                self.medium.write(self.sector_at * SECTOR, data[at:at + SECTOR])
            except OSError:
                break
            self.took(SECTOR)
        self.fault(ABRT, self.STATUS.DF)
