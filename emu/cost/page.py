"""The record as one page for somebody who has never compared virtual machines: nothing is loaded from elsewhere."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping
from typing import Any

from emu.cost import shape, table, words

STYLE = """\
body{font:16px/1.5 system-ui,sans-serif;max-width:76rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
h1{margin-bottom:.3rem}h2{margin-top:2.8rem;border-bottom:2px solid #ddd}h3{margin:.2rem 0}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.85rem;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .4rem;border-bottom:1px solid #ddd;text-align:right;vertical-align:top;white-space:nowrap}
th:first-child,td:first-child{text-align:left}td small{color:#777;display:block;font-size:.72rem}
th{position:sticky;top:0;background:#fff}
.line{background:#eee;height:.5rem;position:relative;min-width:4.2rem}.bar{height:.5rem;position:absolute}
.off{color:#999;white-space:normal}.gone{text-align:left}.failed{color:#b8423d;font-weight:600}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(21rem,1fr));gap:1rem}
.card{border:1px solid #ddd;border-top:.35rem solid;border-radius:.3rem;padding:.7rem .9rem;font-size:.92rem}
.layer{border:1px solid #bbb;margin:-1px 0 0;padding:.1rem .5rem;font-size:.78rem;text-align:center;background:#f7f7f7}
.layer.imitated{border-style:dashed;background:#fff;color:#777;font-style:italic}.layer.last{background:#e3e3e3}
.model{font-size:1.15rem;text-align:center;background:#f4f6f9;padding:.6rem}
.key b{font-weight:400;white-space:nowrap}.key span{display:inline-block;width:.8rem;height:.8rem;margin:0 .3rem 0 1rem}
.kept{color:#2a7d46}.missed{color:#b8423d;font-weight:600}.none{color:#999}
dt{font-weight:600;margin-top:.7rem}dd{margin-left:1.2rem}footer{margin-top:3rem;color:#555;font-size:.88rem}"""


def page(record: Mapping[str, Any]) -> str:
    """HTML."""
    host = record["host"]
    escape = html.escape
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>What each form of virtual machine costs</title><style>{STYLE}</style></head><body>
<h1>What each form of virtual machine costs</h1>
<p>The same work was done in {len([f for f in record['forms'] if 'cells' in f])} ways on one machine, in turn, and each
result was checked. A <b>process</b> runs directly on the processor: that is 1. Everything else puts something in between, and
pays for it in its own way.</p>
<ul>{''.join(f'<li>{line}</li>' for line in _summary(record))}</ul>
<h2>The figures</h2>
<p>CPU time over that of the process; <b>spawn</b> is the time from start to end. Bars are on a logarithmic scale: each equal
step is ten times as much, and a bar begins at 1. Below a figure stands how far its rounds lie apart. * The form did a part of
the work, and its time was scaled.</p>
<p class="key">{' '.join(f'<b><span style="background:{colour}"></span>{label}</b>'
                         for label, colour in _colours(record))}</p>
<div class="wide"><table>{_head(record)}{''.join(_row(record, form) for form in record['forms'])}</table></div>
<ul>{''.join(f'<li>{line}</li>' for line in _said(record))}</ul>
<h2>What each form is</h2>
<p>What lies between the program and the processor. A dashed layer does not exist: the one below it imitates it.</p>
<div class="cards">{''.join(_card(*entry) for entry in words.FAMILIES)}</div>
<h2>What the work is, and why the figures differ</h2>
<dl>{''.join(f'<dt>{escape(w["name"])}: {escape(w["what"])}</dt><dd>{words.WORK.get(w["name"], "")} '
             f'<small>({_times(w["rounds"])}{escape(w["unit"])})</small></dd>' for w in record['workloads'])}</dl>
<h2>What an exit is</h2>
{words.EXIT}
{_exits(record)}
<h2>Is that what one expects?</h2>
<p>Each sentence is what measurements of others say, and what was found here; the bounds are wide.</p>
<dl>{''.join(_verdicts(record))}</dl>
<footer>Medians of {record['turns']} rounds, the forms in turn. {escape(host['cpu'] or host['machine'])}, {host['cores']}
cores, Linux {escape(host['kernel'])}, load {host['load']}.
Made by <code>{escape(record['command'] or 'emu cost')}</code>.</footer>
</body></html>
"""


def _times(rounds: int) -> str:
    return f"{rounds:,} times " if rounds > 1 else ""


def _median(record: Mapping[str, Any], name: str, workload: str) -> str | None:
    form = next((form for form in record["forms"] if form["name"] == name), None)
    value = table.ratio(record, form, workload) if form else None
    return None if value is None else "the same" if 0.95 <= value <= 1.05 else f"{table.short(value)[:-1]} times"


def _summary(record: Mapping[str, Any]) -> Iterator[str]:
    """The lesson, in this machine's numbers."""
    found = {(name, workload): text for name, workload in (
        ("runc", "cpu"), ("runc", "spawn"), (shape.OURS, "cpu"), (shape.LINUX, "spawn"), (shape.QEMU, "cpu"),
        ("CPython", "cpu"), ("WebAssembly", "cpu"), (shape.OURS, "syscall"), ("Unicorn, Python hook", "cpu"))
        if (text := _median(record, name, workload))}

    def known(text: str, *keys: tuple[str, str]) -> Iterator[str]:
        if all(key in found for key in keys):
            yield text.format(*(f"<b>{found[key]}</b>" for key in keys))

    yield from known("A <b>container</b> calculates for {} time as a process, and takes {} as long to start and end."
                     if found.get(("runc", "cpu")) == "the same" else
                     "A <b>container</b> takes {} as long to calculate as a process, and {} to start and end.",
                     ("runc", "cpu"), ("runc", "spawn"))
    yield from known("A <b>machine in software</b> that translates takes {} as long to calculate (emu), QEMU {}; a whole "
                     "Linux in it takes {} as long to start as a process.", (shape.OURS, "cpu"), (shape.QEMU, "cpu"),
                     (shape.LINUX, "spawn"))
    yield from known("An <b>interpreter</b> (CPython) takes {} as long, a <b>compiler</b> of byte code (WebAssembly) {}.",
                     ("CPython", "cpu"), ("WebAssembly", "cpu"))
    yield from known("System calls of a guest go to the guest's own kernel, and take {} as long.", (shape.OURS, "syscall"))
    yield from known("To look at each instruction from Python takes {} as long.", ("Unicorn, Python hook", "cpu"))


def _colours(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    from emu.cost.plot import family
    return list(dict.fromkeys(family(form["name"]) for form in record["forms"]))


def _head(record: Mapping[str, Any]) -> str:
    return "<tr><th>form</th>" + "".join(
        f'<th title="{html.escape(w["what"])}">{html.escape(w["name"])}</th>' for w in record["workloads"]) + (
        "<th>start-up</th><th>memory</th></tr>")


def _row(record: Mapping[str, Any], form: Mapping[str, Any]) -> str:
    from emu.cost.plot import family
    names = [workload["name"] for workload in record["workloads"]]
    first = f"<td>{html.escape(form['name'])}</td>"
    if "missing" in form:
        why = html.escape(form["missing"])
        return f'<tr>{first}<td class="off gone" colspan="{len(names) + 2}">not on this machine: {why}</td></tr>'
    cells = []
    for workload in names:
        cell, value = form["cells"][workload], table.ratio(record, form, workload)
        if value is None:
            failed = cell["state"] == "failed"
            cells.append(f'<td class="off{" failed" if failed else ""}" title="{html.escape(cell.get("why", ""))}">'
                         f'{"failed" if failed else "–"}</td>')
            continue
        times = cell["wall" if workload == "spawn" else "cpu"]
        figure = table.short(value) + ("*" if cell["rounds"] < cell["whole"] else "")
        bar = _bar(value, _decades(record, workload), family(form["name"])[1])
        cells.append(f'<td title="{table.seconds(times["low"])} to {table.seconds(times["high"])}, median '
                     f'{table.seconds(times["median"])}">{figure}{bar}<small>{_spread(times)}</small></td>')
    start, peak = table.startup(form), table.memory(form)
    return (f"<tr>{first}{''.join(cells)}<td>{'' if start is None else table.seconds(start)}</td>"
            f"<td>{table.size(peak)}</td></tr>")


def _decades(record: Mapping[str, Any], workload: str) -> tuple[float, float]:
    """The logarithms between which a workload's bars lie."""
    found = [math.log10(value) for form in record["forms"]
             if "cells" in form and (value := table.ratio(record, form, workload))]
    return min([-0.3, *found]), max([1.0, *found])


def _bar(value: float, ends: tuple[float, float], colour: str) -> str:
    low, high = ends
    one, at = ((x - low) / (high - low) * 100 for x in (0.0, math.log10(value)))
    return (f'<div class="line"><div class="bar" style="left:{min(one, at):.0f}%;width:{max(abs(at - one), 1.5):.0f}%;'
            f'background:{colour}"></div></div>')


def _spread(times: Mapping[str, Any]) -> str:
    if len(times["values"]) < 2 or not times["median"]:
        return ""
    return f"±{(times['high'] - times['low']) / 2 / times['median']:.0%}"


def _said(record: Mapping[str, Any]) -> Iterator[str]:
    """What a reader should know of the rows."""
    for state, mark in (("failed", "failed"), ("lacks", "–")):
        for (workload, why), who in table.reasons(record, state).items():
            yield f"{mark} <b>{html.escape(workload)}</b> in {html.escape('; '.join(who))}: {html.escape(why)}"
    for form in record["forms"]:
        if form.get("note") and "missing" not in form:
            yield f"<b>{html.escape(form['name'])}</b>: {html.escape(form['note'])}"


def _card(title: str, text: str, layers: tuple[str, ...], names: tuple[str, ...]) -> str:
    from emu.cost.plot import family
    made = []
    for number, layer in enumerate(layers):
        kind = " imitated" if layer.startswith("[") else " last" if number == len(layers) - 1 else ""
        made.append(f'<div class="layer{kind}">{html.escape(layer.strip("[]"))}</div>')
    return (f'<div class="card" style="border-top-color:{family(names[0])[1]}"><h3>{html.escape(title)}</h3>'
            f'<p>{text}</p>{"".join(made)}</div>')


def _exits(record: Mapping[str, Any]) -> str:
    """Those that were counted, by form and workload."""
    names = [workload["name"] for workload in record["workloads"] if workload["name"] != "spawn"]
    rows = []
    for form in record["forms"]:
        cells = form.get("cells", {})
        if any("exits" in cell for cell in cells.values()):
            rows.append(f"<tr><td>{html.escape(form['name'])}</td>" + "".join(
                f"<td>{cells[name]['exits']:,}</td>" if "exits" in cells[name] else '<td class="off">–</td>'
                for name in names) + "</tr>")
    if not rows:
        return ""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    return ("<p>Exits that were counted while the work was done (of a part, where the form did a part):</p>"
            f"<div class=\"wide\"><table><tr><th>form</th>{head}</tr>{''.join(rows)}</table></div>")


def _verdicts(record: Mapping[str, Any]) -> Iterator[str]:
    last = ""
    for verdict in shape.check(record):
        if verdict.sentence != last:
            last = verdict.sentence
            yield f"<dt>{html.escape(last[0].upper() + last[1:])}</dt>"
        state, word = {None: ("none", "not there"), True: ("kept", "as expected"), False: ("missed", "outside")}[verdict.kept]
        why = f" Why: {html.escape(verdict.why)}." if verdict.kept is False and verdict.why else ""
        yield f'<dd><span class="{state}">{word}</span> {html.escape(verdict.measured)}.{why}</dd>'
