"""A Linux kernel in the pieces that a PC's firmware finds in fw_cfg, loads and enters in real mode, at its set-up code.

Sources: Linux, Documentation/arch/x86/boot.rst, "Memory layout" and "Details of header fields"; the keys and addresses are
those of QEMU's boards, which their option ROM and other firmwares know.
"""

from __future__ import annotations

import struct

from emu.loaders.memory import MIB, read, text, up
from emu.loaders.start import BadImage, Start

ADDRESS, SIZE, DATA = {}, {}, {}        # piece -> key
for _piece, _keys in {"kernel": (0x07, 0x08, 0x11), "initrd": (0x0A, 0x0B, 0x12), "cmdline": (0x13, 0x14, 0x15),
                      "setup": (0x16, 0x17, 0x18)}.items():
    ADDRESS[_piece], SIZE[_piece], DATA[_piece] = _keys
KEY = 32                                # a block's address is its key shifted so far: longer than any piece

HIGH, LOW = 0x100000, 0x10000           # where the protected-mode code goes: of a bzImage, of a zImage
REAL, REAL_OLD = 0x10000, 0x90000       # where the set-up code goes, from 2.02 on and before
CMDLINE, CMDLINE_OLD = 0x20000, 0x99000
CMDLINE_MAGIC = 0xA33F
HEAP = 0x200                            # bytes between the heap's end and the command line's start
INITRD_MAX = 0x37FF_FFFF                # before 2.03
RESERVED = 0x28000                      # at the end of memory: firmware keeps its ACPI tables there
UNKNOWN = 0xFF                          # type_of_loader


def pieces(data: bytes, name: str, top: int, initrd: str | None, append: str) -> Start:
    """What fw_cfg holds of a kernel file; `top` is the end of the RAM below 4 GiB.  Raises BadImage."""
    split = ((data[0x1F1] or 4) + 1) * 512
    setup, kernel = bytearray(data[:split]), data[split:]
    if not kernel:
        raise BadImage(f"{name}: the Linux kernel is cut short: {len(data)} bytes, and its set-up code alone has {split}")
    version, = struct.unpack_from("<H", data, 0x206)
    high, new = bool(setup[0x211] & 1), version >= 0x202
    real, line = (REAL, CMDLINE) if new and high else (REAL_OLD, CMDLINE_OLD)
    command = text(name, append)
    setup[0x210] = UNKNOWN
    if new:
        struct.pack_into("<I", setup, 0x228, line)                      # cmd_line_ptr
    else:
        struct.pack_into("<HH", setup, 0x20, CMDLINE_MAGIC, line - real)
    if version >= 0x201:
        setup[0x211] |= 0x80                                            # CAN_USE_HEAP
        struct.pack_into("<H", setup, 0x224, line - real - HEAP)        # heap_end_ptr
    found = {"kernel": (HIGH if high else LOW, kernel), "cmdline": (line, command)}
    if initrd is not None:
        limit = struct.unpack_from("<I", data, 0x22C)[0] if version >= 0x203 else INITRD_MAX
        image = read(initrd, top, "initrd")
        address = min(limit, top - RESERVED - 1) - len(image) & -4096
        if address < HIGH + len(kernel):
            raise BadImage(f"{initrd}: no room for the initrd of {up(len(image), MIB) // MIB} MiB in a memory of "
                           f"{top // MIB} MiB: give the machine more memory")
        struct.pack_into("<II", setup, 0x218, address, len(image))      # ramdisk_image, ramdisk_size
        found["initrd"] = address, image
    found["setup"] = real, bytes(setup)
    told: dict[int, bytes] = {}
    for piece, (address, content) in found.items():
        told |= {ADDRESS[piece]: struct.pack("<I", address), SIZE[piece]: struct.pack("<I", len(content)),
                 DATA[piece]: content}
    return Start("linux", tuple((key << KEY, content) for key, content in told.items()), "firmware", {})


def items(start: Start) -> dict[int, bytes]:
    """The items of a start by firmware, whose blocks a snapshot may have cut."""
    found = dict.fromkeys([*ADDRESS.values(), *SIZE.values(), *DATA.values()], b"")
    for address, content in start.blocks:
        found[address >> KEY] += content
    return found
