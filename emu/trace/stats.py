"""What a trace amounts to: blocks, functions, levels of privilege, accesses, interrupts, as tables."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import polars as pl

from emu.trace.code import disassemble
from emu.trace.select import Selection
from emu.trace.text import EXCEPTIONS, Name, no_name

Table = list[dict[str, Any]]


def stats(selection: Selection, name: Name = no_name, top: int = 20) -> dict[str, Any]:
    """Counts of everything; the lists hold the `top` most frequent, with their share of all instructions."""
    code = selection.trace.code
    ran = np.zeros(max(code, default=-1) + 1, np.int64)
    begun = np.zeros_like(ran)
    for _, numbers, lengths in selection.runs():
        ran += np.bincount(numbers, minlength=len(ran))
        begun += np.bincount(numbers, lengths, len(ran)).astype(np.int64)
    total = int(begun.sum())
    levels: Counter[int] = Counter()
    functions: Counter[str] = Counter()
    for number in np.flatnonzero(ran).tolist():
        block = code[number]
        levels[block.cpl] += int(begun[number])
        functions[(name(block.pc) or "(unknown)").split("+")[0]] += int(begun[number])
    hot: Table = []
    for number in np.argsort(begun, kind="stable")[::-1][:top].tolist():
        if ran[number]:
            block = code[number]
            first = disassemble(block)[0]
            hot.append({"address": block.pc, "symbol": name(block.pc), "cpl": block.cpl, "runs": int(ran[number]),
                        "instructions": int(begun[number]), "share": begun[number] / total,
                        "begins": f"{first[2]} {first[3]}".rstrip()})
    return {
        "blocks": int(ran.sum()), "instructions": total, "unique_blocks": int(np.count_nonzero(ran)),
        "by_cpl": dict(sorted(levels.items())), "hot_blocks": hot,
        "functions": [{"function": function, "instructions": count, "share": count / total}
                      for function, count in functions.most_common(top)] if name is not no_name else [],
        **_events(selection, top),
    }


def _events(selection: Selection, top: int) -> dict[str, Any]:
    events = selection.events
    accesses = events.filter(pl.col("kind").is_in(["port read", "port write", "memory read", "memory write"]))
    named = accesses.with_columns(
        pl.when(pl.col("name") == "").then(pl.format("{}", pl.col("address"))).otherwise(pl.col("name")).alias("name"))
    counts = named.group_by("kind", "name").len().sort("len", "kind", "name", descending=[True, False, False])
    taken = events.filter(pl.col("kind").is_in(["exception", "interrupt", "software interrupt"]))
    vectors = taken.group_by("kind", "vector").len().sort("len", "kind", "vector", descending=[True, False, False])
    return {
        "events": dict(events.group_by("kind").len().sort("kind").iter_rows()),
        "accesses": counts.head(top).to_dicts(),
        "vectors": [{**row, "name": EXCEPTIONS.get(row["vector"], "") if row["kind"] == "exception" else ""}
                    for row in vectors.to_dicts()],
    }


def told(found: dict[str, Any]) -> str:
    """The same for people."""
    lines = [f"{found['instructions']:,} instructions in {found['blocks']:,} blocks, "
             f"{found['unique_blocks']:,} of them different"]
    lines += [f"  at CPL {level}: {count:,}" for level, count in found["by_cpl"].items()]
    if found["hot_blocks"]:
        lines += ["", "hot blocks"]
        lines += [f"  {row['share']:6.1%} {row['runs']:13,} x  {row['address']:16x}  {row['symbol'] or '':28} {row['begins']}"
                  for row in found["hot_blocks"]]
    if found["functions"]:
        lines += ["", "functions (their own instructions)"]
        lines += [f"  {row['share']:6.1%} {row['instructions']:15,}  {row['function']}" for row in found["functions"]]
    if found["accesses"]:
        lines += ["", "accesses"]
        lines += [f"  {row['len']:13,}  {row['kind']:12} {row['name']}" for row in found["accesses"]]
    if found["vectors"]:
        lines += ["", "exceptions and interrupts"]
        lines += [f"  {row['len']:13,}  {row['kind']} {row['vector']:#x} {row['name']}".rstrip() for row in found["vectors"]]
    if found["events"]:
        lines += ["", "events", *(f"  {count:13,}  {kind}" for kind, count in found["events"].items())]
    return "\n".join(lines) + "\n"
