"""i440FX: host bridge, memory controller (PMC).  [I] Intel 82441FX data sheet, 290549; [PCI] PCI Local Bus 2.1, 3.2.2.3.

Configuration mechanism #1: CONFADD at CF8h is a double word and nothing narrower, CONFDATA at CFCh the window to what it
names.  The configuration space of the bus is a small bus: `plug` puts a function into a slot.  Where no function is, the
bridge ends the cycle by a master abort: reads all ones, RMA.

The DRAM row boundaries are as set-up has left them for the memory that is there; the data sheet's own reset value is 01h.

Not modelled: SMM and its RAM (SMRAM is kept, with its lock), ECC and parity, DRAM timing, caches, the turbo counter, the
latencies; these registers are stored.  TRC's reset of the CPU alone resets the machine.
"""

# mypy: disable-error-code="has-type"
from __future__ import annotations

from collections.abc import Callable
from functools import partial

from emu.bus import ONES, Bus
from emu.chips.pci import SPACE, PCIFunction
from emu.device import RW, VALUE, Native, Out, R, Reg

ROW = 8 << 20               # [I] the granularity of the row boundaries
ROWS = 8
SEGMENTS = [                # [I] table of the PAM registers: (register, bit of its RE, address, length)
    ("pam0", 4, 0xF0000, 0x10000),
    *((f"pam{1 + i // 2}", 4 * (i % 2), 0xC0000 + 0x4000 * i, 0x4000) for i in range(12))]
HOLES = {0x40: (0x80000, 0x20000), 0x80: (0xF00000, 0x100000)}      # [I] FDHC.HEN


def unseen(address: int, length: int, reads: bool, writes: bool) -> None:
    """Nobody maps memory."""


class I440FX(PCIFunction):
    """`memory` in bytes; `dram(address, length, reads, writes)` is told which accesses of a range go to DRAM from now on.

    What does not go to DRAM goes to PCI.
    """

    VID = Reg(0x00, R, "vendor: Intel", size=2, reset=0x8086, block="config")
    DID = Reg(0x02, R, "device: 82441FX", size=2, reset=0x1237, block="config")
    PCICMD = Reg(0x04, RW, "command: master and memory always", "0 0 0 0 0 0 FBE SERRE WCC PER VPS MWI SCE BME MSE IOSE",
                 size=2, reset=0x0006, mask=0x0140, block="config")
    PCISTS = Reg(0x06, RW, "status: writing 1 clears", "DPE SSE RMA RTA STA DEVT1 DEVT0 DPD FBC 0 0 0 0 0 0 0", size=2,
                 reset=0x0280, mask=0xF100, w1c=True, block="config")
    RID = Reg(0x08, R, "revision", reset=0x02, block="config")
    CLASSC = Reg(0x09, R, "class code: host bridge", size=3, reset=0x060000, block="config")
    MLT = Reg(0x0D, RW, "master latency timer", "MLT4 MLT3 MLT2 MLT1 MLT0 0 0 0", block="config")
    SVID = Reg(0x2C, R, "subsystem's vendor, as QEMU's boards: how SeaBIOS knows them", size=2, reset=0x1AF4, block="config")
    SID = Reg(0x2E, R, "subsystem", size=2, reset=0x1100, block="config")
    PMCCFG = Reg(0x50, RW, "PMC configuration", "WPE ELME 0 0 0 0 HFS1 HFS0 0 EPTE DDIM1 DDIM0 0 IOQD 0 0", size=2,
                 mask=0x8070, block="config")
    DETURBO = Reg(0x52, RW, "deturbo counter control", block="config")
    DBC = Reg(0x53, RW, "DBX buffer control", reset=0x80, block="config")
    AXC = Reg(0x54, RW, "auxiliary control", block="config")
    DRT = Reg(0x55, RW, "DRAM row type", size=2, block="config")
    DRAMC = Reg(0x57, RW, "DRAM control", reset=0x01, block="config")
    DRAMT = Reg(0x58, RW, "DRAM timing", reset=0x10, block="config")
    PAM0 = Reg(0x59, RW, "attributes of F0000-FFFFF", "0 0 WE1 RE1 0 0 0 0", block="config")
    PAM1 = Reg(0x5A, RW, "attributes of C0000-C3FFF, C4000-C7FFF", "0 0 WE1 RE1 0 0 WE0 RE0", block="config")
    PAM2 = Reg(0x5B, RW, "attributes of C8000-CBFFF, CC000-CFFFF", "0 0 WE1 RE1 0 0 WE0 RE0", block="config")
    PAM3 = Reg(0x5C, RW, "attributes of D0000-D3FFF, D4000-D7FFF", "0 0 WE1 RE1 0 0 WE0 RE0", block="config")
    PAM4 = Reg(0x5D, RW, "attributes of D8000-DBFFF, DC000-DFFFF", "0 0 WE1 RE1 0 0 WE0 RE0", block="config")
    PAM5 = Reg(0x5E, RW, "attributes of E0000-E3FFF, E4000-E7FFF", "0 0 WE1 RE1 0 0 WE0 RE0", block="config")
    PAM6 = Reg(0x5F, RW, "attributes of E8000-EBFFF, EC000-EFFFF", "0 0 WE1 RE1 0 0 WE0 RE0", block="config")
    DRB0 = Reg(0x60, RW, "end of DRAM row 0, in 8 MiB", block="config")
    DRB1 = Reg(0x61, RW, "end of DRAM row 1", block="config")
    DRB2 = Reg(0x62, RW, "end of DRAM row 2", block="config")
    DRB3 = Reg(0x63, RW, "end of DRAM row 3", block="config")
    DRB4 = Reg(0x64, RW, "end of DRAM row 4", block="config")
    DRB5 = Reg(0x65, RW, "end of DRAM row 5", block="config")
    DRB6 = Reg(0x66, RW, "end of DRAM row 6", block="config")
    DRB7 = Reg(0x67, RW, "end of DRAM row 7: of all memory", block="config")
    FDHC = Reg(0x68, RW, "fixed DRAM hole: 01 512-640 KiB, 10 15-16 MiB", "HEN1 HEN0 0 0 0 0 0 0", block="config")
    MTT = Reg(0x70, RW, "multi-transaction timer", block="config")
    CLT = Reg(0x71, RW, "CPU latency timer", "0 0 0 CLT4 CLT3 CLT2 CLT1 CLT0", reset=0x10, block="config")
    SMRAM = Reg(0x72, RW, "system management RAM", "0 DOPEN DCLS DLCK SMRAME DBASESEG2 DBASESEG1 DBASESEG0", reset=0x02,
                mask=0x78, block="config")
    ERRCMD = Reg(0x90, RW, "error command", block="config")
    ERRSTS = Reg(0x91, RW, "error status: writing 1 clears", w1c=True, block="config")
    TRC = Reg(0x93, RW, "turbo reset control", "0 0 0 0 BISTE RCPU SHRE DM", block="config")

    CONFADD = Reg(0, RW, "configuration address: 31 enable, 23-16 bus, 15-11 device, 10-8 function, 7-2 register", size=4,
                  whole=True, mask=0x80FFFFFC)
    CONFDATA = Reg(4, RW, "configuration data: the register that CONFADD names", size=4, whole=True)
    CONFDATA_LOW = Reg(4, RW, "its low half", size=2, whole=True)
    CONFDATA_HIGH = Reg(6, RW, "its high half", size=2, whole=True)
    CONFDATA0 = Reg(4, RW, "byte 0")
    CONFDATA1 = Reg(5, RW, "byte 1")
    CONFDATA2 = Reg(6, RW, "byte 2")
    CONFDATA3 = Reg(7, RW, "byte 3")

    RST = Out("reset: its rising edge")

    def __init__(self, memory: int = ROW, dram: Callable[[int, int, bool, bool], None] = unseen) -> None:
        self.boundaries = boundaries(memory)
        self.dram = dram
        self.seen = {address: (True, True) for address, _ in HOLES.values()}    # what `dram` was told last
        self.space = Bus()
        self.functions: dict[int, PCIFunction] = {}         # by address in the configuration space
        self.plug(self, 0)

    def plug(self, function: PCIFunction, device: int, number: int = 0) -> None:
        """Let `function` be function `number` of the device in slot `device` of bus 0."""
        base = device << 11 | number << 8
        self.space.place(function, "config", base, SPACE)
        self.functions[base] = function

    def reset(self) -> None:
        """CRESET."""
        super().reset()
        for i, boundary in enumerate(self.boundaries):
            setattr(self, f"drb{i}", boundary)
        self.map()

    def on_restore(self) -> None:
        super().on_restore()
        self.seen.clear()
        self.map()

    # DRAM

    def map(self) -> None:
        """Tell of the ranges whose accesses go elsewhere than before."""
        ranges = {(address, length): (bool(getattr(self, pam) >> bit & 1), bool(getattr(self, pam) >> bit & 2))
                  for pam, bit, address, length in SEGMENTS}
        ranges |= {hole: (self.fdhc != hen, self.fdhc != hen) for hen, hole in HOLES.items()}
        for (address, length), (reads, writes) in ranges.items():
            if self.seen.get(address) != (reads, writes):
                self.seen[address] = reads, writes
                self.dram(address, length, reads, writes)

    def write_FDHC(self, value: int) -> None:
        self.fdhc = value & self.FDHC.mask
        self.map()

    def write_SMRAM(self, value: int) -> None:
        smram, mask = self.smram, self.SMRAM.mask
        if smram & self.SMRAM.DLCK:
            return                                          # [I] all of it is read-only until a reset
        self.smram = smram & ~mask | value & mask
        if value & self.SMRAM.DLCK:
            self.smram &= ~self.SMRAM.DOPEN                 # [I] and DOPEN is 0 then

    def write_TRC(self, value: int) -> None:
        rises = value & ~self.trc & self.TRC.RCPU
        self.trc = value & self.TRC.mask
        if rises:
            self.rst(1)
            self.rst(0)

    def reader(self, reg: Reg) -> Callable[[], int]:
        """As Device.reader; the window's registers know which bytes they are."""
        if reg.block == "at" and reg.offset >= 4:
            return partial(self._read, reg.offset - 4, reg.size)
        return super().reader(reg)

    def writer(self, reg: Reg) -> Callable[[int], None]:
        """As PCIFunction.writer; an attribute register counts at once."""
        if reg.block == "at" and reg.offset >= 4:
            return partial(self._write, reg.offset - 4, reg.size)
        store = super().writer(reg)
        if not reg.name.startswith("PAM"):
            return store

        def write(value: int) -> None:
            store(value)
            self.map()

        return write

    # Configuration

    def configured(self) -> bool:
        """Whether CONFADD names a function that is there; only then is a read without effect."""
        return bool(self.confadd >> 31) and self.confadd & 0xFFFF00 in self.functions

    def native(self, reg: Reg, access: str) -> Native | None:
        """Configuration data that is read without effect may be read so again."""
        window = reg.block == "at" and reg.offset >= 4
        return Native(VALUE, self.configured) if window and access == "r" else super().native(reg, access)

    def _cycle(self, inside: int, size: int) -> int | None:
        """The entry of the space that an access to CONFDATA means; None without one."""
        if not self.confadd >> 31:
            return None                                     # [PCI] an I/O cycle like any other: nobody is there
        address: int = self.confadd & 0xFFFFFC
        if address & 0xFFFF00 not in self.functions:
            self.pcists |= self.PCISTS.RMA
            return None
        return address + inside << 4 | size

    def _read(self, inside: int, size: int) -> int:
        entry = self._cycle(inside, size)
        value: int = ONES[size]() if entry is None else self.space.read[entry]()
        return value

    def _write(self, inside: int, size: int, value: int) -> None:
        entry = self._cycle(inside, size)
        if entry is not None:
            self.space.write[entry](value)


def boundaries(memory: int) -> list[int]:
    """The row boundaries for `memory` bytes: rows of 256 MiB, larger ones only where eight do not suffice."""
    units = min(max(memory // ROW, 1), 0xFF)
    row = max(32, -(-units // ROWS))
    return [min(units, row * (i + 1)) for i in range(ROWS)]
