"""An 8042 with a keyboard and a mouse on a bench, and a driver that talks to them.  [L] Linux, i8042.c."""

from __future__ import annotations

from emu.chips.i8042 import FRAME, I8042
from emu.chips.keyboard import Keyboard
from emu.chips.mouse import Mouse
from tests.chips.bench import Bench

OBF, IBF, SYS, CMD, AUXB, TIM = 1, 2, 4, 8, 0x20, 0x40
KBDINT, AUXINT, KBDDIS, AUXDIS, XLAT = 1, 2, 0x10, 0x20, 0x40
LATER = 3 * FRAME



class PC(Bench):
    """A controller with its two devices, as the board joins them."""

    def __init__(self, keyboard=True, mouse=True):
        self.kbd, self.mouse = Keyboard(), Mouse()
        super().__init__(I8042, self.kbd if keyboard else None, self.mouse if mouse else None)
        self.kbd.attach("kbd", self.clock)
        self.mouse.attach("mouse", self.clock)

    def command(self, *values):
        """[L] i8042_command: the command, then its parameters."""
        self.write("COMMAND", values[0])
        for value in values[1:]:
            self.wait_write()
            self.write("DBBIN", value)

    def wait_write(self):
        for _ in range(10000):
            if not self.read("STATUS") & IBF:
                return
            self.advance(50_000)
        raise AssertionError("the input buffer stays full")

    def wait(self, ms=30):
        """[L] i8042_wait_read: (AUXB, value), or None."""
        for _ in range(ms * 20):
            status = self.read("STATUS")
            if status & OBF:
                return bool(status & AUXB), self.read("DBBOUT")
            self.advance(50_000)
        return None

    def answer(self, *values):
        self.command(*values)
        return self.wait(1)

    def all(self):
        """Everything that is to come, as one list."""
        out = []
        while (got := self.wait(5)) is not None:
            out.append(got[1])
        return out

    def to_kbd(self, *values):
        self.wait_write()
        self.write("DBBIN", *values)
        return self.all()

    def to_mouse(self, *values):
        out = []
        for value in values:
            self.command(0xD4, value)
            out += self.all()
        return out

    def snapshot(self):
        return [chip.save() for chip in (self.chip, self.kbd, self.mouse)]
