"""82077AA floppy disk controller.

[I] Intel 82077AA data sheet, order 290166-007, May 1994; [SL] 82077SL, order 290410, for POWERDOWN MODE.

The chip is in PC/AT mode; SRA and SRB, which float there, show their PS/2 bits, as QEMU's do.  Times are short and plain:
a step takes STEP, a sector or an ID field SECTOR_TIME, a search in vain LOST, and a motor turns at once.  Where nothing
turns (no diskette, motor off, no drive), the real chip waits for an index pulse for ever; this one ends after LOST, as
when it finds no address mark.  A sector goes to the DMA controller in one piece; a channel that does not take it is an
overrun.  Without DMA the chip waits for the processor.

Not modelled: FM; deleted data marks (an image has none: the commands for deleted data act as the plain ones); sectors of
other sizes than 512 bytes; FIFO threshold, precompensation, perpendicular recording, head load and step times, which are
only kept; the tape drive; "ready changed" other than after a reset.
"""

# mypy: disable-error-code="has-type"
from __future__ import annotations

from typing import NamedTuple

from emu.chips.floppy import CYLINDERS, NONE, Unit
from emu.chips.floppysectors import DMA, EC, EFIFO, EIS, IC_ABNORMAL, IC_INVALID, IC_READY, POLL, SE, STEP, Sectors
from emu.chips.media import Medium
from emu.device import RW, Device, Out, R, Reg, State, Timer, W

STEPS = 79                                      # [I] RECALIBRATE: step pulses


class Command(NamedTuple):
    """A row of [I] table 5-1: the bits of the first byte that tell it, and how many bytes follow."""

    mask: int
    parameters: int
    name: str


COMMANDS = {
    0x02: Command(0xBF, 8, "read_track"), 0x03: Command(0xFF, 2, "specify"),
    0x04: Command(0xFF, 1, "sense_drive_status"), 0x05: Command(0x3F, 8, "write"), 0x06: Command(0x1F, 8, "read"),
    0x07: Command(0xFF, 1, "recalibrate"), 0x08: Command(0xFF, 0, "sense_interrupt_status"),
    0x09: Command(0x3F, 8, "write"), 0x0A: Command(0xBF, 1, "read_id"), 0x0C: Command(0x1F, 8, "read"),
    0x0D: Command(0xBF, 5, "format_track"), 0x0E: Command(0xFF, 0, "dumpreg"), 0x0F: Command(0xFF, 2, "seek"),
    0x10: Command(0xFF, 0, "version"), 0x12: Command(0xFF, 1, "perpendicular"), 0x13: Command(0xFF, 3, "configure"),
    0x14: Command(0x7F, 0, "lock"), 0x16: Command(0x1F, 8, "verify"), 0x17: Command(0xFF, 1, "powerdown"),
    0x8F: Command(0xBF, 2, "relative_seek"),
}


def command(byte: int) -> Command | None:
    """The command that begins with `byte`."""
    for code, row in COMMANDS.items():
        if byte & row.mask == code:
            return row
    return None


class FDC82077(Sectors, Device):
    """`dma` is the channel; `kinds` are the types of the drives (emu.chips.floppy), `media` what is in them."""

    SRA = Reg(0, R, "status A", "INT DRV2 STEP TRK0 HDSEL INDX WP DIR")
    SRB = Reg(1, R, "status B", "1 1 DS0 WRDATA RDDATA WE MOT1 MOT0")
    DOR = Reg(2, RW, "digital output", "MOT3 MOT2 MOT1 MOT0 DMAGATE RESET DS1 DS0")
    TDR = Reg(3, RW, "tape drive", "0 0 0 0 0 0 TAPE1 TAPE0")
    MSR = Reg(4, R, "main status", "RQM DIO NONDMA CB BUSY3 BUSY2 BUSY1 BUSY0")
    DSR = Reg(4, W, "data rate select", "RESET POWERDOWN 0 PRE2 PRE1 PRE0 DRATE1 DRATE0", reset=0x02)
    FIFO = Reg(5, RW, "commands, data, results")
    DIR = Reg(7, R, "digital input", "DSKCHG 0 0 0 0 0 0 0")
    CCR = Reg(7, W, "configuration control", "0 0 0 0 0 0 DRATE1 DRATE0", reset=0x02)

    PHASE = State("command", "command, execution or result")
    BYTES = State([], "the command so far, or what is left of the result")
    DATA = State(b"", "without DMA: the sector in the FIFO")
    TRANSFER = State(None, "the command that is executed")
    PENDING = State(0, "INT, before DMAGATE")
    bytes: list[int]
    senses: list[int]
    SENSES = State([], "ST0 of each interrupt that SENSE INTERRUPT STATUS has to tell, oldest first")
    PCN = State([0] * 4, "present cylinder numbers")
    HEAD = State([0] * 4, "where the heads are")
    CHANGED = State([1] * 4, "DSKCHG of each drive: until a step finds a diskette")
    SEEKS = State([[0, 0] for _ in range(4)], "of each drive that seeks: when it is done (ns), and ST0; 0: it does not")
    SPECIFIED = State([0, 0], "SRT HUT, HLT ND")
    CONFIG = State(EFIFO, "EIS EFIFO POLL FIFOTHR")
    PRETRK = State(0, "first track with precompensation")
    LOCKED = State(0, "a software reset keeps EFIFO, FIFOTHR, PRETRK")
    PERPENDICULAR = State(0, "D3 D2 D1 D0 GAP WGATE")
    LAST = State(0, "SC or EOT of the last command, for DUMPREG")
    SPIN = State(0, "the sector that READ ID has met last")
    NEXT = Timer("the next sector is under the head")
    STEPPED = Timer("a head has arrived")

    INTR = Out("interrupt request")
    DRQ = Out("DMA request")

    def __init__(self, dma: DMA, kinds: tuple[int, ...], media: tuple[Medium | None, ...] = ()) -> None:
        self.dma = dma
        self.units = [Unit(kinds[i] if i < len(kinds) else NONE, media[i] if i < len(media) else None) for i in range(4)]

    def insert(self, drive: int, medium: Medium | None) -> None:
        """Change the diskette in a drive, or (None) take it out.  Raises ValueError for what is no diskette."""
        self.units[drive].insert(medium)
        self.changed[drive] = 1

    # Registers

    def read_SRA(self) -> int:
        drive = self.dor & 3
        medium = self.units[drive].medium
        return (self.SRA.INT * self.pending | self.SRA.DRV2 * (self.units[1].kind == NONE) | self.SRA.INDX |
                self.SRA.TRK0 * (not self._at_track_0(drive)) | self.SRA.WP * (medium is None or not medium.readonly))

    def read_SRB(self) -> int:
        return 0xC0 | (self.dor & 1) << 5 | self.dor >> 4 & 3

    def write_DOR(self, value: int) -> None:
        before, self.dor = self.dor, value
        if not value & self.DOR.RESET:
            self._reset()
        elif not before & self.DOR.RESET:
            self._awake()
        self.update()

    def read_MSR(self) -> int:
        return int(self.msr)

    def write_DSR(self, value: int) -> None:
        self.dsr, self.ccr = value & 0x7F, value & 3
        if value & self.DSR.RESET and self.dor & self.DOR.RESET:            # [I] clears itself
            self._reset()
            self._awake()
        self.update()

    def read_DIR(self) -> int:
        drive = self.dor & 3
        return self.DIR.DSKCHG * (self.units[drive].kind != NONE and self.changed[drive])

    def write_CCR(self, value: int) -> None:
        self.ccr = value & 3
        self.dsr = self.dsr & ~3 | self.ccr

    def read_FIFO(self) -> int:
        value = 0
        if self.phase == "result":
            value = self.bytes.pop(0)
            self.pending = 0
            if not self.bytes:
                self.phase = "command"
                self.pending = self._owed()
        elif self.transfer and self.data and self.transfer["name"] in ("read", "read_track"):
            value = self.data[len(self.data) - self.transfer["buffer"]]
            self.transfer["buffer"] -= 1
            if not self.transfer["buffer"]:
                self.data, self.pending = b"", 0
                self._moved(False)
        self.update()
        return value

    def write_FIFO(self, value: int) -> None:
        if not self.dor & self.DOR.RESET:
            return
        if self.phase == "command":
            self.bytes.append(value)
            row = command(self.bytes[0])
            if row is None:
                self._results(IC_INVALID)
            elif len(self.bytes) > row.parameters:
                first, *rest = self.bytes
                self.bytes = []
                getattr(self, "_" + row.name)(first, *rest)
        elif self.transfer and self.transfer["buffer"] and self.transfer["name"] in ("write", "format_track"):
            self.data += bytes([value])
            self.transfer["buffer"] -= 1
            if not self.transfer["buffer"]:
                data, self.data, self.pending = self.data, b"", 0
                self._store(data, False)
        self.update()

    def update(self) -> None:
        """MSR, INT and DRQ follow the phase."""
        t = self.transfer
        busy: int = sum(1 << i for i, (due, _) in enumerate(self.seeks) if due)
        if not self.dor & self.DOR.RESET:
            self.msr = 0
        elif self.phase == "command":
            self.msr = busy | self.MSR.RQM | (self.MSR.CB if self.bytes else 0)
        elif self.phase == "result":
            self.msr = busy | self.MSR.RQM | self.MSR.DIO | self.MSR.CB
        else:
            reads = t["name"] in ("read", "read_track")
            self.msr = busy | self.MSR.CB | (0 if t["dma"] else self.MSR.NONDMA)
            if t["buffer"]:
                self.msr |= self.MSR.RQM | (self.MSR.DIO if reads else 0)
        gate = self.dor >> 3 & 1
        self.intr(self.pending & gate)
        self.drq(1 if t and t["dma"] and gate and t["name"] not in ("verify", "read_id") else 0)

    # Reset

    def _reset(self) -> None:
        """[I] 5.4, 4.0: DOR and DSR resets."""
        self.phase, self.bytes, self.data, self.transfer = "command", [], b"", None
        self.pending, self.senses, self.pcn = 0, [], [0] * 4
        self.seeks = [[0, 0] for _ in range(4)]
        self.next.off()
        self.stepped.off()
        self.perpendicular &= ~3                                            # [I] PERPENDICULAR MODE
        if not self.locked:
            self.config, self.pretrk = EFIFO, 0
        self.config &= ~(EIS | POLL)                                        # [I] LOCK keeps EFIFO, FIFOTHR and PRETRK

    def _awake(self) -> None:
        """The polling after a reset finds that all four drives have changed their ready lines."""
        self.senses = [IC_READY | drive for drive in range(4)]
        self.pending = 1

    # Commands without an execution phase

    def _results(self, *values: int) -> None:
        self.phase, self.bytes = "result", list(values)

    def _specify(self, _: int, first: int, second: int) -> None:
        self.specified = [first, second]

    def _sense_drive_status(self, _: int, which: int) -> None:
        unit = self.units[which & 3]
        protected = unit.medium is not None and unit.medium.readonly
        self._results(which & 7 | 0x28 | 0x40 * protected | 0x10 * self._at_track_0(which & 3))

    def _sense_interrupt_status(self, _: int) -> None:
        if not self.senses:
            self._results(IC_INVALID)
            return
        st0 = self.senses.pop(0)
        self.pending = 0
        self._results(st0, self.pcn[st0 & 3])

    def _owed(self) -> int:
        """Whether another seek has ended meanwhile; one interrupt stands for all four drives after a reset."""
        return int(any(st0 & IC_READY != IC_READY for st0 in self.senses))

    def _version(self, _: int) -> None:
        self._results(0x90)

    def _dumpreg(self, _: int) -> None:
        self._results(*self.pcn, *self.specified, self.last, self.locked << 7 | self.perpendicular,
                      self.config, self.pretrk)

    def _perpendicular(self, _: int, value: int) -> None:
        self.perpendicular = value & 0x3F if value & 0x80 else self.perpendicular & ~3 | value & 3

    def _configure(self, _: int, _zero: int, config: int, pretrk: int) -> None:
        self.config, self.pretrk = config & 0x7F, pretrk

    def _lock(self, first: int) -> None:
        self.locked = first >> 7
        self._results(self.locked << 4)

    def _powerdown(self, _: int, value: int) -> None:
        self._results(value)                                                # [SL]

    # Seeks

    def _at_track_0(self, drive: int) -> bool:
        return self.units[drive].kind != NONE and self.head[drive] == 0

    def _step(self, drive: int, tracks: int) -> int:
        """Move the head, as far as it goes; how many step pulses that took."""
        last = max(CYLINDERS[self.units[drive].kind] - 1, 0)
        if tracks and self.units[drive].medium is not None:
            self.changed[drive] = 0
        self.head[drive] = min(max(self.head[drive] + tracks, 0), last)
        return abs(tracks)

    def _begin_seek(self, drive: int, tracks: int, pcn: int) -> None:
        steps = self._step(drive, tracks)
        self.pcn[drive] = pcn
        self.seeks[drive] = [self.clock.now + (steps + 1) * STEP, SE | drive]
        self._await_seeks()

    def _recalibrate(self, _: int, which: int) -> None:
        drive = which & 3
        self._begin_seek(drive, -min(self.head[drive], STEPS), 0)
        if not self._at_track_0(drive):                                     # [I] ST0.EC
            self.seeks[drive][1] |= IC_ABNORMAL | EC

    def _seek(self, _: int, which: int, cylinder: int) -> None:
        self._begin_seek(which & 3, cylinder - self.pcn[which & 3], cylinder)

    def _relative_seek(self, first: int, which: int, tracks: int) -> None:
        tracks = tracks if first & 0x40 else -tracks
        self._begin_seek(which & 3, tracks, self.pcn[which & 3] + tracks & 0xFF)

    def _await_seeks(self) -> None:
        due = [time for time, _ in self.seeks if time]
        self.stepped.at(min(due)) if due else self.stepped.off()

    def on_STEPPED(self) -> None:
        for drive, (due, ended) in enumerate(self.seeks):
            if due and due <= self.clock.now:
                self.seeks[drive] = [0, 0]
                others = [st0 for st0 in self.senses if st0 & IC_READY != IC_READY and st0 & 3 != drive]
                self.senses = [*others, ended]
                self.pending = 1
        self._await_seeks()
        self.update()
