"""The debug console of Bochs and QEMU at E9h: a byte written is a byte printed.

Sources: Bochs, `iodev/unmapped.cc`; QEMU, `hw/char/debugcon.c`.

Not modelled: Bochs' option `port_e9_hack` off; leave the part out instead.
"""

from __future__ import annotations

from collections.abc import Callable

from emu.device import Device, R, Reg, W


class DebugCon(Device):
    """`send(data)` takes what the guest prints."""

    TEXT = Reg(0, W, "a byte to print")
    READBACK = Reg(0, R, "E9h: how a guest knows that somebody listens", reset=0xE9)

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self.send = send

    def write_TEXT(self, value: int) -> None:
        self.send(bytes([value]))
