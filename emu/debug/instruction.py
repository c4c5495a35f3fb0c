"""The instruction at an address, with its operands' values: memory operands by the guest's own page tables."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

from emu.debug.state import ADDRESS, State

LONGEST = 15
REGISTER, IMMEDIATE, MEMORY = 1, 2, 3   # types of operands: capstone's X86_OP_REG, X86_OP_IMM, X86_OP_MEM
STACK_WRITES = "push", "call", "pushfd", "pushfq", "pushf", "pushal", "pushaw", "enter", "lcall"
STACK_READS = "pop", "ret", "retf", "retfq", "iret", "iretd", "iretq", "leave", "popf", "popfd", "popfq", "popal", "popaw"
_NAMES = {"eax": "rax", "ecx": "rcx", "edx": "rdx", "ebx": "rbx", "esp": "rsp", "ebp": "rbp", "esi": "rsi", "edi": "rdi"}


@dataclass
class Instruction:
    """`operands` are facts: text, kind, size, and what its kind has; see `_operand`."""

    address: int
    data: bytes
    mnemonic: str = "(bad)"
    text: str = ""
    operands: list[dict[str, Any]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The mnemonic without prefixes."""
        return self.mnemonic.split()[-1]

    def facts(self) -> dict[str, Any]:
        return {"address": self.address, "bytes": self.data.hex(), "text": f"{self.mnemonic} {self.text}".strip(),
                "operands": self.operands}


def at(state: State, linear: int | None = None) -> Instruction:
    """The instruction that `state` is about to run, or another one nearby; "(bad)" for what is none."""
    linear = state.code if linear is None else linear
    data = state.peek(linear, LONGEST)
    found = next(_capstone(state.bits).disasm(data, linear, 1), None) if data else None
    if found is None:
        return Instruction(linear, data)
    out = Instruction(linear, bytes(found.bytes), found.mnemonic, found.op_str)
    texts = _split(found.op_str)
    for i, operand in enumerate(found.operands):
        out.operands.append(_operand(state, found, operand, texts[i] if i < len(texts) else ""))
    width = state.width
    if out.name in STACK_WRITES:
        size = width * (8 if out.name.startswith("pusha") else 1)
        out.operands.append(_memory(state, "stack", "ss", state.registers["rsp"] - size, size, "write"))
    elif out.name in STACK_READS:
        offset = state.registers["rbp"] if out.name == "leave" else state.registers["rsp"]
        out.operands.append(_memory(state, "stack", "ss", offset, width, "read"))
    return out


def stores_of(code: bytes, linear: int, bits: int) -> list[tuple[int, str]]:
    """(linear address, text) of each instruction of `code` that stores to memory once, in order."""
    out = []
    for found in _capstone(bits).disasm(code, linear):
        name = found.mnemonic.split()[-1]
        if name in STACK_WRITES or any(operand.type == MEMORY and operand.access & 2 for operand in found.operands):
            out.append((found.address, f"{found.mnemonic} {found.op_str}".strip()))
    return out


def register(state: State, name: str) -> int | None:
    """The value of a general or segment register by its name at any size."""
    values = state.registers
    if name in state.segments:
        return state.segments[name].selector
    if name in values:
        return values[name]
    if name in _NAMES:
        return values[_NAMES[name]] & 0xFFFFFFFF
    full = "r" + name
    if full in values:
        return values[full] & 0xFFFF
    if len(name) > 2 and name[0] == "r" and name[-1] in "dwb" and name[:-1] in values:
        return values[name[:-1]] & {"d": 0xFFFFFFFF, "w": 0xFFFF, "b": 0xFF}[name[-1]]
    if name in ("sil", "dil", "spl", "bpl"):
        return values["r" + name[:2]] & 0xFF
    if len(name) == 2 and name[1] in "lh" and name[0] in "abcd":
        return values[f"r{name[0]}x"] >> (8 if name[1] == "h" else 0) & 0xFF
    return {"eip": values["rip"] & 0xFFFFFFFF, "ip": values["rip"] & 0xFFFF}.get(name)


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")] if text else []


def _operand(state: State, found: Any, operand: Any, text: str) -> dict[str, Any]:
    access = {1: "read", 2: "write", 3: "read and write"}.get(operand.access, "")
    if operand.type == IMMEDIATE:
        return {"kind": "immediate", "text": text, "value": operand.imm & ADDRESS}
    if operand.type == REGISTER:
        name = found.reg_name(operand.reg)
        return {"kind": "register", "text": name, "size": operand.size, "access": access, "value": register(state, name)}
    memory = operand.mem
    base, index = (found.reg_name(number) if number else "" for number in (memory.base, memory.index))
    offset = memory.disp
    for name, scale in ((base, 1), (index, memory.scale)):
        if name in ("rip", "eip"):
            offset += state.registers["rip"] + found.size
        elif name:
            offset += (register(state, name) or 0) * scale
    mask = (1 << 8 * found.addr_size) - 1
    segment = found.reg_name(memory.segment) if memory.segment else "ss" if base.endswith(("sp", "bp")) else "ds"
    if found.mnemonic.split()[-1] == "lea" or found.mnemonic.split()[-1] == "nop":
        access = ""
    made = _memory(state, text, segment, offset & mask, operand.size, access or "")
    made["registers"] = {name: register(state, name) for name in (base, index) if name and name not in ("rip", "eip")}
    return made


def _memory(state: State, text: str, segment: str, offset: int, size: int, access: str) -> dict[str, Any]:
    if text == "stack":
        offset &= ADDRESS if state.bits == 64 else 0xFFFFFFFF if state.segments["ss"].big else 0xFFFF
    linear = state.linear(segment, offset)
    found = state.walk(linear)
    value = state.number(linear, size) if size in (1, 2, 4, 8) else None
    return {"kind": "memory", "text": text, "size": size, "access": access, "segment": segment, "offset": offset,
            "linear": linear, "physical": found.physical, "value": value}


@functools.cache
def _capstone(bits: int) -> Any:
    import capstone  # here, as few runs die

    mode = {16: capstone.CS_MODE_16, 32: capstone.CS_MODE_32, 64: capstone.CS_MODE_64}[bits]
    engine = capstone.Cs(capstone.CS_ARCH_X86, mode)
    engine.detail = True
    return engine
