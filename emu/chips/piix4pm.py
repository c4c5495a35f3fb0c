"""PIIX4, function 3: power management and SMBus.  [I] Intel 82371AB (PIIX4) data sheet, 290562; [ACPI] ACPI 1.0b, 4.7.

The registers of power management answer at PMBA while PMREGMISC.PMIOSE is set, those of the SMBus host at SMBBA while it
is enabled; APMC and APMS are always at B2h and B3h.  The timer counts 24 bits at 3.579545 MHz; a status bit that it sets
is found when somebody looks.  Where the data sheet and [ACPI] differ on TMROF_STS, it is [ACPI]: a change of bit 23.

A PC's firmware answers the SMI of a write to APMC by setting SCI_EN.  There is no SMM here, so the chip does what that
firmware would (as QEMU's does): ACPI_ENABLE and ACPI_DISABLE written to APMC set and clear it at once.  APMC_EN is as a
firmware that has set up its SMI has left it, by which SeaBIOS knows that it need not.

Not modelled: SMI, the device monitors, general purpose inputs and outputs, clock control and throttling (registers
stored), suspend other than the soft off of SUS_TYP 0 (SUS_EN with another type does nothing), wake events other than the
power button; on the SMBus is no device, so that each transaction ends with DEV_ERR, and nothing is a slave there.
"""

# mypy: disable-error-code="has-type"
from __future__ import annotations

from emu.chips.pci import PCIFunction
from emu.device import RW, In, Out, R, Reg, State, Timer

CLOCK_HZ = 3_579_545
SECOND = 10**9
HALF = 1 << 23                                  # ticks between two changes of bit 23
ACPI_ENABLE, ACPI_DISABLE = 0xF1, 0xF0          # what the FADT tells of (SMI_CMD's values)
APMC_EN = 1 << 25                               # of DEVACTB
SMB_IRQ9 = 0x08                                 # [I] SMBHSTCFG.SMB_INTRSEL: 100 is IRQ9


class PIIX4PM(PCIFunction):
    """Power management; slot and function are the board's."""

    VID = Reg(0x00, R, "vendor: Intel", size=2, reset=0x8086, block="config")
    DID = Reg(0x02, R, "device: 82371AB, function 3", size=2, reset=0x7113, block="config")
    PCICMD = Reg(0x04, RW, "command", "0 0 0 0 0 0 FBE SERRE WCC PER VPS MWI SCE BME MSE IOSE", size=2, mask=0x0001,
                 block="config")
    PCISTS = Reg(0x06, RW, "status: writing 1 clears", "DPE SSE RMA RTA STA DEVT1 DEVT0 DPD FBC 0 0 0 0 0 0 0", size=2,
                 reset=0x0280, mask=0x3800, w1c=True, block="config")
    RID = Reg(0x08, R, "revision", reset=0x03, block="config")
    CLASSC = Reg(0x09, R, "class code: bridge of another kind", size=3, reset=0x068000, block="config")
    SVID = Reg(0x2C, R, "subsystem's vendor, as QEMU's boards", size=2, reset=0x1AF4, block="config")
    SID = Reg(0x2E, R, "subsystem", size=2, reset=0x1100, block="config")
    INTPN = Reg(0x3D, R, "interrupt pin: INTA#", reset=1, block="config")
    PMBA = Reg(0x40, RW, "power management base address", size=4, reset=1, mask=0xFFC0, block="config")
    CNTA = Reg(0x44, RW, "count A", size=4, block="config")
    CNTB = Reg(0x48, RW, "count B", size=4, block="config")
    GPICTL = Reg(0x4C, RW, "general purpose input control", size=4, block="config")
    DEVRESD = Reg(0x50, RW, "device resource D", size=3, block="config")
    DEVACTA = Reg(0x54, RW, "device activity A", size=4, block="config")
    DEVACTB = Reg(0x58, RW, "device activity B; 25 APMC_EN", size=4, reset=APMC_EN, block="config")
    DEVRESA = Reg(0x5C, RW, "device resource A", size=4, block="config")
    DEVRESB = Reg(0x60, RW, "device resource B", size=4, block="config")
    DEVRESC = Reg(0x64, RW, "device resource C", size=4, block="config")
    DEVRESE = Reg(0x68, RW, "device resource E", size=3, block="config")
    DEVRESF = Reg(0x6C, RW, "device resource F", size=3, block="config")
    DEVRESG = Reg(0x70, RW, "device resource G", size=3, block="config")
    DEVRESH = Reg(0x74, RW, "device resource H", size=3, block="config")
    DEVRESI = Reg(0x78, RW, "device resource I", size=3, block="config")
    DEVRESJ = Reg(0x7C, RW, "device resource J", size=3, block="config")
    PMREGMISC = Reg(0x80, RW, "power management registers", "0 0 0 0 0 0 0 PMIOSE", block="config")
    SMBBA = Reg(0x90, RW, "SMBus base address", size=4, reset=1, mask=0xFFF0, block="config")
    SMBHSTCFG = Reg(0xD2, RW, "SMBus host configuration", "0 0 0 0 INTRSEL2 INTRSEL1 INTRSEL0 HST_EN", block="config")
    SMBSLVC = Reg(0xD3, RW, "SMBus slave command", block="config")
    SMBSHDW1 = Reg(0xD4, RW, "SMBus slave shadow port 1", block="config")
    SMBSHDW2 = Reg(0xD5, RW, "SMBus slave shadow port 2", block="config")

    PMSTS = Reg(0x00, RW, "power management status: writing 1 clears",
                "RSM_STS 0 0 0 PRBTNOR_STS RTC_STS 0 PWRBTN_STS 0 0 GBL_STS BM_STS 0 0 0 TMROF_STS", size=2, w1c=True,
                block="pm")
    PMEN = Reg(0x02, RW, "power management enable", "0 0 0 0 0 RTC_EN 0 PWRBTN_EN 0 0 GBL_EN 0 0 0 0 TMROF_EN", size=2,
               block="pm")
    PMCNTRL = Reg(0x04, RW, "power management control",
                  "0 0 SUS_EN SUS_TYP2 SUS_TYP1 SUS_TYP0 0 0 0 0 0 0 0 GBL_RLS BRLD_EN_BM SCI_EN", size=2, block="pm")
    PMTMR = Reg(0x08, R, "power management timer, 24 bits", size=4, block="pm")
    GPSTS = Reg(0x0C, RW, "general purpose status: writing 1 clears",
                "0 0 0 0 LID_STS RI_STS GPI_STS USB_STS 0 0 0 0 0 0 0 THRM_STS", size=2, w1c=True, block="pm")
    GPEN = Reg(0x0E, RW, "general purpose enable", "0 0 0 0 LID_EN RI_EN GPI_EN USB_EN 0 0 0 0 0 0 0 THRM_EN", size=2,
               block="pm")
    PCNTRL = Reg(0x10, RW, "processor control", size=4, block="pm")
    PLVL2 = Reg(0x14, R, "processor level 2: reads 0", block="pm")
    PLVL3 = Reg(0x15, R, "processor level 3: reads 0", block="pm")
    GLBSTS = Reg(0x18, RW, "global status: writing 1 clears", size=2, w1c=True, block="pm")
    DEVSTS = Reg(0x1C, RW, "device status: writing 1 clears", size=4, w1c=True, block="pm")
    GLBEN = Reg(0x20, RW, "global enable", size=2, block="pm")
    GLBCTL = Reg(0x28, RW, "global control", size=4, block="pm")
    DEVCTL = Reg(0x2C, RW, "device control", size=4, block="pm")
    GPIREG = Reg(0x30, R, "general purpose inputs: all low", size=3, block="pm")
    GPOREG = Reg(0x34, RW, "general purpose outputs", size=4, reset=0x7FFFBFFF, block="pm")

    SMBHSTSTS = Reg(0x0, RW, "SMBus host status: writing 1 clears", "0 0 0 FAILED BUS_ERR DEV_ERR SMB_INTR HOST_BUSY",
                    mask=0x1E, w1c=True, block="smbus")
    SMBSLVSTS = Reg(0x1, RW, "SMBus slave status: writing 1 clears", w1c=True, block="smbus")
    SMBHSTCNT = Reg(0x2, RW, "SMBus host control", "0 START 0 PROT2 PROT1 PROT0 KILL INTEREN", block="smbus")
    SMBHSTCMD = Reg(0x3, RW, "SMBus host command", block="smbus")
    SMBHSTADD = Reg(0x4, RW, "SMBus host address", block="smbus")
    SMBHSTDAT0 = Reg(0x5, RW, "SMBus host data 0", block="smbus")
    SMBHSTDAT1 = Reg(0x6, RW, "SMBus host data 1", block="smbus")
    SMBBLKDAT = Reg(0x7, RW, "SMBus block data", block="smbus")
    SMBSLVCNT = Reg(0x8, RW, "SMBus slave control", block="smbus")
    SMBSHDWCMD = Reg(0x9, R, "SMBus shadow command", block="smbus")
    SMBSLVEVT = Reg(0xA, RW, "SMBus slave event", size=2, block="smbus")
    SMBSLVDAT = Reg(0xC, R, "SMBus slave data", size=2, block="smbus")

    APMC = Reg(0, RW, "advanced power management control: asks the firmware", block="apm")
    APMS = Reg(1, RW, "advanced power management status: for the firmware", block="apm")

    START = State(0, "when the timer was 0 (ns)")
    CHANGES = State(0, "how often bit 23 had changed when somebody looked")
    TOGGLE = Timer("bit 23 changes, and that interrupts")

    PWRBTN = In("PWRBTN#: high while the button is pressed")
    SCI = Out("IRQ9: the system control interrupt, a level")
    SUSC = Out("SUSC#: high switches the power off; its rising edge")

    def __init__(self) -> None:
        self.placed: dict[str, int | None] = {"pm": None, "smbus": None}        # follows from the registers

    def reset(self) -> None:
        """RSMRST#."""
        super().reset()
        self.start = self.clock.now
        self.update()

    # Where the registers are

    def decode(self, anew: bool = False) -> None:
        """Follow the base address registers and what enables them."""
        super().decode(anew)
        smbus = self.pcicmd & self.PCICMD.IOSE and self.smbhstcfg & self.SMBHSTCFG.HST_EN
        for block, enabled, base, length in (
            ("pm", self.pmregmisc & self.PMREGMISC.PMIOSE, self.pmba & self.PMBA.mask, 0x40),
            ("smbus", smbus, self.smbba & self.SMBBA.mask, 0x10),
        ):
            where = base if enabled and base else None
            if anew or where != self.placed[block]:
                self.placed[block] = where
                self.show(self, block, "io", where, length)

    def write_PMBA(self, value: int) -> None:
        self.pmba = value & self.PMBA.mask | 1
        self.decode()

    def write_PMREGMISC(self, value: int) -> None:
        self.pmregmisc = value & self.PMREGMISC.mask
        self.decode()

    def write_SMBBA(self, value: int) -> None:
        self.smbba = value & self.SMBBA.mask | 1
        self.decode()

    def write_SMBHSTCFG(self, value: int) -> None:
        self.smbhstcfg = value & self.SMBHSTCFG.mask
        self.decode()
        self.update()

    # The timer

    def ticks(self) -> int:
        """How often the timer has counted."""
        ticks: int = (self.clock.now - self.start) * CLOCK_HZ // SECOND
        return ticks

    def read_PMTMR(self) -> int:
        return self.ticks() & 0xFFFFFF

    def sync(self) -> None:
        """Set TMROF_STS if bit 23 has changed since somebody looked."""
        changes = self.ticks() // HALF
        if changes != self.changes:
            self.changes = changes
            self.pmsts |= self.PMSTS.TMROF_STS

    def on_TOGGLE(self) -> None:
        self.update()

    # Events

    def read_PMSTS(self) -> int:
        self.sync()
        status: int = self.pmsts
        return status

    def write_PMSTS(self, value: int) -> None:
        self.sync()
        self.pmsts &= ~value
        self.update()

    def write_PMEN(self, value: int) -> None:
        self.pmen = value & self.PMEN.mask
        self.update()

    def write_GPSTS(self, value: int) -> None:
        self.gpsts &= ~value
        self.update()

    def write_GPEN(self, value: int) -> None:
        self.gpen = value & self.GPEN.mask
        self.update()

    def on_PWRBTN(self, pin: int, level: int) -> None:
        if level:
            self.pmsts |= self.PMSTS.PWRBTN_STS
            self.update()

    def update(self) -> None:
        """SCI follows status and enable bits; the timer's alarm is set only where it would interrupt."""
        self.sync()
        sci = self.pmcntrl & self.PMCNTRL.SCI_EN
        events = self.pmsts & self.pmen or self.gpsts & self.gpen
        smbus = (self.smbhstcnt & self.SMBHSTCNT.INTEREN and self.smbhstcfg & 0x0E == SMB_IRQ9
                 and self.smbhststs & (self.SMBHSTSTS.SMB_INTR | self.SMBHSTSTS.DEV_ERR | self.SMBHSTSTS.FAILED))
        self.sci(1 if (sci and events) or smbus else 0)
        if sci and not events and self.pmen & self.PMEN.TMROF_EN:
            self.toggle.at(self.start - -(self.changes + 1) * HALF * SECOND // CLOCK_HZ)
        else:
            self.toggle.off()

    # Control

    def write_PMCNTRL(self, value: int) -> None:
        C = self.PMCNTRL
        self.pmcntrl = value & C.mask & ~(C.SUS_EN | C.GBL_RLS)             # [I] these are commands: they read 0
        self.update()
        if value & C.SUS_EN and not value & (C.SUS_TYP2 | C.SUS_TYP1 | C.SUS_TYP0):
            self.susc(1)
            self.susc(0)

    def write_APMC(self, value: int) -> None:
        self.apmc = value
        if value in (ACPI_ENABLE, ACPI_DISABLE):
            self.pmcntrl = self.pmcntrl & ~self.PMCNTRL.SCI_EN | (self.PMCNTRL.SCI_EN if value == ACPI_ENABLE else 0)
            self.update()

    # SMBus

    def write_SMBHSTSTS(self, value: int) -> None:
        self.smbhststs &= ~(value & self.SMBHSTSTS.mask)
        self.update()

    def write_SMBHSTCNT(self, value: int) -> None:
        self.smbhstcnt = value & self.SMBHSTCNT.mask & ~self.SMBHSTCNT.START
        if value & self.SMBHSTCNT.KILL:
            self.smbhststs |= self.SMBHSTSTS.FAILED
        elif value & self.SMBHSTCNT.START:
            self.smbhststs |= self.SMBHSTSTS.DEV_ERR                        # [I] no device has acknowledged
        self.update()
