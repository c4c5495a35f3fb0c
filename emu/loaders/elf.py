"""ELF executables for the 80386, loaded at their physical addresses.

Source: Tool Interface Standard ELF 1.2, book I (file format), and System V ABI, Intel386 supplement (e_machine).
Not modelled: relocation, dynamic linking, notes (PVH).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from emu.loaders.memory import Area, Ram
from emu.loaders.start import GDT, BadImage, Start, protected

MAGIC = b"\x7fELF"
ET_EXEC = 2
EM_386 = 3
PT_LOAD, PT_INTERP = 1, 3
PF_X = 1
STACK = 4096  # bytes of stack that a plain ELF kernel finds at its start, GDT above it

_KINDS = {0: "of no type", 1: "an object file: link it first", 3: "a shared object or a position-independent program: "
          "link it with -no-pie", 4: "a core dump"}
_MACHINES = {2: "SPARC", 4: "68000", 8: "MIPS", 20: "PowerPC", 21: "PowerPC 64", 22: "S/390", 40: "ARM", 42: "SuperH",
             50: "IA-64", 62: "x86-64", 183: "AArch64", 243: "RISC-V", 258: "LoongArch"}


@dataclass(frozen=True, slots=True)
class Segment:
    """A program header of type PT_LOAD that takes memory: addresses physical and virtual, sizes in bytes."""

    offset: int
    vaddr: int
    paddr: int
    filesz: int
    memsz: int
    flags: int


@dataclass(frozen=True, slots=True)
class Elf:
    """The headers of an executable.  `entry` is physical."""

    segments: tuple[Segment, ...]
    entry: int
    shoff: int
    shentsize: int
    shnum: int
    shstrndx: int

    def areas(self) -> list[Area]:
        return [(s.paddr, s.paddr + s.memsz) for s in self.segments]


def parse(data: bytes, name: str) -> Elf:
    """The headers of an ELF32 executable for the 80386, each offset checked against the file.  Raises BadImage."""
    if len(data) < 20:
        raise BadImage(f"{name}: an ELF file of {len(data)} bytes: it is cut short")
    if data[5] not in (1, 2):
        raise BadImage(f"{name}: an ELF file of neither byte order: it is damaged")
    machine, = struct.unpack_from("<H" if data[5] == 1 else ">H", data, 18)
    if machine == 62 or (machine == EM_386 and data[4] == 2):
        raise BadImage(
            f"{name}: a 64-bit ELF file; what can be started is a 32-bit ELF (i386), a 32-bit Multiboot kernel or a "
            "Linux bzImage (for Linux give arch/x86/boot/bzImage, not vmlinux)"
        )
    if machine != EM_386 or data[4:6] != b"\x01\x01":
        of = _MACHINES.get(machine, f"machine number {machine}")
        raise BadImage(f"{name}: an ELF file for {of}; this machine is an x86 PC and needs one for the 80386 (i386)")
    if len(data) < 52:
        raise BadImage(f"{name}: the ELF header is cut short at {len(data)} bytes")
    kind, _, version, e_entry, phoff, shoff, _, _, phentsize, phnum, shentsize, shnum, shstrndx = struct.unpack_from(
        "<HHIIIIIHHHHHH", data, 16)
    if kind != ET_EXEC or version != 1:
        raise BadImage(f"{name}: an ELF file, but {_KINDS.get(kind, 'no executable')}; a kernel must be an executable")
    if phnum == 0:
        raise BadImage(f"{name}: an ELF file without program headers: nothing says what to load")
    if phentsize < 32 or phoff + phnum * phentsize > len(data):
        raise BadImage(f"{name}: the ELF program headers are not inside the file: it is cut short or damaged")
    segments = []
    entry = e_entry
    for i in range(phnum):
        ptype, offset, vaddr, paddr, filesz, memsz, flags = struct.unpack_from("<7I", data, phoff + i * phentsize)
        if ptype == PT_INTERP:
            raise BadImage(f"{name}: a dynamically linked program for an operating system, not a kernel")
        if ptype != PT_LOAD or memsz == 0:
            continue
        if filesz > memsz:
            raise BadImage(f"{name}: ELF segment {i} has more bytes in the file than in memory: the file is damaged")
        if offset + filesz > len(data):
            raise BadImage(f"{name}: ELF segment {i} is not all inside the file: it is cut short or damaged")
        segments.append(Segment(offset, vaddr, paddr, filesz, memsz, flags))
        # e_entry is virtual; where the code lies elsewhere physically it must follow (as in QEMU and GRUB).  An entry
        # in no segment's virtual range is physical already: many kernels for the higher half are linked so.
        if vaddr != paddr and vaddr <= e_entry < vaddr + filesz and flags & PF_X:
            entry = e_entry - vaddr + paddr
    elf = Elf(tuple(segments), entry, shoff, shentsize, shnum, shstrndx)
    if not segments:
        raise BadImage(f"{name}: an ELF file with nothing to load")
    if not any(a <= entry < b for a, b in elf.areas()):
        raise BadImage(f"{name}: the ELF entry point {e_entry:X}h lies in nothing that is loaded")
    return elf


def blocks(data: bytes, elf: Elf, name: str, ram: Ram) -> list[tuple[int, bytes]]:
    """The segments' bytes and zeroes, no more than RAM's size together.  Raises BadImage where they do not fit."""
    for s in elf.segments:
        ram.demand(name, "an ELF segment", s.paddr, s.memsz)
    if sum(s.memsz for s in elf.segments) > ram.size:  # they can only overlap then
        raise BadImage(f"{name}: the ELF segments together are larger than the machine's {ram.mib} MiB of memory")
    placed = []
    for s in elf.segments:
        if s.filesz:
            placed.append((s.paddr, data[s.offset:s.offset + s.filesz]))
        if s.memsz > s.filesz:
            placed.append((s.paddr + s.filesz, bytes(s.memsz - s.filesz)))
    return placed


def load(data: bytes, name: str, ram: Ram) -> Start:
    """A plain ELF kernel: flat protected mode at its entry, a stack of 4 KiB, every other register zero."""
    elf = parse(data, name)
    placed = blocks(data, elf, name, ram)
    low = ram.find(STACK + len(GDT), elf.areas(), 0x1000)
    if low is None:
        raise BadImage(f"{name}: the kernel leaves no memory for a stack: give the machine more than {ram.mib} MiB")
    placed.append((low, bytes(STACK) + GDT))
    return protected("elf", placed, low + STACK, eip=elf.entry, esp=low + STACK)
