"""An ATA disk: LBA of 28 and 48 bits and CHS, MULTIPLE, DMA, write cache, power management.

[ATA] AT Attachment with Packet Interface - 6, T13/1410D, chapter 8; [ATA-4] T13/1153D for what older systems need: INITIALIZE
DEVICE PARAMETERS, RECALIBRATE, SEEK, the older codes of commands.

With the write cache off, each write is on the host's disk before it ends, as a FUA write always is; FLUSH CACHE, STANDBY and
SLEEP leave nothing in the cache.

Not modelled: READ and WRITE LONG, READ and WRITE BUFFER, FORMAT TRACK, SET MAX, SMART, the standby timer (a drive stands by
when it is told to), time to spin up; see atadrive.py for more.
"""

# mypy: disable-error-code="has-type"
from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from emu.chips import ataidentify as identify
from emu.chips.atadrive import ABRT, COMMAND, IDNF
from emu.chips.atasectors import CYLINDERS, DMA, EXT, FUA, HEADS, LBA, MULTI, SECTOR, TRACK, WRITE, Row, Sectors
from emu.chips.media import Medium
from emu.device import State

MOST = 16                                       # sectors of a DRQ block of READ MULTIPLE
ACTIVE, IDLING, STANDBY, SLEEPING = 0xFF, 0x80, 0x00, 0x01      # what CHECK POWER MODE tells; asleep it tells nothing
UNKNOWN = Row("abort")


class ATADisk(Sectors):
    """Device `number` of its cable, which has an `other` one or not.  `model`, `serial` and `firmware` are ASCII."""

    LOOK_AHEAD = State(1, "read look-ahead is on")
    REVERT = State(0, "a software reset reverts the settings to their defaults")
    POWER = State(ACTIVE, "power mode")

    def __init__(self, medium: Medium, number: int = 0, other: bool = False, serial: str = "EMU00001",
                 model: str = "EMU HARDDISK", firmware: str = "1.0") -> None:
        super().__init__(medium, number, other)
        self.names = model, serial, firmware

    def soft_reset(self) -> None:
        super().soft_reset()
        self.power = ACTIVE
        if self.revert:
            self.head_count, self.track_length, self.multiple, self.cache, self.look_ahead = HEADS, TRACK, 0, 1, 1

    def begin(self) -> None:
        if self.power == SLEEPING:              # [ATA] 6.9: only a reset wakes it
            self.status = self.IDLE
            return
        row = self.COMMANDS.get(self.command, UNKNOWN)
        if row.how < 0:
            self.later(COMMAND, row.step)
        else:
            self.power = ACTIVE
            self.access(row)

    # IDENTIFY DEVICE

    def identity(self) -> None:
        self.left = 0
        self.offer(self.identify(), SECTOR)

    def identify(self) -> bytes:
        total, cylinders, heads, track = self.sectors, self.cylinders(), self.head_count, self.track_length
        lba28, chs = min(total, identify.LBA28), cylinders * heads * track
        return identify.sealed({
            **identify.common(self.number, self.other, self.dma_mode, self.names),
            0: 0x0040,
            1: min(total // (HEADS * TRACK), CYLINDERS), 3: HEADS, 6: TRACK,
            4: TRACK * 512, 5: 512,                         # ATA-1, bytes of a track and of a sector; retired since
            2: 0xC837,                                      # complete, and needs no SET FEATURES to spin up
            47: 0x8000 | MOST, 48: 0x0001,                  # 48: ATA-1, accesses of 32 bits; reserved since
            49: 0x2F00, 51: 0x0200,                         # standby timer, IORDY, LBA, DMA; [ATA-4] PIO mode 2
            54: cylinders, 55: heads, 56: track, 57: chs & 0xFFFF, 58: chs >> 16,
            59: 0x0100 | self.multiple if self.multiple else 0,
            60: lba28 & 0xFFFF, 61: lba28 >> 16,
            82: 0x4068, 83: 0x7400, 84: 0x4040,             # NOP, look-ahead, write cache, power; flush, LBA48; FUA
            85: 0x4008 | self.cache << 5 | self.look_ahead << 6, 86: 0x3400, 87: 0x4040,
            100: total & 0xFFFF, 101: total >> 16 & 0xFFFF, 102: total >> 32 & 0xFFFF,
        })

    # Commands without data

    def translate(self) -> None:
        """INITIALIZE DEVICE PARAMETERS."""
        if not self.count:
            self.abort()
            return
        self.head_count, self.track_length = (self.device & 0xF) + 1, self.count
        self.finish()

    def set_multiple(self) -> None:
        """SET MULTIPLE MODE: a power of two; 0, or what cannot be, disables it."""
        good = self.count <= MOST and not self.count & self.count - 1
        self.multiple = self.count if good else 0
        self.finish() if good else self.abort()

    def set_features(self) -> None:
        feature = self.SETTINGS.get(self.features)
        self.finish() if feature and feature(self) else self.abort()

    def set_transfer(self) -> bool:
        return self.set_mode(self.count)

    def set_cache(self) -> bool:
        self.cache = int(self.features == 0x02)
        return bool(self.cache) or self.flushed()       # [ATA] 8.46: off means that nothing is left in it

    def set_look_ahead(self) -> bool:
        self.look_ahead = int(self.features == 0xAA)
        return True

    def set_revert(self) -> bool:
        self.revert = int(self.features == 0xCC)
        return True

    def flush(self) -> None:
        self.finish() if self.flushed() else self.fail(ABRT, self.STATUS.DF)

    def seek(self) -> None:
        self.finish() if self.sector_at < self.sectors else self.fault(IDNF)

    def native_max(self) -> None:
        self.how, last = LBA, min(self.sectors, identify.LBA28) - 1
        self.tell(max(last, 0))
        self.finish()

    def native_max_ext(self) -> None:
        self.how = EXT
        self.tell(max(self.sectors - 1, 0))
        self.finish()

    def idle(self) -> None:
        self.power = IDLING
        self.finish()

    def stand_by(self) -> None:
        self.power = STANDBY
        self.flush()

    def sleep(self) -> None:
        self.power = SLEEPING
        self.flush()

    def check_power(self) -> None:
        self.count = self.power
        self.finish()

    SETTINGS: ClassVar[dict[int, Callable[[ATADisk], bool]]] = {
        0x02: set_cache, 0x03: set_transfer, 0x55: set_look_ahead, 0x66: set_revert, 0x82: set_cache, 0xAA: set_look_ahead,
        0xCC: set_revert,
    }
    COMMANDS: ClassVar[dict[int, Row]] = {
        **dict.fromkeys((0x20, 0x21), Row("give", LBA)),
        0x24: Row("give", EXT),
        0x25: Row("pour", EXT, DMA),
        0x27: Row("native_max_ext"),
        0x29: Row("give", EXT, MULTI),
        **dict.fromkeys((0x30, 0x31), Row("take", LBA, WRITE)),
        0x34: Row("take", EXT, WRITE),
        0x35: Row("draw", EXT, WRITE | DMA),
        0x39: Row("take", EXT, WRITE | MULTI),
        0x3D: Row("draw", EXT, WRITE | DMA | FUA),
        **dict.fromkeys((0x40, 0x41), Row("verify", LBA)),
        0x42: Row("verify", EXT),
        0x91: Row("translate"),
        0xC4: Row("give", LBA, MULTI),
        0xC5: Row("take", LBA, WRITE | MULTI),
        0xC6: Row("set_multiple"),
        0xCE: Row("take", EXT, WRITE | MULTI | FUA),
        **dict.fromkeys((0xC8, 0xC9), Row("pour", LBA, DMA)),
        **dict.fromkeys((0xCA, 0xCB), Row("draw", LBA, WRITE | DMA)),
        **dict.fromkeys((0xE0, 0xE2, 0x94, 0x96), Row("stand_by")),
        **dict.fromkeys((0xE1, 0xE3, 0x95, 0x97), Row("idle")),
        **dict.fromkeys((0xE5, 0x98), Row("check_power")),
        **dict.fromkeys((0xE6, 0x99), Row("sleep")),
        **dict.fromkeys((0xE7, 0xEA), Row("flush")),
        0xEC: Row("identity"),
        0xEF: Row("set_features"),
        0xF8: Row("native_max"),
        **dict.fromkeys(range(0x10, 0x20), Row("finish")),          # RECALIBRATE: it has nowhere to go to
        **dict.fromkeys(range(0x70, 0x80), Row("seek", LBA)),
    }
