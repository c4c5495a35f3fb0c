"""What all functions on a PCI bus have in common: the header of their configuration space, and base address registers.

Sources: [PCI] PCI Local Bus Specification, revision 2.1, chapter 6 (revision 3.0 for the subsystem, 6.2.4).

This is no part by itself.  A function's class declares its identity and what it has of the header's optional registers
anew, as rows of block "config", and its `BAR`s; what it does not declare reads 0 and drops writes ([PCI] 6.1).

    class Adapter(PCIFunction):
        VID = Reg(0x00, R, "vendor", size=2, reset=0x1234, block="config")
        BAR0 = BAR(0, "memory", 16 << 20, "frame buffer", prefetch=True)
        BAR1 = BAR(1, "io", 16, "registers", shows="at")        # the rows of block "at" answer where it is
        INTPN = Reg(0x3D, R, "interrupt pin: INTA#", reset=1, block="config")
        INTA = Out("interrupt request: a level, high while INTA# is asserted")

Not modelled: bus masters' latency, parity, capabilities, address space above 4 GiB, the built-in self test.
"""

# mypy: disable-error-code="has-type"
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from emu.device import RW, Device, R, Reg

IO, MEMORY, ROM = "io", "memory", "rom"
SPACE = 256                     # bytes of a function's configuration space
FOUR_GIB = 1 << 32

Show = Callable[[Device, str, str, "int | None", int], None]


class BAR(Reg):
    """Base address register `number` (0 to 5) for `length` bytes, a power of two: [PCI] 6.2.5.1.

    `space` "io" or "memory"; all bits from the length's on can be written, those of I/O too, and read back for sizing.
    `shows`: the block of registers that is decoded there; "" where the function does something of its own (on_bar).
    """

    def __init__(self, number: int, space: str, length: int, doc: str, *, prefetch: bool = False, shows: str = "") -> None:
        least = {IO: 4, MEMORY: 16, ROM: 2048}[space]
        if length < least or length & length - 1:
            raise ValueError(f"{doc}: {length} bytes are no power of two from {least} on")
        flags = {IO: 1, MEMORY: 8 if prefetch else 0, ROM: 0}[space]
        mask = FOUR_GIB - length | (1 if space == ROM else 0)
        super().__init__(0x30 if space == ROM else 0x10 + 4 * number, RW, doc, size=4, reset=flags, mask=mask, block="config")
        self.space, self.length, self.shows = space, length, shows

    def base(self, value: int, command: int) -> int | None:
        """Where the space is decoded, with this value and the command register's.

        Nowhere at address 0 (as it is after a reset), across the end of the space, or I/O beyond 64 KiB, which the
        processor cannot reach.
        """
        enabled = command & (PCIFunction.PCICMD.IOSE if self.space == IO else PCIFunction.PCICMD.MSE)
        base = value & -self.length
        limit = 1 << 16 if self.space == IO else FOUR_GIB
        if not enabled or (self.space == ROM and not value & 1) or not base or base + self.length > limit:
            return None
        return base


class ROMBAR(BAR):
    """The expansion ROM base address register: bit 0 enables it ([PCI] 6.2.5.2)."""

    def __init__(self, length: int, doc: str = "expansion ROM") -> None:
        super().__init__(0, ROM, length, doc)


def nowhere(device: Device, block: str, space: str, base: int | None, length: int) -> None:
    """A function that is in no slot shows nothing."""


class PCIFunction(Device):
    """A function of a device in a PCI slot.

    The board sets `show`, by which the function says where the registers of a block answer from now on: in "io" or
    "memory" for `length` bytes from `base` on, or nowhere (None).
    """

    blank = 0                   # [PCI] 6.1: reads of unimplemented registers are completed with 0

    VID = Reg(0x00, R, "vendor", size=2, block="config")
    DID = Reg(0x02, R, "device", size=2, block="config")
    PCICMD = Reg(0x04, RW, "command", "0 0 0 0 0 0 FBE SERRE WCC PER VPS MWI SCE BME MSE IOSE", size=2, block="config",
                 mask=0)
    PCISTS = Reg(0x06, RW, "status: writing 1 clears", "DPE SSE RMA RTA STA DEVT1 DEVT0 DPD FBC 0 0 0 0 0 0 0", size=2,
                 block="config", mask=0xF900, w1c=True)
    RID = Reg(0x08, R, "revision", block="config")
    CLASSC = Reg(0x09, R, "class code: programming interface, sub-class, base class", size=3, block="config")
    HEDT = Reg(0x0E, R, "header type: 0; bit 7: the device has several functions", block="config")
    SVID = Reg(0x2C, R, "subsystem's vendor", size=2, block="config")
    SID = Reg(0x2E, R, "subsystem", size=2, block="config")
    INTLN = Reg(0x3C, RW, "interrupt line: for software, which keeps there how the pin is routed", block="config")
    INTPN = Reg(0x3D, R, "interrupt pin: 0 none, 1 INTA#, ... 4 INTD#", block="config")

    show: Show = staticmethod(nowhere)

    def __new__(cls, *args: Any, **kwargs: Any) -> PCIFunction:
        self = super().__new__(cls, *args, **kwargs)
        assert isinstance(self, PCIFunction)
        self.decoded = dict.fromkeys(cls.parts(BAR))        # where each is decoded; follows from the registers
        return self

    def reset(self) -> None:
        """RST#: no space is decoded."""
        super().reset()
        self.decode()

    def on_restore(self) -> None:
        """Show again what the registers say, whatever was shown before."""
        self.decode(anew=True)

    def write_PCICMD(self, value: int) -> None:
        mask = self.PCICMD.mask
        self.pcicmd = self.pcicmd & ~mask | value & mask
        self.decode()

    def write_INTLN(self, value: int) -> None:
        if self.intpn:                                      # [PCI] 6.2.4: of functions that use a pin
            self.intln = value

    def writer(self, reg: Reg) -> Callable[[int], None]:
        """As Device.writer; a base address register is decoded at once."""
        store = super().writer(reg)
        if not isinstance(reg, BAR):
            return store

        def write(value: int) -> None:
            store(value)
            self.decode()

        return write

    def decode(self, anew: bool = False) -> None:
        """Follow the command register and the base address registers."""
        for bar in self.parts(BAR):
            base = bar.base(getattr(self, bar.key), self.pcicmd)
            if anew or base != self.decoded[bar]:
                self.decoded[bar] = base
                self.on_bar(bar, base)

    def on_bar(self, bar: BAR, base: int | None) -> None:
        """`bar` is decoded from `base` on, or not at all, from the guest's next access on."""
        if bar.shows:
            self.show(self, bar.shows, bar.space, base, bar.length)
