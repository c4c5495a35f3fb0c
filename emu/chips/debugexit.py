"""QEMU's isa-debug-exit: a guest that writes v ends the run with the status v * 2 + 1.

Source: QEMU, `hw/misc/debugexit.c`.  The status is odd, so it is never that of a run that ended well.

Not modelled: `iosize` and `iobase` as options; the part is four bytes wide, as it is mostly configured, so that an
access of 1, 2 or 4 bytes arrives whole.
"""

from __future__ import annotations

from collections.abc import Callable

from emu.device import RW, Device, Reg


class DebugExit(Device):
    """`leave(status)` is told once for each write; the run may go on until the host ends it."""

    CODE = Reg(0, RW, "the value to leave with; reads 0", size=4)

    def __init__(self, leave: Callable[[int], None]) -> None:
        self.leave = leave

    def write_CODE(self, value: int) -> None:
        self.leave(value << 1 | 1)
