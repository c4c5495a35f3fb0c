"""PIIX3, function 1: the IDE interface.  [I] Intel 82371SB (PIIX3) data sheet, 290550, sections 2.3, 2.5 and 3.

Two channels at the compatible ports, with one bus master each.  A bus master moves all that its device has or wants when the
device is ready, region by region as the descriptor table says; how long that takes is the device's matter.

    ACT  INT    after a transfer ([I] table 8)
     0    1     the device's transfer and the regions had the same length
     1    1     the regions are longer
     0    0     the regions are shorter: the device waits for more of them
     1    0     under way

Not modelled: the timing registers' effect (they read back), target and master aborts (ERR stays 0, memory that is not there
reads as ones), regions that cross 64 KiB (they go on), buffers, programming interface "native".
"""

# mypy: disable-error-code="has-type"
from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Protocol

from emu.chips.pci import BAR, PCIFunction
from emu.device import RW, VALUE, In, R, Reg, State

TABLE = 1 << 16                 # [I] 3.3: a descriptor table does not cross 64 KiB
BATCH = 64 * 8                  # bytes of it that are read at a time
LAST = 1 << 31                  # EOT
DESCRIPTOR = struct.Struct("<II")
TIMING = "IDE SITRE ISP1 ISP0 0 0 RTC1 RTC0 DTE1 PPE1 IE1 TIME1 DTE0 PPE0 IE0 TIME0"


class Channel(Protocol):
    """What a bus master asks of an ATA channel; see ata.ATAChannel."""

    @property
    def wanted(self) -> int: ...
    def send(self, place: memoryview) -> int: ...
    def receive(self, data: bytes | memoryview) -> None: ...


class PIIX3IDE(PCIFunction):
    """`read(address, length)` is of physical memory; `fill(address, length, source)` lets `source` put bytes into it.

    `decode(n, on)` is told whether the compatible ports of channel `n` are decoded.
    """

    VID = Reg(0x00, R, "vendor: Intel", size=2, reset=0x8086, block="config")
    DID = Reg(0x02, R, "device: 82371SB, function 1", size=2, reset=0x7010, block="config")
    PCICMD = Reg(0x04, RW, "command", "0 0 0 0 0 0 FBE SERRE WCC PER VPS MWI SCE BME MSE IOSE", size=2, mask=0x0005,
                 block="config")
    PCISTS = Reg(0x06, RW, "status: writing 1 clears", "DPE SSE RMA RTA STA DEVT1 DEVT0 DPD FBC 0 0 0 0 0 0 0", size=2,
                 reset=0x0280, mask=0x3800, w1c=True, block="config")
    CLASSC = Reg(0x09, R, "class code: IDE, bus master, compatible ports", size=3, reset=0x010180, block="config")
    MLT = Reg(0x0D, RW, "master latency timer", "MLT3 MLT2 MLT1 MLT0 0 0 0 0", block="config")
    SVID = Reg(0x2C, R, "subsystem's vendor, as QEMU's boards", size=2, reset=0x1AF4, block="config")
    SID = Reg(0x2E, R, "subsystem", size=2, reset=0x1100, block="config")
    BMIBA = BAR(4, "io", 16, "the bus masters' registers", shows="bm")
    IDETIMP = Reg(0x40, RW, "IDE timing, primary; IDE: the ports are decoded", TIMING, size=2, block="config")
    IDETIMS = Reg(0x42, RW, "IDE timing, secondary", TIMING, size=2, block="config")
    SIDETIM = Reg(0x44, RW, "timing of devices 1", "SISP1 SISP0 SRTC1 SRTC0 PISP1 PISP0 PRTC1 PRTC0", block="config")

    BMICP = Reg(0x0, RW, "command, primary; RWCON: to memory", "0 0 0 0 RWCON 0 0 SSBM", native=VALUE, block="bm")
    BMISP = Reg(0x2, RW, "status, primary", "0 DMA1CAP DMA0CAP 0 0 INT ERR ACT", native=VALUE, block="bm")
    BMIDTPP = Reg(0x4, RW, "descriptor table, primary", size=4, mask=0xFFFF_FFFC, block="bm")
    BMICS = Reg(0x8, RW, "command, secondary", "0 0 0 0 RWCON 0 0 SSBM", native=VALUE, block="bm")
    BMISS = Reg(0xA, RW, "status, secondary", "0 DMA1CAP DMA0CAP 0 0 INT ERR ACT", native=VALUE, block="bm")
    BMIDTPS = Reg(0xC, RW, "descriptor table, secondary", size=4, mask=0xFFFF_FFFC, block="bm")

    NEXT = State([0, 0], "where each bus master's next descriptor lies")
    ADDRESS = State([0, 0], "where the next byte of its region lies")
    LENGTH = State([0, 0], "how many bytes the region has still")
    END = State([1, 1], "the region is the table's last")

    IRQ = In("a channel's interrupt request", width=2)
    DMARQ = In("a channel's device is ready to move data", width=2)

    COMMANDS, STATUSES = ("bmicp", "bmics"), ("bmisp", "bmiss")

    def __init__(self, channels: tuple[Channel, Channel], read: Callable[[int, int], bytes],
                 fill: Callable[[int, int, Callable[[memoryview], int]], int], decode: Callable[[int, bool], None]) -> None:
        self.channels = channels
        self.read, self.fill, self.tell = read, fill, decode

    def decode(self, anew: bool = False) -> None:
        super().decode(anew)
        for n, timing in enumerate((self.idetimp, self.idetims)):
            self.tell(n, bool(self.pcicmd & self.PCICMD.IOSE and timing & self.IDETIMP.IDE))

    def write_IDETIMP(self, value: int) -> None:
        self.idetimp = value & self.IDETIMP.mask
        self.decode()

    def write_IDETIMS(self, value: int) -> None:
        self.idetims = value & self.IDETIMS.mask
        self.decode()

    def write_PCICMD(self, value: int) -> None:
        super().write_PCICMD(value)
        for n in 0, 1:
            self.move(n)                                # a bus master that was held may go on

    # Bus masters

    def write_BMICP(self, value: int) -> None:
        self.start(0, value)

    def write_BMICS(self, value: int) -> None:
        self.start(1, value)

    def write_BMISP(self, value: int) -> None:
        self.set_status(0, value)

    def write_BMISS(self, value: int) -> None:
        self.set_status(1, value)

    def set_status(self, n: int, value: int) -> None:
        """INT and ERR are cleared by 1, the capabilities are software's own."""
        values, key = vars(self), self.STATUSES[n]
        values[key] = value & 0x60 | values[key] & ~(value & 0x06) & 0x07

    def start(self, n: int, value: int) -> None:
        """SSBM starts at its rise; when it falls, what was under way is dropped."""
        values, key = vars(self), self.COMMANDS[n]
        rises, falls = value & ~values[key] & self.BMICP.SSBM, values[key] & ~value & self.BMICP.SSBM
        values[key] = value & self.BMICP.mask
        if rises:
            values[self.STATUSES[n]] |= self.BMISP.ACT
            self.next[n] = self.bmidtps if n else self.bmidtpp
            self.length[n] = self.end[n] = 0
            self.move(n)
        elif falls:
            values[self.STATUSES[n]] &= ~self.BMISP.ACT

    def on_IRQ(self, pin: int, level: int) -> None:
        if level:
            vars(self)[self.STATUSES[pin]] |= self.BMISP.INT

    def on_DMARQ(self, pin: int, level: int) -> None:
        if level:
            self.move(pin)

    def move(self, n: int) -> None:
        """Move what the device has or wants, as far as the regions go."""
        values, status = vars(self), self.STATUSES[n]
        if not (values[status] & self.BMISP.ACT and self.pcicmd & self.PCICMD.BME):
            return
        channel, request, to_memory = self.channels[n], self.dmarq[n], values[self.COMMANDS[n]] & self.BMICP.RWCON
        address, length, end, table = self.address[n], self.length[n], self.end[n], b""
        while request.level:
            if not length:
                if end:
                    break
                address, length, end, table = self.descriptor(n, table)
            if to_memory:
                moved = self.fill(address, length, channel.send)
            else:
                moved = min(channel.wanted, length)
                if moved:
                    channel.receive(self.read(address, moved))
            if not moved:
                break                                   # the device and the bus master want opposite directions
            address, length = address + moved, length - moved
        self.address[n], self.length[n], self.end[n] = address, length, end
        if end and not length:
            values[status] &= ~self.BMISP.ACT

    def descriptor(self, n: int, table: bytes) -> tuple[int, int, int, bytes]:
        """Address, length and end of the next region, as one with those that lie right behind it.

        `table` holds the descriptors from there on, and so does the last value.
        """
        at: int = self.next[n]
        left = TABLE - at % TABLE
        if not table:
            table = self.read(at, min(BATCH, max(left & ~7, 8)))
        start, length, used = 0, 0, 0
        for address, word in DESCRIPTOR.iter_unpack(table):
            if used and address & ~1 != start + length:
                break
            start = start if used else address & ~1
            length += (word & 0xFFFE) or 0x10000
            used += 8
            last = word >= LAST or left <= used         # a table without an end must end, too
            if last:
                break
        self.next[n] = at + used & 0xFFFF_FFFF
        return start, length, int(last), table[used:]
