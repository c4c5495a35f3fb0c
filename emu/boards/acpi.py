"""The PC's ACPI tables, and the script by which a firmware puts them in memory.

[ACPI] ACPI 1.0b, chapters 4.7 (fixed hardware), 5.2 (tables) and 6 (configuration); [Q] QEMU, docs/specs/fw_cfg.rst and the
structure BiosLinkerLoaderEntry of hw/acpi/bios-linker-loader.c; [I] Intel 82371SB (PIIX3), 290550.  What the machine has
not got has no table: no MADT, for there is neither a local APIC nor an I/O APIC, and interrupts come by the two 8259A; no
HPET, no S1 to S4.
"""

from __future__ import annotations

import struct

from emu.boards import aml
from emu.boards.aml import ARG0, LOCAL0, both, device, either, give, integer, method, name, path, store, when

PM, SMBUS, APM = 0x600, 0x700, 0xB2         # where a firmware puts the PIIX4's registers, as that of QEMU's board does
SCI = 9
ENABLE, DISABLE = 0xF1, 0xF0                # values of APMC that set and clear SCI_EN
CENTURY = 0x32                              # cell of the RTC
PCI_END = 0xFEC0_0000                       # memory of the PCI bus ends here
ROUTES = 5, 10, 11                          # of those that [I] PIIX3, PIRQRC allows, what no other device has
SLOTS = 32
PWR_FIXED_FLAGS = 1 << 0 | 1 << 2 | 1 << 5 | 1 << 6     # WBINVD, PROC_C1, no sleep button, the RTC does not wake
NO_STATE = 0xFFF                            # [ACPI] latency of a C state that there is not

TABLES, RSDP, LOADER = "etc/acpi/tables", "etc/acpi/rsdp", "etc/table-loader"
ALLOCATE, ADD_POINTER, ADD_CHECKSUM = 1, 2, 3
HIGH, FSEG = 1, 2                           # where a file is put: anywhere below 4 GiB, or at F0000h to FFFFFh
CHECKSUM = 9                                # offset in every table's header


def tables(low: int) -> dict[str, bytes]:
    """fw_cfg's files; `low` is the end of RAM below 4 GiB, from which on the PCI bus has its memory."""
    blob, places = bytearray(), {}
    for label, table in (("FACS", facs()), ("DSDT", dsdt(low)), ("FACP", fadt()), ("RSDT", header("RSDT", b"\0" * 4))):
        blob += bytes(-len(blob) % 64)                      # [ACPI] 5.2.6: the FACS is aligned to 64 bytes
        places[label] = len(blob), len(table)
        blob += table
    script = [_allocate(TABLES, 64, HIGH), _allocate(RSDP, 16, FSEG), _checksum(TABLES, *places["DSDT"])]
    fadt_at, rsdt_at = places["FACP"][0], places["RSDT"][0]
    for target, at in (("FACS", fadt_at + 36), ("DSDT", fadt_at + 40), ("FACP", rsdt_at + 36)):
        struct.pack_into("<I", blob, at, places[target][0])
        script.append(_pointer(TABLES, TABLES, at))
    script += [_checksum(TABLES, *places["FACP"]), _checksum(TABLES, *places["RSDT"])]
    root = struct.pack("<8sB6sBI", b"RSD PTR ", 0, b"EMU   ", 0, rsdt_at)
    script += [_pointer(RSDP, TABLES, 16), _checksum(RSDP, 0, len(root), 8)]
    return {TABLES: bytes(blob), RSDP: root, LOADER: b"".join(script)}


# -- the loader's script: [Q]

def _command(number: int, fields: bytes) -> bytes:
    return (struct.pack("<I", number) + fields).ljust(128, b"\0")


def _allocate(file: str, align: int, zone: int) -> bytes:
    return _command(ALLOCATE, struct.pack("<56sIB", file.encode(), align, zone))


def _pointer(file: str, to: str, offset: int) -> bytes:
    """Add the address of the file `to` to the double word at `offset`."""
    return _command(ADD_POINTER, struct.pack("<56s56sIB", file.encode(), to.encode(), offset, 4))


def _checksum(file: str, start: int, length: int, offset: int = CHECKSUM) -> bytes:
    """Let the bytes of a table sum up to 0."""
    return _command(ADD_CHECKSUM, struct.pack("<56sIII", file.encode(), start + offset, start, length))


# -- tables

def header(signature: str, body: bytes, revision: int = 1) -> bytes:
    """[ACPI] 5.2.3, with the checksum still to come."""
    return struct.pack("<4sIBB6s8sI4sI", signature.encode(), 36 + len(body), revision, 0, b"EMU   ", b"EMUPC   ", 1,
                       b"EMU ", 1) + body


def facs() -> bytes:
    """[ACPI] 5.2.6: firmware control; no waking vector, the global lock is free."""
    return struct.pack("<4sI", b"FACS", 64).ljust(64, b"\0")


def fadt() -> bytes:
    """[ACPI] 5.2.5: the fixed hardware, which is that of the PIIX4."""
    return header("FACP", struct.pack(
        "<IIBBHIBBBxIIIIIIIIBBBBBBBxHHHHBBBBBxxxI",
        0, 0, 0, 0, SCI, APM, ENABLE, DISABLE, 0,
        PM, 0, PM + 4, 0, 0, PM + 8, PM + 0xC, 0,
        4, 2, 0, 4, 4, 0, 0,
        NO_STATE, NO_STATE, 0, 0, 0, 0, 0, 0, CENTURY, PWR_FIXED_FLAGS))


def dsdt(low: int) -> bytes:
    """[ACPI] 5.2.7.1: the PCI bus, the devices behind its ISA bridge, its interrupt links; soft off is SLP_TYP 0 (PIIX4)."""
    return header("DSDT", b"".join((
        aml.scope("\\_PR", aml.processor("CPU0", 0)),
        aml.scope("\\_SB", _bus(low), *(_link(i) for i in range(4)), _sci_link()),
        name("\\_S5", aml.package(*[integer(0)] * 4)),
    )))


def _bus(low: int) -> bytes:
    return device(
        "PCI0",
        name("_HID", aml.eisa_id("PNP0A03")), name("_ADR", integer(0)), name("_UID", integer(0)),
        name("_CRS", aml.resources(
            aml.buses(0, 0xFF), aml.ports(0xCF8, 8), aml.port_window(0, 0xCF7), aml.port_window(0xD00, 0xFFFF),
            aml.memory_window(0xA0000, 0xBFFFF), aml.memory_window(low, PCI_END - 1))),
        name("_PRT", aml.package(*(_route(slot, pin) for slot in range(1, SLOTS) for pin in range(4)))),
        _isa())


def _route(slot: int, pin: int) -> bytes:
    """INTA# to INTD# of slot 1 are PIRQA to PIRQD, and each slot begins with the next; PIIX4's own is the SCI."""
    link = "LNKS" if (slot, pin) == (1, 0) else f"LNK{'ABCD'[(slot - 1 + pin) % 4]}"
    return aml.package(integer(slot << 16 | 0xFFFF), integer(pin), path(link), integer(0))


def _link(number: int) -> bytes:
    """A PIRQ: [I] PIIX3, PIRQRC[A:D]: bit 7 set, it leads nowhere; bits 3 to 0 the interrupt."""
    letter = "ABCD"[number]
    register = path(f"\\_SB.PCI0.ISA.PRQ{letter}")
    return device(
        f"LNK{letter}",
        name("_HID", aml.eisa_id("PNP0C0F")), name("_UID", integer(number)),
        name("_PRS", aml.resources(aml.interrupts(*ROUTES))),
        method("_STA", 0, when(both(register, integer(0x80)), give(integer(0x09))), give(integer(0x0B))),
        method("_DIS", 0, store(either(register, integer(0x80)), register)),
        name("BUF", aml.resources(aml.interrupts(0))),
        method("_CRS", aml.SERIALIZED,
               aml.dword_field(path("BUF"), 5, "IRQN"), store(register, LOCAL0),
               when(both(LOCAL0, integer(0x80)), store(integer(0), LOCAL0)),
               store(both(LOCAL0, integer(0x0F)), path("IRQN")), give(path("BUF"))),
        method("_SRS", 1 | aml.SERIALIZED, aml.dword_field(ARG0, 5, "IRQN"), store(path("IRQN"), register)))


def _sci_link() -> bytes:
    """The SCI's wire, which leads to one interrupt for good."""
    only = aml.resources(aml.interrupts(SCI))
    return device("LNKS", name("_HID", aml.eisa_id("PNP0C0F")), name("_UID", integer(4)), name("_STA", integer(0x0B)),
                  name("_PRS", only), name("_CRS", only), method("_DIS", 0), method("_SRS", 1))


def _isa() -> bytes:
    """The ISA bridge, slot 1 function 0, and what is behind it."""
    return device(
        "ISA", name("_ADR", integer(0x10000)),
        aml.pci_region("PIRQ", 0x60, 4), aml.byte_fields("PIRQ", "PRQA", "PRQB", "PRQC", "PRQD"),
        _part("RTC", "PNP0B00", aml.ports(0x70, 2), aml.irq(8)),
        _part("KBD", "PNP0303", aml.ports(0x60, 1), aml.ports(0x64, 1), aml.irq(1)),
        _part("MOU", "PNP0F13", aml.irq(12)),
        _part("FDC0", "PNP0700", aml.ports(0x3F2, 4), aml.ports(0x3F7, 1), aml.irq(6), aml.dma(2)),
        _part("COM1", "PNP0501", aml.ports(0x3F8, 8), aml.irq(4), uid=1),
        _part("PM", "PNP0C02", aml.ports(PM, 0x40), aml.ports(SMBUS, 0x10), aml.ports(APM, 2)))


def _part(of: str, identifier: str, *descriptors: bytes, uid: int | None = None) -> bytes:
    number = b"" if uid is None else name("_UID", integer(uid))
    return device(of, name("_HID", aml.eisa_id(identifier)), number, name("_CRS", aml.resources(*descriptors)))
