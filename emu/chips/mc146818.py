"""MC146818: real-time clock and CMOS memory.  [M] Motorola MC146818A data sheet, 1984; 128 bytes as later parts have.

The time is computed from the machine's clock when somebody looks; nothing ticks.  A battery keeps time, settings and
memory over a reset; a part without one starts anew.

Not modelled: the square wave (SQW), daylight savings (DSE is kept), crystals other than 32768 Hz (a divider setting
other than DV = 010 stops the chain), the undefined bytes read during an update.  [M] has no century: 32h is memory
(the PC's set-up writes it).
"""

# mypy: disable-error-code="has-type"
from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from emu.bus import Bus
from emu.device import RW, Device, Out, R, Reg, State, Timer, W

SECOND = 10**9
BUSY = 244_000 + 1_984_000                          # [M] tBUC + tUC: from UIP's rise to the end of the update
EPOCH = date(2000, 1, 1).toordinal()                # [M] every fourth year is a leap year, as in this century
CENTURY = 36_525                                    # days
ANY = 0xC0                                          # [M] an alarm byte of C0h to FFh matches everything


class MC146818(Device):
    """`start` is the time when the machine's clock reads 0: a datetime, or seconds since 1970."""

    INDEX = Reg(0, W, "which cell; bit 7 masks the NMI", "NMI AD6 AD5 AD4 AD3 AD2 AD1 AD0")
    DATA = Reg(1, RW, "the cell")

    SECONDS = Reg(0x0, RW, "seconds", "0 S6 S5 S4 S3 S2 S1 S0", block="cell")       # [M] bit 7 is read-only
    SECONDS_ALARM = Reg(0x1, RW, "seconds of the alarm", block="cell")
    MINUTES = Reg(0x2, RW, "minutes", block="cell")
    MINUTES_ALARM = Reg(0x3, RW, "minutes of the alarm", block="cell")
    HOURS = Reg(0x4, RW, "hours; with H24 = 0, bit 7 is PM", block="cell")
    HOURS_ALARM = Reg(0x5, RW, "hours of the alarm", block="cell")
    DAY = Reg(0x6, RW, "day of the week, 1 is Sunday", block="cell")
    DATE = Reg(0x7, RW, "day of the month", block="cell")
    MONTH = Reg(0x8, RW, "month", block="cell")
    YEAR = Reg(0x9, RW, "year of the century", block="cell")
    A = Reg(0xA, RW, "register A", "UIP DV2 DV1 DV0 RS3 RS2 RS1 RS0", reset=0x26, block="cell")  # undefined at
    B = Reg(0xB, RW, "register B", "SET PIE AIE UIE SQWE DM H24 DSE", reset=0x02, block="cell")  # power-on: as on PCs
    C = Reg(0xC, R, "register C", "IRQF PF AF UF 0 0 0 0", block="cell")
    D = Reg(0xD, R, "register D", "VRT 0 0 0 0 0 0 0", reset=0x80, block="cell")

    CELLS = State([0] * 128, "the memory, from cell 0Eh on")
    NEXT = State(0, "when the next update ends (ns); the divider chain wrapped BUSY before")
    EDGE = State(None, "when PF will be set next (ns), if the chain runs and RS asks for it")
    EVENT = Timer("a flag that interrupts is due")

    INTR = Out("interrupt request (the package's IRQ is active low)")
    NMIMASK = Out("bit 7 of the last index: high masks the NMI")

    KEPT = ("seconds", "seconds_alarm", "minutes", "minutes_alarm", "hours", "hours_alarm", "day", "date", "month",
            "year", "a", "b", "cells", "next")

    def __init__(self, start: int | datetime, battery: bool = True) -> None:
        self.start = start if isinstance(start, datetime) else datetime.fromtimestamp(start, UTC)
        self.battery = battery
        self.inside = Bus()
        self.inside.place(self, "cell", 0)

    def reset(self) -> None:
        """The RESET pin; the first time, and without a battery, power-on."""
        values = vars(self)
        kept = {}
        if self.battery and "cells" in values:
            self.sync()
            kept = {key: values[key] for key in self.KEPT}
        super().reset()
        if kept:
            values.update(kept)
            self.b &= ~(self.B.PIE | self.B.AIE | self.B.UIE | self.B.SQWE)         # [M] RESET
        else:
            self._start()
        self.edge = self._edge()
        self.update()

    def _start(self) -> None:
        now = self.clock.now
        seconds, past = divmod(self.start.microsecond * 1000 + now, SECOND)
        self.next = now + SECOND - past
        time = self.start + timedelta(seconds=seconds)
        self.seconds, self.minutes, self.hours = bcd(time.second), bcd(time.minute), bcd(time.hour)
        self.day, self.date = time.isoweekday() % 7 + 1, bcd(time.day)
        self.month, self.year = bcd(time.month), bcd(time.year % 100)

    def cmos(self, index: int, value: int) -> None:
        """Set a cell, as a technician does before the machine is sold."""
        if index < 14:
            self.sync()
            self.inside.write[index << 4 | 1](value)
            self.update()
        else:
            self.cells[index] = value

    # The pair of ports

    def write_INDEX(self, value: int) -> None:
        self.index = value
        self.nmimask(value >> 7)

    def read_DATA(self) -> int:
        index = self.index & 0x7F
        if index < 14:
            self.sync()
            value: int = self.inside.read[index << 4 | 1]()
        else:
            value = self.cells[index]
        return value

    def write_DATA(self, value: int) -> None:
        self.cmos(self.index & 0x7F, value)

    # Registers

    def read_A(self) -> int:
        value: int = self.a
        if self._counting() and self.clock.now >= self.next - BUSY:
            value |= self.A.UIP
        return value

    def write_A(self, value: int) -> None:
        stopped = not self._running()
        self.a = value & ~self.A.UIP
        if stopped and self._running():
            self.next = self.clock.now + SECOND // 2 + BUSY         # [M] half a second after the divider's reset ends
        self.edge = self._edge()

    def write_B(self, value: int) -> None:
        self.b = value & ~self.B.UIE if value & self.B.SET else value               # [M] SET clears UIE

    def read_C(self) -> int:
        value: int = self.c
        if value & self.b & 0x70:                                   # PF AF UF, PIE AIE UIE: the same places
            value |= self.C.IRQF
        self.c = 0
        self.update()
        return value

    # Time

    def _running(self) -> bool:
        return bool(self.a & 0x70 == 0x20)                          # DV = 010

    def _counting(self) -> bool:
        return self._running() and not self.b & self.B.SET

    def sync(self) -> None:
        """Do what has become due since somebody looked: updates and edges."""
        now, flags = self.clock.now, 0
        if self._running() and now >= self.next:
            cycles = (now - self.next) // SECOND + 1
            self.next += cycles * SECOND
            if self._counting():
                alarm = self._alarm()
                flags = self.C.UF | (self.C.AF if alarm and alarm <= cycles else 0)
                self._advance(cycles)
        if self.edge is not None and now >= self.edge:
            flags |= self.C.PF
            self.edge = self._edge()
        if flags:
            self.c |= flags
            self.update()

    def _edge(self) -> int | None:
        """When PF is set next: amid two wraps of the stage that RS selects."""
        rate = self.a & 0x0F
        if not rate or not self._running():
            return None
        if rate < 3:
            rate += 7                                               # [M] table 5: RS 1 and 2 as 8 and 9
        start, half = self.next - BUSY, 10**9 << rate - 1           # half: of the period, in 1/65536 ns
        count = (((self.clock.now - start << 16) - half) // (2 * half)) + 1
        return start - (-(2 * count + 1) * half >> 16)

    def _plain(self, value: int) -> int:
        return value if self.b & self.B.DM else (value >> 4) * 10 + (value & 0x0F)

    def _coded(self, value: int) -> int:
        return value if self.b & self.B.DM else bcd(value)

    def _coded_hour(self, hour: int) -> int:
        if self.b & self.B.H24:
            return self._coded(hour)
        return self._coded((hour + 11) % 12 + 1) | (0x80 if hour >= 12 else 0)

    def _of_day(self) -> int:
        """Seconds since midnight; a byte that is no time counts as the last one before its carry."""
        if self.b & self.B.H24:
            hour = min(self._plain(self.hours), 23)
        else:
            hour = self._plain(self.hours & 0x7F) % 12 + (12 if self.hours & 0x80 else 0)
        return hour * 3600 + min(self._plain(self.minutes), 59) * 60 + min(self._plain(self.seconds), 59)

    def _advance(self, seconds: int) -> None:
        days, time = divmod(self._of_day() + seconds, 86_400)
        self.hours = self._coded_hour(time // 3600)
        self.minutes, self.seconds = self._coded(time // 60 % 60), self._coded(time % 60)
        if days:
            self.day = self._coded((min(max(self._plain(self.day), 1), 7) - 1 + days) % 7 + 1)
            year, month = 2000 + self._plain(self.year) % 100, min(max(self._plain(self.month), 1), 12)
            first = date(year, month, 1).toordinal() - 1 - EPOCH
            last = (date(year + month // 12, month % 12 + 1, 1).toordinal() - 1) - EPOCH - first
            now = date.fromordinal((first + min(max(self._plain(self.date), 1), last) + days) % CENTURY + EPOCH)
            self.date, self.month = self._coded(now.day), self._coded(now.month)
            self.year = self._coded(now.year - 2000)

    def _alarm(self) -> int | None:
        """The how manieth update from now will find the alarm, if any will."""
        hours = [h for h in range(24) if self.hours_alarm >= ANY or self.hours_alarm == self._coded_hour(h)]
        minutes = [m for m in range(60) if self.minutes_alarm >= ANY or self.minutes_alarm == self._coded(m)]
        seconds = [s for s in range(60) if self.seconds_alarm >= ANY or self.seconds_alarm == self._coded(s)]
        if not (hours and minutes and seconds):
            return None
        now = self._of_day()
        time = now + 1
        while True:
            if time // 3600 % 24 not in hours:
                time += 3600 - time % 3600
            elif time // 60 % 60 not in minutes:
                time += 60 - time % 60
            elif time % 60 not in seconds:
                time += 1
            else:
                return time - now

    # Interrupts

    def on_EVENT(self) -> None:
        self.sync()
        self.update()

    def update(self) -> None:
        """INTR follows the flags; the timer waits for a flag only while it would interrupt."""
        B, enabled = self.B, self.b & 0x70
        pending = self.c & enabled
        self.intr(1 if pending else 0)
        due = []
        if enabled and not pending:
            if enabled & B.PIE and self.edge is not None:
                due.append(self.edge)
            if enabled & B.UIE and self._counting():
                due.append(self.next)
            if enabled & B.AIE and self._counting() and (alarm := self._alarm()):
                due.append(self.next + (alarm - 1) * SECOND)
        self.event.at(min(due)) if due else self.event.off()


def bcd(value: int) -> int:
    """Two decimal digits in a byte."""
    return value // 10 << 4 | value % 10
