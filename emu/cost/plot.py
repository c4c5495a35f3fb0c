"""The record as a picture, by matplotlib: a panel of bars for each workload, and start-up against work."""

from __future__ import annotations

import importlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

from emu.cost.table import ratio, short, startup

FAMILIES = (                                    # label, colour, what its forms' names begin with
    ("the processor itself", "#4c4c4c", ("native",)),
    ("container", "#2a9d8f", ("runc", "namespaces")),
    ("our machine", "#2f6fb7", ("emu, bare", "emu, Linux")),
    ("our machine, traced", "#8db4dc", ("emu, traced",)),
    ("Python hook", "#b8423d", ("Unicorn",)),
    ("QEMU", "#e08a1e", ("QEMU",)),
    ("KVM", "#c9b037", ("KVM",)),
    ("language machine", "#7d62ad", ("JVM", "CPython", "Ruby", "WebAssembly")),
)
OTHER = "other", "#8a6a52"
COLUMNS, DPI = 4, 100
STEPS = ((5, -9), (5, 5), (-5, 5), (-5, -9), (5, 13), (5, -18), (-5, 13), (-5, -18), (5, 22), (-5, 22), (5, -28))    # points


class NoPlot(Exception):
    """matplotlib is not here."""


def family(name: str) -> tuple[str, str]:
    """(label, colour) of a form."""
    return next(((label, colour) for label, colour, starts in FAMILIES if name.startswith(starts)), OTHER)


def draw(record: Mapping[str, Any], kind: str) -> bytes:
    """PNG or SVG.  Raises NoPlot."""
    try:
        matplotlib: Any = importlib.import_module("matplotlib")
        matplotlib.use("Agg")
        pyplot: Any = importlib.import_module("matplotlib.pyplot")
    except ImportError:
        raise NoPlot("a picture needs matplotlib: pip install matplotlib") from None
    forms = record["forms"]
    names = [workload["name"] for workload in record["workloads"]]
    rows = -(-len(names) // COLUMNS)
    tall = 0.7 + 0.205 * len(forms)
    with matplotlib.rc_context({"svg.hashsalt": "emu", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False,
                                "axes.axisbelow": True, "font.family": "DejaVu Sans"}):
        figure = pyplot.figure(figsize=(15, rows * tall + 5.4), layout="constrained")
        above, below = figure.subfigures(2, 1, height_ratios=(rows * tall, 4.8))
        panels = above.subplots(rows, COLUMNS, squeeze=False, sharey=True)
        for place, panel in enumerate(panels.flat):
            if place < len(names):
                _bars(panel, record, forms, record["workloads"][place])
            else:
                panel.set_axis_off()
        panels[0][0].set_yticks(range(len(forms)), [form["name"] for form in forms])
        panels[0][0].set_ylim(len(forms) - 0.4, -0.6)
        host = record["host"]
        figure.suptitle("The same work in every form of virtual machine: times the CPU time of a process (spawn: time from "
                        f"start to end)\n{host['cpu']}, Linux {host['kernel']}, medians of {record['turns']}; whiskers: "
                        "lowest and highest; * a part of the work, scaled", fontsize=11)
        _start_up(below.subplots(), forms, "cpu" if "cpu" in names else names[0])
        out = io.BytesIO()
        figure.savefig(out, format=kind, dpi=DPI, metadata={"Date": None} if kind == "svg" else None)
        pyplot.close(figure)
    return _smaller(out) if kind == "png" else out.getvalue()


def _smaller(picture: io.BytesIO) -> bytes:
    """A PNG with a palette: a third of the bytes, and nobody sees it."""
    image: Any = importlib.import_module("PIL.Image")           # matplotlib needs it, too
    out = io.BytesIO()
    image.open(picture).convert("RGB").quantize(160, dither=0).save(out, "png", optimize=True)
    return out.getvalue()


def _bars(panel: Any, record: Mapping[str, Any], forms: Sequence[Mapping[str, Any]], workload: Mapping[str, Any]) -> None:
    """A bar a form, from 1; its ratio beside it."""
    name = workload["name"]
    what = "wall" if name == "spawn" else "cpu"
    values = [ratio(record, form, name) for form in forms]
    known = [value for value in values if value]
    low, high = min([0.5, *known]) / 1.3, max([10.0, *known])
    for row, (form, value) in enumerate(zip(forms, values, strict=True)):
        cell = form.get("cells", {}).get(name, {"state": "missing"})
        if not value:
            text = {"lacks": "not there", "ok": ""}.get(cell["state"], cell["state"])
            panel.text(1.15, row, text, va="center", fontsize=7.5, color="#b8423d" if text == "failed" else "#999999")
            continue
        scale = value / cell[what]["median"]
        panel.barh(row, value - 1, 0.68, left=1, color=family(form["name"])[1])
        panel.plot([cell[what]["low"] * scale, cell[what]["high"] * scale], [row, row], color="black", linewidth=0.8)
        edge = max(value, cell[what]["high"] * scale, 1.0)
        panel.text(edge * (high / low) ** 0.018, row, short(value) + ("*" if cell["rounds"] < cell["whole"] else ""),
                   va="center", fontsize=7.5)
    panel.set_xscale("log")
    panel.set_xlim(low, high * (high / low) ** 0.24)
    panel.axvline(1, color="#4c4c4c", linewidth=0.9)
    panel.grid(axis="x", which="major", color="#e4e4e4", linewidth=0.7)
    panel.tick_params(axis="y", length=0)
    panel.minorticks_off()
    panel.xaxis.set_major_formatter(lambda value, _: f"{value / 1e6:.0f} M" if value >= 1e6 else f"{value:,.0f}" if value >= 1
                                    else f"{value:g}")
    if high / low > 1e5:
        panel.xaxis.set_major_locator(importlib.import_module("matplotlib.ticker").LogLocator(100))
    panel.set_title(f"$\\bf{{{name}}}$  {workload['what']}", fontsize=8.5, loc="left")


def _start_up(points: Any, forms: Sequence[Mapping[str, Any]], work: str) -> None:
    """Seconds until the work begins, and seconds of the work; each form's name where it covers no other."""
    points.set_xscale("log")
    points.set_yscale("log")
    places: list[tuple[float, float, str]] = []
    used: set[tuple[str, str]] = set()
    for form in forms:
        cell = form.get("cells", {}).get(work, {})
        start = startup(form) if "cpu" in cell else None
        if work == "spawn" or start is None:
            continue
        place = max(start, 1e-5), max(cell["cpu"]["median"], 1e-5)
        label = family(form["name"])
        points.scatter(*place, s=46, color=label[1], label=None if label in used else label[0], zorder=3)
        used.add(label)
        places.append((*place, form["name"]))
    points.margins(x=0.12, y=0.12)
    points.set_xlabel("start-up: seconds from start to end with nothing to do (spawn); else until the work began")
    points.set_ylabel(f"the work ({work}): CPU seconds")
    points.grid(which="major", color="#e4e4e4", linewidth=0.7)
    points.set_title("Start-up against work: the lower left is cheap in both", fontsize=9.5, loc="left", fontweight="bold")
    if not places:
        return
    points.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    figure = points.figure.figure
    figure.draw_without_rendering()             # lays it all out; once, for names change nothing of it
    figure.set_layout_engine("none")
    pixels = points.transData.transform([place[:2] for place in places])
    unit = points.figure.dpi / 72
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in pixels]
    for (x, y), (_, _, name) in zip(pixels, places, strict=True):
        width, height = 4.6 * len(name) * unit, 9 * unit

        def box(step: tuple[int, int], x: float = x, y: float = y, width: float = width,
                height: float = height) -> tuple[float, float, float, float]:
            left = x + step[0] * unit - (width if step[0] < 0 else 0)
            return left, y + step[1] * unit, left + width, y + step[1] * unit + height

        step = min(STEPS, key=lambda step: sum(_overlap(box(step), other) for other in taken))
        taken.append(box(step))
        points.annotate(name, points.transData.inverted().transform((x, y)), xytext=step, textcoords="offset points",
                        fontsize=8, ha="left" if step[0] > 0 else "right", va="bottom")


def _overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Of two boxes (left, bottom, right, top), the area."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
