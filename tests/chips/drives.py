"""Media in memory, and drives on a test bench that are given whole commands."""

from __future__ import annotations

import struct

from emu.chips.atapicd import ATAPICDROM
from tests.chips.bench import Bench

BSY, DRDY, DF, DSC, DRQ, ERR = 0x80, 0x40, 0x20, 0x10, 0x08, 0x01
UNC, WP, IDNF, ABRT = 0x40, 0x40, 0x10, 0x04
HOB, SRST, NIEN = 0x80, 0x04, 0x02
SECOND = 10**9


class Medium:
    """What is on a medium, in memory."""

    readonly = False

    def __init__(self, data):
        self.data, self.size = bytearray(data), len(data)

    def read(self, offset, length):
        return bytes(self.data[offset:offset + length])

    def write(self, offset, data):
        self.data[offset:offset + len(data)] = data

    def flush(self):
        pass


class Memory:
    """A medium of sectors that show their number; `bad`: those that fail; `log`: what was done, r, w (offset, length), f."""

    def __init__(self, size, readonly=False):
        self.data = bytearray(size)
        for sector in range(size // 512):
            self.data[sector * 512:sector * 512 + 512] = struct.pack("<I", sector) * 128
        self.size, self.readonly = size, readonly
        self.bad, self.log, self.stuck = set(), [], False

    def check(self, offset, length):
        assert 0 <= offset <= offset + length <= self.size
        if self.bad & set(range(offset // 512, (offset + length + 511) // 512)):
            raise OSError("a bad sector")

    def read(self, offset, length):
        self.log.append(("r", offset, length))
        self.check(offset, length)
        return bytes(self.data[offset:offset + length])

    def write(self, offset, data):
        assert not self.readonly
        self.log.append(("w", offset, len(data)))
        self.check(offset, len(data))
        self.data[offset:offset + len(data)] = data

    def flush(self):
        self.log.append("f")
        if self.stuck:
            raise OSError("no space")


class Huge(Memory):
    """Sectors that show their number, and forget what is written."""

    def __init__(self, sectors):
        super().__init__(0)
        self.size = sectors * 512

    def read(self, offset, length):
        return b"".join(struct.pack("<Q", sector) * 64 for sector in range(offset // 512, (offset + length) // 512))

    def write(self, offset, data):
        self.log.append(("w", offset, bytes(data)))


def pull(device, length):
    """What a drive or a channel gives by DMA when there is room for `length` bytes."""
    place = bytearray(length)
    return bytes(place[:device.send(memoryview(place))])


class DriveBench(Bench):
    """A drive or a channel; `device` is what its device register gets beside LBA."""

    def __init__(self, cls, *args, **options):
        super().__init__(cls, *args, **options)
        self.advance(SECOND)

    def command(self, command, *, features=0, count=0, lba=0, device=0x40, ext=False, wait=True):
        """Give a command with an LBA of 28 or 48 bits (or any 24 bits, with another `device`)."""
        self.write("DEVICE", device if ext else device | lba >> 24 & 0xF)
        if ext:
            for name, value in (("FEATURES", 0), ("COUNT", count >> 8), ("LBAL", lba >> 24 & 0xFF),
                                ("LBAM", lba >> 32 & 0xFF), ("LBAH", lba >> 40)):
                self.write(name, value)
        for name, value in (("FEATURES", features), ("COUNT", count & 0xFF), ("LBAL", lba & 0xFF),
                            ("LBAM", lba >> 8 & 0xFF), ("LBAH", lba >> 16 & 0xFF)):
            self.write(name, value)
        self.pins.clear()
        self.write("COMMAND", command)
        if wait:
            self.advance(SECOND)
        return self.read("ASTATUS")

    def lba(self, ext=False):
        """The address in the task file."""
        low = self.read("LBAL") | self.read("LBAM") << 8 | self.read("LBAH") << 16
        if not ext:
            return low | (self.read("DEVICE") & 0xF) << 24
        self.write("DEVCTL", HOB)
        high = self.read("LBAL") | self.read("LBAM") << 8 | self.read("LBAH") << 16
        self.write("DEVCTL", 0)
        return low | high << 24

    def words(self, count=256):
        return b"".join(self.read("DATA").to_bytes(2, "little") for _ in range(count))

    def put(self, data):
        for (word,) in struct.iter_unpack("<H", data):
            self.write("DATA", word)

    def pio_in(self, blocks, size=512):
        """`blocks` DRQ blocks, each told by an interrupt."""
        data = b""
        for _ in range(blocks):
            assert self.read("STATUS") & (BSY | DRQ | ERR) == DRQ
            data += self.words(size // 2)
        return data

    def interrupts(self):
        """How often the pin has risen since the last command, or since this was asked."""
        count = sum(level for name, level in self.pins if name == "INTRQ")
        self.pins.clear()
        return count

    def identify(self, command=0xEC):
        self.command(command)
        return struct.unpack("<256H", self.pio_in(1))


class CD(DriveBench):
    """A CD-ROM drive that is given packets; `unit attention` after power-on has been heard."""

    def __init__(self, medium, heard=True):
        super().__init__(ATAPICDROM, medium)
        if heard:
            self.packet(0x00)

    def packet(self, *cdb, limit=0xFFFE, dma=0, wait=True):
        """Give a packet command; the status after its time."""
        self.command(0xA0, features=dma, lba=limit << 8, device=0, wait=False)
        assert self.read("STATUS") == DRDY | DRQ and self.read("COUNT") == 1
        self.put(bytes(cdb).ljust(12, b"\0"))
        assert not wait or self.read("ASTATUS") == BSY
        if wait:
            self.advance(SECOND)
        return self.read("ASTATUS")

    def reply(self, *cdb, limit=0xFFFE):
        """A packet command's data, by PIO."""
        assert self.packet(*cdb, limit=limit) == DRDY | DRQ
        data = b""
        while self.read("STATUS") & DRQ:
            assert self.read("COUNT") == 2
            length = self.read("LBAM") | self.read("LBAH") << 8
            data += self.words((length + 1) // 2)[:length]
        assert self.read("COUNT") == 3
        return data

    def sense(self):
        """Sense key, additional code and qualifier of the last command."""
        data = self.reply(0x03, 0, 0, 0, 18)
        return data[2] & 0xF, data[12], data[13]
