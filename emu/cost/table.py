"""The record as text for a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from emu.cost.workloads import WORKLOADS

NATIVE = "native"
FULL = 5                        # rounds from which on a table shows confidence intervals


def seconds(value: float) -> str:
    """With a unit, three digits."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value / 1e-9:.3g} ns"


def ratio(record: Mapping[str, Any], form: Mapping[str, Any], workload: str, what: str = "cpu") -> float | None:
    """Of a form's median to the process's; None if either is not there.  Start and end are wall time, all else CPU time."""
    what = "wall" if workload == "spawn" else what
    native: Mapping[str, Any] = next((f for f in record["forms"] if f["name"] == NATIVE), {})
    mine, base = (f.get("cells", {}).get(workload, {}).get(what) for f in (form, native))
    return mine["median"] / base["median"] if mine and base and base["median"] else None


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


def table(record: Mapping[str, Any]) -> str:
    """One line a form: each workload's ratio to the process, start-up, peak memory; then what there is to say."""
    names = [workload["name"] for workload in record["workloads"]]
    full = record["turns"] >= FULL
    column = 15 if full else 10
    width = max(len(form["name"]) for form in record["forms"])
    lines = [f"{'':{width}}" + "".join(f"{name:>{column}}" for name in names) + f"{'start-up':>11}{'memory':>9}"]
    notes: list[str] = []
    for form in record["forms"]:
        if "missing" in form:
            lines.append(f"{form['name']:{width}}  missing: {form['missing']}")
            continue
        cells = []
        for name in names:
            cell = form["cells"][name]
            if cell["state"] == "ok" and "cpu" in cell:
                mark = "*" if cell["rounds"] < cell["whole"] else ""
                wide = doubt(record, form, name) if full else None
                between = "" if wide is None else f" ±{wide:.0%}"
                cells.append(f"{short(ratio(record, form, name)) or '?'}{between}{mark or ' '}")
            else:
                cells.append("failed " if cell["state"] == "failed" else "- ")
                notes.append(f"{form['name']}, {name}: {cell['state'] if cell['state'] == 'failed' else 'not there'}: "
                             f"{cell.get('why', '')}")
        starts = [form["cells"][n]["start_wall"]["high"] for n in names if "start_wall" in form["cells"][n] and n != "spawn"]
        peaks = [form["cells"][n]["peak"] for n in names if form["cells"][n].get("peak")]
        lines.append(f"{form['name']:{width}}" + "".join(f"{cell:>{column}}" for cell in cells)
                     + f"{seconds(max(starts)) if starts else '':>11}{f'{max(peaks) >> 20} MiB' if peaks else '':>9}")
        parts = sorted({cell["whole"] // cell["rounds"] for cell in form["cells"].values() if cell["rounds"] < cell["whole"]})
        if parts:
            notes.append(f"* {form['name']}: {' and '.join(f'1/{part}' for part in parts)} of the work, scaled")
        if form["note"]:
            notes.append(f"{form['name']}: {form['note']}")
    native = next((f for f in record["forms"] if f["name"] == NATIVE and "cells" in f), None)
    if native:
        times = [f"{n} {seconds(native['cells'][n]['wall' if n == 'spawn' else 'cpu']['median'])}" for n in names
                 if "cpu" in native["cells"][n]]
        lines += ["", f"Ratios of CPU time to the process's (of spawn: wall time). The process itself: {', '.join(times)}."]
    lines += ["", *(f"{name}: {WORKLOADS[name].what}" for name in names if name in WORKLOADS)]
    lines += ["", *notes, "", spreads(record)]
    return "\n".join(lines)


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
