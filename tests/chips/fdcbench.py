"""An 82077AA with diskettes and a DMA channel on a bench."""

from __future__ import annotations

from emu.chips import floppy
from emu.chips.fdc82077 import FDC82077
from tests.chips.bench import Bench

READ, WRITE, VERIFY, FORMAT, READ_ID, READ_TRACK = 0x46, 0x45, 0x56, 0x4D, 0x4A, 0x42
MT, RQM, DIO, NONDMA, CB = 0x80, 0x80, 0x40, 0x20, 0x10



class Medium:
    """Sectors that hold their own number."""

    def __init__(self, size=1440 << 10, readonly=False):
        self.size, self.readonly, self.broken, self.flushed = size, readonly, False, 0
        self.data = bytearray(b"".join(i.to_bytes(2, "little") * 256 for i in range(size // 512)))

    def read(self, offset, length):
        if self.broken:
            raise OSError("broken")
        assert offset >= 0 and offset + length <= self.size
        return bytes(self.data[offset:offset + length])

    def write(self, offset, data):
        if self.broken:
            raise OSError("broken")
        assert not self.readonly and offset >= 0 and offset + len(data) <= self.size
        self.data[offset:offset + len(data)] = data
        self.flushed = 0

    def flush(self):
        self.flushed = 1


class Channel:
    """A DMA channel with `room` bytes to its terminal count."""

    def __init__(self):
        self.memory, self.room, self.at, self.open = bytearray(), 0, 0, True

    def program(self, data=b"", length=0):
        self.memory, self.room, self.at = bytearray(data), length or len(data), 0

    def put(self, data):
        if not self.open:
            return 0, False
        length = min(len(data), self.room)
        self.memory += data[:length]
        self.room -= length
        return length, not self.room

    def get(self, length):
        if not self.open:
            return b"", False
        length = min(length, self.room)
        self.at, self.room = self.at + length, self.room - length
        return bytes(self.memory[self.at - length:self.at]), not self.room


class Floppy(Bench):
    """The controller out of its reset, motors on, 500 kbit/s."""

    def __init__(self, medium=None, kinds=(floppy.D1440, floppy.D1440)):
        self.dma, self.medium = Channel(), medium
        super().__init__(FDC82077, self.dma, kinds, (medium,))
        self.write("DOR", 0x00)
        self.write("DOR", 0x1C)
        for drive in range(4):
            assert self.command(8) == [0xC0 | drive, 0]
        self.write("CCR", 0)
        self.command(3, 0xDF, 0x02)
        self.pins.clear()

    def send(self, *values):
        for value in values:
            assert self.read("MSR") & (RQM | DIO) == RQM
            self.write("FIFO", value)

    def results(self):
        out = []
        while self.read("MSR") & (RQM | DIO | CB) == RQM | DIO | CB:
            out.append(self.read("FIFO"))
        return out

    def command(self, *values, wait=1_000_000_000):
        self.send(*values)
        self.advance(wait)
        return self.results()

    def seek(self, cylinder, drive=0):
        self.command(0x0F, drive, cylinder)
        assert self.command(8) == [0x20 | drive, cylinder]


def sector(n):
    return n.to_bytes(2, "little") * 256
