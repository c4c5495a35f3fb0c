"""A flat binary: boot code, started as a BIOS starts a boot sector.

Source: Phoenix/Compaq/Intel BIOS Boot Specification 1.01, 6.5: loaded at 0000:7C00h and entered there, DL = drive.
"""

from __future__ import annotations

from emu.loaders.memory import Ram
from emu.loaders.start import BadImage, Start

ORIGIN = 0x7C00
LIMIT = 0x9FC00  # the extended BIOS data area begins here

TEXT = bytes((*range(0x20, 0x7F), *b"\t\r\n"))

# What is evidently something else: (offset, bytes there, what it is, what to do).
KNOWN = (
    (0, b"\x1f\x8b", "gzip-compressed", "unpack it first: gunzip"),
    (0, b"\xfd7zXZ\0", "xz-compressed", "unpack it first: unxz"),
    (0, b"BZh", "bzip2-compressed", "unpack it first: bunzip2"),
    (0, b"\x28\xb5\x2f\xfd", "zstd-compressed", "unpack it first: unzstd"),
    (0, b"\x04\x22\x4d\x18", "lz4-compressed", "unpack it first: unlz4"),
    (0, b"\x02\x21\x4c\x18", "lz4-compressed", "unpack it first: unlz4"),
    (0, b"PK\x03\x04", "a zip archive", "unpack it first"),
    (257, b"ustar", "a tar archive", "unpack it first"),
    (0, b"070701", "a cpio archive", "give it as the initrd of a Linux kernel"),
    (0, b"!<arch>\n", "an archive of object files or a package", "give what is in it"),
    (0, b"QFI\xfb", "a qcow2 disk image", "convert it to a raw image and give that as a disk"),
    (0, b"KDMV", "a VMDK disk image", "convert it to a raw image and give that as a disk"),
    (0x40, b"\x7f\x10\xda\xbe", "a VDI disk image", "convert it to a raw image and give that as a disk"),
    (0, b"conectix", "a VHD disk image", "convert it to a raw image and give that as a disk"),
    (0, b"vhdxfile", "a VHDX disk image", "convert it to a raw image and give that as a disk"),
    (0x8001, b"CD001", "a CD image", "give it as a CD"),
    (0, b"MZ", "a DOS, Windows or UEFI program", "it needs one of those to run it"),
    (0, b"\xce\xfa\xed\xfe", "a Mach-O program", "it needs macOS to run it"),
    (0, b"\xcf\xfa\xed\xfe", "a Mach-O program", "it needs macOS to run it"),
    (0, b"\xca\xfe\xba\xbe", "a Java class or Mach-O program", "it is no kernel"),
    (0, b"\x27\x05\x19\x56", "a U-Boot image", "give the kernel that is in it"),
    (0, b"\xd0\x0d\xfe\xed", "a device tree or FIT image", "give the kernel that is in it"),
    (0, b"\0asm", "a WebAssembly module", "it is no kernel"),
    (0, b"%PDF", "a PDF document", "it is no kernel"),
    (0, b"#!", "a script", "it is no kernel"),
)


def load(data: bytes, name: str, ram: Ram) -> Start:
    """The file at 0000:7C00h, entered there in real mode: DL = 80h (the first hard disk), stack below, IF = 1."""
    if not data:
        raise BadImage(f"{name}: the file is empty")
    for offset, magic, what, advice in KNOWN:
        if data.startswith(magic, offset):
            raise BadImage(f"{name}: this is {what}, not a kernel; {advice}")
    if len(data) >= 16 and not data[:512].strip(TEXT):
        raise BadImage(f"{name}: this is a text, not a kernel")
    if len(data) > LIMIT - ORIGIN:
        if data[510:512] == b"\x55\xaa" and len(data) % 512 == 0:
            raise BadImage(f"{name}: a disk image, it seems (boot signature, {len(data)} bytes): give it as a disk")
        raise BadImage(
            f"{name}: not a Linux, Multiboot or ELF kernel, and with {len(data)} bytes too long for a flat binary, "
            f"which must fit between 7C00h and {LIMIT:X}h ({LIMIT - ORIGIN} bytes)"
        )
    ram.demand(name, "a flat binary", ORIGIN, len(data))
    registers = {"eip": ORIGIN, "esp": ORIGIN, "edx": 0x80, "eflags": 0x202, "cs": 0, "ds": 0, "es": 0, "ss": 0}
    return Start("flat", ((ORIGIN, data),), "real", registers)
