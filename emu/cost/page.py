"""The record as one page for somebody who has never compared virtual machines: nothing is loaded from elsewhere."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from typing import Any

from emu.cost import table
from emu.cost.shape import check

STYLE = """\
body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;width:100%;font-size:.85rem}
th,td{padding:.3rem .5rem;border-bottom:1px solid #ddd;text-align:right}
th:first-child,td:first-child{text-align:left}td small{color:#666;display:block}
.bar{background:#3b6fb6;height:.5rem;margin-left:auto}
.off{color:#a33;text-align:left}h2{margin-top:2.5rem}dt{font-weight:600;margin-top:.6rem}"""

INTRODUCTION = """\
<p>The same work was done in many ways on one machine. A <b>process</b> runs directly on the processor: that is 1. Everything
else puts something in between, and pays for it in its own way.</p>
<dl>
<dt>Containers</dt><dd>runc, name spaces. The same kernel, the same processor; only what the process can see is different.
Running costs nothing; starting costs the making of the walls.</dd>
<dt>Machines</dt><dd>emu, QEMU, KVM. They imitate hardware, so that a kernel of its own runs inside. A translator (emu, QEMU
TCG) rewrites each piece of machine code, which makes several instructions of one. With KVM the processor runs the guest
itself, and stops (<i>exits</i>) when it touches a device.</dd>
<dt>Language machines</dt><dd>JVM, Ruby, CPython, WebAssembly. They imitate a machine that never existed. An interpreter
decodes every step each time; a compiler turns the steps into machine code.</dd>
<dt>Observers</dt><dd>Tracing, and one Python call for each instruction: what it costs to look.</dd>
</dl>"""


def page(record: Mapping[str, Any]) -> str:
    """HTML."""
    names = [workload["name"] for workload in record["workloads"]]
    ratios = [value for form in record["forms"] if "cells" in form for name in names
              if (value := table.ratio(record, form, name))]
    widest = math.log10(max([10.0, *ratios]) * 10)
    rows = "\n".join(_row(record, form, names, widest) for form in record["forms"])
    host = record["host"]
    escape = html.escape
    return f"""<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>What each form of virtual machine costs</title><style>{STYLE}</style>
<h1>What each form of virtual machine costs</h1>
{INTRODUCTION}
<h2>Times the work of a process</h2>
<p>CPU time, divided by that of the process; <b>spawn</b> is the time from start to end. Bars are on a logarithmic scale: each
equal step is ten times as much. A star: the form ran a part of the work, and the time was scaled.</p>
<table><tr><th>form</th>{''.join(f'<th title="{escape(w["what"])}">{escape(w["name"])}</th>' for w in record['workloads'])}\
<th>start-up</th></tr>
{rows}
</table>
<h2>The work</h2>
<dl>{''.join(f'<dt>{escape(w["name"])}</dt><dd>{escape(w["what"])}: {w["rounds"]:,} times {escape(w["unit"])}</dd>'
             for w in record['workloads'])}</dl>
<h2>Is that what one expects?</h2>
<ul>{''.join(f'<li>{escape(str(verdict))}</li>' for verdict in check(record) if verdict.value is not None)}</ul>
<p>Medians of {record['turns']} rounds, the forms in turn. {escape(host['cpu'])}, {host['cores']} cores, Linux
{escape(host['kernel'])}, load {host['load']}. <code>{escape(record['command'])}</code></p>
</html>
"""


def _row(record: Mapping[str, Any], form: Mapping[str, Any], names: list[str], widest: float) -> str:
    name = f"<td>{html.escape(form['name'])}<small>{html.escape(form['what'])}</small></td>"
    if "missing" in form:
        why = html.escape(form["missing"])
        return f'<tr>{name}<td class="off" colspan="{len(names) + 1}">not on this machine: {why}</td></tr>'
    cells = []
    for workload in names:
        cell = form["cells"][workload]
        value = table.ratio(record, form, workload)
        if value is None:
            cells.append(f'<td class="off" title="{html.escape(cell.get("why", ""))}">'
                         f'{"failed" if cell["state"] == "failed" else "not there"}</td>')
            continue
        width = max(1.0, 100 * math.log10(max(value, 0.1) * 10) / widest)
        star = "*" if cell["rounds"] < cell["whole"] else ""
        cells.append(f'<td title="{table.seconds(cell["cpu"]["low"])} to {table.seconds(cell["cpu"]["high"])}">'
                     f'{table.short(value)}{star}<div class="bar" style="width:{width:.0f}%"></div></td>')
    starts = [form["cells"][w]["start_wall"]["high"] for w in names if "start_wall" in form["cells"][w] and w != "spawn"]
    return f"<tr>{name}{''.join(cells)}<td>{table.seconds(max(starts)) if starts else ''}</td></tr>"
