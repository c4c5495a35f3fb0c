"""The checks behind #GP: each looks for one reason, and gives (problem, words, steps), or None when it is not that one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from emu import x86
from emu.debug.descriptors import Lookup, check_code, check_load
from emu.debug.instruction import Instruction
from emu.debug.state import ADDRESS, State

Place = tuple[str, int, int]                    # see causes.Cause
Found = tuple[str, str, list[str]] | tuple[str, str, list[str], None, Place | None] | None
PRIVILEGED = {"hlt", "lgdt", "lidt", "lldt", "ltr", "lmsw", "clts", "invd", "wbinvd", "invlpg", "rdmsr", "wrmsr", "sysexit",
              "sysret", "rdpmc", "swapgs"}
PORTS = {"in", "out", "insb", "insw", "insd", "outsb", "outsw", "outsd"}
RETURNS = {"iret": 2, "iretd": 4, "iretq": 8}
ALIGNED = "movaps", "movapd", "movdqa", "movntps", "movntpd", "movntdq", "movntdqa", "fxsave", "fxrstor"
SEGMENTS = "ds", "es", "fs", "gs", "ss"
NT = 1 << 14
SYSENTER_CS = 0x174


def canonical(address: int) -> bool:
    """By 48 bits: 4-level paging."""
    return address >> 47 in (0, 0x1FFFF)


def loaded(state: State, instruction: Instruction) -> Lookup | None:
    """The look-up of a selector that the instruction loads into a data segment register, TR or LDTR."""
    operands = instruction.operands
    if instruction.name in ("mov", "pop") and operands and operands[0]["text"] in SEGMENTS:
        value = operands[1].get("value") if len(operands) > 1 else None
        return None if value is None else check_load(state, operands[0]["text"], value & 0xFFFF)
    if instruction.name in ("ltr", "lldt") and operands and operands[0].get("value") is not None:
        return check_load(state, "tr" if instruction.name == "ltr" else "ldtr", operands[0]["value"] & 0xFFFF)
    if instruction.name in ("lds", "les", "lss", "lfs", "lgs") and len(operands) > 1:
        selector = state.number(operands[1]["linear"] + operands[1]["size"] - 2, 2)
        return None if selector is None else check_load(state, instruction.name[1:], selector)
    return None


def transfer(state: State, instruction: Instruction) -> Lookup | None:
    """The look-up of a selector that a far jump, call or return takes."""
    name, operands, width = instruction.name, instruction.operands, state.width
    if name in ("ljmp", "lcall"):
        if operands and operands[0]["kind"] == "immediate":
            return check_code(state, operands[0]["value"] & 0xFFFF, same=True)
        if operands and operands[0]["kind"] == "memory":
            selector = state.number(operands[0]["linear"] + operands[0]["size"] - 2, 2)
            return None if selector is None else check_code(state, selector, same=True)
    if name in ("retf", "retfq") or name in RETURNS:
        width = RETURNS.get(name, 8 if name == "retfq" else width)
        selector = state.number(state.stack + width, width)
        if selector is None:
            return None
        selector &= 0xFFFF
        found = check_code(state, selector, cpl=selector & 3)
        if not found.wrong and selector & 3 < state.cpl:
            return found.fails("privilege", f"a return cannot lead inwards: RPL {selector & 3}, CPL {state.cpl}")
        if not found.wrong and (selector & 3 != state.cpl or width == 8):
            ss = state.number(state.stack + width * (4 if name in RETURNS else 3), width)
            if ss is not None:
                return check_load(_ring(state, selector & 3), "ss", ss & 0xFFFF) if ss & 0xFFFC or state.bits < 64 else found
        return found
    return None


def _ring(state: State, cpl: int) -> State:
    from dataclasses import replace
    return replace(state, cpl=cpl)


def slot(state: State) -> Place | None:
    """Where RIP lay on the stack, if a return has just taken it from there."""
    at = state.stack - state.width
    return ("the return address", at, state.width) if state.number(at, state.width) == state.registers["rip"] else None


# -- the checks, in order

def rip(state: State, instruction: Instruction) -> Found:
    """RIP itself."""
    from emu.debug.causes import arrived
    value = state.registers["rip"]
    if state.bits == 64 and not canonical(value):
        how = arrived(state) or "a jump or a return has loaded it"
        return "not-canonical", f"RIP = {value:#x} is not canonical: {how}", [], None, slot(state)
    if state.bits < 64 and value > state.segments["cs"].limit:
        cs = state.segments["cs"]
        return "code-limit", f"EIP = {value:#x} lies beyond the limit {cs.limit:#x} of CS = {cs.selector:04X}h", []
    return None


def sysenter(state: State, instruction: Instruction) -> Found:
    if instruction.name in ("sysenter", "sysexit") and not state.msr(SYSENTER_CS) & 0xFFFC:
        return ("sysenter-msr", f"{instruction.name.upper()} without its MSRs: IA32_SYSENTER_CS (174h) is "
                f"{state.msr(SYSENTER_CS):#x}, a null selector: WRMSR has never set it up",
                [f"IA32_SYSENTER_ESP (175h) = {state.msr(0x175):#x}, IA32_SYSENTER_EIP (176h) = {state.msr(0x176):#x}"])
    return None


def privilege(state: State, instruction: Instruction) -> Found:
    name = instruction.name
    special = name == "mov" and any(o["text"].startswith(("cr", "dr")) for o in instruction.operands)
    if state.cpl and (name in PRIVILEGED or special):
        return ("privileged-instruction", f"{name.upper()} {instruction.text}".strip() + " is for ring 0, and this is "
                                                                                         f"ring {state.cpl}",
                [])
    iopl = state.registers["rflags"] >> 12 & 3
    if name in ("cli", "sti") and state.cpl > iopl:
        return "iopl", f"{name.upper()} in ring {state.cpl} needs IOPL >= {state.cpl}, and IOPL is {iopl}", []
    if name in PORTS and state.protected and (state.cpl > iopl or state.v86):
        return "io-permission", (f"{name.upper()} in ring {state.cpl} with IOPL {iopl} needs the port's bit in the I/O "
                                 "map of the TSS, "
                                 "and it is set, or beyond the TSS's limit"), []
    if state.v86 and iopl < 3 and name in ("cli", "sti", "pushf", "popf", "int", "iret", "pushfd", "popfd", "iretd"):
        return "v86-sensitive", f"{name.upper()} in virtual-8086 mode with IOPL {iopl}: the monitor is asked to do it", []
    return None


def returns(state: State, instruction: Instruction) -> Found:
    """The frame that IRET and RETF take, the targets of near returns, jumps and calls."""
    name = instruction.name
    target: int | None = None
    if name in RETURNS or name in ("ret", "retf", "retfq"):
        width = RETURNS.get(name, 8 if name == "retfq" else state.width)
        target = state.number(state.stack, width)
        if name in RETURNS and state.registers["rflags"] & NT and not state.long:
            return "nested-task", ("EFLAGS.NT = 1: IRET goes back to the task that the TSS's link names, and that is no busy "
                                   "TSS"), []
        if target is not None and width == 8 and not canonical(target):
            return "not-canonical", (f"{name.upper()} to {target:#x}: the return address on the stack at {state.stack:#x} is "
                                     "not canonical"), []
        if name != "ret":
            found = transfer(state, instruction)
            if found is not None and found.wrong:
                return ("selector-" + found.problem, f"{name.upper()}: the frame at {state.stack:#x} holds selector "
                        f"{found.selector:04X}h: {found.wrong}", found.steps)
    elif name in ("sysret", "sysretq"):
        target = state.registers["rcx"]
    elif name in ("jmp", "call") and instruction.operands:
        target = instruction.operands[0].get("value")
    if target is not None and state.bits == 64 and not canonical(target):
        return "not-canonical", f"{name.upper()} to {target:#x}, which is not canonical", []
    return None


def memory(state: State, instruction: Instruction) -> Found:
    """Memory operands: canonical, inside the segment, of a type that allows it, aligned."""
    for operand in instruction.operands:
        if operand["kind"] != "memory" or not operand["access"]:
            continue
        linear, size, text = operand["linear"], max(operand["size"], 1), operand["text"]
        what = "the stack" if text == "stack" else f"the operand {text}"
        used = ", ".join(f"{name.upper()} = {value:#x}" for name, value in operand.get("registers", {}).items())
        if state.bits == 64:
            if not canonical(linear):
                why = f": {used}" if used else ""
                return "not-canonical", f"{what} is at {linear:#x}, which is not canonical{why}", []
        else:
            found = _segment(state, operand, what, used, size)
            if found is not None:
                return found
        if linear & 15 and size == 16 and instruction.name in ALIGNED:
            return "not-aligned", f"{what} is at {linear:#x}, which is no multiple of 16", []
    return None


def _segment(state: State, operand: dict[str, Any], what: str, used: str, size: int) -> Found:
    name = operand["segment"]
    segment = state.segments[name]
    said = f"{name.upper()} = {segment.selector:04X}h"
    if not state.protected or state.v86:
        return ("segment-limit", f"{what} at offset {operand['offset']:#x} passes the end of its 64 KiB segment", []
                ) if operand["offset"] + size - 1 > 0xFFFF else None
    if segment.attributes & x86.UNUSABLE or (segment.selector & ~3 == 0 and not segment.present):
        return "null-segment", f"{what} is used through {said}, a null selector", []
    if "write" in operand["access"] and (segment.type & 8 or not segment.type & 2):
        return "segment-read-only", f"{what} is written through {said}, which is {segment.words()}", []
    if "read" in operand["access"] and segment.type & 10 == 8:
        return "segment-unreadable", f"{what} is read through {said}, which is {segment.words()}", []
    offset, last = operand["offset"], operand["offset"] + size - 1
    down = segment.type & 12 == 4
    top = 0xFFFFFFFF if segment.big else 0xFFFF
    if (down and (offset <= segment.limit or last > top)) or (not down and last > segment.limit):
        return ("segment-limit", f"{what} at offset {offset:#x} lies outside {said}, whose limit is {segment.limit:#x}"
                + (" (expand-down)" if down else "") + (f": {used}" if used else ""), [])
    return None


def special(state: State, instruction: Instruction) -> Found:
    """MSRs and control registers."""
    name, operands = instruction.name, instruction.operands
    if name in ("rdmsr", "wrmsr"):
        number = state.registers["rcx"] & 0xFFFFFFFF
        return "msr", f"{name.upper()} of MSR {number:#x}: this processor has none, or not with this value", []
    if name == "mov" and len(operands) > 1 and operands[0]["text"].startswith("cr"):
        return "control-register", f"{operands[0]['text'].upper()} cannot be {operands[1].get('value', 0) & ADDRESS:#x}", []
    if name == "mov" and operands and operands[0]["text"] == "ss":
        return "selector-null", "SS cannot be loaded with a null selector here", []
    if name == "ltr":
        return "selector-null", "LTR of a null selector", []
    if len(instruction.data) == 15 and name == "(bad)":
        return "too-long", "an instruction of more than 15 bytes", []
    return None


CHECKS: tuple[Callable[[State, Instruction], Found], ...] = (rip, sysenter, privilege, returns, memory, special)
