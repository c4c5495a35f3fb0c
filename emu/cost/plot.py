"""The record as a picture, by matplotlib."""

from __future__ import annotations

import importlib
import io
from collections.abc import Mapping
from typing import Any

from emu.cost.table import ratio

COLOURS = "#3b6fb6", "#e08a1e", "#4d9a4a", "#b8423d", "#7d62ad", "#8a6a52", "#c776b0", "#7f7f7f"


class NoPlot(Exception):
    """matplotlib is not here."""


def draw(record: Mapping[str, Any], kind: str) -> bytes:
    """PNG or SVG: each form's ratio to a process by workload, and its start-up against its work, both on log scales."""
    try:
        matplotlib: Any = importlib.import_module("matplotlib")
        matplotlib.use("Agg")
        pyplot: Any = importlib.import_module("matplotlib.pyplot")
    except ImportError:
        raise NoPlot("a picture needs matplotlib: pip install matplotlib") from None
    matplotlib.rcParams["svg.hashsalt"] = "emu"
    names = [workload["name"] for workload in record["workloads"]]
    forms = [form for form in record["forms"] if "cells" in form]
    figure, (bars, points) = pyplot.subplots(1, 2, figsize=(15, 2 + 0.45 * len(forms)), width_ratios=(3, 2))
    height = 0.8 / len(names)
    for column, name in enumerate(names):
        values = [ratio(record, form, name) or 0 for form in forms]
        places = [row + height * (column - (len(names) - 1) / 2) for row in range(len(forms))]
        bars.barh(places, [max(value, 0.1) if value else 0 for value in values], height, left=None, label=name,
                  color=COLOURS[column % len(COLOURS)])
    bars.set_yticks(range(len(forms)), [form["name"] for form in forms])
    bars.invert_yaxis()
    bars.set_xscale("log")
    bars.axvline(1, color="black", linewidth=0.8)
    bars.set_xlabel("times the CPU time of a process (spawn: wall time)")
    bars.legend(fontsize="small")
    work = "cpu" if "cpu" in names else names[0]
    for form in forms:
        cell = form["cells"].get(work, {})
        if "wall" in cell:
            points.scatter(max(cell["start_wall"]["median"], 1e-5), max(cell["wall"]["median"], 1e-5), color=COLOURS[0])
            points.annotate(form["name"], (max(cell["start_wall"]["median"], 1e-5), max(cell["wall"]["median"], 1e-5)),
                            fontsize="small", xytext=(4, 3), textcoords="offset points")
    points.set_xscale("log")
    points.set_yscale("log")
    points.set_xlabel("start-up, seconds")
    points.set_ylabel(f"work ({work}), seconds")
    figure.tight_layout()
    out = io.BytesIO()
    figure.savefig(out, format=kind, dpi=110, metadata={"Date": None} if kind == "svg" else None)
    pyplot.close(figure)
    return out.getvalue()
