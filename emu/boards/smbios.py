"""The PC's SMBIOS tables.  [DMTF] DSP0134, SMBIOS 2.8: 5.2.1 the entry point, 7 the structures.

fw_cfg's files are as QEMU's: the structures, and the entry point with the address 0, which the firmware sets and for which
it makes both checksums anew.
"""

from __future__ import annotations

import struct

TABLES, ANCHOR = "etc/smbios/smbios-tables", "etc/smbios/smbios-anchor"
MAKER, PRODUCT, VERSION, DATE = "emu", "PC", "1", "01/01/2026"
MIB, KIB, HIGH = 1 << 20, 1 << 10, 1 << 32
NONE = 0xFFFF                       # no handle
PROCESSOR, ARRAY, BOARD, CHASSIS, DIMM = 0x400, 0x1000, 0x200, 0x300, 0x1100      # handles
SHARE = 16 << 10                    # MiB of one memory device at most: its size is a word
BIOS_PCI, BIOS_CD, BIOS_SELECTABLE, BIOS_EDD = 1 << 7, 1 << 15, 1 << 16, 1 << 19
EXTENDED_ACPI, EXTENDED_VIRTUAL = 1 << 0, 1 << 12       # of both extension bytes


def tables(memory: int, low: int, cpu: str) -> dict[str, bytes]:
    """fw_cfg's files: `memory` bytes of RAM, those below 4 GiB ending at `low`, and a processor model's name."""
    sizes = [min(SHARE, memory // MIB - done) for done in range(0, memory // MIB, SHARE)]
    ranges = [(0, low)] + ([(HIGH, HIGH + memory - low)] if memory > low else [])
    structures = [
        structure(0, 0, struct.pack("<BBHBBQHBBBB", 1, 2, 0xE000, 3, 1,
                                    BIOS_PCI | BIOS_CD | BIOS_SELECTABLE | BIOS_EDD, EXTENDED_ACPI | EXTENDED_VIRTUAL,
                                    1, 0, 0xFF, 0xFF), MAKER, VERSION, DATE),
        structure(1, 0x100, struct.pack("<BBBB16sBBB", 1, 2, 3, 0, bytes(16), 6, 0, 0), MAKER, PRODUCT, VERSION),
        structure(2, BOARD, struct.pack("<BBBBBBBHBB", 1, 2, 0, 0, 0, 1, 0, CHASSIS, 0x0A, 0), MAKER, PRODUCT),
        structure(3, CHASSIS, struct.pack("<BBBBBBBBBIBBBB", 1, 3, 0, 0, 0, 3, 3, 3, 3, 0, 0, 0, 0, 0), MAKER),
        structure(4, PROCESSOR, struct.pack("<BBBBQBBHHHBBHHHBBBBBBHH", 1, 3, 2, 2, 0, 3, 0, 0, 0, 0, 0x41, 1,
                                            NONE, NONE, NONE, 0, 0, 0, 1, 1, 1, 0, 2), "CPU 0", MAKER, cpu),
        structure(16, ARRAY, struct.pack("<BBBIHHQ", 3, 3, 3, min(memory // KIB, 0x8000_0000), 0xFFFE, len(sizes),
                                         memory if memory // KIB >= 0x8000_0000 else 0)),
        *(structure(17, DIMM + i, struct.pack("<HHHHHBBBBBHHBBBBBIHHHH", ARRAY, 0xFFFE, NONE, NONE, size, 9, 0, 1, 0, 7, 2, 0,
                                              0, 0, 0, 0, 0, 0, 0, 0, 0, 0), f"DIMM {i}") for i, size in enumerate(sizes)),
        *(structure(19, 0x1300 + i, struct.pack("<IIHBQQ", *_kilobytes(first, end), ARRAY, 1, *_wide(first, end)))
          for i, (first, end) in enumerate(ranges)),
        structure(32, 0x2000, bytes(6) + b"\0"),
        structure(127, 0x7F00, b""),
    ]
    return {TABLES: b"".join(structures), ANCHOR: anchor(structures, 0)}


def structure(kind: int, handle: int, body: bytes, *strings: str) -> bytes:
    """[DMTF] 6.1.2 and 6.1.3: the header, the formatted part, and the strings that it numbers from 1 on."""
    text = b"".join(string.encode("ascii") + b"\0" for string in strings) or b"\0"
    return struct.pack("<BBH", kind, 4 + len(body), handle) + body + text + b"\0"


def anchor(structures: list[bytes], address: int) -> bytes:
    """[DMTF] 5.2.1: the entry point for structures at `address`."""
    length = sum(map(len, structures))
    lower = struct.pack("<5sBHIHB", b"_DMI_", 0, length, address, len(structures), 0x28)
    lower = lower[:5] + bytes([-sum(lower) & 0xFF]) + lower[6:]
    upper = struct.pack("<4sBBBBHB5x", b"_SM_", 0, 0x1F, 2, 8, max(map(len, structures)), 0)
    return upper[:4] + bytes([-sum(upper + lower) & 0xFF]) + upper[5:] + lower


def _kilobytes(first: int, end: int) -> tuple[int, int]:
    """Starting and ending address in KiB; ones where they do not fit, and `_wide` says them."""
    return (first // KIB, (end - 1) // KIB) if end <= 1 << 42 else (0xFFFF_FFFF, 0xFFFF_FFFF)


def _wide(first: int, end: int) -> tuple[int, int]:
    return (0, 0) if end <= 1 << 42 else (first, end - 1)
