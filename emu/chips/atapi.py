"""The PACKET protocol: what an ATAPI device has beside the registers of every ATA device.

[ATA] T13/1410D, 9.8 and 9.9; [SFF] SFF-8020i revision 2.6.  This is no part by itself; see atapicd.py.

A subclass has COMMANDS, from the packet's first byte to a method, which ends in one of
    reply(data)                 data, cut to what the packet allows by the caller, moves to the host
    good()                      done
    check(key, asc, ascq)       CHECK CONDITION; REQUEST SENSE tells it once

Not modelled: packet commands with data for the device, overlap and service interrupts; see atadrive.py.
"""

# mypy: disable-error-code="has-type"
from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from emu.chips import ataidentify as identify
from emu.chips.atadrive import ABRT, ACCESS, BYTE, COMMAND, DEVICE_RESET, Drive
from emu.device import State

PACKET = 12                     # bytes of a command packet
CD, IO = 0x01, 0x02             # of COUNT, the interrupt reason: a command, not data; to the host
DMA = 0x01                      # of FEATURES
ILLEGAL_REQUEST, UNIT_ATTENTION = 5, 6
INVALID_COMMAND, INVALID_FIELD = 0x20, 0x24
RESET_OCCURRED = 0x29
ACTIVE, IDLING, STANDBY, SLEEPING = 0xFF, 0x80, 0x00, 0x01


class PacketDrive(Drive):
    """Device `number` of its cable, which has an `other` one or not; `names`: model, serial number, firmware in ASCII."""

    CDB = State(b"", "the command packet")
    BY_DMA = State(0, "its data moves by DMA")
    LIMIT = State(0, "bytes of a DRQ block at most")
    SENSE = State([0, 0, 0, None], "sense key, additional code, qualifier, and the address in error, of the last command")
    ATTENTION = State([[RESET_OCCURRED, 0]], "additional codes and qualifiers of unit attentions that nobody has heard of")
    POWER = State(ACTIVE, "power mode")

    SIGNATURE = (0x14, 0xEB)
    READY = 0                                       # [ATA] 9.12: DRDY is 0 until a first command
    IDLE = 0x40
    QUIET: ClassVar[frozenset[int]] = frozenset((0x03, 0x12, 0x46, 0x4A))       # [MMC] 4.1.6: no unit attention for these

    def __init__(self, number: int, other: bool, names: tuple[str, str, str]) -> None:
        super().__init__(number, other)
        self.names = names

    def urgent(self, command: int) -> bool:
        return command == DEVICE_RESET

    def soft_reset(self) -> None:
        super().soft_reset()
        self.power = ACTIVE
        self.sense = [0, 0, 0, None]
        self.attend(RESET_OCCURRED, 0)

    def attend(self, asc: int, ascq: int) -> None:
        """A unit attention for the next command that may hear of it."""
        if [asc, ascq] not in self.attention:
            self.attention.append([asc, ascq])

    # ATA commands

    def begin(self) -> None:
        command = self.command
        if command == DEVICE_RESET:                 # [ATA] 8.7: at once, no interrupt; no unit attention
            self.ready()
        elif self.power == SLEEPING:
            self.status = self.IDLE
        elif command == 0xA0:
            self.begin_packet()
        else:
            self.later(COMMAND, self.ATA_COMMANDS.get(command, "abort"))

    def begin_packet(self) -> None:
        if self.features & ~DMA:
            self.abort()
            return
        self.by_dma = self.features & DMA
        self.limit = min(self.lbah << 8 | self.lbam, 0xFFFE) & 0xFFFE
        self.count = CD
        self.accept(PACKET, tell=False)             # word 0 of IDENTIFY: DRQ within 50 us, no interrupt

    def foreign(self) -> None:
        """A command for disks: the signature tells the host better ([ATA] 8.15.5.2)."""
        self.sign()
        self.abort()

    def identity(self) -> None:
        self.cdb = b""
        self.offer(identify.sealed({
            **identify.common(self.number, self.other, self.dma_mode, self.names),
            0: 0x85C0,                              # a CD-ROM, removable, DRQ within 50 us, packets of 12 bytes
            49: 0x0F00, 71: 0, 72: 0,               # IORDY, LBA, DMA
            82: 0x4218, 83: 0x4000, 84: 0x4000, 85: 0x4218, 86: 0, 87: 0x4000,     # NOP, DEVICE RESET, PACKET, power
        }), 512)

    def set_features(self) -> None:
        self.finish() if self.features == 0x03 and self.set_mode(self.count) else self.abort()

    def idle(self) -> None:
        self.power = IDLING
        self.finish()

    def stand_by(self) -> None:
        self.power = STANDBY
        self.finish()

    def sleep(self) -> None:
        self.power = SLEEPING
        self.finish()

    def check_power(self) -> None:
        self.count = self.power
        self.finish()

    ATA_COMMANDS: ClassVar[dict[int, str]] = {
        **dict.fromkeys((0x20, 0xEC), "foreign"), 0xA1: "identity", 0xEF: "set_features",
        **dict.fromkeys((0xE0, 0xE2), "stand_by"), **dict.fromkeys((0xE1, 0xE3), "idle"), 0xE5: "check_power", 0xE6: "sleep",
    }

    # Packets

    def filled(self) -> None:
        self.cdb = bytes(self.buffer)
        self.phase, self.status, self.power = "", self.STATUS.BSY, ACTIVE
        length = self.expected()
        self.later(COMMAND if not length else ACCESS + (length * BYTE if self.by_dma else 0), "execute")

    @abstractmethod
    def expected(self) -> int:
        """How many bytes of the medium the command will move."""

    def execute(self) -> None:
        operation = self.cdb[0]
        if operation != 0x03:
            self.sense = [0, 0, 0, None]
        if self.attention and operation not in self.QUIET:
            self.check(UNIT_ATTENTION, *self.attention.pop(0))
            return
        self.COMMANDS.get(operation, PacketDrive.unknown)(self)

    def unknown(self) -> None:
        self.check(ILLEGAL_REQUEST, INVALID_COMMAND)

    def invalid(self) -> None:
        """A field of the packet has no meaning here."""
        self.check(ILLEGAL_REQUEST, INVALID_FIELD)

    def field(self, at: int, length: int) -> int:
        """A number in the packet, most significant byte first."""
        return int.from_bytes(self.cdb[at:at + length], "big")

    def check(self, key: int, asc: int, ascq: int = 0, where: int | None = None) -> None:
        self.sense = [key, asc, ascq, where]
        self.count = CD | IO
        self.fail(key << 4 | ABRT)

    def good(self) -> None:
        self.count = CD | IO
        self.finish()

    # Data

    def reply(self, data: bytes) -> None:
        """Move `data` to the host, as the registers said; none: done."""
        if not data:
            self.good()
        elif self.by_dma:
            self.buffer = data
            self.ask("dma in")
        elif not self.limit:                        # [ATA] 8.23.5: it cannot move in blocks of nothing
            self.abort()
        else:
            self.offer(data + bytes(len(data) & 1), self.limit)
            self.tell_length(len(data))

    def present(self, block: int) -> None:
        self.end = min(self.at + block, len(self.buffer))
        self.tell_length(self.end - self.at)
        self.status = self.IDLE | self.STATUS.DRQ
        self.interrupt()

    def tell_length(self, length: int) -> None:
        """The interrupt reason and the byte count of a DRQ block; only the last may be odd."""
        if self.cdb:
            self.count = IO
            length = min(length, self.limit)
            self.lbam, self.lbah = length & 0xFF, length >> 8

    def emptied(self) -> None:
        if self.at < len(self.buffer):
            self.present(self.limit)
        elif not self.cdb:                          # IDENTIFY PACKET DEVICE: no interrupt at the end of PIO data-in
            self.still()
            self.status = self.IDLE
            self.update()
        elif not self.more():
            self.good()

    def reload(self) -> bool:
        if self.more():
            return self.phase == "dma in" and self.at < len(self.buffer)
        self.good()
        return False

    def unload(self) -> None:
        """No packet command has data for the device."""

    @abstractmethod
    def more(self) -> bool:
        """Go on with more data of the same command, or end it in error; False: there is no more."""

    COMMANDS: ClassVar[dict[int, Callable[[Any], None]]] = {}
