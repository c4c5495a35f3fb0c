"""The record as text for a terminal."""

from __future__ import annotations

import math
import statistics
import textwrap
from collections.abc import Mapping
from typing import Any

from emu.cost.workloads import WORKLOADS

NATIVE = "native"
WIDTH = 130                     # of text where there is no terminal
FULL = 5                        # rounds from which on a table shows confidence intervals


def seconds(value: float) -> str:
    """With a unit, three digits."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value / 1e-9:.3g} ns"


def ratio(record: Mapping[str, Any], form: Mapping[str, Any], workload: str, what: str = "cpu") -> float | None:
    """Of a form's median to the process's; None if either is not there, or 0.  Spawn is wall time, all else CPU time."""
    what = "wall" if workload == "spawn" else what
    native: Mapping[str, Any] = next((f for f in record["forms"] if f["name"] == NATIVE), {})
    mine, base = (f.get("cells", {}).get(workload, {}).get(what) for f in (form, native))
    return mine["median"] / base["median"] if mine and base and mine["median"] > 0 and base["median"] > 0 else None


def doubt(record: Mapping[str, Any], form: Mapping[str, Any], workload: str) -> float | None:
    """Half the 95 % confidence interval of that ratio, as a part of it; None of too few rounds."""
    what = "wall" if workload == "spawn" else "cpu"
    native: Mapping[str, Any] = next((f for f in record["forms"] if f["name"] == NATIVE), {})
    squares = 0.0
    for one in (form, native):
        cell = one.get("cells", {}).get(workload, {}).get(what)
        if not cell or cell["half"] is None or not cell["median"]:
            return None
        squares += (cell["half"] / cell["median"]) ** 2
    return math.sqrt(squares / (2 if form["name"] == NATIVE else 1))


def short(value: float | None) -> str:
    """A ratio in at most seven characters."""
    if value is None:
        return ""
    return f"{value:,.0f}x" if value >= 100 else f"{value:.1f}x" if value >= 10 else f"{value:.2f}x"


def table(record: Mapping[str, Any], width: int | None = None) -> str:
    """One line a form: each workload's ratio to the process, spread, start-up, peak memory; then what there is to say.

    `width`: of the terminal; workloads that do not fit come in a table below.
    """
    names = [workload["name"] for workload in record["workloads"]]
    first = max(len(form["name"]) for form in record["forms"])
    column = 15 if record["turns"] >= FULL else 10
    fit = len(names) if width is None else max(1, (width - first - 28) // column)
    lines = []
    for at in range(0, len(names), fit):
        lines += [*_rows(record, names[at:at + fit], first, column, at + fit >= len(names)), ""]
    for part in (_process(record, names), _works(names), _shares(record), _absent(record), _notes(record), _misses(record),
                 [spreads(record)]):
        if part:
            lines += [*(piece for line in part for piece in wrapped(line, width)), ""]
    return "\n".join(lines[:-1])


def wrapped(line: str, width: int | None) -> list[str]:
    """A line in pieces that fit, the later ones further in."""
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    return textwrap.wrap(line, max(40, (width or WIDTH) - 1), subsequent_indent=indent, break_long_words=False,
                         break_on_hyphens=False)


def _rows(record: Mapping[str, Any], names: list[str], first: int, column: int, last: bool) -> list[str]:
    head = f"{'spread':>8}{'start-up':>11}{'memory':>9}" if last else ""
    lines = [f"{'':{first}}" + "".join(f"{name + ' ':>{column}}" for name in names) + head]
    for form in record["forms"]:
        if "missing" in form:
            lines.append(f"{form['name']:{first}} {'missing':>{column - 2}}" if last else form["name"])
            continue
        end = ""
        if last:
            wide, start, peak = widest(form), startup(form), memory(form)
            end = (f"{'' if wide is None else f'±{wide:.0%}':>8}{'' if start is None else seconds(start):>11}"
                   f"{size(peak):>9}")
        lines.append(f"{form['name']:{first}}" + "".join(f"{_cell(record, form, name):>{column}}" for name in names) + end)
    return [line.rstrip() for line in lines]


def _cell(record: Mapping[str, Any], form: Mapping[str, Any], name: str) -> str:
    cell = form["cells"][name]
    if cell["state"] != "ok" or "cpu" not in cell:
        return "failed " if cell["state"] == "failed" else "- "
    wide = doubt(record, form, name) if record["turns"] >= FULL else None
    between = "" if wide is None else f" ±{wide:.0%}"
    return f"{short(ratio(record, form, name)) or '?'}{between}{'*' if cell['rounds'] < cell['whole'] else ' '}"


def widest(form: Mapping[str, Any]) -> float | None:
    """Half of the widest range of a workload's rounds, as a part of its median; None of one round."""
    found = [(cell[what]["high"] - cell[what]["low"]) / 2 / cell[what]["median"] for name, cell in form["cells"].items()
             for what in ("wall" if name == "spawn" else "cpu",)
             if cell.get(what, {}).get("median") and len(cell[what]["values"]) > 1]
    return max(found) if found else None


def startup(form: Mapping[str, Any]) -> float | None:
    """Seconds from start to end with nothing to do; where that was not measured, until the work began."""
    if "wall" in form["cells"].get("spawn", {}):
        return float(form["cells"]["spawn"]["wall"]["median"])
    starts = [cell["start_wall"]["median"] for cell in form["cells"].values() if "start_wall" in cell]
    return statistics.median(starts) if starts else None


def memory(form: Mapping[str, Any]) -> int | None:
    """The highest peak of its workloads, bytes."""
    return max((cell["peak"] for cell in form["cells"].values() if cell.get("peak")), default=None)


def size(value: int | None) -> str:
    """Bytes, with a unit."""
    return "" if value is None else f"{value >> 20} MiB" if value >= 1 << 20 else f"{value >> 10} KiB"


def _process(record: Mapping[str, Any], names: list[str]) -> list[str]:
    native = next((f for f in record["forms"] if f["name"] == NATIVE and "cells" in f), None)
    if native is None:
        return []
    times = [f"{n} {seconds(native['cells'][n]['wall' if n == 'spawn' else 'cpu']['median'])}" for n in names
             if "cpu" in native["cells"][n]]
    return ["CPU time over that of a process (spawn: time from start to end).", f"The process itself: {', '.join(times)}."]


def _works(names: list[str]) -> list[str]:
    return [f"{name}: {WORKLOADS[name].what}" for name in names if name in WORKLOADS]


def _shares(record: Mapping[str, Any]) -> list[str]:
    """Who did a part of the work only."""
    found: dict[str, list[str]] = {}
    for form in record["forms"]:
        parts = sorted({cell["whole"] // cell["rounds"] for cell in form.get("cells", {}).values()
                        if cell["rounds"] < cell["whole"] and cell["state"] == "ok"})
        if parts:
            found.setdefault(" and ".join(f"1/{part}" for part in parts), []).append(form["name"])
    return [f"* {part} of the work, scaled: {'; '.join(who)}" for part, who in found.items()]


def reasons(record: Mapping[str, Any], state: str) -> dict[tuple[str, str], list[str]]:
    """(workload, why) -> forms whose cell is in that state."""
    found: dict[tuple[str, str], list[str]] = {}
    for form in record["forms"]:
        for name, cell in form.get("cells", {}).items():
            if cell["state"] == state:
                found.setdefault((name, cell.get("why", "")), []).append(form["name"])
    return found


def _absent(record: Mapping[str, Any]) -> list[str]:
    """What failed, what is not on this machine, and what a form has not."""
    lines = [f"failed: {workload} in {'; '.join(who)}: {why}" for (workload, why), who in reasons(record, "failed").items()]
    lines += [f"missing: {form['name']}: {form['missing']}" for form in record["forms"] if "missing" in form]
    lines += [f"- {workload} in {'; '.join(who)}: {why}" for (workload, why), who in reasons(record, "lacks").items()]
    return lines


def _notes(record: Mapping[str, Any]) -> list[str]:
    return [f"{form['name']}: {form['note']}" for form in record["forms"] if form.get("note") and "missing" not in form]


def _misses(record: Mapping[str, Any]) -> list[str]:
    """Our machine against QEMU's translator, where it should be no slower."""
    from emu.cost import shape
    verdicts = [verdict for verdict in shape.against(record) if verdict.value is not None]
    if not verdicts:
        return []
    told = ", ".join(f"{verdict.what.split()[0]} {verdict.value:.2f}" for verdict in verdicts)
    return [f"{shape.OURS}, over {shape.QEMU}: {told}.",
            *(f"    {verdict.what.split()[0]} is above 1: {verdict.why}" for verdict in verdicts if not verdict.kept)]


def spreads(record: Mapping[str, Any]) -> str:
    """How far the rounds lie apart, and on what machine."""
    wide = [(cell["cpu"]["high"] / cell["cpu"]["low"] - 1, form["name"], name) for form in record["forms"]
            for name, cell in form.get("cells", {}).items() if cell.get("cpu", {}).get("low")]
    host = record["host"]
    text = (f"Medians of {record['turns']}; {host['cpu'] or host['machine']}, {host['cores']} cores, Linux {host['kernel']}, "
            f"load {host['load']}.")
    if wide and record["turns"] > 1:
        most, form, name = max(wide)
        text += f" Widest spread: {name} in {form}, +{most:.0%}."
    return text
