"""The least that an operating system can be written for: two 8259A, an 8254, one 16550A, a debug console, an exit."""

from __future__ import annotations

from collections.abc import Callable

from emu.boards.board import MIB, RAM, Board, nobody
from emu.boards.ticks import Ticker
from emu.chips.debugcon import DebugCon
from emu.chips.debugexit import DebugExit
from emu.chips.i8254 import I8254
from emu.chips.i8259 import I8259
from emu.chips.uart16550 import UART16550
from emu.engine import Costs


class Tiny(Board):
    """`memory` in bytes; `debug` takes what is written to the debug console at port E9h."""

    def __init__(self, memory: int = 16 * MIB, cpu: str = "qemu64", costs: Costs | None = None, *,
                 debug: Callable[[bytes], None] = nobody) -> None:
        super().__init__(memory, cpu, costs)
        self.on_debug = debug
        add = self.add
        pic2 = add("pic2", I8259, at=0xA0)
        pic1 = add("pic1", I8259, {2: self.counted(pic2.acknowledge, slave=True)}, at=0x20)
        pit = add("pit", I8254, (), at=0x40)
        com1 = add("com1", UART16550, self.written, self._listened, at=0x3F8)
        add("debugcon", DebugCon, lambda data: self.on_debug(data), self._debugged, at=0xE9)
        add("debugexit", DebugExit, self.exit, at=0xF4)
        self._console(com1)
        self.wire(
            (pit.out0,  pic1.ir[0]),
            (pic2.int,  pic1.ir[2]),
            (com1.intr, pic1.ir[4]),
            (pic1.int,  self.engine.intr))
        acknowledge = self.counted(pic1.acknowledge)
        self.attach(acknowledge, Ticker(self, pit, pic1, 0x20, acknowledge, self.irqs))
        self._map_ram()

    def memory_map(self) -> list[tuple[int, int, int]]:
        """All of it is RAM, but for the hole where a PC has its adapters."""
        return [(base, length, RAM) for base, _, length in self.ram_ranges()]
