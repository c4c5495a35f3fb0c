"""VGA: IBM's video graphics array, with the Bochs display interface, as the PCI adapter 1234:1111 of Bochs and QEMU.

Sources: [I] IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem", 1992; [F] J. Neal, FreeVGA; [Q] QEMU,
docs/specs/standard-vga; [PCI] PCI Local Bus 2.1.

The chip decodes ports and memory and keeps registers, palette and planes; `picture` gives them as plain data, and what they
look like is worked out elsewhere.  Display enable and vertical retrace follow from the CRTC's registers and the time: the
frames are counted from power-on.  [Q] The VGA's own addresses are decoded whatever PCICMD says.

Not modelled: the vertical retrace interrupt, sense switches and monitor detection, the light pen, the video subsystem enable
(3C3h), 64 KiB of memory (SR4 EXT), loading the latches by reads of a window that is RAM, a big-endian frame buffer, EDID.
"""

# mypy: disable-error-code="has-type"
from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from emu.bus import Bus
from emu.chips.pci import BAR, ROMBAR, PCIFunction
from emu.chips.vgabeam import Beam
from emu.chips.vgamemory import SIZE, VideoMemory, unchanged, view_nothing
from emu.device import RING, RW, VALUE, R, Reg, State, Timer, W, Window

FRAME_BUFFER = 16 << 20
ROM_SIZE = 64 << 10
LOOKS = attrgetter("sr1", "arx", "pelmask", *(f"cr{i:02x}" for i in range(25)), *(f"ar1{i}" for i in range(5)))
LITTLE = 0x1E1E1E1E                                                # [Q] byte order of the frame buffer


class VGA(PCIFunction):
    """`dispi` is the chip Dispi, which must be restored before this one; `vram` of 16 MiB and `linear` of 64 KiB are the
    memories, `rom` is the expansion ROM's (64 KiB), if there is one; `view` and `changed` as VideoMemory has them.
    """

    palette: list[int]
    dac: list[int]
    status: int | None

    VID = Reg(0x00, R, "vendor: Bochs", size=2, reset=0x1234, block="config")
    DID = Reg(0x02, R, "device: standard VGA", size=2, reset=0x1111, block="config")
    PCICMD = Reg(0x04, RW, "command", "0 0 0 0 0 0 FBE SERRE WCC PER VPS MWI SCE BME MSE IOSE", size=2, mask=0x0007,
                 block="config")
    RID = Reg(0x08, R, "revision: has ENDIAN", reset=2, block="config")
    CLASSC = Reg(0x09, R, "class code: VGA compatible controller", size=3, reset=0x030000, block="config")
    SVID = Reg(0x2C, R, "subsystem's vendor", size=2, reset=0x1AF4, block="config")
    SID = Reg(0x2E, R, "subsystem", size=2, reset=0x1100, block="config")
    BAR0 = BAR(0, "memory", FRAME_BUFFER, "linear frame buffer", prefetch=True, shows="frame")
    BAR2 = BAR(2, "memory", 0x1000, "the ports as memory", shows="mmio")
    EXPROM = ROMBAR(ROM_SIZE)

    ARX = Reg(0x0, RW, "attribute address; every second write is the data", "0 0 PAS A4 A3 A2 A1 A0")
    ARD = Reg(0x1, R, "attribute data")
    MISC = Reg(0x2, W, "miscellaneous output", "VSP HSP PAGE 0 CS1 CS0 ERAM IOS")
    IS0 = Reg(0x2, R, "input status 0", "CRT 0 0 SS 0 0 0 0")
    SRX = Reg(0x4, RW, "sequencer address")
    SRD = Reg(0x5, RW, "sequencer data")
    PELMASK = Reg(0x6, RW, "PEL mask", reset=0xFF)
    PELREAD = Reg(0x7, W, "PEL address to read from")
    PELSTATE = Reg(0x7, R, "0: the write address was set last, 3: the read address")
    PELWRITE = Reg(0x8, RW, "PEL address to write to")
    PELDATA = Reg(0x9, RW, "PEL data: red, green, blue", native=RING)
    FCRR = Reg(0xA, R, "feature control, to be read")
    MISCR = Reg(0xC, R, "miscellaneous output, to be read")
    GRX = Reg(0xE, RW, "graphics address")
    GRD = Reg(0xF, RW, "graphics data")
    CRX = Reg(0x4, RW, "CRTC address", block="colour", bank=1)
    CRD = Reg(0x5, RW, "CRTC data", block="colour", bank=1)
    FCR = Reg(0xA, W, "feature control", "0 0 0 0 VSYNC 0 FC1 FC0", block="colour", bank=1)
    IS1 = Reg(0xA, R, "input status 1: vertical retrace, display not enabled", "0 0 0 0 VR 0 0 DD", block="colour", bank=1,
              native=VALUE)
    CRX_MONO = Reg(0x4, RW, "CRTC address", block="mono", bank=1)
    CRD_MONO = Reg(0x5, RW, "CRTC data", block="mono", bank=1)
    FCR_MONO = Reg(0xA, W, "feature control", block="mono", bank=1)
    IS1_MONO = Reg(0xA, R, "input status 1", block="mono", bank=1, native=VALUE)

    SR0 = Reg(0x0, RW, "reset", "0 0 0 0 0 0 SR AR", block="sr")
    SR1 = Reg(0x1, RW, "clocking mode", "0 0 SO SH4 DC SL 0 D89", block="sr")
    SR2 = Reg(0x2, RW, "map mask", "0 0 0 0 M3E M2E M1E M0E", block="sr")
    SR3 = Reg(0x3, RW, "character map select", "0 0 MAH MBH MAL1 MAL0 MBL1 MBL0", block="sr")
    SR4 = Reg(0x4, RW, "memory mode", "0 0 0 0 CH4 OE EM 0", block="sr")

    GR0 = Reg(0x0, RW, "set/reset", "0 0 0 0 SR3 SR2 SR1 SR0", block="gr")
    GR1 = Reg(0x1, RW, "enable set/reset", "0 0 0 0 ESR3 ESR2 ESR1 ESR0", block="gr")
    GR2 = Reg(0x2, RW, "colour compare", "0 0 0 0 CC3 CC2 CC1 CC0", block="gr")
    GR3 = Reg(0x3, RW, "data rotate and function", "0 0 0 FS1 FS0 RC2 RC1 RC0", block="gr")
    GR4 = Reg(0x4, RW, "read map select", "0 0 0 0 0 0 MS1 MS0", block="gr")
    GR5 = Reg(0x5, RW, "mode", "0 C256 SR OE RM 0 WM1 WM0", block="gr")
    GR6 = Reg(0x6, RW, "miscellaneous", "0 0 0 0 MM1 MM0 COE GM", block="gr")
    GR7 = Reg(0x7, RW, "colour don't care", "0 0 0 0 M3X M2X M1X M0X", block="gr")
    GR8 = Reg(0x8, RW, "bit mask", block="gr")

    CR00 = Reg(0x00, RW, "horizontal total - 5", block="cr")
    CR01 = Reg(0x01, RW, "horizontal display-enable end", block="cr")
    CR02 = Reg(0x02, RW, "start horizontal blanking", block="cr")
    CR03 = Reg(0x03, RW, "end horizontal blanking", block="cr")
    CR04 = Reg(0x04, RW, "start horizontal retrace", block="cr")
    CR05 = Reg(0x05, RW, "end horizontal retrace", block="cr")
    CR06 = Reg(0x06, RW, "vertical total - 2", block="cr")
    CR07 = Reg(0x07, RW, "overflow", "VRS9 VDE9 VT9 LC8 VBS8 VRS8 VDE8 VT8", block="cr")
    CR08 = Reg(0x08, RW, "preset row scan", "0 BP1 BP0 SRS4 SRS3 SRS2 SRS1 SRS0", block="cr")
    CR09 = Reg(0x09, RW, "maximum scan line", "DSC LC9 VBS9 MSL4 MSL3 MSL2 MSL1 MSL0", block="cr")
    CR0A = Reg(0x0A, RW, "cursor start", "0 0 CO RSCB4 RSCB3 RSCB2 RSCB1 RSCB0", block="cr")
    CR0B = Reg(0x0B, RW, "cursor end", "0 CSK1 CSK0 RSCE4 RSCE3 RSCE2 RSCE1 RSCE0", block="cr")
    CR0C = Reg(0x0C, RW, "start address, high", block="cr")
    CR0D = Reg(0x0D, RW, "start address, low", block="cr")
    CR0E = Reg(0x0E, RW, "cursor location, high", block="cr")
    CR0F = Reg(0x0F, RW, "cursor location, low", block="cr")
    CR10 = Reg(0x10, RW, "vertical retrace start", block="cr")
    CR11 = Reg(0x11, RW, "vertical retrace end", "PR S5R EVI CVI VRE3 VRE2 VRE1 VRE0", block="cr")
    CR12 = Reg(0x12, RW, "vertical display-enable end", block="cr")
    CR13 = Reg(0x13, RW, "offset", block="cr")
    CR14 = Reg(0x14, RW, "underline location", "0 DW CB4 SUL4 SUL3 SUL2 SUL1 SUL0", block="cr")
    CR15 = Reg(0x15, RW, "start vertical blanking", block="cr")
    CR16 = Reg(0x16, RW, "end vertical blanking", block="cr")
    CR17 = Reg(0x17, RW, "CRT mode control", "HR WB ADW 0 CB2 HRS SRC CMS0", block="cr")
    CR18 = Reg(0x18, RW, "line compare", block="cr")

    AR10 = Reg(0x10, RW, "attribute mode control", "P54S PW PP 0 EB ELG ME GM", block="ar")
    AR11 = Reg(0x11, RW, "overscan colour", block="ar")
    AR12 = Reg(0x12, RW, "colour plane enable", "0 0 MUX1 MUX0 ECP3 ECP2 ECP1 ECP0", block="ar")
    AR13 = Reg(0x13, RW, "horizontal PEL panning", "0 0 0 0 PPS3 PPS2 PPS1 PPS0", block="ar")
    AR14 = Reg(0x14, RW, "colour select", "0 0 0 0 SC7 SC6 SC5 SC4", block="ar")

    QSIZE = Reg(0x0, R, "bytes of registers here", size=4, reset=8, block="qext")
    ENDIAN = Reg(0x4, RW, "byte order: little", size=4, reset=LITTLE, mask=0, block="qext")
    REGISTERS = Window(0, 0x1000, "3C0h-3DFh from 400h on, the DISPI from 500h, ENDIAN at 604h", block="mmio")
    LEGACY = Window(0, 0x20000, "A0000h-BFFFFh, where it is not RAM", block="legacy")
    FRAME = Window(0, SIZE, "the frame buffer, where it is not RAM", block="frame")

    PALETTE = State([0] * 16, "AR0-ARF")
    DATA_NEXT = State(0, "the attribute controller's flip-flop: the next write is the data")
    DAC = State([0] * 768, "red, green, blue of each PEL")
    PEL = State(0, "where the next PELDATA goes to or comes from")
    LENT = State(0, "the frame buffer has the bytes of a linear window, since it was accessed last")
    LATCH = State(0, "a byte of each plane, as the last read left them")
    STATUS = State(None, "IS1 up to EDGE, if it was looked at")
    EDGE = Timer("IS1 changes")

    def __init__(self, dispi: Any, vram: memoryview, linear: memoryview, rom: memoryview | None = None,
                 view: Callable[..., None] = view_nothing, changed: Callable[[memoryview], None] = unchanged) -> None:
        self.dispi, self.rom, self.view = dispi, rom, view
        self.memory = memory = VideoMemory(vram, linear, view, changed)
        self.read_LEGACY, self.write_LEGACY = memory.read, memory.write
        self.read_FRAME, self.write_FRAME = memory.read_frame, memory.write_frame
        self.beam = Beam()
        self.shown_rom: list[int | None] = [None]
        self.sequencer, self.graphics, self.crtc, self.attributes, self.block = (Bus() for _ in range(5))
        for block, bus in ("sr", self.sequencer), ("gr", self.graphics), ("cr", self.crtc), ("ar", self.attributes):
            bus.place(self, block, 0)
        for block, base in ("at", 0x400), ("colour", 0x410), ("qext", 0x600):
            self.block.place(self, block, base)
        self.block.place(dispi, "dispi", 0x500)
        dispi.clear, dispi.changed = self._clear, self.remap

    @property
    def latch(self) -> int:
        return self.memory.latch

    @latch.setter
    def latch(self, value: int) -> None:
        self.memory.latch = value

    @property
    def lent(self) -> int:
        return self.memory.lent

    @lent.setter
    def lent(self, value: int) -> None:
        self.memory.lent = value

    def reset(self) -> None:
        """RESET: the memory stays."""
        super().reset()
        self.select(1, "mono")
        self.memory.set_alu(vars(self))
        self.beam.known = False
        self.remap()

    def on_restore(self) -> None:
        self.beam.known = False
        self.memory.set_alu(vars(self))
        self.remap(anew=True)
        super().on_restore()

    # Memory

    def remap(self, anew: bool = False) -> None:
        """The registers that say how the processor sees the memory have changed."""
        dispi = self.dispi
        self.memory.map(vars(self), dispi.bank if dispi.enabled else None, dispi.bpp > 4, anew)

    def _clear(self, length: int) -> None:
        self.memory.lay(None)
        self.memory.vram[:length] = bytes(length)

    def on_bar(self, bar: BAR, base: int | None) -> None:
        super().on_bar(bar, base)
        if bar is self.BAR0:
            self.memory.show_frame(base)
        elif bar is self.EXPROM and self.rom is not None:
            old = self.shown_rom[0]
            if old is not None and old != base:
                self.view(old, ROM_SIZE, None, "mmio")
            self.shown_rom[0] = base
            if base is not None:
                self.view(base, ROM_SIZE, self.rom, "rom")

    def write_EXPROM(self, value: int) -> None:
        if self.rom is not None:                    # [PCI] 6.2.5.2: a function without a ROM has no such register
            self.exprom = value & self.EXPROM.mask

    def read_REGISTERS(self, at: int, size: int) -> int:
        value: int = self.block.read[at << 4 | size]()
        return value

    def write_REGISTERS(self, at: int, size: int, value: int) -> None:
        self.block.write[at << 4 | size](value)

    # General registers

    def write_MISC(self, value: int) -> None:
        self.misc = value & self.MISC.mask
        self.select(self.misc & 1, "colour")
        self.select(1 - (self.misc & 1), "mono")
        self.forget()
        self.remap()

    def read_MISCR(self) -> int:
        value: int = self.misc
        return value

    def read_FCRR(self) -> int:
        value: int = self.fcr
        return value

    def write_FCR_MONO(self, value: int) -> None:
        self.fcr = value & self.FCR.mask

    # Sequencer and graphics controller

    def read_SRD(self) -> int:
        value: int = self.sequencer.read[(self.srx & 7) << 4 | 1]()
        return value

    def write_SRD(self, value: int) -> None:
        index = self.srx & 7
        self.sequencer.write[index << 4 | 1](value)
        if index == 1:
            self.forget()
        elif index == 2 and self.memory.settled:
            self.memory.planes_written = value & 15
        else:
            self.remap()

    def read_GRD(self) -> int:
        value: int = self.graphics.read[(self.grx & 15) << 4 | 1]()
        return value

    def write_GRD(self, value: int) -> None:
        index = self.grx & 15
        self.graphics.write[index << 4 | 1](value)
        self.memory.set_alu(vars(self))
        if index in (5, 6) or not self.memory.settled:
            self.remap()

    # CRTC

    def read_CRD(self) -> int:
        value: int = self.crtc.read[self.crx << 4 | 1]()
        return value

    def write_CRD(self, value: int) -> None:
        index = self.crx
        if index <= 7 and self.cr11 & self.CR11.PR:
            if index < 7:
                return
            value = self.cr07 & ~self.CR07.LC8 | value & self.CR07.LC8     # [I] the one bit that is not protected
        self.crtc.write[index << 4 | 1](value)
        if not 0x0A <= index <= 0x0F:
            self.forget()

    read_CRD_MONO, write_CRD_MONO = read_CRD, write_CRD

    def read_CRX_MONO(self) -> int:
        value: int = self.crx
        return value

    def write_CRX_MONO(self, value: int) -> None:
        self.crx = value

    def forget(self) -> None:
        """The frame has another shape."""
        self.status = None
        self.beam.known = False
        self.edge.off()

    def read_IS1(self) -> int:
        self.data_next = 0
        status = self.status
        return self._look() if status is None else status

    read_IS1_MONO = read_IS1

    def holds_IS1(self) -> bool:
        return self.status is not None and not self.data_next

    holds_IS1_MONO = holds_IS1

    def on_EDGE(self) -> None:
        self.status = None

    def _look(self) -> int:
        if not self.beam.known:
            self.beam.set(vars(self))
        self.status, edge = self.beam.look(self.clock.now)
        self.edge.at(edge)
        return self.status

    # Attribute controller

    def read_ARX(self) -> int:
        value: int = self.arx
        return value

    def write_ARX(self, value: int) -> None:
        self.data_next ^= 1
        if self.data_next:
            self.arx = value & self.ARX.mask
            return
        index = self.arx & 0x1F
        if index >= 0x10:
            self.attributes.write[index << 4 | 1](value)
        elif not self.arx & self.ARX.PAS:           # [I] the palette is loaded while PAS is 0
            self.palette[index] = value & 0x3F

    def read_ARD(self) -> int:
        index = self.arx & 0x1F
        value: int = self.palette[index] if index < 0x10 else self.attributes.read[index << 4 | 1]()
        return value

    # Palette

    def write_PELREAD(self, value: int) -> None:
        self.pelstate, self.pel = 3, 3 * value

    def write_PELWRITE(self, value: int) -> None:
        self.pelstate, self.pel = 0, 3 * value

    def read_PELWRITE(self) -> int:
        return self.pel // 3 & 0xFF

    def read_PELDATA(self) -> int:
        value: int = self.dac[self.pel]
        self.pel = (self.pel + 1) % 768
        return value

    def write_PELDATA(self, value: int) -> None:
        self.dac[self.pel] = value if self.dispi.enable & self.dispi.ENABLE.DAC8 else value & 0x3F
        self.pel = (self.pel + 1) % 768

    def collect_PELDATA(self, data: bytes) -> None:
        for value in data:
            self.write_PELDATA(value)

    # The picture

    def glance(self) -> tuple[Any, ...]:
        """What the text of `picture` follows from, sooner had: equal to the last one as long as that does not change."""
        if self.dispi.enabled or self.gr6 & 1:
            return ()
        memory = self.memory
        return (bytes(memory.linear) if memory.layout in (0, 1) else bytes(memory.planes()), *LOOKS(self),
                bytes(self.palette), bytes(self.dac[:192]), self.dispi.enable)

    def picture(self) -> dict[str, Any]:
        """Everything that the screen shows, as plain data; see emu.screen."""
        dispi, values = self.dispi, vars(self)
        return {
            "sr": bytes(values[f"sr{i}"] for i in range(5)), "gr": bytes(values[f"gr{i}"] for i in range(9)),
            "cr": bytes(values[f"cr{i:02x}"] for i in range(25)), "ar": bytes(values[f"ar1{i}"] for i in range(5)),
            "palette": bytes(self.palette), "shown": bool(self.arx & self.ARX.PAS), "mask": self.pelmask, "misc": self.misc,
            "dac": bytes(self.dac), "dac_bits": 8 if dispi.enable & dispi.ENABLE.DAC8 else 6, "now": self.clock.now,
            "dispi": (dispi.xres, dispi.yres, dispi.bpp, dispi.line_bytes, dispi.x_offset, dispi.y_offset)
            if dispi.enabled else None,
            "memory": self.memory.vram if dispi.enabled else self.memory.planes(),
        }
