"""What an exception came of: the check of the instruction that failed, in words and for programs.

Each function looks at one vector.  A cause says only what the processor's state proves; what is likely is said as such.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from emu import x86
from emu.debug import delivery, paging, protection
from emu.debug.instruction import STACK_WRITES, Instruction, at
from emu.debug.state import State

NEAR_NULL = 4096
NEAR_STACK = 1 << 16            # bytes between the stack pointer and code that it may have grown into
Blocks = Sequence[tuple[int, bytes]]


@dataclass
class Cause:
    """`problem` in one word, `words` in a sentence; `steps` show it; `place`: a name, linear address and size of interest."""

    problem: str
    words: str
    steps: list[str] = field(default_factory=list)
    walk: dict[str, Any] | None = None
    place: tuple[str, int, int] | None = None

    def facts(self) -> dict[str, Any]:
        walk = {"walk": self.walk} if self.walk else {}
        return {"problem": self.problem, "words": self.words, "steps": self.steps, **walk}


def diagnose(state: State, vector: int, error: int, instruction: Instruction, image: Blocks = ()) -> Cause:
    """Why `vector` with `error` was raised at the instruction of `state`; `image`: what was loaded, at physical addresses."""
    cause = _CAUSES.get(vector, _other)(state, vector, error, instruction)
    return _overwritten(state, instruction, image, cause) or cause


def _overwritten(state: State, instruction: Instruction, image: Blocks, cause: Cause) -> Cause | None:
    """Code that is not what was loaded, near the stack pointer."""
    physical = state.walk(state.code).physical
    if physical is None:
        return None
    for base, data in reversed(image):
        if not base <= physical < base + len(data):
            continue
        length = max(len(instruction.data), 4)
        loaded, now = data[physical - base:physical - base + length], state.read(physical, length)[:len(data)]
        stack = state.walk(state.stack).physical
        now = now[:len(loaded)]
        if loaded == now:
            return None
        if stack is None or not base - NEAR_STACK <= stack < base + len(data):
            words = (f"the code at {state.code:#x} is not what was loaded: the bytes were {loaded.hex(' ')} and are "
                     f"{now.hex(' ')} now: something has written over it")
            return Cause("code-overwritten", words, [cause.words, *cause.steps], cause.walk,
                         ("the code", state.code, length)) if cause.problem in ("bad-opcode", "no-code") else None
        words = (f"the code at {state.code:#x} is not what was loaded: the bytes were {loaded.hex(' ')} and are "
                 f"{now.hex(' ')} now; "
                 f"the stack pointer {state.stack:#x} lies {'in' if stack >= base else 'just below'} the same image: the "
                 "stack has "
                 "overflowed into the code")
        return Cause("stack-over-code", words, [cause.words, *cause.steps], cause.walk, ("the code", state.code, length))
    return None


def _text(instruction: Instruction) -> str:
    return f"{instruction.mnemonic} {instruction.text}".strip()


def arrived(state: State) -> str:
    """How the processor came to an address that cannot be run: what the stack gives away."""
    rip, width = state.registers["rip"], state.width
    taken = protection.slot(state)
    if taken is not None:
        return f"a return took this address from the stack, at {taken[1]:#x}"
    back = state.number(state.stack, width)
    if back is not None:
        for length in (2, 3, 4, 5, 6, 7):
            call = at(state, back - length)
            if call.name == "call" and len(call.data) == length and call.operands and call.operands[0].get("value") == rip:
                return f"`{call.mnemonic} {call.text}` at {back - length:#x} called it"
    return ""


# -- #PF

def _page_fault(state: State, vector: int, error: int, instruction: Instruction) -> Cause:
    address = state.registers["cr2"]
    write, user, fetch = bool(error & 2), bool(error & 4), bool(error & 16) or address == state.code
    walk = paging.access(state, address, write=write, user=user, fetch=fetch)
    verb = "the fetch of code from" if fetch else "the write to" if write else "the read from"
    steps = list(walk["steps"])
    problem, why = walk["problem"] or "no-problem-now", walk["words"]
    if not walk["problem"]:
        why = "the page tables allow it now: they have changed since, or a stale entry of the TLB was used (no INVLPG)"
    words = f"{verb} {address:#x} meets a page fault: {why}"
    place: tuple[str, int, int] | None = ("the address that was used", address, 1)
    operand = next((o for o in instruction.operands
                    if o["kind"] == "memory" and 0 <= address - o["linear"] < max(o["size"], 1)), None)
    if fetch:
        how = arrived(state)
        steps += [how] if how else []
        problem = "jump-to-nowhere" if walk["problem"] == "not-present" else problem
        place = protection.slot(state)
        words = f"the processor went to {address:#x} for code, and {why}" + (f"; {how}" if how else "")
    elif operand is not None and operand.get("registers"):
        used = ", ".join(f"{name.upper()} = {value:#x}" for name, value in operand["registers"].items())
        steps.append(f"the operand {operand['text']} is at {operand['linear']:#x}: {used}")
    if address < NEAR_NULL and walk["problem"] == "not-present":
        words += f"; so near to 0 this is a null pointer{f' with the offset {address:#x}' if address else ''}"
        problem = "null-pointer" if not fetch else problem
    if instruction.name in STACK_WRITES and operand is not None and operand["text"] == "stack":
        words += "; it is the stack that has run out of its memory"
        problem = "stack-overflow"
    if problem == "read-only-page" and (address >> 12 == state.code >> 12 or _executed(state, address)):
        words += "; the page holds the code that runs: it is a write to read-only text"
        problem = "write-to-text"
    return Cause(problem, words, steps, walk, place)


def _executed(state: State, address: int) -> bool:
    """Whether code near RIP lies on the same run of read-only pages."""
    low, high = sorted((address >> 12, state.code >> 12))
    return high - low < 64 and all(
        (found := state.walk(page << 12)).physical is not None and not found.writable for page in range(low, high + 1))


# -- selectors and #GP

def _selector(state: State, vector: int, error: int, instruction: Instruction) -> Cause:
    if error & 2:
        told = delivery.deliver(state, error >> 3 & 0xFF, software=not error & 1)
        return Cause(told.problem or "gate", told.wrong or f"the gate of vector {error >> 3 & 0xFF:02X}h is bad", told.steps,
                     told.walk, told.place)
    found = protection.loaded(state, instruction) or protection.transfer(state, instruction)
    if found is not None and found.wrong:
        words = f"{_text(instruction)}: selector {found.selector:04X}h is bad: {found.wrong}"
        place = None if found.linear is None else (f"the descriptor of {found.selector:04X}h", found.linear, 8)
        return Cause("selector-" + found.problem, words, found.steps, None, place)
    words = x86.describe_error_code(vector, error)
    if error & 0xFFFC:
        from emu.debug.descriptors import lookup
        looked = lookup(state, error & 0xFFFC)
        why = f": {looked.wrong}" if looked.wrong else ""
        return Cause("selector-" + (looked.problem or "refused"), f"{words} was refused{why}", looked.steps)
    return Cause("unknown", f"the processor's state does not show why: the error code says {words}")


def _general_protection(state: State, vector: int, error: int, instruction: Instruction) -> Cause:
    if error & 0xFFFE:
        return _selector(state, vector, error, instruction)
    for check in protection.CHECKS:
        found = check(state, instruction)
        if found is not None:
            return Cause(*found)
    return _selector(state, vector, error, instruction)


def _stack_fault(state: State, vector: int, error: int, instruction: Instruction) -> Cause:
    if error & 0xFFFC:
        return _selector(state, vector, error, instruction)
    found = protection.memory(state, instruction)
    return Cause(*found) if found is not None else Cause("stack-limit", f"the stack at {state.stack:#x} is outside its "
                                                                        "segment")


# -- the others

def _invalid_opcode(state: State, vector: int, error: int, instruction: Instruction) -> Cause:
    name, code = instruction.name, instruction.data
    if name == "ud2":
        return Cause("ud2", "UD2 is there to raise it: the program found something that cannot be, or a compiler proved that "
                            "this place is never reached")
    if name == "syscall" and not state.registers["efer"] & 1:
        return Cause("syscall-off", "SYSCALL is off: EFER.SCE = 0")
    if name == "(bad)" or not code:
        run = state.peek(state.code, 16)
        if run and len(set(run)) == 1:
            return Cause("no-code", f"there is no code: the bytes at {state.code:#x} are all {run[0]:02X}h"
                         + (f"; {arrived(state)}" if arrived(state) else ""), place=protection.slot(state))
        return Cause("bad-opcode", f"the bytes {code[:8].hex(' ')} are no instruction of this processor")
    words = f"`{_text(instruction)}`" + " is not allowed here"
    if instruction.mnemonic.startswith("lock"):
        words += ": LOCK goes only with a write to memory"
    elif state.registers["cr0"] & 4 and name.startswith(("f", "mov", "p")):
        words += ": CR0.EM = 1"
    elif not state.registers["cr4"] & 0x200 and any(o.get("text", "").startswith("xmm") for o in instruction.operands):
        words += ": it uses XMM registers, and CR4.OSFXSR = 0"
    else:
        words += ": the processor model lacks it, or the mode forbids it"
    return Cause("bad-opcode", words)


def _divide(state: State, vector: int, error: int, instruction: Instruction) -> Cause:
    operand = instruction.operands[0] if instruction.operands else {}
    value = operand.get("value")
    if value == 0:
        return Cause("divide-by-zero", f"the divisor {operand['text']} is 0")
    if instruction.name == "aam":
        return Cause("divide-by-zero", "AAM divides by 0")
    return Cause("divide-overflow", f"the quotient does not fit: the divisor {operand.get('text', '')} is "
                 f"{value if value is not None else 'unknown'}, the dividend RDX = {state.registers['rdx']:#x}, RAX = "
                 f"{state.registers['rax']:#x}")


def _no_math(state: State, vector: int, error: int, instruction: Instruction) -> Cause:
    on = [name for bit, name in ((4, "CR0.EM = 1"), (8, "CR0.TS = 1")) if state.registers["cr0"] & bit]
    return Cause("fpu-off", "the FPU is switched off: " + (", ".join(on) or "CR0.TS or CR0.EM was set"))


def _other(state: State, vector: int, error: int, instruction: Instruction) -> Cause:
    words = {1: "a breakpoint or a single step: DR6 says which", 3: "INT3, a breakpoint", 4: "INTO with OF = 1",
             5: "the index of BOUND is outside its bounds", 8: "a fault came during the delivery of another one",
             16: "the x87 has an exception that was not masked", 17: "an access that is not aligned, with AC = 1",
             19: "an SSE instruction has an exception that MXCSR does not mask"}
    known = x86.EXCEPTIONS.get(vector)
    return Cause((known.name if known else "interrupt").replace(" ", "-"),
                 words.get(vector, known.name if known else f"vector {vector:02X}h"))


_CAUSES: dict[int, Callable[[State, int, int, Instruction], Cause]] = {
    0: _divide, 6: _invalid_opcode, 7: _no_math, 10: _selector, 11: _selector, 12: _stack_fault, 13: _general_protection,
    14: _page_fault}
