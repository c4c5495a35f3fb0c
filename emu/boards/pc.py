"""The PC: two 8259A, an 8254, an RTC, an 8042 with keyboard and mouse, a 16550A, and the small ports around them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from emu.boards.board import HIGH, LOW_END, MIB, RAM, RESERVED, Board, nobody
from emu.boards.screen import Screen, adapter
from emu.chips.debugcon import DebugCon
from emu.chips.debugexit import DebugExit
from emu.chips.i8042 import I8042
from emu.chips.i8254 import I8254
from emu.chips.i8259 import I8259
from emu.chips.keyboard import Keyboard
from emu.chips.mc146818 import MC146818, bcd
from emu.chips.mouse import Mouse
from emu.chips.port61 import Port61
from emu.chips.port92 import Port92
from emu.chips.post import Post
from emu.chips.scancodes import NAMES
from emu.chips.typist import Typist
from emu.chips.uart16550 import UART16550
from emu.engine import Costs
from emu.host import keys
from emu.host.files import replacing

EBDA = 0x9FC00              # the extended BIOS data area: the last KiB of conventional memory
START = datetime(2026, 1, 1, tzinfo=UTC)        # what the RTC says at power-on unless the user asks for another time


class PC(Board):
    """`memory` in bytes; `rtc` the time at power-on; `debug` takes what is written to the debug console at port E9h."""

    def __init__(self, memory: int = 256 * MIB, cpu: str = "qemu64", costs: Costs | None = None, *,
                 rtc: datetime = START, debug: Callable[[bytes], None] = nobody, vga_bios: bytes | None = None) -> None:
        super().__init__(memory, cpu, costs)
        self.on_debug = debug
        self.rtc_start = rtc
        add = self.add
        pic2 = add("pic2", I8259, at=0xA0, elcr=0x4D1)
        pic1 = add("pic1", I8259, {2: self.counted(pic2.acknowledge, slave=True)}, at=0x20, elcr=0x4D0)
        pit = add("pit", I8254, at=0x40)
        port61 = add("port61", Port61, lambda: pit.out(2), at=0x61)
        keyboard = add("keyboard", Keyboard)
        mouse = add("mouse", Mouse)
        kbc = add("kbc", I8042, keyboard, mouse, at=0x60)
        add("typist", Typist, keyboard.key, lambda: not keyboard.codes)
        self.screen: Screen = Screen(adapter(self, vga_bios))
        rtc_chip = add("rtc", MC146818, rtc, at=0x70)
        port92 = add("port92", Port92, at=0x92)
        com1 = add("com1", UART16550, self.written, self._listened, at=0x3F8)
        add("post", Post, at=0x80)
        add("debugcon", DebugCon, lambda data: self.on_debug(data), self._debugged, at=0xE9)
        add("debugexit", DebugExit, self.exit, at=0xF4)
        self._console(com1)
        for name, port in (("COM2", 0x2F8), ("COM3", 0x3E8), ("COM4", 0x2E8), ("LPT1", 0x378), ("LPT2", 0x278),
                           ("primary IDE", 0x1F0), ("secondary IDE", 0x170), ("floppy", 0x3F0), ("PCI", 0xCF8)):
            self.absent(name, port)
        self.absent("DMA", 0x00, 0x20)
        self.absent("DMA page registers", 0x81, 0x0F)
        self.absent("DMA", 0xC0, 0x20)
        self.absent("I/O delay", 0xED, 1)

        def a20(_: int) -> None:
            self.engine.a20(kbc.a20.level | port92.a20.level)      # either gate opens the line

        self.wire(
            (pit.out0,      pic1.ir[0]),
            (kbc.kbd_irq,   pic1.ir[1]),
            (pic2.int,      pic1.ir[2]),
            (com1.intr,     pic1.ir[4]),
            (rtc_chip.intr, pic2.ir[0]),
            (kbc.aux_irq,   pic2.ir[4]),
            (port61.gate2,  pit.gate2),
            (kbc.a20,       a20),
            (port92.a20,    a20),
            (kbc.rc,        self.ask_reset),
            (port92.rc,     self.ask_reset),
            (pic1.int,      self.engine.intr))
        self.attach(self.counted(pic1.acknowledge))
        self._map_ram()
        self._cmos(rtc_chip)

    # -- screen, keys, mouse

    def screenshot(self, path: str | Path) -> None:
        """Write what the screen shows as a PNG file.  Raises OSError."""
        data = self.screen.png()
        with replacing(path) as file:
            file.write(data)

    def key(self, name: str) -> None:
        """Press and release keys, held together, by QEMU's names: ret, f12, shift-a, ctrl-alt-delete.  Raises ValueError."""
        chord = keys.chord(name)
        for key in chord:
            if key not in NAMES:
                raise ValueError(f"no key is called {key or name!r}")
        self._typist.type([chord])

    def type(self, text: str) -> None:
        """Type on a US keyboard.  Raises ValueError for a character that it does not have."""
        self._typist.type(keys.chords(text))

    @property
    def _typist(self) -> Typist:
        typist = self.chips["typist"]
        assert isinstance(typist, Typist)
        return typist

    def mouse(self, dx: int, dy: int, buttons: int | None = None) -> None:
        """Move the mouse right and down, then hold the buttons in the mask: 1 left, 2 right, 4 middle."""
        mouse = self.chips["mouse"]
        assert isinstance(mouse, Mouse)
        mouse.move(dx, dy)
        if buttons is not None:
            mouse.buttons(buttons)

    def memory_map(self) -> list[tuple[int, int, int]]:
        """Conventional memory up to the EBDA, RAM from 1 MiB, RAM above 4 GiB."""
        entries = [(0, EBDA, RAM), (EBDA, 0x400, RESERVED), (0xF0000, 0x10000, RESERVED),
                   (MIB, min(self.size, LOW_END) - MIB, RAM)]
        if self.size > LOW_END:
            entries.append((HIGH, self.size - LOW_END, RAM))
        return [entry for entry in entries if entry[1]]

    def _firmware(self) -> None:
        """What a BIOS leaves, as far as kernels that are started directly count on it: its data area, the keyboard on."""
        for port, value in ((0x64, 0x60), (0x60, 0x65)):                # command byte: KBDINT, SYS, AUXDIS, XLAT
            self.ports.write[port << 4 | 1](value)
        self.write(0x400, struct.pack("<4H", 0x3F8, 0, 0, 0))          # base addresses of COM1 to COM4
        self.write(0x40E, struct.pack("<H", EBDA >> 4))
        self.write(0x413, struct.pack("<H", EBDA >> 10))                # KiB of base memory

    def _cmos(self, rtc: MC146818) -> None:
        """What a BIOS set-up leaves in the CMOS: equipment, memory sizes, century, checksum (IBM AT Technical Reference)."""
        extended = min((self.size - MIB) // 1024, 0xFFFF)
        above16 = max(min(self.size, LOW_END) - 16 * MIB, 0) // 65536
        for cell, value in {
            0x14: 0x06, 0x15: 640 & 0xFF, 0x16: 640 >> 8,
            0x17: extended & 0xFF, 0x18: extended >> 8, 0x30: extended & 0xFF, 0x31: extended >> 8,
            0x32: bcd(self.rtc_start.year // 100), 0x34: above16 & 0xFF, 0x35: above16 >> 8,
        }.items():
            rtc.cmos(cell, value)
        checksum = sum(rtc.cells[0x10:0x2E])
        rtc.cmos(0x2E, checksum >> 8)
        rtc.cmos(0x2F, checksum & 0xFF)
