"""A processor with 2 MiB of RAM and nothing else: bare guests for the tests of the engine.

A guest does not boot: its registers, with the hidden parts of the segments, are set to a state that start-up code would
reach.  Every vector leads to a HLT of its own, so a run ends in the first handler, and the host reads the frame there.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from emu.assembler import assemble
from emu.cpu.unicorn.engine import UnicornEngine
from emu.engine import Costs, Stop
from emu.x86 import Gate, Segment, encode_gate, encode_segment, pushes_error_code, real_mode_segment

RAM = 2 << 20
IVT, GDT, LDT, IDT, TSS, TSS2, STUBS = 0, 0x1000, 0x1800, 0x2000, 0x3000, 0x5800, 0x8000
CODE, DATA, TABLES = 0x9000, 0xA000, 0x20000
STACK0, STACK1, STACK3, STACK_IST = 0xC000, 0xD000, 0xE000, 0xF000
ALIAS = 0x200000                # linear addresses from here to 400000h map nothing until `page` says so

# Selectors: the same table serves every mode.  A TSS or LDT takes two places, as long mode wants it.
CODE32, DATA32, CODE16, DATA16, CODE64 = 0x08, 0x10, 0x18, 0x20, 0x28
USER32, UDATA32, USER16, UDATA16, USER64 = 0x33, 0x3B, 0x43, 0x4B, 0x53
ABSENT, READONLY, TR, LDTR, TR2, SPARE = 0x58, 0x60, 0x68, 0x78, 0x88, 0x98
CONFORMING = 0xB0
SEGMENTS = {                    # limit, attributes: type, S, DPL, P; L, D, G
    CODE32: (0xFFFFFFFF, 0xC09B), DATA32: (0xFFFFFFFF, 0xC093), CODE16: (0xFFFF, 0x009B), DATA16: (0xFFFF, 0x0093),
    CODE64: (0xFFFFFFFF, 0xA09B), USER32: (0xFFFFFFFF, 0xC0FB), UDATA32: (0xFFFFFFFF, 0xC0F3), USER16: (0xFFFF, 0x00FB),
    UDATA16: (0xFFFF, 0x00F3), USER64: (0xFFFFFFFF, 0xA0FB), ABSENT: (0xFFFFFFFF, 0xC073), READONLY: (0xFFFFFFFF, 0xC0F1),
    CONFORMING: (0xFFFFFFFF, 0xC09F),
}
PRESENT, WRITABLE, USER, LARGE, NX = 1, 2, 4, 0x80, 1 << 63

REAL, PM16, PM32, PAGED, PAE, LONG, COMPAT, V86 = "real", "pm16", "pm32", "paged", "pae", "long", "compat", "v86"
PROTECTED = PM16, PM32, PAGED, PAE, LONG, COMPAT
BITS = {REAL: 16, V86: 16, PM16: 16, LONG: 64}          # of the code; 32 in the others
GATES = {PM16: 16, LONG: 64, COMPAT: 64}                # of the frame; 32 in the others
KERNEL = {PM16: (CODE16, DATA16), LONG: (CODE64, DATA32)}
USERS = {PM16: (USER16, UDATA16), LONG: (USER64, UDATA32)}


HALTED = Stop.HLT, Stop.DEAD              # with IF, and without
IMAGE = TABLES + 0x5000
_IMAGES: dict[str, bytes] = {}          # the tables of a mode
_assemble = functools.cache(assemble)


class Space:
    """An address space of functions that gives FFh and drops writes, except where a test has put a function."""

    class Table(dict[int, Any]):
        def __missing__(self, key: int) -> Any:
            return self.default

    def __init__(self) -> None:
        self.read, self.write = self.Table(), self.Table()
        self.read.default = lambda: 0xFFFFFFFF              # type: ignore[attr-defined]
        self.write.default = lambda value: None             # type: ignore[attr-defined]
        self.on_rewire: list[Callable[[], None]] = []

    def empty(self, address: int, length: int) -> bool:
        return False

    def native(self, address: int, size: int, access: str) -> None:
        """Every access is a function's."""


@dataclass
class Frame:
    """What a handler finds."""

    vector: int
    error: int | None
    ip: int
    cs: int
    flags: int
    sp: int | None = None
    ss: int | None = None
    segments: tuple[int, ...] = ()          # ES DS FS GS of a virtual-8086 frame


class Guest:
    """`source` at CODE, about to run in `mode` at ring `ring` with `flags`; see the names above for the memory."""

    def __init__(self, mode: str = PM32, source: str = "hlt", *, ring: int = 0, flags: int = 2, model: str = "qemu64",
                 costs: Costs | None = None, engine: UnicornEngine | None = None) -> None:
        self.mode, self.bits, self.gates = mode, BITS.get(mode, 32), GATES.get(mode, 32)
        self.word = 2 if mode == REAL else self.gates // 8
        self.ports, self.mmio = Space(), Space()
        self.vectors: list[int] = []                    # what the next acknowledge cycles answer; 20h when it is empty
        self.acknowledged = 0
        self.engine = engine or UnicornEngine(RAM + 0x10000, model, costs)
        self.engine.attach(self.ports, self.mmio, self.acknowledge)
        self.ram = self.engine.memory(RAM)
        self.engine.map(0, self.ram[:0xA0000], "ram")
        self.engine.map(0x100000, self.ram[0x100000:], "ram")
        self.rom = self.engine.memory(0x10000)
        self.engine.map(0xF0000, self.rom, "rom")
        self.engine.map(0xFFFF0000, self.rom, "rom")
        self.r = self.engine.registers()
        if mode not in _IMAGES:
            self.poke(STUBS, b"\xF4" * 256)
            self._tables()
            _IMAGES[mode] = bytes(self.ram[:IMAGE])
        self.ram[:IMAGE] = _IMAGES[mode]
        self.code(source)
        self._enter(ring, flags)

    # -- memory

    def poke(self, address: int, data: bytes | int, size: int = 4) -> None:
        """Write RAM as a loader would, before the code there has run."""
        data = data.to_bytes(size, "little") if isinstance(data, int) else data
        self.ram[address:address + len(data)] = data

    def peek(self, address: int, size: int = 4) -> int:
        return int.from_bytes(self.ram[address:address + size], "little")

    def code(self, source: str, address: int = CODE, bits: int | None = None) -> int:
        """Assemble `source` to `address`; the address after it."""
        code = _assemble(source, address, bits or self.bits)
        self.poke(address, code)
        return address + len(code)

    # -- tables

    def descriptor(self, selector: int, limit: int, attributes: int, base: int = 0, table: int = GDT) -> None:
        wide = not attributes & 0x10 and self.gates == 64
        raw = encode_segment(Segment(0, base, limit, attributes), wide=wide)
        self.poke(table + (selector & ~7), raw)

    def gate(self, vector: int, offset: int | None = None, *, selector: int | None = None, dpl: int = 3,
             kind: str = "interrupt", **fields: Any) -> None:
        """An IDT entry; by default the vector's HLT in ring 0."""
        if selector is None:
            selector = CODE64 if self.gates == 64 else CODE16 if self.gates == 16 else CODE32
        offset = STUBS + vector if offset is None else offset
        if self.mode == REAL:
            self.poke(IVT + 4 * vector, offset)
            return
        raw = encode_gate(Gate(kind, fields.pop("bits", self.gates), selector, offset, dpl, **fields))
        self.poke(IDT + vector * len(raw), raw)

    def page(self, linear: int, physical: int, flags: int = PRESENT | WRITABLE | USER) -> None:
        """Map one page; linear addresses below 4 MiB only."""
        size = 4 if self.mode == PAGED else 8
        first = {PAGED: TABLES + 0x1000, PAE: TABLES + 0x2000}.get(self.mode, TABLES + 0x3000)
        self.poke(first + size * (linear >> 12), physical | flags, size)

    def task(self, tss: int = TSS, **fields: int) -> None:
        """Fields of a 32-bit TSS by their offsets' names, or of a 64-bit one: rsp0, ist1 ..."""
        places = {"rsp0": (4, 8), "rsp1": (12, 8), **{f"ist{i}": (0x1C + 8 * i, 8) for i in range(1, 8)},
                  "iomap": (0x66, 2), "esp0": (4, 4), "ss0": (8, 4), "esp1": (12, 4), "ss1": (16, 4), "cr3": (28, 4),
                  "eip": (32, 4), "eflags": (36, 4), "ldt": (96, 4), "trap": (100, 2), "back": (0, 2)}
        places |= {name: (40 + 4 * i, 4) for i, name in enumerate(
            ("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "es", "cs", "ss", "ds", "fs", "gs"))}
        for name, value in fields.items():
            offset, size = places[name]
            self.poke(tss + offset, value, size)

    def _tables(self) -> None:
        for vector in range(256):
            self.gate(vector)
        for selector, (limit, attributes) in SEGMENTS.items():
            self.descriptor(selector, limit, attributes)
        if self.gates == 16:
            self.poke(TSS + 2, STACK0, 2)
            self.poke(TSS + 4, DATA16, 2)
            self.descriptor(TR, 0x2BFF, 0x81, TSS)
        else:
            self.task(**({"rsp0": STACK0, "ist1": STACK_IST} if self.gates == 64 else {"esp0": STACK0, "ss0": DATA32}),
                      iomap=0xFFFF)
            self.descriptor(TR, 0x20FF, 0x89, TSS)
        if self.mode == PAGED:
            self.poke(TABLES, TABLES + 0x1007)
        elif self.mode == PAE:
            self.poke(TABLES, TABLES + 0x1001, 8)
            for i in range(2):
                self.poke(TABLES + 0x1000 + 8 * i, TABLES + 0x2007 + (i << 12), 8)
        elif self.gates == 64:
            for i, entry in ((0, 0x1007), (0x1000, 0x2007), (0x2000, 0x3007), (0x2008, 0x4007)):
                self.poke(TABLES + i, TABLES + entry, 8)
        if self.mode in (PAGED, PAE, LONG, COMPAT):
            for linear in range(0, RAM, 0x1000):
                self.page(linear, linear)

    # -- registers

    def load(self, name: str, selector: int) -> None:
        """A segment register, with what the GDT says of it."""
        if self.mode in (REAL, V86):
            segment = real_mode_segment(selector)
            setattr(self.r, name, segment if self.mode == REAL else Segment(selector, selector << 4, 0xFFFF, 0x00F3))
        else:
            limit, attributes = SEGMENTS.get(selector, SEGMENTS.get(selector & ~3, (0, 0)))
            setattr(self.r, name, Segment(selector, 0, limit, attributes))

    def _enter(self, ring: int, flags: int) -> None:
        r, mode = self.r, self.mode
        if mode == REAL:
            r.idtr = IVT, 0x3FF
            for name in ("cs", "ds", "es", "ss", "fs", "gs"):
                self.load(name, 0)
        else:
            r.gdtr, r.idtr = (GDT, 0x7FF), (IDT, 0xFFF)
            r.tr = Segment(TR, TSS, 0x20FF, 0x8B if self.gates != 16 else 0x83)
            if mode in (PAGED, PAE, LONG, COMPAT):
                r.cr3 = TABLES
                r.cr4 = 0x20 if mode != PAGED else 0
                r.efer = {LONG: 0x900, COMPAT: 0x900, PAE: 0x800}.get(mode, 0)
                r.cr0 = 0x80000011
            else:
                r.cr0 = 0x11
            cs, ss = (USERS if ring else KERNEL).get(mode, (USER32, UDATA32) if ring else (CODE32, DATA32))
            flags |= 0x20000 if mode == V86 else 0
            for name, selector in {"cs": cs, **dict.fromkeys(("ss", "ds", "es"), ss)}.items():
                self.load(name, 0 if mode == V86 else selector)
        r.rflags = flags
        r.rip, r.rsp = CODE, STACK3 if ring or mode == V86 else STACK0
        if mode == V86:
            self.load("cs", 0)                  # recompute what the engine keeps of CPL, now with VM set

    # -- running

    def acknowledge(self) -> int:
        """The INTA cycle: the controller drops INTR when nothing more is asked for."""
        self.acknowledged += 1
        vector = self.vectors.pop(0) if self.vectors else 0x20
        self.engine.intr(bool(self.vectors))
        return vector

    def interrupt(self, *vectors: int) -> None:
        """Ask for interrupts: INTR rises, and falls with the last acknowledge."""
        self.vectors += vectors
        self.engine.intr(1)

    def on_out(self, port: int, function: Callable[[int], Any], size: int = 1) -> None:
        self.ports.write[port << 4 | size] = function

    def on_in(self, port: int, function: Callable[[], int], size: int = 1) -> None:
        self.ports.read[port << 4 | size] = function

    def run(self, time: int = 1_000_000) -> Stop:
        self.engine.due(self.engine.now() + time)
        return self.engine.run()

    def frame(self, outer: bool | None = None, time: int = 1_000_000) -> Frame:
        """Run into a handler's HLT; the frame it finds.  `outer`: with SS:SP, as in every frame of 64 bits."""
        stop = self.run(time)
        vector = self.r.rip - 1 - STUBS
        assert stop in HALTED and 0 <= vector < 256, f"{stop} at {self.r.cs.selector:x}:{self.r.rip:x}"
        return self.read_frame(vector, outer)

    def read_frame(self, vector: int, outer: bool | None = None) -> Frame:
        sp = (self.r.ss.base if self.word < 8 else 0) + self.r.rsp
        words = [self.peek(sp + self.word * i, self.word) for i in range(11)]
        pushes = self.mode != REAL and pushes_error_code(vector) and not self.software(vector)
        error = words.pop(0) if pushes else None
        ip, cs, flags = words[:3]
        v86 = self.word == 4 and flags & 0x20000
        if outer is None:
            outer = bool(self.word == 8 or v86 or (self.mode != REAL and (cs & 3) > (self.r.cs.selector & 3)))
        stack = tuple(words[3:5]) if outer else (None, None)
        return Frame(vector, error, ip, cs, flags, *stack, segments=tuple(words[5:9]) if v86 else ())

    def software(self, vector: int) -> bool:
        return bool(self.engine.counters()["software_interrupts"].get(vector))

    def exception(self) -> int:
        """The vector of the first handler that a run comes to."""
        return self.frame().vector
