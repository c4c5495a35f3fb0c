"""Linux bzImage, entered in 32-bit protected mode; one without that entry (iPXE) in real mode, where it needs a BIOS.

Source: Linux, Documentation/x86/boot.rst ("The Linux/x86 Boot Protocol", 2.15) and zero-page.rst.  A field of the
set-up header has the same offset in the file and in struct boot_params.
Not modelled: zImage, the 64-bit entry, EFI hand-over.
"""

from __future__ import annotations

import struct

from emu.loaders.memory import END, MIB, Area, Ram, read, text, up
from emu.loaders.start import GDT, BadImage, MemoryMap, Screen, Start, protected

PARAMS = 0x10000  # struct boot_params, one page; the stack is below it
TABLE = 0x11000  # the GDT
CMDLINE, CMDLINE_END = 0x20000, 0x90000
KERNEL = 0x100000  # where LOADED_HIGH kernels are loaded
HEADER_END = 0x290  # boot_params has other things from here on
E820_MAX = 128  # entries in boot_params
LOADED_HIGH, CAN_USE_HEAP = 1, 0x80  # loadflags
SETUP_MAX, HEAP_END = 0x8000, 0xE000  # the 16-bit entry: set-up code from PARAMS on, then its heap, its stack on top


def is_linux(data: bytes) -> bool:
    """A boot sector that says HdrS: the boot protocol from 2.00 on."""
    return data[0x202:0x206] == b"HdrS" and data[0x1FE:0x200] == b"\x55\xaa"


class _Header:
    """The set-up header's fields: as they are in the file or, in a protocol without them, as it is understood."""

    def __init__(self, data: bytes, name: str) -> None:
        raw = data[:HEADER_END].ljust(HEADER_END, b"\0")

        def field(offset: int, form: str, since: int = 0x200, absent: int = 0) -> int:
            return int(struct.unpack_from(form, raw, offset)[0]) if self.version >= since else absent

        self.version = 0x200
        self.version = field(0x206, "<H")
        if self.version < 0x202:
            raise BadImage(
                f"{name}: a Linux kernel of boot protocol {self.version >> 8}.{self.version & 0xFF:02}; "
                "2.02 (Linux 2.4) is the oldest that can be started"
            )
        if not field(0x211, "B") & LOADED_HIGH:
            raise BadImage(f"{name}: a Linux zImage; build a bzImage (make bzImage) and give that")
        self.payload = ((field(0x1F1, "B") or 4) + 1) * 512  # setup_sects: 0 means 4
        self.syssize = field(0x1F4, "<I", 0x204) * 16
        self.entry = field(0x214, "<I")  # code32_start
        self.initrd_max = field(0x22C, "<I", 0x203, 0x37FF_FFFF)
        self.alignment = field(0x230, "<I", 0x205)
        self.relocatable = field(0x234, "B", 0x205)
        self.cmdline_size = field(0x238, "<I", 0x206, 255)  # without the NUL
        self.pref_address = field(0x258, "<Q", 0x20A)
        self.init_size = field(0x260, "<I", 0x20A)
        self.bytes = data[0x1F1:min(0x202 + data[0x201], HEADER_END)]


def load(
    data: bytes, name: str, ram: Ram, memory_map: MemoryMap, initrd: str | None, append: str, screen: Screen | None
) -> Start:
    """The 32-bit boot protocol: ESI = boot_params, EBP = EDI = EBX = 0, flat segments 10h and 18h, IF = 0.

    Where the file names no 32-bit entry, the 16-bit protocol: its set-up code at 1000:0000h, entered at 1020:0000h.
    """
    header = _Header(data, name)
    kernel = data[header.payload:]
    if not kernel or header.syssize > len(kernel) + 15:  # it counts paragraphs, and not every builder fills up the last
        raise BadImage(
            f"{name}: the Linux kernel is cut short: {len(data)} bytes, and it says {header.payload + header.syssize}"
        )
    if header.entry and not KERNEL <= header.entry < KERNEL + len(kernel):
        raise BadImage(f"{name}: the Linux kernel's entry {header.entry:X}h (code32_start) lies outside the kernel")
    ram.demand(name, "the Linux kernel", KERNEL, len(kernel))
    work = _work_area(header, name, ram, len(kernel))
    ram.demand(name, "the Linux kernel with its working area", work[0], work[1] - work[0])

    blocks = [(KERNEL, kernel)]
    if header.entry:
        params = bytearray(4096)
        params[0x1F1:0x1F1 + len(header.bytes)] = header.bytes
        blocks.append((TABLE, GDT))
        _memory(params, ram, memory_map)
        if screen is not None:
            _screen(params, screen)
    else:
        params = bytearray(data[:header.payload])
        if len(params) > SETUP_MAX:
            raise BadImage(f"{name}: the Linux kernel's set-up code is longer than {SETUP_MAX} bytes: a damaged file")
        params[0x211] |= CAN_USE_HEAP
        struct.pack_into("<H", params, 0x224, HEAP_END - 0x200)  # heap_end_ptr
    params[0x210] = 0xFF  # type_of_loader: none that has a number

    line = text(name, append)
    if len(line) - 1 > min(header.cmdline_size, CMDLINE_END - CMDLINE - 1):
        raise BadImage(f"{name}: the command line has {len(line) - 1} bytes; this kernel takes {header.cmdline_size}")
    blocks.append((CMDLINE, line))
    struct.pack_into("<I", params, 0x228, CMDLINE)

    if initrd is not None:
        image = read(initrd, ram.size, "initrd")
        used = [(0, KERNEL), (KERNEL, KERNEL + len(kernel)), work]
        place = ram.find(len(image), used, KERNEL, min(header.initrd_max + 1, END), highest=True)
        if place is None:
            raise BadImage(
                f"{initrd}: no room for the initrd of {up(len(image), MIB) // MIB} MiB: the kernel takes memory up to "
                f"{up(work[1], MIB) // MIB} MiB, and the machine has {ram.mib} MiB: give the machine more memory"
            )
        blocks.append((place, image))
        struct.pack_into("<II", params, 0x218, place, len(image))  # ramdisk_image, ramdisk_size

    blocks.append((PARAMS, bytes(params)))
    for start, block in blocks:
        ram.demand(name, "what the kernel is told", start, len(block))
    if header.entry:
        return protected("linux", blocks, TABLE, eip=header.entry, esi=PARAMS, esp=PARAMS)
    registers = dict.fromkeys(("ds", "es", "fs", "gs", "ss"), PARAMS >> 4)
    registers |= {"cs": (PARAMS >> 4) + 0x20, "eip": 0, "esp": HEAP_END, "eflags": 2}
    return Start("linux", tuple(blocks), "real", registers)


def _work_area(header: _Header, name: str, ram: Ram, length: int) -> Area:
    """The memory that the kernel uses before it has read the memory map: boot.rst, init_size.

    A relocatable kernel that is loaded below pref_address moves there itself.
    """
    if not header.init_size:  # before 2.10 no field says it; unpacked it is about three times as long
        return KERNEL, max(KERNEL + length, min(KERNEL + 3 * length, ram.ends(KERNEL)))
    start = header.pref_address
    if header.relocatable:
        if header.alignment == 0 or header.alignment & (header.alignment - 1):
            raise BadImage(f"{name}: the kernel's alignment {header.alignment:X}h is no power of 2: a damaged file")
        start = up(max(KERNEL, header.pref_address), header.alignment)
    return start, start + header.init_size


def _memory(params: bytearray, ram: Ram, memory_map: MemoryMap) -> None:
    """The E820 map, and the older ways to say how much memory lies above 1 MiB, in KiB."""
    if len(memory_map) > E820_MAX:
        raise BadImage(f"the memory map has {len(memory_map)} areas; boot_params has room for {E820_MAX}")
    above = (min(ram.ends(KERNEL), END) - KERNEL) // 1024
    struct.pack_into("<H", params, 0x002, min(above, 0xFFFF))  # ext_mem_k, INT 15h AH=88h
    struct.pack_into("<I", params, 0x1E0, above)  # alt_mem_k, INT 15h AX=E801h
    params[0x1E8] = len(memory_map)  # e820_entries
    for i, (start, length, kind) in enumerate(memory_map):
        struct.pack_into("<QQI", params, 0x2D0 + 20 * i, start, length, kind)


def _screen(params: bytearray, screen: Screen) -> None:
    """struct screen_info: a VGA in text mode.  Without one it stays zero: orig_video_isVGA = 0, no lines or columns."""
    struct.pack_into("<BB", params, 0x00, screen.column, screen.row)  # orig_x, orig_y
    struct.pack_into("<BB", params, 0x06, screen.mode, screen.columns)  # orig_video_mode, _cols
    struct.pack_into("<BBH", params, 0x0E, screen.rows, 1, screen.points)  # orig_video_lines, _isVGA, _points
