"""A processor at an instant, and the memory as the guest sees it: what every explanation looks at.

The memory is the one of now: an explanation is made before anything runs again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from emu import x86
from emu.engine import Happened
from emu.machine import Machine
from emu.x86 import Segment

GENERAL = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{i}" for i in range(8, 16)))
SEGMENTS = "es", "cs", "ss", "ds", "fs", "gs"
VM = 1 << 17                    # EFLAGS
ADDRESS = (1 << 64) - 1


@dataclass(frozen=True)
class State:
    """Registers in the SDM's names, lower case; `read` physical memory."""

    read: Callable[[int, int], bytes]
    time: int
    registers: Mapping[str, int]                # rax ... r15 rip rflags cr0 cr2 cr3 cr4 efer
    segments: Mapping[str, Segment]             # es cs ss ds fs gs ldtr tr
    gdtr: tuple[int, int]
    idtr: tuple[int, int]
    cpl: int
    bits: int                                   # of the code
    msr: Callable[[int], int] = lambda number: 0

    @property
    def protected(self) -> bool:
        return bool(self.registers["cr0"] & x86.CR0_PE)

    @property
    def v86(self) -> bool:
        return self.protected and bool(self.registers["rflags"] & VM)

    @property
    def long(self) -> bool:
        """IA-32e mode."""
        return bool(self.registers["efer"] & x86.EFER_LMA)

    @property
    def width(self) -> int:
        """Bytes of a word on the stack."""
        return self.bits // 8

    @property
    def code(self) -> int:
        """The linear address of the instruction."""
        return self.linear("cs", self.registers["rip"])

    @property
    def stack(self) -> int:
        """The linear address of the top of the stack."""
        ss = self.segments["ss"]
        offset = self.registers["rsp"] & (ADDRESS if self.bits == 64 else 0xFFFFFFFF if ss.big else 0xFFFF)
        return self.linear("ss", offset)

    def linear(self, segment: str, offset: int) -> int:
        """Where an offset in a segment lies."""
        if self.bits == 64:
            return offset + (self.segments[segment].base if segment in ("fs", "gs") else 0) & ADDRESS
        return self.segments[segment].base + offset & 0xFFFFFFFF

    def walk(self, linear: int) -> x86.Walk:
        """The translation of a linear address."""
        value = self.registers
        return x86.walk(self.read, linear, cr0=value["cr0"], cr3=value["cr3"], cr4=value["cr4"], efer=value["efer"])

    def peek(self, linear: int, length: int) -> bytes:
        """`length` bytes at a linear address, or as many as are mapped, whoever may read them."""
        out = b""
        while len(out) < length:
            at = linear + len(out) & ADDRESS
            found = self.walk(at)
            if found.physical is None:
                break
            out += self.read(found.physical, min(length - len(out), 4096 - (at & 4095)))
        return out

    def number(self, linear: int, size: int) -> int | None:
        """A little-endian number in memory; None where nothing is mapped."""
        data = self.peek(linear, size)
        return int.from_bytes(data, "little") if len(data) == size else None


def now(machine: Machine) -> State:
    """The processor of a machine that does not run, or is in a callback."""
    live = machine.registers
    values = {name: getattr(live, name) for name in (*GENERAL, "rip", "rflags", "cr0", "cr2", "cr3", "cr4", "efer")}
    segments = {name: getattr(live, name) for name in (*SEGMENTS, "ldtr", "tr")}
    protected, cs = values["cr0"] & x86.CR0_PE, segments["cs"]
    v86 = protected and values["rflags"] & VM
    long = values["efer"] & x86.EFER_LMA and cs.long
    return State(_reader(machine), machine.now, values, segments, live.gdtr, live.idtr,
                 3 if v86 else cs.selector & 3 if protected else 0, 64 if long else 32 if cs.big else 16, _msr(live))


def before(machine: Machine, happened: Happened) -> State:
    """The processor before an exception was delivered; segments that were loaded anew since are read from their tables."""
    state = now(machine)
    values = {**state.registers, **happened.general, "rip": happened.rip, "rflags": happened.rflags | 2,
              "cr0": happened.cr0, "cr2": happened.cr2, "cr3": happened.cr3, "cr4": happened.cr4, "efer": happened.efer}
    then = replace(state, time=happened.time, registers=values, cpl=happened.cpl, bits=happened.bits)
    segments = dict(state.segments)
    for name, selector, base in (("cs", happened.cs, happened.cs_base), ("ss", happened.ss, happened.ss_base)):
        if (segments[name].selector, segments[name].base) != (selector, base):
            segments[name] = _hidden(then, name, selector, base)
    return replace(then, segments=segments)


def _hidden(state: State, name: str, selector: int, base: int) -> Segment:
    if not state.protected or state.v86:
        return replace(x86.real_mode_segment(selector), base=base)
    table = state.segments["ldtr"].base if selector & 4 else state.gdtr[0]
    raw = state.peek(table + (selector & ~7), 8)
    found = x86.decode_segment(raw, selector) if len(raw) == 8 and selector & ~3 else None
    if found is None:
        attributes = 0x8000 | (0x9B if name == "cs" else 0x93) | state.cpl << 5
        attributes |= 0x2000 if state.bits == 64 and name == "cs" else 0x4000
        found = Segment(selector, base, 0xFFFFFFFF, attributes)
    return replace(found, selector=selector, base=base)


def _reader(machine: Machine) -> Callable[[int, int], bytes]:
    def read(address: int, length: int) -> bytes:
        pieces = machine.engine.pieces(address, length)
        return b"".join(bytes(piece) if isinstance(piece, memoryview) else b"\xFF" * piece for piece in pieces)

    return read


def _msr(live: Any) -> Callable[[int], int]:
    found: Callable[[int], int] = getattr(live, "msr", lambda number: 0)
    return found
