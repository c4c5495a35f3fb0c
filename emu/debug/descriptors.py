"""A selector looked up as the processor does it: each step in words, and the first thing that is wrong."""

from __future__ import annotations

from dataclasses import dataclass, field

from emu import x86
from emu.debug.state import State
from emu.x86 import Gate, Segment


@dataclass
class Lookup:
    """`wrong` is "" when the table holds a descriptor; `problem` names it in one word for programs."""

    selector: int
    steps: list[str] = field(default_factory=list)
    segment: Segment | None = None
    gate: Gate | None = None
    wrong: str = ""
    problem: str = ""
    linear: int | None = None                   # where the descriptor lies

    def fails(self, problem: str, words: str) -> Lookup:
        self.problem, self.wrong = problem, words
        self.steps.append(words)
        return self


def lookup(state: State, selector: int) -> Lookup:
    """Read the descriptor of a selector."""
    found = Lookup(selector)
    index, ti, rpl = selector >> 3, selector >> 2 & 1, selector & 3
    table = "LDT" if ti else "GDT"
    found.steps.append(f"selector {selector:04X}h is entry {index} of the {table}, RPL {rpl}")
    if selector & ~3 == 0:
        return found.fails("null-selector", f"selector {selector:04X}h is a null selector")
    if ti:
        ldtr = state.segments["ldtr"]
        if ldtr.attributes & x86.UNUSABLE or ldtr.selector & ~3 == 0:
            return found.fails("no-ldt", "there is no LDT: LDTR holds a null selector")
        base, limit = ldtr.base, ldtr.limit
    else:
        base, limit = state.gdtr
    if (selector | 7) > limit:
        return found.fails("beyond-table", f"the {table} at {base:#x} has the limit {limit:#x}, its last entry is "
                           f"{(limit + 1) // 8 - 1}: entry {index} lies beyond its end")
    found.linear = base + (selector & ~7)
    raw = state.peek(found.linear, 8)
    if len(raw) < 8:
        return found.fails("table-not-mapped", f"the entry at {found.linear:#x} is not mapped")
    gate = x86.decode_gate(raw)
    segment = x86.decode_segment(raw, selector)
    if segment.system and state.long and segment.type in (2, 9, 11):
        raw += state.peek(found.linear + 8, 8)
        if len(raw) == 16:
            segment = x86.decode_segment(raw, selector)
    if gate is not None:
        found.gate = gate
        found.steps.append(f"entry at {found.linear:#x} = {raw[::-1].hex()}: a {gate.bits}-bit {gate.kind} gate, DPL "
                           f"{gate.dpl}, "
                           f"{'present' if gate.present else 'not present'}")
        return found
    if not any(raw):
        return found.fails("empty-descriptor", f"the entry at {found.linear:#x} is empty: all of it is zero")
    found.segment = segment
    found.steps.append(f"entry at {found.linear:#x} = {raw[::-1].hex()}: {segment.words()}, base {segment.base:#x}, limit "
                       f"{segment.limit:#x}, DPL {segment.dpl}, {'present' if segment.present else 'not present'}")
    return found


def check_load(state: State, register: str, selector: int) -> Lookup:
    """What MOV or POP to `register` checks (SDM vol. 2, MOV): a data segment register, SS, or LDTR and TR."""
    found = lookup(state, selector)
    if found.problem == "null-selector" and register in ("ds", "es", "fs", "gs"):
        found.problem = found.wrong = ""
        return found
    if found.wrong:
        return found
    segment, rpl, cpl = found.segment, selector & 3, state.cpl
    if segment is None:
        return found.fails("wrong-type", f"it is a gate, and no segment for {register.upper()}")
    if register in ("tr", "ldtr"):
        wanted = (1, 9) if register == "tr" else (2,)
        if not segment.system or segment.type not in wanted:
            what = "an available TSS" if register == "tr" else "an LDT"
            return found.fails("wrong-type", f"{register.upper()} takes {what}, and this is {_article(segment.words())}")
    elif segment.system:
        return found.fails("wrong-type", f"it is {_article(segment.words())}, and no segment for {register.upper()}")
    elif register == "ss":
        if rpl != cpl or segment.dpl != cpl:
            return found.fails("privilege", f"SS must have RPL = DPL = CPL: RPL is {rpl}, DPL {segment.dpl}, CPL {cpl}")
        if segment.type & 8 or not segment.type & 2:
            return found.fails("wrong-type", f"SS must be writable data, and this is {_article(segment.words())}")
    else:
        if segment.type & 10 == 8:
            return found.fails("wrong-type", f"{register.upper()} must be readable, and this is {_article(segment.words())}")
        if segment.type & 12 != 12 and max(rpl, cpl) > segment.dpl:
            return found.fails("privilege", f"the segment is for ring {segment.dpl}: DPL {segment.dpl} is less than "
                               f"{'RPL' if rpl > cpl else 'CPL'} {max(rpl, cpl)}")
    if not segment.present:
        return found.fails("not-present", "it is not present: P = 0")
    return found


def check_code(state: State, selector: int, *, same: bool = False, cpl: int | None = None) -> Lookup:
    """What a far transfer, or a gate, asks of its code segment.  `same`: a jump or call, which does not change the ring."""
    found = lookup(state, selector)
    cpl = state.cpl if cpl is None else cpl
    if found.wrong or found.gate is not None:
        return found
    segment = found.segment
    assert segment is not None
    if segment.system or not segment.type & 8:
        return found.fails("wrong-type", f"CS must be a code segment, and this is {_article(segment.words())}")
    if not segment.type & 4 and same and segment.dpl != cpl:
        return found.fails("privilege", f"the code is for ring {segment.dpl}, and this is ring {cpl}")
    if segment.dpl > cpl:
        return found.fails("privilege", f"the code is for ring {segment.dpl}, and this is ring {cpl}")
    if not segment.present:
        return found.fails("not-present", "it is not present: P = 0")
    if state.long and segment.long and segment.big:
        return found.fails("wrong-type", "L and D are both set")
    return found


def _article(words: str) -> str:
    return ("an " if words[0] in "aeiouAEIOLM8" else "a ") + words
