"""What only a trace knows of a death: the last instructions, and the calls that had not returned."""

from __future__ import annotations

from typing import Any

import polars as pl

from emu.debug.explain import Name, nameless
from emu.debug.instruction import stores_of
from emu.trace.code import ADDRESS, disassemble
from emu.trace.reader import Trace
from emu.trace.stacks import Walk, called, everything

LAST = 20                       # instructions
WINDOW = 200_000                # blocks that are looked at for calls
TELLING = 1 << 12               # smaller values are everywhere
DEEP = 3                        # loads of a value that was stored elsewhere before
Access = tuple[int, int]        # number of the part, and of its row


def complete(facts: dict[str, Any], trace: Trace, symbol: Name = nameless) -> dict[str, Any]:
    """The same facts with `last`, the last instructions, `calls`, from the outermost call that the window shows on, and
    `writers` and `loads`, if the trace knows accesses to memory."""
    out = {**facts, "last": last(trace, symbol), "calls": calls(trace, symbol)}
    if trace.meta.get("level") == "memory":
        out["writers"] = [writer(trace, *place, symbol) for place in places(facts)]
        out["loads"] = loads(facts, trace, symbol)
    return out


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
    """{"from", "to", "how", "symbol"}: calls, and interrupts, that had not returned at the end, outermost first.

    A call through a thunk is one to where the thunk has led.  Of a stack that was taken up in the window, only what was seen.
    """
    first = max(int(trace.meta.get("first", 0)), trace.length - WINDOW)
    walk = Walk(trace, called(trace, trace.pieces(first)), plain=True)
    for row in everything(trace, first):
        for _ in walk.follow(row):
            pass
    return [{"from": frame.site, "to": frame.entry, "how": frame.how, "symbol": symbol(frame.entry)}
            for frame in walk.frames()]


# -- who wrote it

def places(facts: dict[str, Any]) -> list[tuple[str, int, int]]:
    """(name, linear address, size) of what the explanation found bad; a page table's entry where linear is physical."""
    out: dict[tuple[int, int], str] = {}
    for fault in facts.get("faults", ()):
        for part in (fault, fault.get("delivery", {})):
            if part.get("place"):
                what, linear, size = part["place"]
                out.setdefault((linear, size), what)
        for part in (fault.get("cause", {}), fault.get("delivery", {})):
            walk = part.get("walk")
            if walk and walk["entries"] and walk["problem"]:
                entry = walk["entries"][-1]
                out.setdefault((entry["address"], 4 if walk["mode"] == "32-bit" else 8), f"{entry['level']} {entry['index']}")
    return [(what, *place) for place, what in out.items()]


def writer(trace: Trace, what: str, linear: int, size: int, symbol: Name = nameless, before: Access | None = None,
           deep: int = DEEP) -> dict[str, Any]:
    """The last store to [linear, linear + size): {"what", "linear", "size", "position", "value", "address", "text"}.

    `before`: of those before this one.  `position` is None if there was none.  `address` is that of the instruction; with no
    text if it stores nothing: then it was interrupted, and the processor stored.  `source` is where the value was loaded from
    before that, as `loaded` tells.
    """
    out: dict[str, Any] = {"what": what, "linear": linear, "size": size, "position": None}
    overlaps = (pl.col("address") < linear + size) & (pl.col("address") + pl.col("size") > linear)
    found = _find(trace, pl.col("write") & overlaps, before)
    if found is None:
        return out
    index, row = found
    position = row["position"] - 1
    out |= {"position": position, "value": row["value"], "stored_at": row["address"], "stored_size": row["size"],
            "address": row["rip"], "text": _storing(trace, position, row["rip"]), "symbol": symbol(row["rip"])}
    source = loaded(trace, row["value"], row["size"], symbol, index, deep - 1) if deep and out["text"] else None
    return {**out, "source": source} if source is not None and source["linear"] != linear else out


def loaded(trace: Trace, value: int, size: int, symbol: Name = nameless, before: Access | None = None,
           deep: int = DEEP) -> dict[str, Any] | None:
    """The last load of a value that is large enough to be told from others: {"linear", "size", "value", "position",
    "address", "text", "symbol", "writer"}, who wrote it there before."""
    if value < TELLING:
        return None
    found = _find(trace, ~pl.col("write") & (pl.col("value") == value) & (pl.col("size") == size), before)
    if found is None:
        return None
    index, row = found
    position, rip = row["position"] - 1, row["rip"]
    text = next((f"{mnemonic} {operands}".strip() for number in trace.blocks(position, 1).tolist()
                 for address, _, mnemonic, operands in disassemble(trace.code[number]) if address & ADDRESS == rip), "")
    return {"linear": row["address"], "size": size, "value": value, "position": position, "address": rip, "text": text,
            "symbol": symbol(rip), "writer": writer(trace, "that memory", row["address"], size, symbol, index, deep)}


def loads(facts: dict[str, Any], trace: Trace, symbol: Name = nameless) -> list[dict[str, Any]]:
    """Where the registers by which the first fault's instruction addressed memory were loaded; "register" names each."""
    out = []
    faults = facts.get("faults") or [{}]
    for operand in faults[0].get("instruction", {}).get("operands", ()):
        for name, value in operand.get("registers", {}).items():
            found = loaded(trace, value, 8 if name.startswith("r") else 4, symbol)
            if found is not None and name[1:] not in ("sp", "ip"):
                out.append({"register": name, **found})
    return out


def _find(trace: Trace, wanted: pl.Expr, before: Access | None) -> tuple[Access, dict[str, Any]] | None:
    """The last access that is `wanted`, of those before one."""
    for number, frame in trace.backwards("accesses"):
        if before is not None and number >= before[0]:
            frame = frame.head(before[1] if number == before[0] else 0)
        hits = frame.with_row_index("row").filter(wanted)
        if len(hits):
            row = hits.row(-1, named=True)
            return (number, row["row"]), row
    return None


def _storing(trace: Trace, position: int, rip: int) -> str:
    """The instruction at `rip` of a block, if it is one that stores."""
    for number in trace.blocks(position, 1).tolist():
        block = trace.code[number]
        for address, text in stores_of(block.code, block.pc, block.bits):
            if address & ADDRESS == rip:
                return text
    return ""
