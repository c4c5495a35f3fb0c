"""The processor on paper: descriptors, gates, exceptions, error codes, and the walk through the page tables.

Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 3 ("SDM"), chapters as numbered until 2022
(4 paging, 6 interrupts, 24 VMCS).  Pure functions: memory is read through a function that is given, and nothing is ever
written, no A or D bit either.  Not modelled: protection keys, CET, HLAT, SGX (their error code bits are named).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

# -- segments: SDM 3.4.5, 5.2; system descriptors 7.2.2 (IA-32), 3.5.2 (64-bit mode); attributes as in 24.4.1 ---------

UNUSABLE = 1 << 16  # in the attributes: a null selector was loaded
SYSTEM_TYPES = (
    "reserved", "16-bit TSS (available)", "LDT", "16-bit TSS (busy)", "16-bit call gate", "task gate",
    "16-bit interrupt gate", "16-bit trap gate", "reserved", "32-bit TSS (available)", "reserved", "32-bit TSS (busy)",
    "32-bit call gate", "reserved", "32-bit interrupt gate", "32-bit trap gate",
)  # in IA-32e mode those called 32-bit are 64-bit, and the 16-bit ones are reserved


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment register with its hidden part.  `limit` in bytes: the offset of the last byte (the first, expand-down).

    `attributes` are VMX access rights: type 0-3, S 4, DPL 5-6, P 7, AVL 12, L 13, D/B 14, G 15, unusable 16.
    """

    selector: int
    base: int
    limit: int
    attributes: int

    @property
    def type(self) -> int:
        return self.attributes & 15

    @property
    def system(self) -> bool:
        """The descriptor's S bit is clear: a TSS or an LDT."""
        return not self.attributes & 0x10

    @property
    def dpl(self) -> int:
        return self.attributes >> 5 & 3

    @property
    def present(self) -> bool:
        return bool(self.attributes & 0x80)

    @property
    def long(self) -> bool:
        return bool(self.attributes & 0x2000)

    @property
    def big(self) -> bool:
        """D/B: 32-bit operands and addresses, or a 32-bit stack pointer."""
        return bool(self.attributes & 0x4000)

    def words(self) -> str:
        """The type in the SDM's words: tables 3-1 and 3-2."""
        if self.system:
            return SYSTEM_TYPES[self.type]
        kinds = ("code, execute-only", ", execute/read", ", conforming") if self.type & 8 else (
            "data, read-only", ", read/write", ", expand-down")
        words = kinds[0].split(",")[0] + kinds[1] if self.type & 2 else kinds[0]
        return words + kinds[2] * (self.type >> 2 & 1) + ", accessed" * (self.type & 1)


def real_mode_segment(selector: int) -> Segment:
    """What loading `selector` gives in real-address mode: SDM 20.1.1, 9.1.4 (limit 64 KiB, writable data)."""
    return Segment(selector, selector << 4, 0xFFFF, 0x93)


def decode_segment(raw: bytes, selector: int = 0) -> Segment:
    """A descriptor of 8 bytes, or of 16: a TSS or LDT in IA-32e mode.  Raises ValueError at any other length."""
    if len(raw) not in (8, 16):
        raise ValueError(f"a segment descriptor has 8 bytes, or 16; not {len(raw)}")
    value = int.from_bytes(raw[:8], "little")
    attributes = value >> 40 & 0xF0FF
    limit = value & 0xFFFF | value >> 32 & 0xF0000
    base = value >> 16 & 0xFFFFFF | value >> 32 & 0xFF000000 | int.from_bytes(raw[8:12], "little") << 32
    return Segment(selector, base, limit << 12 | 0xFFF if attributes & 0x8000 else limit, attributes)


def encode_segment(segment: Segment, *, wide: bool = False) -> bytes:
    """The descriptor: 8 bytes, or 16 if `wide`.  Raises ValueError for what its fields cannot say: a limit, a base."""
    limit = segment.limit
    if segment.attributes & 0x8000:
        if limit & 0xFFF != 0xFFF:
            raise ValueError(f"limit {limit:X}h: with G = 1 the low 12 bits are ones")
        limit >>= 12
    if not 0 <= limit <= 0xFFFFF:
        raise ValueError(f"limit {segment.limit:X}h does not fit into a descriptor")
    if not 0 <= segment.base < (1 << 64 if wide else 1 << 32):
        raise ValueError(f"base {segment.base:X}h does not fit into a descriptor")
    value = limit & 0xFFFF | (segment.base & 0xFFFFFF) << 16 | (segment.attributes & 0xF0FF) << 40
    value |= (limit & 0xF0000) << 32 | (segment.base & 0xFF000000) << 32
    return (value | segment.base >> 32 << 64).to_bytes(16 if wide else 8, "little")


# -- gates: SDM 5.8.3 (call), 6.11 (IDT), 6.14.1 (64-bit) -------------------------------------------------------------

_GATES = {"task": (5, 5), "call": (4, 12), "interrupt": (6, 14), "trap": (7, 15)}  # types: 16 bits; 32 and 64


@dataclass(frozen=True, slots=True)
class Gate:
    """A call, interrupt, trap or task gate.  `bits`: its size, 16, 32 or 64; a task gate has 32, and no offset."""

    kind: str  # "call" | "interrupt" | "trap" | "task"
    bits: int
    selector: int
    offset: int
    dpl: int = 0
    present: bool = True
    ist: int = 0  # 64-bit interrupt and trap gates
    parameters: int = 0  # 16- and 32-bit call gates: words or doublewords to copy


def decode_gate(raw: bytes) -> Gate | None:
    """The gate in 8 bytes, or 16 in IA-32e mode; None where the type is no gate's.  ValueError at other lengths."""
    if len(raw) not in (8, 16):
        raise ValueError(f"a gate has 8 bytes, or 16; not {len(raw)}")
    value = int.from_bytes(raw[:8], "little")
    access = value >> 40 & 0xFF
    long = len(raw) == 16
    for kind, types in _GATES.items():
        if access & 0x1F in types and not (long and (kind == "task" or access & 0x1F != types[1])):
            break
    else:
        return None
    bits = 64 if long else 32 if access & 0x1F == types[1] else 16
    offset = value & 0xFFFF
    if bits > 16 and kind != "task":
        offset |= value >> 32 & 0xFFFF0000 | int.from_bytes(raw[8:12], "little") << 32
    return Gate(
        kind, bits, value >> 16 & 0xFFFF, 0 if kind == "task" else offset, access >> 5 & 3, bool(access & 0x80),
        ist=value >> 32 & 7 if long and kind != "call" else 0,
        parameters=value >> 32 & 0x1F if kind == "call" and not long else 0,
    )


def encode_gate(gate: Gate) -> bytes:
    """The gate's 8 bytes, or 16 for 64 bits.  Raises ValueError for what has no such form."""
    if gate.kind not in _GATES or gate.bits not in (16, 32, 64) or (gate.kind == "task" and gate.bits != 32):
        raise ValueError(f"there is no {gate.bits}-bit {gate.kind} gate")
    if not 0 <= gate.offset < 1 << gate.bits:
        raise ValueError(f"offset {gate.offset:X}h does not fit into a {gate.bits}-bit gate")
    access = _GATES[gate.kind][gate.bits > 16] | gate.dpl << 5 | gate.present << 7
    value = gate.offset & 0xFFFF | gate.selector << 16 | (gate.ist | gate.parameters) << 32 | access << 40
    value |= (gate.offset & 0xFFFF0000) << 32 | gate.offset >> 32 << 64
    return value.to_bytes(16 if gate.bits == 64 else 8, "little")


# -- exceptions: SDM 6.3.1, table 6-1; 6.15 ---------------------------------------------------------------------------

@dataclass(frozen=True, slots=True)
class Vector:
    """A vector below 32.  `kind` is "fault", "trap", "abort", "interrupt" or, for #DB, "fault/trap"."""

    number: int
    mnemonic: str
    name: str
    kind: str = "fault"
    error_code: bool = False


EXCEPTIONS = {vector.number: vector for vector in (
    Vector(0, "#DE", "divide error"),
    Vector(1, "#DB", "debug exception", "fault/trap"),
    Vector(2, "NMI", "non-maskable interrupt", "interrupt"),
    Vector(3, "#BP", "breakpoint", "trap"),
    Vector(4, "#OF", "overflow", "trap"),
    Vector(5, "#BR", "BOUND range exceeded"),
    Vector(6, "#UD", "invalid opcode"),
    Vector(7, "#NM", "device not available (no math coprocessor)"),
    Vector(8, "#DF", "double fault", "abort", True),
    Vector(9, "CSO", "coprocessor segment overrun (80386 and before)"),
    Vector(10, "#TS", "invalid TSS", "fault", True),
    Vector(11, "#NP", "segment not present", "fault", True),
    Vector(12, "#SS", "stack-segment fault", "fault", True),
    Vector(13, "#GP", "general protection", "fault", True),
    Vector(14, "#PF", "page fault", "fault", True),
    Vector(16, "#MF", "x87 floating-point error (math fault)"),
    Vector(17, "#AC", "alignment check", "fault", True),
    Vector(18, "#MC", "machine check", "abort"),
    Vector(19, "#XM", "SIMD floating-point exception"),
    Vector(20, "#VE", "virtualization exception"),
    Vector(21, "#CP", "control protection exception", "fault", True),
)}


def pushes_error_code(vector: int) -> bool:
    """In protected mode; none does in real-address mode (SDM 20.1.4), nor does INT n with such a vector (6.4.4)."""
    return vector in EXCEPTIONS and EXCEPTIONS[vector].error_code


_PF_BITS = ((5, "by a protection key"), (6, "shadow-stack access"), (7, "HLAT"), (15, "SGX"))
_CP = {1: "near RET", 2: "far RET or IRET", 3: "ENDBRANCH missing", 4: "RSTORSSP", 5: "SETSSBSY"}


def describe_error_code(vector: int, code: int) -> str:
    """An error code in words: SDM 6.13 (selectors), 4.7 (page fault), table 6-19 (#CP)."""
    if vector == 14:
        words = "reserved bit set in a paging entry" if code & 8 else (
            "protection violation" if code & 1 else "page not present")
        words += f", {'user' if code & 4 else 'supervisor'}"
        words += " instruction fetch" if code & 16 else " write" if code & 2 else " read"
        return ", ".join([words, *(name for bit, name in _PF_BITS if code >> bit & 1)])
    if vector == 21:
        return _CP.get(code & 0x7FFF, f"reason {code & 0x7FFF}") + (", in an enclave" if code & 0x8000 else "")
    if vector in (8, 17) or not pushes_error_code(vector):
        return "no information" if code == 0 else f"{code:X}h"
    if code & 0xFFFE == 0:
        return "no selector" + (", external event" if code & 1 else "")
    place = f"selector {code & 0xFFF8:04X}h in the {'LDT' if code & 4 else 'GDT'}"
    return (f"IDT vector {code >> 3 & 0x1FFF:02X}h" if code & 2 else place) + (", external event" if code & 1 else "")


# -- paging: SDM chapter 4 --------------------------------------------------------------------------------------------

CR0_PE, CR0_WP, CR0_PG = 1, 1 << 16, 1 << 31
CR4_PSE, CR4_PAE, CR4_LA57, CR4_SMEP, CR4_SMAP = 1 << 4, 1 << 5, 1 << 12, 1 << 20, 1 << 21
EFER_LMA, EFER_NXE = 1 << 10, 1 << 11
PRESENT, WRITABLE, USER, ACCESSED, DIRTY, LARGE, GLOBAL, NX = 1, 2, 4, 1 << 5, 1 << 6, 1 << 7, 1 << 8, 1 << 63

Read = Callable[[int, int], bytes]  # (physical address, length in bytes): that many bytes


@dataclass(frozen=True, slots=True)
class Step:
    """One entry that the walk has read."""

    level: str  # "PML5E" | "PML4E" | "PDPTE" | "PDE" | "PTE"
    index: int  # in its table
    address: int  # physical, of the entry
    entry: int  # its value
    leaf: bool  # it maps a page
    fault: str  # "" | "not present" | "reserved bit"
    reserved: int = 0  # those reserved bits that are set


@dataclass(frozen=True, slots=True)
class Walk:
    """How a linear address is translated.  `physical` is None after a fault; `page` is the page's size in bytes."""

    mode: str  # "none" | "32-bit" | "PAE" | "4-level" | "5-level"
    linear: int
    physical: int | None
    page: int
    steps: tuple[Step, ...]
    fault: str  # "" | "not present" | "reserved bit" | "not canonical" (this one is #GP or #SS, not #PF)
    writable: bool  # R/W, U/S and not XD of all levels together
    user: bool
    executable: bool


def paging_mode(cr0: int, cr4: int, efer: int) -> str:
    """SDM 4.1.1."""
    if not cr0 & CR0_PG:
        return "none"
    if efer & EFER_LMA:
        return "5-level" if cr4 & CR4_LA57 else "4-level"
    return "PAE" if cr4 & CR4_PAE else "32-bit"


_LEVELS = {  # name, lowest bit of the index in the linear address; the index has 9 bits, and in 32-bit paging 10
    "32-bit": (("PDE", 22), ("PTE", 12)),
    "PAE": (("PDPTE", 30), ("PDE", 21), ("PTE", 12)),
    "4-level": (("PML4E", 39), ("PDPTE", 30), ("PDE", 21), ("PTE", 12)),
    "5-level": (("PML5E", 48), ("PML4E", 39), ("PDPTE", 30), ("PDE", 21), ("PTE", 12)),
}


def _is_leaf(mode: str, level: str, entry: int, cr4: int) -> bool:
    if level == "PTE" or not entry & LARGE:
        return level == "PTE"
    return bool(cr4 & CR4_PSE) if mode == "32-bit" else level == "PDE" or (level == "PDPTE" and mode != "PAE")


def _reserved(mode: str, level: str, entry: int, shift: int, leaf: bool, nxe: bool, width: int) -> int:
    """The reserved bits that are set: SDM 4.3 (PSE-36), tables 4-8 to 4-11 (PAE), 4-15 to 4-20."""
    if mode == "32-bit":
        if leaf and level == "PDE":
            return entry & (0x3FFFFF & ~0x1FFF & ~((1 << max(0, min(width, 40) - 32)) - 1 << 13))
        return 0
    high = (1 << (63 if mode == "PAE" else 52)) - (1 << width)
    if mode == "PAE" and level == "PDPTE":
        return entry & (high | NX | 0x1E6)
    mask = high | (0 if nxe else NX)
    if leaf and level != "PTE":
        mask |= (1 << shift) - (1 << 13)  # bit 12 is PAT
    if level in ("PML4E", "PML5E"):
        mask |= LARGE
    return entry & mask


def walk(
    read: Read, linear: int, *, cr0: int, cr3: int, cr4: int, efer: int = 0, width: int = 40,
    pdptes: Sequence[int] | None = None,
) -> Walk:
    """Translate a linear address by SDM 4.3 (32-bit), 4.4 (PAE) or 4.5 (4- and 5-level), with pages of all sizes.

    `width` is MAXPHYADDR.  `pdptes`: the four the processor loads with CR3 in PAE paging (4.4.1: a reserved bit there
    gives #GP then); without them they are read from memory, where the guest may have changed them since.
    """
    mode = paging_mode(cr0, cr4, efer)
    if mode == "none":
        linear &= 0xFFFF_FFFF
        return Walk(mode, linear, linear, 4096, (), "", True, True, True)
    levels = _LEVELS[mode]
    nxe = bool(efer & EFER_NXE)
    size, bits = (4, 10) if mode == "32-bit" else (8, 9)
    table = cr3 & (0xFFFF_FFE0 if mode == "PAE" else 0xFFFF_F000 if mode == "32-bit" else (1 << width) - 4096)
    rights, steps = NX | WRITABLE | USER, list[Step]()  # NX is inverted here: all three mean "may"

    def end(physical: int | None, page: int, fault: str) -> Walk:
        return Walk(mode, linear, physical, page, tuple(steps), fault,
                    bool(rights & WRITABLE), bool(rights & USER), bool(rights & NX))

    if mode in ("4-level", "5-level"):
        linear &= (1 << 64) - 1
        top = linear >> (levels[0][1] + 8)  # the highest translated bit and all above it are equal: SDM vol. 1, 3.3.7.1
        if top not in (0, (1 << 56 - levels[0][1]) - 1):
            return end(None, 0, "not canonical")
    else:
        linear &= 0xFFFF_FFFF

    for level, shift in levels:
        index = linear >> shift & (1 << bits) - 1
        address = table + index * size
        loaded = level == "PDPTE" and mode == "PAE" and pdptes
        entry = loaded[index] if loaded else int.from_bytes(read(address, size), "little")
        leaf = _is_leaf(mode, level, entry, cr4)
        reserved = _reserved(mode, level, entry, shift, leaf, nxe, width) if entry & PRESENT else 0
        fault = "not present" if not entry & PRESENT else "reserved bit" if reserved else ""
        steps.append(Step(level, index, address, entry, leaf and not fault, fault, reserved))
        if fault:
            return end(None, 0, fault)
        if not (mode == "PAE" and level == "PDPTE"):  # which has no such bits
            rights &= entry & (WRITABLE | USER) | (0 if nxe and size == 8 and entry & NX else NX)
        if leaf:
            break
        table = entry & (1 << min(width, 32 if size == 4 else 52)) - 4096

    page = 1 << shift
    frame = entry & (1 << min(width, 32 if size == 4 else 52)) - page
    if mode == "32-bit" and level == "PDE":
        frame |= (entry >> 13 & 0xFF) << 32  # PSE-36: SDM 4.3
    return end(frame | linear & page - 1, page, "")


def page_fault(
    found: Walk, *, write: bool = False, user: bool = False, fetch: bool = False, cr0: int = CR0_PG, cr4: int = 0,
    efer: int = 0, ac: bool = False,
) -> int | None:
    """The error code of the #PF that this access meets after `found`, or None: SDM 4.6.1, 4.7.

    `user`: an access at CPL 3 that is not one of the processor's own to its tables.  `ac`: EFLAGS.AC, which lifts SMAP.
    Raises ValueError for an address that is not canonical: that is no page fault.
    """
    if found.fault == "not canonical":
        raise ValueError("an address that is not canonical gives #GP or #SS, not #PF")
    # I/D is reported only where fetches can be told apart: SDM 4.7.
    told = (found.mode != "32-bit" and efer & EFER_NXE) or cr4 & CR4_SMEP
    code = 2 * write | 4 * user | (16 if fetch and told else 0)
    if found.fault:
        return code | (9 if found.fault == "reserved bit" else 0)
    if found.mode == "none":
        return None
    denied = user and not found.user
    denied |= write and not found.writable and (user or bool(cr0 & CR0_WP))
    denied |= fetch and (not found.executable or (not user and found.user and bool(cr4 & CR4_SMEP)))
    denied |= not fetch and not user and found.user and bool(cr4 & CR4_SMAP) and not ac
    return code | 1 if denied else None
