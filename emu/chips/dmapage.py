"""The DMA page registers at 81h to 8Fh: the address bits from A16 on that an 8237A has not.

[AT] IBM PC AT Technical Reference, "Direct memory access": a 74LS612, of which the DACK lines select one byte; [P] 82371SB
(PIIX3), order 290550-002, section 2.3.1.9.

Not modelled: 80h, which belongs to the POST display; the high page registers of EISA machines, which a PIIX3 has not.
"""

from __future__ import annotations

from emu.device import RW, Device, Reg


class DMAPage(Device):
    """Sixteen bytes less one; those that no channel uses are storage, as the 74LS612 has them."""

    PAGE2 = Reg(0x0, RW, "channel 2: A23-A16")
    PAGE3 = Reg(0x1, RW, "channel 3")
    PAGE1 = Reg(0x2, RW, "channel 1")
    FREE84 = Reg(0x3, RW, "not used")
    FREE85 = Reg(0x4, RW, "not used")
    FREE86 = Reg(0x5, RW, "not used")
    PAGE0 = Reg(0x6, RW, "channel 0")
    FREE88 = Reg(0x7, RW, "not used")
    PAGE6 = Reg(0x8, RW, "channel 6: A23-A17")
    PAGE7 = Reg(0x9, RW, "channel 7")
    PAGE5 = Reg(0xA, RW, "channel 5")
    FREE8C = Reg(0xB, RW, "not used")
    FREE8D = Reg(0xC, RW, "not used")
    FREE8E = Reg(0xD, RW, "not used")
    PAGE4 = Reg(0xE, RW, "refresh")

    def page(self, channel: int) -> int:
        """The address bits of channels 0 to 7."""
        value: int = getattr(self, f"page{channel}")
        return value << 16
