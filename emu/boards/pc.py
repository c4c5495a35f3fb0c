"""The PC: an i440FX with its PIIX3 and PIIX4, and what a board of its time has on them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from emu.boards import acpi, cmos, fwitems, setup, smbios
from emu.boards.board import HIGH, LOW_END, MIB, RAM, RESERVED, BadBoard, Board, nobody
from emu.boards.floppy import add_floppy
from emu.boards.floppy import cmos as floppy_cells
from emu.boards.ide import add_ide, boot_order
from emu.boards.ide import cmos as ide_cells
from emu.boards.pcibus import PCIBus
from emu.boards.screen import Screen, adapter
from emu.boards.shadow import Shadow
from emu.boards.ticks import Ticker
from emu.chips.atadisk import ATADisk
from emu.chips.atapicd import ATAPICDROM
from emu.chips.debugcon import DebugCon
from emu.chips.debugexit import DebugExit
from emu.chips.fwcfg import FwCfg
from emu.chips.i440fx import I440FX
from emu.chips.i8042 import I8042
from emu.chips.i8254 import I8254
from emu.chips.i8259 import I8259
from emu.chips.keyboard import Keyboard
from emu.chips.mc146818 import MC146818
from emu.chips.media import Medium
from emu.chips.mouse import Mouse
from emu.chips.piix3 import PIIX3, ROUTES
from emu.chips.piix4pm import PIIX4PM
from emu.chips.port61 import Port61
from emu.chips.port92 import Port92
from emu.chips.post import Post
from emu.chips.scancodes import NAMES
from emu.chips.typist import Typist
from emu.chips.uart16550 import UART16550
from emu.engine import Costs
from emu.host import keys
from emu.host.files import replacing
from emu.loaders import Start, pieces

EBDA = 0x9FC00              # the extended BIOS data area: the last KiB of conventional memory
START = datetime(2026, 1, 1, tzinfo=UTC)        # what the RTC says at power-on unless the user asks for another time
LETTERS = "acdn"            # of the devices in a boot order: floppy, disk, CD-ROM, network
BOOT = "acd"


class PC(Board):
    """`memory` in bytes; `rtc` the time at power-on; `debug` takes what is written to the debug consoles at E9h and 402h.

    `firmware` is the content of its ROM, 64 KiB to 16 MiB; without it the board starts only kernels.  `boot` names the
    devices in their order (a floppy, c disk, d CD-ROM, n network), `menu` asks the firmware for a boot menu.
    `vga_bios` is the content of the adapter's ROM.  `floppies`: a drive for each of up to two diskettes, None an empty one.
    `disks`: up to four, as ide.add_ide places them; `cdrom`: the disc in the CD-ROM drive.
    """

    def __init__(self, memory: int = 256 * MIB, cpu: str = "qemu64", costs: Costs | None = None, *,
                 rtc: datetime = START, debug: Callable[[bytes], None] = nobody, firmware: bytes | None = None,
                 vga_bios: bytes | None = None, boot: str = BOOT, menu: bool = False,
                 floppies: Sequence[Medium | None] = (None,), disks: Sequence[Medium] = (),
                 cdrom: Medium | None = None) -> None:
        if not set(boot) <= set(LETTERS):
            raise BadBoard(f"a boot order of {boot!r}: it is made of the letters {', '.join(LETTERS)}")
        super().__init__(memory, cpu, costs)
        self.on_debug = debug
        self.rtc_start, self.boot, self.menu = rtc, boot, menu
        self.firmware, self.vga_bios = firmware, vga_bios
        self.media = [medium for medium in (*disks, cdrom, *floppies) if medium is not None]
        shadow = Shadow(self, firmware)
        add = self.add
        pic2 = add("pic2", I8259, at=0xA0, elcr=0x4D1)
        pic1 = add("pic1", I8259, {2: self.counted(pic2.acknowledge, slave=True)}, at=0x20, elcr=0x4D0)
        irq = [*pic1.ir, *pic2.ir]
        pit = add("pit", I8254, at=0x40)
        port61 = add("port61", Port61, lambda: pit.out(2), lambda: pit.tone(2), at=0x61)
        keyboard = add("keyboard", Keyboard)
        mouse = add("mouse", Mouse)
        kbc = add("kbc", I8042, keyboard, mouse, at=0x60)
        add("typist", Typist, keyboard.key, lambda: not keyboard.codes)
        rtc_chip = add("rtc", MC146818, rtc, at=0x70)
        port92 = add("port92", Port92, at=0x92)
        com1 = add("com1", UART16550, self.written, self._listened, at=0x3F8)
        add("post", Post, at=0x80)
        for name, port in ("debugcon", 0xE9), ("bioslog", 0x402):
            add(name, DebugCon, lambda data: self.on_debug(data), self._debugged, at=port)
        add("debugexit", DebugExit, self.exit, at=0xF4)
        fdc = add_floppy(self, irq[6], floppies)
        self._console(com1)
        host = add("host", I440FX, memory, shadow.dram, at=0xCF8)
        isa = add("isa", PIIX3, at=0xCF9)
        pm = add("pm", PIIX4PM, apm=0xB2)
        self.pci = PCIBus(self, host, isa)
        self.pci.plug(isa, 1)
        self.pci.plug(add_ide(self, self.pci.show, (irq[14], irq[15]), disks, cdrom), 1, 1)
        self.pci.plug(pm, 1, 3)
        vga = adapter(self, vga_bios, shadow.view)
        self.pci.plug(vga, 2)
        self.screen: Screen = Screen(vga)
        ranges = [(0, min(self.size, LOW_END), RAM), (HIGH, self.size - LOW_END, RAM)]
        files = fwitems.files([piece for piece in ranges if piece[1] > 0], self._boot_order(), 2500 if menu else None)
        low = min(self.size, LOW_END)
        add("fwcfg", FwCfg, fwitems.items(memory, menu), {**files, **acpi.tables(low), **smbios.tables(memory, low, cpu)},
            self.read, self.write, at=0x510)
        for name, port in (("COM2", 0x2F8), ("COM3", 0x3E8), ("COM4", 0x2E8), ("LPT1", 0x378), ("LPT2", 0x278)):
            self.absent(name, port)
        self.absent("I/O delay", 0xED, 1)
        self.absent("coprocessor error", 0xF0, 2)
        self.absent("PCI configuration mechanism 2", 0xCF8, 4)

        def a20(_: int) -> None:
            self.engine.a20(kbc.a20.level | port92.a20.level)      # either gate opens the line

        self.wire(
            (pit.out0,      irq[0]),
            (kbc.kbd_irq,   irq[1]),
            (pic2.int,      irq[2]),
            (com1.intr,     irq[4]),
            (rtc_chip.intr, irq[8]),
            (pm.sci,        irq[9]),
            (kbc.aux_irq,   irq[12]),
            *((getattr(isa, f"irq{number}"), irq[number]) for number in sorted(ROUTES)),
            (port61.gate2,  pit.gate2),
            (kbc.a20,       a20),
            (port92.a20,    a20),
            (kbc.rc,        self.ask_reset),
            (port92.rc,     self.ask_reset),
            (host.rst,      self.ask_reset),
            (isa.cpurst,    self.ask_reset),
            (isa.init,      self.ask_reset),
            (pm.susc,       self.power_off),
            (pic1.int,      self.engine.intr))
        acknowledge = self.counted(pic1.acknowledge)
        self.attach(acknowledge, Ticker(self, pit, pic1, 0x20, acknowledge, self.irqs))
        self._map_ram()
        cmos.fill(rtc_chip, memory, rtc, boot, {**floppy_cells(fdc), **ide_cells(self)})

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

    def _boot_order(self) -> list[str]:
        """The devices that firmware may boot from, as fw_cfg names them."""
        paths = {
            "a": [fwitems.FLOPPY.format(0)],
            "c": [fwitems.DISK.format(*place) for place in boot_order(self, ATADisk)],
            "d": [fwitems.DISK.format(*place) for place in boot_order(self, ATAPICDROM)]}
        return [path for device in self.boot for path in paths.get(device, [])]

    def _top(self) -> int | None:
        return None if self.firmware is None else min(self.size, LOW_END)

    def _offer(self, start: Start) -> None:
        fwcfg = self.chips["fwcfg"]
        assert isinstance(fwcfg, FwCfg)
        fwcfg.offer(pieces.items(start))

    def _firmware(self) -> None:
        """What a BIOS leaves, as far as kernels that are started directly count on it."""
        setup.chips(self)
        self.write(0x400, struct.pack("<4H", 0x3F8, 0, 0, 0))          # base addresses of COM1 to COM4
        self.write(0x40E, struct.pack("<H", EBDA >> 4))
        self.write(0x413, struct.pack("<H", EBDA >> 10))                # KiB of base memory
