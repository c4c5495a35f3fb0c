"""What every ATA device has: the registers, the transfer protocols, reset, interrupt, DMA request.

[ATA] AT Attachment with Packet Interface - 6, T13/1410D; chapters 7 (registers) and 9 (protocols).

This is no part by itself: a disk (atadisk.py) or a CD-ROM drive (atapi.py) says what its commands do.  A command waits in
`later` for its time, and a method of the device's is then called by name:

    PIO data-in     offer(data, block): DRQ blocks of `block` bytes; emptied() is called after the last
    PIO data-out    accept(length): a DRQ block; filled() is called with it in `buffer`
    DMA data-in     ask("dma in"); then the host adapter calls send(place), the device reload()s its buffer
    DMA data-out    ask("dma out"); then the adapter calls receive(data), the device unload()s its buffer
    all             finish(), or fail(error)

Time is plain: COMMAND for a command without data, ACCESS before the data of one with, at once for the next block of the
same command.  In DMA the bytes pass at 100 MB a second, whatever the mode: how fast a host adapter runs its cycles is no
matter of the drive's.  The host sees them when the last has passed.

Not modelled: seeks, rotation, a cache of the drive's own (the medium's is the host's), the order of PDIAG- and DASP-,
overlapped and queued commands, CRC errors, security, SMART, host protected area (READ NATIVE MAX tells the size).
"""

# mypy: disable-error-code="has-type"
from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from emu.device import BLOCK, RW, VALUE, Device, Out, R, Reg, State, Timer, W

RESET = 1_000_000               # ns: a reset or a diagnosis
COMMAND = 20_000
ACCESS = 100_000                # as a drive takes that has the sectors at hand; a disk that seeks takes 100 times as long
BYTE = 10                       # 100 MB a second, the drive's fastest mode
PIO, MWDMA, UDMA = 0x08, 0x20, 0x40             # [ATA] table 44: the transfer modes
MODES = {PIO: 5, MWDMA: 3, UDMA: 6}             # how many there are of each
UNC, WP, IDNF, ABRT = 0x40, 0x40, 0x10, 0x04    # of ERROR
DIAGNOSTIC, DEVICE_RESET = 0x90, 0x08


class Drive(ABC, Device):
    """Device `number` (0 or 1) on its cable; `other`: the cable has another one."""

    DATA = Reg(0, RW, "data", size=2, native=BLOCK, whole=True)
    DATA32 = Reg(0, RW, "data, two words: an access of 32 bits at the host adapter", size=4, native=BLOCK, whole=True)
    ERROR = Reg(1, R, "error, as the command has it", "ICRC UNC MC IDNF MCR ABRT NM 0", reset=1)
    FEATURES = Reg(1, W, "features, as the command has it")
    COUNT = Reg(2, RW, "sector count", reset=1)
    LBAL = Reg(3, RW, "LBA 7:0, or the sector; with HOB 31:24", reset=1)
    LBAM = Reg(4, RW, "LBA 15:8, or the cylinder's low byte; with HOB 39:32")
    LBAH = Reg(5, RW, "LBA 23:16, or the cylinder's high byte; with HOB 47:40")
    DEVICE = Reg(6, RW, "device; LBA 27:24, or the head", "1 LBA 1 DEV H3 H2 H1 H0")
    STATUS = Reg(7, R, "status; reading it ends the interrupt", "BSY DRDY DF DSC DRQ CORR IDX ERR", reset=0x80, native=VALUE)
    COMMAND = Reg(7, W, "command")
    ASTATUS = Reg(0, R, "alternate status", block="control", native=VALUE)
    DEVCTL = Reg(0, W, "device control", "HOB 0 0 0 0 SRST NIEN 0", block="control")

    HOB = State([0] * 5, "what was in FEATURES to LBAH before the last write to each")
    PENDING = State(0, "an interrupt is pending")
    PHASE = State("", "how data moves: in, out, dma in, dma out, or not")
    BUFFER = State(b"", "the data that moves now")
    AT = State(0, "the next byte in it")
    END = State(0, "where its DRQ block ends")
    STEP = State("", "what the device will do when its time has come")
    MODE = State(PIO | 4, "transfer mode, as SET FEATURES takes it")
    DMA_MODE = State(0, "the last of them that was of DMA, or 0")
    WORK = Timer("the device has done its work")

    INTRQ = Out("interrupt request, while the device is selected and NIEN is 0")
    DMARQ = Out("the device is ready to move data by DMA")

    buffer: Any

    SIGNATURE: ClassVar[tuple[int, int]] = (0, 0)       # [ATA] 9.12: of LBAM and LBAH
    READY: ClassVar[int] = 0                            # of STATUS after a reset
    IDLE: ClassVar[int] = 0                             # of STATUS after a command

    def __init__(self, number: int, other: bool) -> None:
        self.number, self.other = number, other

    def reset(self) -> None:
        """RESET-, or power-on."""
        super().reset()
        self.later(RESET, "ready")

    def save(self) -> dict[str, Any]:
        return {**super().save(), "buffer": bytes(self.buffer)}

    def on_restore(self) -> None:
        if self.phase in ("in", "out", "dma out"):
            self.buffer = bytearray(self.buffer)

    # Registers

    def read_COUNT(self) -> int:
        return int(self.hob[1] if self.devctl & self.DEVCTL.HOB else self.count)

    def read_LBAL(self) -> int:
        return int(self.hob[2] if self.devctl & self.DEVCTL.HOB else self.lbal)

    def read_LBAM(self) -> int:
        return int(self.hob[3] if self.devctl & self.DEVCTL.HOB else self.lbam)

    def read_LBAH(self) -> int:
        return int(self.hob[4] if self.devctl & self.DEVCTL.HOB else self.lbah)

    def read_DEVICE(self) -> int:
        return int(self.device | 0xA0)                  # [ATA] 7.7: obsolete bits, 1 in older versions

    def write_FEATURES(self, value: int) -> None:
        self.hob[0], self.features = self.features, value
        self.devctl &= ~self.DEVCTL.HOB                 # [ATA] 7.8: a write to the command block clears it

    def write_COUNT(self, value: int) -> None:
        self.hob[1], self.count = self.count, value
        self.devctl &= ~self.DEVCTL.HOB

    def write_LBAL(self, value: int) -> None:
        self.hob[2], self.lbal = self.lbal, value
        self.devctl &= ~self.DEVCTL.HOB

    def write_LBAM(self, value: int) -> None:
        self.hob[3], self.lbam = self.lbam, value
        self.devctl &= ~self.DEVCTL.HOB

    def write_LBAH(self, value: int) -> None:
        self.hob[4], self.lbah = self.lbah, value
        self.devctl &= ~self.DEVCTL.HOB

    def write_DEVICE(self, value: int) -> None:
        self.device = value & 0x5F
        self.devctl &= ~self.DEVCTL.HOB
        if self.pending:
            self.update()

    def read_STATUS(self) -> int:
        if self.pending:
            self.pending = 0
            self.update()
        return int(self.status)

    def holds_STATUS(self) -> bool:
        return not self.pending

    def read_ASTATUS(self) -> int:
        return int(self.status)

    def write_DEVCTL(self, value: int) -> None:
        was, self.devctl = self.devctl, value & self.DEVCTL.mask
        if self.devctl & self.DEVCTL.SRST:
            if not was & self.DEVCTL.SRST:
                self.soft_reset()
        elif was & self.DEVCTL.SRST:
            self.later(RESET, "ready")
        self.update()

    def write_COMMAND(self, value: int) -> None:
        """A command; one that comes while another runs is lost, as it would be on many a device."""
        if self.devctl & self.DEVCTL.SRST or (self.busy() and not self.urgent(value)):
            return
        self.devctl &= ~self.DEVCTL.HOB
        self.command = value
        if self.pending or self.busy():
            self.still()
            self.update()
        self.status, self.error = self.STATUS.BSY, 0
        if value == DIAGNOSTIC:
            self.later(RESET, "diagnosed")
        else:
            self.begin()

    def busy(self) -> bool:
        return bool(self.status & (self.STATUS.BSY | self.STATUS.DRQ))

    def urgent(self, command: int) -> bool:
        """Whether a command is heard while another runs."""
        return False

    @abstractmethod
    def begin(self) -> None:
        """Begin the command, whose registers lie ready."""

    def update(self) -> None:
        selected = self.device >> 4 & 1 == self.number
        self.intrq(1 if self.pending and selected and not self.devctl & self.DEVCTL.NIEN else 0)

    # Reset

    def still(self) -> None:
        """Whatever was under way is not any more."""
        self.pending = self.at = self.end = 0
        self.phase = self.step = ""
        self.buffer = b""
        self.work.off()
        self.dmarq(0)

    def soft_reset(self) -> None:
        """SRST rises: busy until it has fallen, and for some time more."""
        self.still()
        self.status = self.STATUS.BSY
        self.device = 0

    def ready(self) -> None:
        """A reset is over."""
        self.sign()
        self.error = 1                                  # [ATA] table 26: device 0 passed; device 1 passed or absent
        self.status = self.READY

    def diagnosed(self) -> None:
        self.device = 0
        self.ready()
        if self.number == 0:                            # [ATA] 9.10: both have worked, device 0 tells
            self.interrupt()

    def sign(self) -> None:
        """[ATA] 9.12: the signature."""
        self.count = self.lbal = 1
        self.lbam, self.lbah = self.SIGNATURE
        self.hob = [0] * 5

    # Commands

    def later(self, time: int, step: str) -> None:
        """Call the method `step` in `time` ns."""
        self.step = step
        self.work.at(self.clock.now + time)

    def on_WORK(self) -> None:
        step, self.step = self.step, ""
        getattr(self, step)()

    def interrupt(self) -> None:
        self.pending = 1
        self.update()

    def finish(self) -> None:
        """The command is done."""
        self.still()
        self.status = self.IDLE
        self.interrupt()

    def fail(self, error: int, status: int = 0) -> None:
        """The command has failed: bits of ERROR, and of STATUS beside ERR."""
        self.error = error
        self.still()
        self.status = self.IDLE | self.STATUS.ERR | status
        self.interrupt()

    def abort(self) -> None:
        self.fail(ABRT)

    # PIO

    def offer(self, data: bytes, block: int) -> None:
        """Data for the host, an even number of bytes, in DRQ blocks of `block`."""
        self.phase, self.at = "in", 0
        self.buffer = bytearray(data)
        self.present(block)

    def present(self, block: int) -> None:
        """The next DRQ block of what the buffer holds."""
        self.end = min(self.at + block, len(self.buffer))
        self.status = self.IDLE | self.STATUS.DRQ
        self.interrupt()

    def accept(self, length: int, tell: bool = True) -> None:
        """A DRQ block of `length` bytes, an even number, is wanted of the host."""
        self.phase, self.at, self.end = "out", 0, length
        self.buffer = bytearray(length)
        self.status = self.IDLE | self.STATUS.DRQ
        if tell:
            self.interrupt()

    @abstractmethod
    def emptied(self) -> None:
        """The host has read a DRQ block."""

    @abstractmethod
    def filled(self) -> None:
        """The host has written a DRQ block."""

    def read_DATA(self) -> int:
        if self.phase != "in":
            return 0
        at = self.at
        self.at = at + 2
        value = self.buffer[at] | self.buffer[at + 1] << 8
        if self.at >= self.end:
            self.emptied()
        return int(value)

    def write_DATA(self, value: int) -> None:
        if self.phase != "out":
            return
        at = self.at
        self.buffer[at], self.buffer[at + 1] = value & 0xFF, value >> 8
        self.at = at + 2
        if self.at >= self.end:
            self.filled()

    def read_DATA32(self) -> int:
        value = self.read_DATA()
        return value | self.read_DATA() << 16

    def write_DATA32(self, value: int) -> None:
        self.write_DATA(value & 0xFFFF)
        self.write_DATA(value >> 16)

    def block_DATA(self, access: str) -> memoryview | None:
        """All but the last word of the DRQ block, which ends it."""
        if self.phase == ("in" if access == R else "out"):
            return memoryview(self.buffer)[self.at:self.end - 2]
        return None

    def moved_DATA(self, access: str, length: int) -> None:
        self.at += length

    def block_DATA32(self, access: str) -> memoryview | None:
        if self.phase == ("in" if access == R else "out"):
            return memoryview(self.buffer)[self.at:max(self.end - 4, self.at)]
        return None

    moved_DATA32 = moved_DATA

    # DMA

    def set_mode(self, value: int) -> bool:
        """SET FEATURES 03h: whether there is such a transfer mode."""
        kind, number = value & 0xF8, value & 7
        if value <= 1:                                  # the default, with or without IORDY
            kind, number = PIO, 4
        if number >= MODES.get(kind, 0):
            return False
        self.mode = kind | number
        if kind != PIO:
            self.dma_mode = self.mode
        return True

    def ask(self, phase: str) -> None:
        """Data is ready to be moved."""
        self.phase, self.at = phase, 0
        self.status = self.STATUS.BSY
        self.dmarq(1)

    @abstractmethod
    def reload(self) -> bool:
        """Put more into the empty buffer; False: the command has ended instead."""

    @abstractmethod
    def unload(self) -> None:
        """The buffer has as much as the device wanted: empty it, or end the command."""

    @property
    def wanted(self) -> int:
        """How many bytes the device takes by DMA before it looks at them."""
        return int(self.end - len(self.buffer)) if self.phase == "dma out" else 0

    def send(self, place: memoryview) -> int:
        """Fill `place` for the host; returns how many bytes there were, fewer than it has room for when there are no more."""
        done = 0
        while done < len(place) and self.phase == "dma in" and (self.at < len(self.buffer) or self.reload()):
            data = memoryview(self.buffer)[self.at:self.at + len(place) - done]
            place[done:done + len(data)] = data
            self.at += len(data)
            done += len(data)
            if self.at == len(self.buffer):
                self.reload()                           # so that the last byte ends the command
        return done

    def receive(self, data: bytes | memoryview) -> None:
        """At most `wanted` bytes from the host."""
        self.buffer += data
        if len(self.buffer) >= self.end:
            self.unload()
