"""The PCI bus of a board: its slots, the windows that functions open on ports and memory, the interrupt lines."""

from __future__ import annotations

from dataclasses import dataclass

from emu.boards.board import Board
from emu.bus import Bus
from emu.chips.i440fx import I440FX
from emu.chips.pci import IO, PCIFunction
from emu.chips.piix3 import PIIX3
from emu.device import Device

LINES = 4                   # INTA# to INTD#, PIRQA# to PIRQD#


@dataclass(frozen=True)
class Window:
    """Where a block of registers is decoded."""

    bus: Bus
    device: Device
    block: str
    base: int
    length: int


def line(slot: int, pin: int) -> int:
    """The PIRQ (0 to 3) of interrupt pin `pin` (1 to 4) in a slot: each slot is turned by one, as on QEMU's boards."""
    return (slot - 1 + pin - 1) % LINES


class PCIBus:
    """`plug` puts a function in; its windows and its interrupt are then the board's care."""

    def __init__(self, board: Board, host: I440FX, bridge: PIIX3) -> None:
        self.board, self.host, self.bridge = board, host, bridge
        self.windows: dict[tuple[str, str], Window] = {}
        self.open: list[Window] = []
        host.show = self.show

    def plug(self, function: PCIFunction, slot: int, number: int = 0) -> None:
        """Put `function` into a slot, as function `number` of its device."""
        self.host.plug(function, slot, number)
        function.show = self.show
        if "INTA" in function.declared:
            self.board.wire((function.inta, self.bridge.pirq[line(slot, function.INTPN.reset)]))

    def show(self, device: Device, block: str, space: str, base: int | None, length: int) -> None:
        """A function opens, moves or closes a window.

        The board's own parts keep what they have.  Where windows overlap the one of the first name wins, whichever was
        opened first: what the guest sees follows from the registers alone, and so is the same after a restore.
        """
        key, bus = (device.name, block), self.board.ports if space == IO else self.board.mmio
        window = None if base is None else Window(bus, device, block, base, length)
        if window == self.windows.get(key):
            return
        self.windows.pop(key, None)
        if window is not None:
            self.windows[key] = window
        for window in self.open:
            window.bus.remove(window.device, window.block)
        self.open = [self.windows[key] for key in sorted(self.windows)]
        for window in self.open:
            window.bus.place(window.device, window.block, window.base, window.length, yields=True)
