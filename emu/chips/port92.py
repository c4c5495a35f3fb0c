"""System control port A of the PS/2 at 92h: fast A20 and fast CPU reset.

Sources: [P] IBM PS/2 Hardware Interface Technical Reference, "System Control Port A"; [I] Intel 82371SB (PIIX3),
2.5.4.

The A20 gate of the machine is open while this output or that of the keyboard controller is high: the board ORs them.

Not modelled: the lock on the password in the CMOS RAM (bit 3 is stored, and once set stays set, but locks nothing),
the watchdog (bit 4 reads 0), the lamp of the fixed disk (bits 6 and 7 are only stored).
"""

# mypy: disable-error-code="has-type"
from __future__ import annotations

from emu.device import RW, Device, Out, Reg, Timer

PULSE = 6_000       # ns; [P]: the reset is pulsed, 13.4 us after the write at the latest


class Port92(Device):
    """A20 gate and CPU reset without the keyboard controller."""

    CONTROL = Reg(0, RW, "system control port A", "LAMP1 LAMP0 0 0 LOCK 0 A20 INIT")
    A20 = Out("high: address line 20 is the CPU's own")
    RC = Out("reset the CPU: its rising edge")
    RELEASE = Timer("ends the pulse on RC")

    def write_CONTROL(self, value: int) -> None:
        before: int = self.control
        self.control = value & self.CONTROL.mask | before & self.CONTROL.LOCK
        self.a20(1 if value & self.CONTROL.A20 else 0)
        if value & ~before & self.CONTROL.INIT:     # [P]: INIT must be 0 before another reset can be asked for
            self.release.at(self.clock.now + PULSE)
            self.rc(1)                              # last: the board may reset us from here

    def on_RELEASE(self) -> None:
        self.rc(0)
