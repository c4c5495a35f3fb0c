"""An ATA channel: the cable that two devices share, as a host adapter's decoding of its ports shows it.

[ATA] AT Attachment with Packet Interface - 6, T13/1410D.  Both devices hear each write to the command block, the one that
DEV selects answers and obeys ([ATA] 7.1); device control, and EXECUTE DEVICE DIAGNOSTIC, are for both.

A device 0 that is alone answers for the absent device 1 as [ATA] 9.16.1 says: its registers read as its own, but STATUS and
ALTERNATE STATUS 00h; commands to device 1 are ignored.  For all else that is absent nobody drives the cable: the host's
pull-down on DD7 ([ATA] table 3), with the other lines high, makes it 7Fh, no BSY.  (QEMU gives 00h there.)

Not modelled: the time that signals take, a write while the device that is selected is busy (it is lost, as [ATA] lets it
be), the port 3F7h or 377h (DRIVE ADDRESS was withdrawn before ATA-4).
"""

# mypy: disable-error-code="has-type"
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from emu.device import BLOCK, RW, VALUE, Device, R, Reg, W

NOBODY = 0x7F
BUSY = 0x88                     # BSY, DRQ
DIAGNOSTIC = 0x90


def answered(name: str) -> Callable[[ATAChannel], int]:
    """The read of a register of the selected device."""
    method = "read_" + name

    def read(self: ATAChannel) -> int:
        device = self.devices[self.device >> 4 & 1] or self.devices[0]
        return getattr(device, method)() if device else NOBODY

    return read


def heard(name: str) -> Callable[[ATAChannel, int], None]:
    """The write of a register, which both devices hear: neither does while the selected one is at work."""
    method = "write_" + name

    def write(self: ATAChannel, value: int) -> None:
        device = self.devices[self.device >> 4 & 1] or self.devices[0]
        if device is None or not device.status & BUSY:
            for device in self.there:
                getattr(device, method)(value)

    return write


class ATAChannel(Device):
    """Devices 0 and 1, which have the methods of atadrive.Drive for their registers; None: absent.

    The board wires the devices' INTRQ and DMARQ together, as the cable does.
    """

    DATA = Reg(0, RW, "data", size=2, native=BLOCK, whole=True)
    DATA32 = Reg(0, RW, "data, two words", size=4, native=BLOCK, whole=True)
    ERROR = Reg(1, R, "error, as the command has it", "ICRC UNC MC IDNF MCR ABRT NM 0")
    FEATURES = Reg(1, W, "features, as the command has it")
    COUNT = Reg(2, RW, "sector count; of packet devices the interrupt reason")
    LBAL = Reg(3, RW, "LBA 7:0, or the sector; with HOB 31:24")
    LBAM = Reg(4, RW, "LBA 15:8, or the cylinder's low byte; with HOB 39:32")
    LBAH = Reg(5, RW, "LBA 23:16, or the cylinder's high byte; with HOB 47:40")
    DEVICE = Reg(6, RW, "device; LBA 27:24, or the head", "1 LBA 1 DEV H3 H2 H1 H0")
    STATUS = Reg(7, R, "status; reading it ends the interrupt", "BSY DRDY DF DSC DRQ CORR IDX ERR", native=VALUE)
    COMMAND = Reg(7, W, "command")
    ASTATUS = Reg(0, R, "alternate status", block="control", native=VALUE)
    DEVCTL = Reg(0, W, "device control", "HOB 0 0 0 0 SRST NIEN 0", block="control")

    def __init__(self, device0: Any = None, device1: Any = None) -> None:
        self.devices = device0, device1
        self.there = tuple(device for device in self.devices if device is not None)

    def answers(self) -> Any:
        """Who answers for the registers that are not STATUS."""
        return self.devices[self.device >> 4 & 1] or self.devices[0]

    def works(self) -> bool:
        """Whether the selected device is at work."""
        device = self.answers()
        return device is not None and bool(device.status & BUSY)

    # The host adapter's side of DMA; while data moves the selection cannot change

    @property
    def wanted(self) -> int:
        """How many bytes the device takes from the host, at most."""
        device = self.devices[self.device >> 4 & 1]
        return device.wanted if device else 0

    def send(self, place: memoryview) -> int:
        """Fill `place` from the device; returns how many bytes it had, 0 if it has none for the host."""
        device = self.devices[self.device >> 4 & 1]
        return int(device.send(place)) if device else 0

    def receive(self, data: bytes | memoryview) -> None:
        """At most `wanted` bytes for the device."""
        device = self.devices[self.device >> 4 & 1]
        if device:
            device.receive(data)

    # Data

    def read_DATA(self) -> int:
        device = self.answers()
        return device.read_DATA() if device else 0x7F7F

    def write_DATA(self, value: int) -> None:
        device = self.answers()
        if device:
            device.write_DATA(value)

    def block_DATA(self, access: str) -> memoryview | None:
        device = self.answers()
        return device.block_DATA(access) if device else None

    def moved_DATA(self, access: str, length: int) -> None:
        device = self.answers()
        if device:
            device.moved_DATA(access, length)

    def read_DATA32(self) -> int:
        device = self.answers()
        return device.read_DATA32() if device else 0x7F7F_7F7F

    def write_DATA32(self, value: int) -> None:
        device = self.answers()
        if device:
            device.write_DATA32(value)

    def block_DATA32(self, access: str) -> memoryview | None:
        device = self.answers()
        return device.block_DATA32(access) if device else None

    moved_DATA32 = moved_DATA

    # What the selected device answers

    def read_ERROR(self) -> int:
        device = self.answers()
        return device.error if device else NOBODY

    read_COUNT, read_LBAL, read_LBAM = answered("COUNT"), answered("LBAL"), answered("LBAM")
    read_LBAH, read_DEVICE = answered("LBAH"), answered("DEVICE")

    def read_STATUS(self) -> int:
        device = self.devices[self.device >> 4 & 1]
        return device.read_STATUS() if device else self.silence()

    def read_ASTATUS(self) -> int:
        device = self.devices[self.device >> 4 & 1]
        return device.status if device else self.silence()

    def silence(self) -> int:
        """STATUS of a device that is absent."""
        return 0 if self.device & self.DEVICE.DEV and self.devices[0] else NOBODY

    def holds_STATUS(self) -> bool:
        device = self.devices[self.device >> 4 & 1]
        return device is None or not device.pending

    # What all devices hear

    write_FEATURES, write_COUNT, write_LBAL = heard("FEATURES"), heard("COUNT"), heard("LBAL")
    write_LBAM, write_LBAH = heard("LBAM"), heard("LBAH")

    def write_DEVICE(self, value: int) -> None:
        if not self.works():
            self.device = value
            for device in self.there:
                device.write_DEVICE(value)

    def write_DEVCTL(self, value: int) -> None:
        if value & self.DEVCTL.SRST:
            self.device = 0
        for device in self.there:
            device.write_DEVCTL(value)

    def write_COMMAND(self, value: int) -> None:
        if value == DIAGNOSTIC:
            if not self.works():
                self.device = 0
                for device in self.there:
                    device.write_COMMAND(value)
            return
        selected = self.devices[self.device >> 4 & 1]
        if selected:
            selected.write_COMMAND(value)
