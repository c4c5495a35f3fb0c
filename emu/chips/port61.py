"""The AT's system control port B at 61h: NMI status and control, timer 2, speaker.

[AT] IBM PC AT Technical Reference, "System board I/O"; [P] 82371SB (PIIX3), order 290550-002: NMISC.

Not modelled: parity (SERR#) and channel check (IOCHK#) never happen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from emu.device import RW, Device, Out, Reg

# Refresh is requested by counter 1 of the timer, which every BIOS sets to 18: one each 15.085 us
REFRESHES, SECONDS = 1193182, 18 * 10**9


class Speaker(NamedTuple):
    """What the speaker does: `hertz` of a tone, or 0 while its cone only rests at `level`."""

    hertz: float
    level: int


class Port61(Device):
    """`out2` tells the level of the timer's OUT2 when it is asked: no alarm has to follow it; `tone` its frequency, or 0."""

    NMISC = Reg(0, RW, "NMI status and control", "SERR IOCHK OUT2 REFRESH IOCHK_OFF SERR_OFF SPKR GATE2")

    GATE2 = Out("gate of timer 2")
    SPKR = Out("speaker data: the speaker hears OUT2 while this is high")

    def __init__(self, out2: Callable[[], int], tone: Callable[[], float] = lambda: 0.0) -> None:
        self.out2, self.tone = out2, tone

    @property
    def speaker(self) -> Speaker:
        """[AT] The speaker is driven by OUT2 and the speaker data bit: a tone, or steps that a program makes itself."""
        on = self.nmisc & self.NMISC.SPKR
        return Speaker(self.tone() if on else 0.0, self.out2() if on else 0)

    def read_NMISC(self) -> int:
        refresh = self.clock.now * REFRESHES // SECONDS & 1
        return int(self.nmisc | refresh << 4 | self.out2() << 5)

    def write_NMISC(self, value: int) -> None:
        self.nmisc = value & 0x0F
        self.gate2(value & 1)
        self.spkr(value >> 1 & 1)
