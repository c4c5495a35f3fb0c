"""Multiboot 1 kernels.

Source: GNU, Multiboot Specification version 0.6.96; the numbers in the comments are its sections.
Not modelled: video modes (3.1.4: a request is accepted, and no mode reported), drives, APM, configuration table (3.3).
"""

from __future__ import annotations

import struct
from pathlib import Path

from emu.loaders import elf
from emu.loaders.memory import END, Area, Ram, read, text, up
from emu.loaders.start import GDT, BadImage, MemoryMap, Start, protected

MAGIC, CHECKED = 0x1BADB002, 0x2BADB002  # in the kernel's header; in EAX, from the loader
SEARCH = 8192  # 3.1: the header lies wholly in the first 8192 bytes, 32-bit aligned
PAGE_ALIGN, MEMORY_INFO, VIDEO_MODE = 1, 2, 4  # 3.1.2: what the kernel may ask for that we know
KLUDGE = 1 << 16  # the header's own addresses hold
# 3.3: what the information structure has
MEMORY, COMMAND_LINE, MODULES, SECTIONS, MMAP, LOADER_NAME = 1, 1 << 2, 1 << 3, 1 << 5, 1 << 6, 1 << 9
INFO = 120  # bytes, with the fields of video modes that stay zero
# The information lies low, where QEMU has it too: right behind the kernel is where many a small kernel has its heap.
LOW = 0x9000
STACK = 4096
SHT_SYMTAB, SHT_STRTAB = 2, 3


def find_header(data: bytes) -> int | None:
    """The header's offset in the file: magic, flags and checksum add up to zero."""
    head = data[:SEARCH]
    at = head.find(struct.pack("<I", MAGIC))
    while at >= 0:
        if at % 4 == 0 and at + 12 <= len(head) and sum(struct.unpack_from("<3I", head, at)) % END == 0:
            return at
        at = head.find(struct.pack("<I", MAGIC), at + 1)
    return None


def is_multiboot2(data: bytes) -> bool:
    """A header of Multiboot 2 (64-bit aligned in the first 32768 bytes), which is another protocol."""
    head, magic = data[:32768], struct.pack("<I", 0xE85250D6)
    at = head.find(magic)
    while at >= 0:
        if at % 8 == 0 and at + 16 <= len(head) and sum(struct.unpack_from("<4I", head, at)) % END == 0:
            return True
        at = head.find(magic, at + 1)
    return False


def load(data: bytes, name: str, ram: Ram, memory_map: MemoryMap, initrd: str | None, append: str) -> Start:
    """3.2: EAX = 2BADB002h, EBX = the information structure, flat protected mode, IF = 0."""
    header = find_header(data)
    assert header is not None
    flags, = struct.unpack_from("<I", data, header + 4)
    if unknown := flags & 0xFFFF & ~(PAGE_ALIGN | MEMORY_INFO | VIDEO_MODE):
        raise BadImage(f"{name}: the Multiboot kernel requires what this loader has not (flags {unknown:04X}h)")
    image: elf.Elf | None = None
    if flags & KLUDGE:
        blocks, entry = _by_addresses(data, header, name, ram)
    elif data.startswith(elf.MAGIC):
        image = elf.parse(data, name)
        blocks, entry = elf.blocks(data, image, name, ram), image.entry
    else:
        raise BadImage(f"{name}: a Multiboot kernel that is no ELF file and gives no addresses: link it as ELF")

    room = _Room(name, ram, [(start, start + len(block)) for start, block in blocks])
    modules = []
    for string in split_modules(initrd or ""):
        file = read(string.split(" ")[0], ram.size, "module")
        place = room.take(len(file), f"the module {string.split(' ')[0]}")
        blocks.append((place, file))
        modules.append((place, place + len(file), string))

    table = b""
    if image is not None and image.shnum and image.shoff:
        table, symbols = _sections(data, image, name, room)
        blocks += symbols

    program = (Path(name).name or "kernel").replace(" ", "_")
    info = _Info(ram, memory_map)
    info.strings(f"{program} {append}".rstrip(), modules, name)
    if image is not None and table:
        info.sections(table, image)
    low = ram.find(len(info.body) + STACK, room.taken, LOW, 0x100000)
    if low is None:
        low = room.take(len(info.body) + STACK, "the Multiboot information")
    blocks.append((low, info.at(low) + bytes(STACK)))
    stack = (low + len(info.body) + STACK) & ~15
    return protected("multiboot", blocks, low + INFO, eip=entry, esp=stack, eax=CHECKED, ebx=low)


def split_modules(text: str) -> list[str]:
    """`file args,file args`: one string a module; `,,` is a comma (QEMU's option syntax)."""
    return [s for part in text.replace(",,", "\0").split(",") if (s := part.replace("\0", ",").lstrip(" "))]


def _by_addresses(data: bytes, header: int, name: str, ram: Ram) -> tuple[list[tuple[int, bytes]], int]:
    """3.1.3, the address fields: what to load where.  load_end 0: all of the file; bss_end 0: no bss."""
    if header + 32 > min(len(data), SEARCH):
        raise BadImage(f"{name}: the Multiboot header is cut short")
    at, load, load_end, bss_end, entry = struct.unpack_from("<5I", data, header + 12)
    offset = header - (at - load)
    if at < load or offset < 0:
        raise BadImage(f"{name}: the Multiboot header's address {at:X}h does not fit its load address {load:X}h")
    length = load_end - load if load_end else len(data) - offset
    if length <= 0 or offset + length > len(data):
        raise BadImage(f"{name}: the Multiboot kernel's text and data are not in the file: it is cut short or damaged")
    end = load + length
    if bss_end and bss_end < end:
        raise BadImage(f"{name}: the Multiboot kernel's bss ends before it begins: the file is damaged")
    total = max(bss_end, end) - load
    if not load <= entry < load + total:
        raise BadImage(f"{name}: the Multiboot kernel's entry {entry:X}h lies in nothing that is loaded")
    ram.demand(name, "the Multiboot kernel", load, total)
    blocks = [(load, data[offset:offset + length])]
    if total > length:
        blocks.append((end, bytes(total - length)))
    return blocks, entry


class _Room:
    """The memory behind the kernel, taken page by page."""

    def __init__(self, name: str, ram: Ram, taken: list[Area]) -> None:
        self.name, self.ram, self.taken = name, ram, taken
        self.above = max(end for _, end in taken)

    def take(self, length: int, what: str) -> int:
        place = self.ram.find(up(length), self.taken, max(self.above, 0x1000))
        if place is None:
            raise BadImage(f"{self.name}: no room for {what} ({length} bytes) behind the kernel: "
                           f"give the machine more than {self.ram.mib} MiB")
        self.taken.append((place, place + up(length)))
        return place


def _sections(data: bytes, image: elf.Elf, name: str, room: _Room) -> tuple[bytes, list[tuple[int, bytes]]]:
    """3.3, bit 5: the section headers, and the symbols and strings which they then point to (sh_addr).

    What has no address and is neither stays out of memory, with sh_addr 0: notes, and debug information of any length.
    """
    size, count = image.shentsize, image.shnum
    if size < 40 or image.shoff + size * count > len(data):
        raise BadImage(f"{name}: the ELF section headers are not inside the file: it is cut short or damaged")
    table = bytearray(data[image.shoff:image.shoff + size * count])
    symbols = bytearray()
    places = []
    for i in range(count):
        _, kind, _, address, offset, length = struct.unpack_from("<6I", table, i * size)
        if kind in (SHT_SYMTAB, SHT_STRTAB) and not address and length:
            # All of them together are no longer than the file, or they overlap and could ask for any amount.
            if offset + length > len(data) or len(symbols) + length > len(data):
                raise BadImage(f"{name}: ELF section {i} is not inside the file: it is cut short or damaged")
            places.append((i * size + 12, len(symbols)))
            symbols += data[offset:offset + length] + bytes(-length % 4)
    if not symbols:
        return bytes(table), []
    base = room.take(len(symbols), "the kernel's symbols")
    for field, place in places:
        struct.pack_into("<I", table, field, base + place)
    return bytes(table), [(base, bytes(symbols))]


class _Info:
    """The information structure, the GDT, and what it points to, in one block: pointers are offsets until `at`."""

    def __init__(self, ram: Ram, memory_map: MemoryMap) -> None:
        self.body = bytearray(INFO) + GDT
        self.pointers: list[int] = []
        lower = min(ram.ends(0), 0xA0000) // 1024
        upper = (min(ram.ends(0x100000), END) - 0x100000) // 1024
        struct.pack_into("<III", self.body, 0, MEMORY | COMMAND_LINE | MMAP | LOADER_NAME, lower, upper)
        entries = b"".join(struct.pack("<IQQI", 20, *area) for area in memory_map)  # the size does not count itself
        struct.pack_into("<I", self.body, 44, len(entries))
        self.point(48, entries)
        self.point(64, b"emu\0")

    def point(self, field: int, data: bytes) -> None:
        """Append `data`, and point to it from the field."""
        self.body += bytes(-len(self.body) % 4)
        struct.pack_into("<I", self.body, field, len(self.body))
        self.pointers.append(field)
        self.body += data

    def strings(self, line: str, modules: list[tuple[int, int, str]], name: str) -> None:
        self.point(16, text(name, line))
        if not modules:
            return
        self.flag(MODULES)
        struct.pack_into("<I", self.body, 20, len(modules))
        self.point(24, b"".join(struct.pack("<IIII", start, end, 0, 0) for start, end, _ in modules))
        first, = struct.unpack_from("<I", self.body, 24)
        for i, (_, _, string) in enumerate(modules):
            self.point(first + 16 * i + 8, text(name, string))

    def sections(self, table: bytes, image: elf.Elf) -> None:
        self.flag(SECTIONS)
        struct.pack_into("<II", self.body, 28, image.shnum, image.shentsize)
        struct.pack_into("<I", self.body, 40, image.shstrndx)
        self.point(36, table)

    def flag(self, flag: int) -> None:
        flags, = struct.unpack_from("<I", self.body)
        struct.pack_into("<I", self.body, 0, flags | flag)

    def at(self, base: int) -> bytes:
        """The block's bytes when it is placed at `base`."""
        body = bytearray(self.body)
        for field in self.pointers:
            offset, = struct.unpack_from("<I", body, field)
            struct.pack_into("<I", body, field, base + offset)
        return bytes(body)

