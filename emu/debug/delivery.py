"""The delivery of an exception or interrupt on paper: gate, code segment, stack, pushes, handler, until something is wrong.

SDM vol. 3A, 6.10 to 6.15, 7.2 (the stacks in a TSS).  Nothing is written.  Not modelled: task gates beyond their TSS
descriptor, shadow stacks, virtual-8086 extensions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from emu import x86
from emu.debug import paging
from emu.debug.descriptors import check_code, check_load, lookup
from emu.debug.state import State
from emu.x86 import EXCEPTIONS, Gate, Segment


@dataclass
class Delivery:
    """`problem`: in one word what is wrong, "" when the handler is reached; `raises` and `error` are what comes of it."""

    vector: int
    steps: list[str] = field(default_factory=list)
    problem: str = ""
    wrong: str = ""
    raises: int | None = None
    error: int | None = None
    walk: dict[str, Any] | None = None
    place: tuple[str, int, int] | None = None           # what is wrong lies there: a name, linear address, size
    handler: int | None = None                          # linear

    def fails(self, problem: str, words: str, raises: int, error: int | None = None) -> Delivery:
        self.problem, self.wrong, self.raises, self.error = problem, words, raises, error
        self.steps.append(words)
        return self

    def facts(self) -> dict[str, Any]:
        out = {"vector": self.vector, "steps": self.steps, "problem": self.problem, "words": self.wrong,
               "raises": self.raises, "error": self.error, "handler": self.handler}
        return out | ({"walk": self.walk} if self.walk else {})


def deliver(state: State, vector: int, *, software: bool = False, external: bool = False) -> Delivery:
    """What becomes of `vector`; `software`: by INT n, `external`: a hardware interrupt, which pushes no error code."""
    found = Delivery(vector)
    if not state.protected:
        return _real(state, found)
    ext = 0 if software else 1
    gate = _gate(state, found, software, ext)
    if gate is None:
        return found
    if gate.kind == "task":
        return _task(state, found, gate, ext)
    looked = check_code(state, gate.selector)
    found.steps += [f"its code segment: {looked.steps[0]}", *looked.steps[1:]]
    if looked.wrong or looked.segment is None:
        null = looked.problem == "null-selector"
        error = (0 if null else gate.selector & 0xFFFC) | ext
        if looked.linear is not None:
            found.place = f"the descriptor of {gate.selector:04X}h", looked.linear, 8
        return found.fails("gate-selector", f"the gate's selector {gate.selector:04X}h is bad: "
                                            f"{looked.wrong or 'it is a gate'}",
                           11 if looked.problem == "not-present" else 13, error)
    if state.long and not looked.segment.long:
        return found.fails("gate-selector", f"the gate's selector {gate.selector:04X}h is no 64-bit code segment: L = 0", 13,
                           gate.selector & 0xFFFC | ext)
    return _stack(state, found, gate, looked.segment, ext, not software and not external and x86.pushes_error_code(vector))


def _real(state: State, found: Delivery) -> Delivery:
    base, limit = state.idtr
    at = found.vector * 4
    if at + 3 > limit:
        return found.fails("idt-limit", f"the interrupt vector table has the limit {limit:#x}: vector "
                                        f"{found.vector:02X}h lies "
                           "beyond its end", 13)
    raw = state.peek(base + at, 4)
    offset, selector = int.from_bytes(raw[:2], "little"), int.from_bytes(raw[2:], "little")
    found.steps.append(f"the vector at {base + at:#x} leads to {selector:04X}:{offset:04X}")
    found.handler = selector * 16 + offset
    return found


def _gate(state: State, found: Delivery, software: bool, ext: int) -> Gate | None:
    base, limit = state.idtr
    vector, size = found.vector, 16 if state.long else 8
    error = vector * 8 | 2 | ext
    found.steps.append(f"vector {vector:02X}h is entry {vector} of the IDT at {base:#x}, limit {limit:#x}")
    if vector * size + size - 1 > limit:
        entries = (limit + 1) // size
        found.fails("idt-limit", f"the IDT ends before it: with a limit of {limit:#x} it has {entries} entries"
                    + (f", 0 to {entries - 1}" if entries else ", that is none at all"), 13, error)
        return None
    if (base, limit) == (0, 0xFFFF):
        found.steps.append("IDTR has the values that RESET gives: nobody has loaded it (LIDT)")
    linear = base + vector * size
    found.place = f"IDT entry {vector:02X}h", linear, size
    raw = state.peek(linear, size)
    if len(raw) < size:
        found.walk = paging.access(state, linear + len(raw), write=False, user=False)
        found.fails("idt-not-mapped", f"the entry at {linear:#x} cannot be read: {found.walk['words']}", 14, 0)
        return None
    gate = x86.decode_gate(raw)
    if gate is None:
        empty = not any(raw)
        what = ("is empty: all of it is zero, nobody has written a gate there"
                + (", nor loaded IDTR" if (base, limit) == (0, 0xFFFF) else "")) if empty else (
            f"is no gate that an interrupt can use: its type is {raw[5] & 0x1F:#x}")
        found.fails("missing-gate" if empty else "bad-gate", f"the IDT entry at {linear:#x} {what}", 13, error)
        return None
    found.steps.append(f"the entry at {linear:#x} = {raw[::-1].hex()}: a {gate.bits}-bit {gate.kind} gate to "
                       f"{gate.selector:04X}:{gate.offset:X}, DPL {gate.dpl}" + (f", IST {gate.ist}" if gate.ist else "")
                       + ("" if gate.present else ", not present"))
    if gate.kind == "call":
        found.fails("bad-gate", "a call gate has no business in the IDT", 13, error)
    elif software and gate.dpl < state.cpl:
        found.fails("gate-privilege", f"INT {vector:02X}h from ring {state.cpl} is refused: the gate's DPL is "
                                      f"{gate.dpl}", 13, error)
    elif not gate.present:
        found.fails("missing-gate", f"the gate at {linear:#x} is not present: P = 0", 11, error)
    return None if found.problem else gate


def _task(state: State, found: Delivery, gate: Gate, ext: int) -> Delivery:
    looked = check_load(state, "tr", gate.selector)
    found.steps += [f"its TSS: {looked.steps[0]}", *looked.steps[1:]]
    if looked.wrong:
        return found.fails("task-gate", f"the task gate's selector {gate.selector:04X}h is bad: {looked.wrong}",
                           11 if looked.problem == "not-present" else 13, gate.selector & 0xFFFC | ext)
    return found


def _stack(state: State, found: Delivery, gate: Gate, code: Segment, ext: int, code_pushed: bool) -> Delivery:
    inner = not code.type & 4 and code.dpl < state.cpl
    ring = code.dpl if inner else state.cpl
    values, width = state.registers, gate.bits // 8
    if inner or (state.long and gate.ist):
        made = _from_tss(state, found, gate, ring, ext)
        if made is None:
            return found
        sp, ss = made
    else:
        sp, ss = values["rsp"], state.segments["ss"]
        found.steps.append(f"ring {ring} stays: it goes on with the stack at {sp:#x}")
    if not inner and state.v86:
        return found.fails("v86-ring", "from virtual-8086 mode a handler must run in ring 0", 13,
                           gate.selector & 0xFFFC | ext)
    words = 5 if gate.bits == 64 else 3 + 2 * inner + 4 * (inner and state.v86)
    words += code_pushed
    mask = (1 << 64) - 1 if gate.bits == 64 else 0xFFFFFFFF if ss.big else 0xFFFF
    top = sp & ~15 if gate.bits == 64 else sp
    for i in range(1, words + 1):
        offset = top - width * i & mask
        linear = offset if gate.bits == 64 else ss.base + offset & 0xFFFFFFFF
        if gate.bits != 64 and not _inside(ss, offset, width):
            return found.fails("stack-limit", f"the push to {offset:#x} lies outside SS: base {ss.base:#x}, limit "
                                              f"{ss.limit:#x}",
                               12, (ss.selector & 0xFFFC if inner else 0) | ext)
        walk = paging.access(state, linear, write=True, user=ring == 3)
        if walk["problem"]:
            found.walk, found.place = walk, ("the stack", linear, width)
            where = "the stack of the TSS" if inner or gate.ist else "the stack"
            return found.fails("tss-stack" if inner or gate.ist else "stack-not-mapped",
                               f"{where} is bad: the push to {linear:#x} meets a page fault: {walk['words']}"
                               if walk["problem"] != "not-canonical" else f"{where} is bad: {walk['words']}",
                               14 if walk["problem"] != "not-canonical" else 12, None)
    found.steps.append(f"{words} words of {width} bytes are pushed, down to {top - width * words & mask:#x}")
    found.handler = gate.offset if gate.bits == 64 else code.base + gate.offset & 0xFFFFFFFF
    return found


def _inside(ss: Segment, offset: int, width: int) -> bool:
    if ss.type & 12 == 4:                       # expand-down
        return ss.limit < offset and offset + width - 1 <= (0xFFFFFFFF if ss.big else 0xFFFF)
    return offset + width - 1 <= ss.limit


def _from_tss(state: State, found: Delivery, gate: Gate, ring: int, ext: int) -> tuple[int, Segment] | None:
    tss = state.segments["tr"]
    if tss.selector & ~3 == 0 and not tss.base:
        found.fails("no-tss", "a new stack is needed, and there is no TSS: TR was never loaded (LTR)", 10, ext)
        return None
    wide, small = state.long, not tss.type & 8
    name = f"IST{gate.ist}" if wide and gate.ist else f"RSP{ring}" if wide else f"SS{ring}:{'SP' if small else 'ESP'}{ring}"
    offset = 0x1C + 8 * gate.ist if wide and gate.ist else 4 + 8 * ring if wide or not small else 2 + 4 * ring
    size = 8 if wide else 4 if small else 6
    linear = tss.base + offset
    found.place = f"{name} of the TSS", linear, size
    where = f"{name} of the TSS (selector {tss.selector:04X}h, at {tss.base:#x}, limit {tss.limit:#x})"
    if offset + size - 1 > tss.limit:
        found.fails("tss-limit", f"{where} lies beyond its limit", 10, tss.selector & 0xFFFC | ext)
        return None
    raw = state.peek(linear, size)
    if len(raw) < size:
        found.walk = paging.access(state, linear + len(raw), write=False, user=False)
        found.fails("tss-not-mapped", f"{where} cannot be read: {found.walk['words']}", 14, 0)
        return None
    if wide:
        sp = int.from_bytes(raw, "little")
        found.steps.append(f"the new stack is {name} of the TSS at {linear:#x}: {sp:#x}")
        return sp, state.segments["ss"]
    cut = 2 if small else 4
    sp, selector = int.from_bytes(raw[:cut], "little"), int.from_bytes(raw[cut:], "little")
    found.steps.append(f"ring {ring} needs its own stack: {name} of the TSS at {linear:#x} is {selector:04X}:{sp:X}")
    looked = _new_ss(state, selector, ring)
    if looked.wrong or looked.segment is None:
        found.steps += looked.steps
        not_present = looked.problem == "not-present"
        found.fails("tss-stack", f"the stack of the TSS is bad: SS{ring} = {selector:04X}h: "
                                 f"{looked.wrong}", 12 if not_present else 10,
                    (0 if looked.problem == "null-selector" else selector & 0xFFFC) | ext)
        return None
    return sp, looked.segment


def _new_ss(state: State, selector: int, ring: int) -> Any:
    looked = lookup(state, selector)
    segment = looked.segment
    if looked.wrong or segment is None:
        return looked if looked.wrong else looked.fails("wrong-type", "it is a gate, and no stack segment")
    if selector & 3 != ring or segment.dpl != ring:
        return looked.fails("privilege", f"a stack of ring {ring} has RPL = DPL = {ring}: RPL is {selector & 3}, DPL "
                                         f"{segment.dpl}")
    if segment.system or segment.type & 8 or not segment.type & 2:
        return looked.fails("wrong-type", f"a stack must be writable data, and this is {segment.words()}")
    return looked if segment.present else looked.fails("not-present", "it is not present: P = 0")


def name(vector: int) -> str:
    """A vector as people say it."""
    known = EXCEPTIONS.get(vector)
    return f"{known.mnemonic} ({known.name})" if known else f"vector {vector:02X}h"
