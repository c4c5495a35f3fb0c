"""The POST code port at 80h: a latch between the firmware and a pair of hexadecimal digits.

Sources: IBM AT Technical Reference, March 1986, section 5 (`MFG_PORT`); the port is the DMA page register that no
channel uses, so it reads back.

Not modelled: the digits of a PS/2, which has them at 90h and 680h.
"""

from __future__ import annotations

from collections.abc import Callable

from emu.device import RING, RW, Device, Reg


def nobody(code: int) -> None:
    """Nobody looks at the digits."""


class Post(Device):
    """`tell(code)` hears each code that is written, also one that repeats."""

    CODE = Reg(0, RW, "the last checkpoint that the firmware has reached", native=RING)

    def __init__(self, tell: Callable[[int], None] = nobody) -> None:
        self.tell = tell

    def write_CODE(self, value: int) -> None:
        self.code = value
        self.tell(value)

    def holds_CODE(self) -> bool:
        return self.tell is nobody

    def collect_CODE(self, data: bytes) -> None:
        self.code = data[-1]
