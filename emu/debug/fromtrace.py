"""What only a trace knows of a death: the last instructions, and the calls that had not returned."""

from __future__ import annotations

from typing import Any

import polars as pl

from emu.debug.explain import Name, nameless
from emu.trace.code import ADDRESS, Block, disassemble
from emu.trace.reader import Trace

LAST = 20                       # instructions
WINDOW = 200_000                # blocks that are looked at for calls
CALLS = "call", "lcall"
RETURNS = "ret", "retf", "retfq"
LEAVES = "iret", "iretd", "iretq"


def complete(facts: dict[str, Any], trace: Trace, symbol: Name = nameless) -> dict[str, Any]:
    """The same facts with `last`, the last instructions, and `calls`, from the outermost call that the window shows on."""
    return {**facts, "last": last(trace, symbol), "calls": calls(trace, symbol)}


def last(trace: Trace, symbol: Name = nameless, count: int = LAST) -> list[dict[str, Any]]:
    """The last instructions that began, oldest first."""
    out: list[dict[str, Any]] = []
    first = max(0, trace.length - 4 * count)
    for _, numbers, lengths in trace.runs(first):
        for number, length in zip(numbers.tolist(), lengths.tolist(), strict=True):
            for address, _, mnemonic, operands in disassemble(trace.code[number])[:length]:
                address &= ADDRESS
                out.append({"address": address, "text": f"{mnemonic} {operands}".strip(), "symbol": symbol(address)})
    return out[-count:]


def calls(trace: Trace, symbol: Name = nameless) -> list[dict[str, Any]]:
    """{"from", "to", "how", "symbol"}: calls, and interrupts, that had not returned at the end, outermost first."""
    first = max(int(trace.meta.get("first", 0)), trace.length - WINDOW)
    taken = trace.events.filter(pl.col("kind").is_in(["exception", "interrupt", "software interrupt"])
                                & (pl.col("position") > first))
    entries = {position: (kind, vector) for position, kind, vector in taken.select("position", "kind", "vector").iter_rows()}
    kinds: dict[int, tuple[str, int, int]] = {}
    stack: list[dict[str, Any]] = []
    before: tuple[str, int, int] = "", 0, 0
    for positions, numbers, lengths in trace.runs(first):
        for position, number, length in zip(positions.tolist(), numbers.tolist(), lengths.tolist(), strict=True):
            block = trace.code[number]
            if number not in kinds:
                kinds[number] = _end(block)
            how, at, behind = before
            if position in entries:
                kind, vector = entries[position]
                stack.append({"from": at, "back": None, "to": block.pc, "how": f"{kind} {vector:02X}h"})
            elif how == "call":
                stack.append({"from": at, "back": behind, "to": block.pc, "how": "call"})
            elif how == "ret":
                _unwind(stack, block.pc)
            elif how == "iret":
                while stack and stack.pop()["back"] is not None:
                    pass
            whole = length == len(disassemble(block)) if kinds[number][0] else True
            before = kinds[number] if whole else ("", kinds[number][1], 0)
    return [{"from": frame["from"], "to": frame["to"], "how": frame["how"], "symbol": symbol(frame["to"])} for frame in stack]


def _end(block: Block) -> tuple[str, int, int]:
    """How a block ends: "call", "ret", "iret" or "", the address of its last instruction, and the one behind it."""
    address, length, mnemonic, _ = disassemble(block)[-1]
    name = mnemonic.split()[-1]
    how = "call" if name in CALLS else "ret" if name in RETURNS else "iret" if name in LEAVES else ""
    return how, address & ADDRESS, address + length & ADDRESS


def _unwind(stack: list[dict[str, Any]], to: int) -> None:
    """A return leads behind its call; those inside it were left by other means."""
    for i in range(len(stack) - 1, max(-1, len(stack) - 16), -1):
        if stack[i]["back"] == to:
            del stack[i:]
            return
        if stack[i]["back"] is None:
            return
