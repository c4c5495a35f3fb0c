"""PIIX3, function 0: PCI to ISA bridge.  [I] Intel 82371SB (PIIX3) data sheet, 290550; ports as PCI decodes them there.

PIRQ[A:D]# are shared levels: each goes to the ISA interrupt that its route control register names, and an ISA interrupt is
asserted while any of those is.  That it is a level there, too, says the ELCR of the 8259A (4D0h, 4D1h).

The 8237, 8254, 8259A, the RTC's and the keyboard's chip selects, and ports 61h, 70h, 92h are parts of their own here.

Not modelled: what is decoded on the ISA bus (IORT, XBCS, TOM are stored), motherboard devices' interrupt and DMA (MBIRQ,
MBDMA are stored), the programmable chip select, type F DMA, the I/O APIC, SMI and clock throttling (registers stored),
NMI by SERR#, the soft reset of RCR as one of the CPU alone (it is the board that wires INIT).
"""

# mypy: disable-error-code="has-type"
from __future__ import annotations

from emu.chips.pci import PCIFunction
from emu.device import RW, In, Out, R, Reg

DISABLED = 0x80                 # [I] PIRQRC: bit 7, the routing is off
ROUTES = frozenset((3, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15))     # [I] the others are reserved


class PIIX3(PCIFunction):
    """The ISA bridge; slot and function are the board's."""

    VID = Reg(0x00, R, "vendor: Intel", size=2, reset=0x8086, block="config")
    DID = Reg(0x02, R, "device: 82371SB, function 0", size=2, reset=0x7000, block="config")
    PCICMD = Reg(0x04, RW, "command: I/O, memory and master always", "0 0 0 0 0 0 FBE SERRE WCC PER VPS MWI SCE BME MSE IOSE",
                 size=2, reset=0x0007, mask=0x0108, block="config")
    PCISTS = Reg(0x06, RW, "status: writing 1 clears", "DPE SSE RMA RTA STA DEVT1 DEVT0 DPD FBC 0 0 0 0 0 0 0", size=2,
                 reset=0x0200, mask=0x7800, w1c=True, block="config")
    CLASSC = Reg(0x09, R, "class code: ISA bridge", size=3, reset=0x060100, block="config")
    HEDT = Reg(0x0E, R, "header type: a device of several functions", reset=0x80, block="config")
    SVID = Reg(0x2C, R, "subsystem's vendor, as QEMU's boards", size=2, reset=0x1AF4, block="config")
    SID = Reg(0x2E, R, "subsystem", size=2, reset=0x1100, block="config")
    IORT = Reg(0x4C, RW, "ISA I/O recovery timer", reset=0x4D, block="config")
    XBCS = Reg(0x4E, RW, "X-bus chip select", "0 0 0 0 0 MCALE 1MEG APIC XBIOS LBIOS CPERR MOUSE P61A BIOSWP KBD RTC", size=2,
               reset=0x0003, block="config")
    PIRQRCA = Reg(0x60, RW, "route of PIRQA#", "OFF 0 0 0 R3 R2 R1 R0", reset=DISABLED, block="config")
    PIRQRCB = Reg(0x61, RW, "route of PIRQB#", "OFF 0 0 0 R3 R2 R1 R0", reset=DISABLED, block="config")
    PIRQRCC = Reg(0x62, RW, "route of PIRQC#", "OFF 0 0 0 R3 R2 R1 R0", reset=DISABLED, block="config")
    PIRQRCD = Reg(0x63, RW, "route of PIRQD#", "OFF 0 0 0 R3 R2 R1 R0", reset=DISABLED, block="config")
    TOM = Reg(0x69, RW, "top of memory, for DMA and ISA masters", "TOM3 TOM2 TOM1 TOM0 LBIOS AB 89 0", reset=0x02,
              block="config")
    MSTAT = Reg(0x6A, RW, "miscellaneous status", size=2, block="config")
    MBIRQ0 = Reg(0x70, RW, "route of motherboard interrupt 0", reset=0x80, block="config")
    MBIRQ1 = Reg(0x71, RW, "route of motherboard interrupt 1", reset=0x80, block="config")
    MBDMA0 = Reg(0x76, RW, "motherboard DMA control 0", reset=0x0C, block="config")
    MBDMA1 = Reg(0x77, RW, "motherboard DMA control 1", reset=0x0C, block="config")
    PCSC = Reg(0x78, RW, "programmable chip select", size=2, reset=0x0002, block="config")
    APICBASE = Reg(0x80, RW, "I/O APIC base address", "0 A12MASK X3 X2 X1 X0 Y1 Y0", block="config")
    DLC = Reg(0x82, RW, "deterministic latency control", "0 0 0 0 SERR USBPR PR DT", block="config")
    SMICNTL = Reg(0xA0, RW, "SMI control", "0 0 0 FTSP1 FTSP0 CSTPCLK1 CSTPCLK0 CSMIGATE", reset=0x08, block="config")
    SMIEN = Reg(0xA2, RW, "SMI enable", size=2, block="config")
    SEE = Reg(0xA4, RW, "system event enable", size=4, block="config")
    FTMR = Reg(0xA8, RW, "fast off timer", reset=0x0F, block="config")
    SMIREQ = Reg(0xAA, RW, "SMI request", size=2, block="config")
    CTLTMRL = Reg(0xAC, RW, "STPCLK# low timer", block="config")
    CTLTMRH = Reg(0xAE, RW, "STPCLK# high timer", block="config")

    RCR = Reg(0, RW, "reset control: RCPU resets as SRST says", "0 0 0 0 0 RCPU SRST 0")

    PIRQ = In("PIRQ[A:D]#: a level, high while asserted", width=4)
    IRQ3 = Out("ISA interrupt: a level")
    IRQ4 = Out("ISA interrupt")
    IRQ5 = Out("ISA interrupt")
    IRQ6 = Out("ISA interrupt")
    IRQ7 = Out("ISA interrupt")
    IRQ9 = Out("ISA interrupt")
    IRQ10 = Out("ISA interrupt")
    IRQ11 = Out("ISA interrupt")
    IRQ12 = Out("ISA interrupt")
    IRQ14 = Out("ISA interrupt")
    IRQ15 = Out("ISA interrupt")
    CPURST = Out("hard reset of the system: its rising edge")
    INIT = Out("soft reset, of the CPU: its rising edge")

    def on_PIRQ(self, pin: int, level: int) -> None:
        self.update()

    def write_PIRQRCA(self, value: int) -> None:
        self.pirqrca = value & self.PIRQRCA.mask
        self.update()

    def write_PIRQRCB(self, value: int) -> None:
        self.pirqrcb = value & self.PIRQRCB.mask
        self.update()

    def write_PIRQRCC(self, value: int) -> None:
        self.pirqrcc = value & self.PIRQRCC.mask
        self.update()

    def write_PIRQRCD(self, value: int) -> None:
        self.pirqrcd = value & self.PIRQRCD.mask
        self.update()

    def update(self) -> None:
        """The interrupts follow the pins and their routes."""
        routes = self.pirqrca, self.pirqrcb, self.pirqrcc, self.pirqrcd
        asserted = {route for route, pin in zip(routes, self.pirq, strict=True) if pin.level}
        for number in sorted(ROUTES):
            getattr(self, f"irq{number}")(1 if number in asserted else 0)       # one that is off, 80h and more, is none

    def write_RCR(self, value: int) -> None:
        rises = value & ~self.rcr & self.RCR.RCPU
        self.rcr = value & self.RCR.mask
        if rises:
            pin = self.cpurst if value & self.RCR.SRST else self.init
            pin(1)
            pin(0)
