"""The debug console of Bochs and QEMU at E9h: a byte written is a byte printed.

Sources: Bochs, `iodev/unmapped.cc`; QEMU, `hw/char/debugcon.c`.

Not modelled: Bochs' option `port_e9_hack` off; leave the part out instead.
"""

from __future__ import annotations

from collections.abc import Callable

from emu.device import RING, VALUE, Device, R, Reg, W, always


class DebugCon(Device):
    """`send(data)` takes what the guest prints: each byte at once while `watched()`."""

    TEXT = Reg(0, W, "a byte to print", native=RING)
    READBACK = Reg(0, R, "E9h: how a guest knows that somebody listens", reset=0xE9, native=VALUE)

    def __init__(self, send: Callable[[bytes], None], watched: Callable[[], bool] = always) -> None:
        self.send, self.watched = send, watched

    def write_TEXT(self, value: int) -> None:
        self.send(bytes([value]))

    def holds_TEXT(self) -> bool:
        return not self.watched()

    def collect_TEXT(self, data: bytes) -> None:
        self.send(data)
