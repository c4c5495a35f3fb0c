"""Profiles: where the time of a traced machine went, as a flame graph in one HTML page, or as pictures.

Time is counted in blocks, each of which costs the guest the same (emu.engine.Costs.block).
"""

from __future__ import annotations

import html
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from emu.host.files import replacing
from emu.trace.layout import BadTrace
from emu.trace.reader import Trace
from emu.trace.stacks import Tree, functions_of, stacks
from emu.trace.symbols import Symbols

KEPT = 20_000               # call paths of a page; the smallest are left out
BARS = 25                   # functions of a picture
SUFFIXES = (".html", ".png", ".svg", ".txt")


def write(trace: Trace, path: str | os.PathLike[str], symbols: Symbols | None = None,
          progress: Callable[[float], None] = lambda done: None) -> Tree:
    """Write the profile of `trace` into the file `path`, by its ending.  Raises BadTrace, OSError."""
    ending = Path(path).suffix
    if ending not in SUFFIXES:
        raise BadTrace(f"{path}: a profile is one of {', '.join(SUFFIXES)}, by the file's ending")
    trace.need_blocks("a profile")
    tree = stacks(trace, functions_of(trace, symbols or trace.symbols), progress)
    if ending == ".html":
        data = page(tree, trace).encode()
    elif ending == ".txt":
        data = "".join(f"{';'.join(names)} {blocks}\n" for names, blocks in sorted(tree.folded().items())).encode()
    else:
        data = picture(tree, trace, ending[1:])
    with replacing(path) as file:
        file.write(data)
    return tree


def page(tree: Tree, trace: Trace) -> str:
    """One HTML page without anything from outside: click to zoom, type to search."""
    data = json.dumps(_nested(tree), separators=(",", ":")).replace("</", "<\\/")
    title = html.escape(f"{trace.path.name}: {trace.length:,} blocks, {trace.meta.get('end', 0) / 1e9:.3f} s of guest time")
    return PAGE.replace("TITLE", title).replace("DATA", data)


def _nested(tree: Tree) -> list[Any]:
    """[name, blocks with all callees, [children]], of the largest call paths."""
    total = tree.blocks.copy()
    for node in range(len(total) - 1, 0, -1):               # a child's number is larger than its parent's
        total[tree.parent[node]] += total[node]
    order = sorted(range(1, len(total)), key=lambda node: -total[node])[:KEPT]
    kept: dict[int, list[Any]] = {0: ["all", int(total[0]), []]}
    for node in sorted(order):
        if int(tree.parent[node]) in kept and total[node]:
            kept[node] = [tree.names[tree.function[node]], int(total[node]), []]
            kept[int(tree.parent[node])][2].append(kept[node])
    return kept[0]


def picture(tree: Tree, trace: Trace, kind: str) -> bytes:
    """Time by function, and exceptions and interrupts over guest time."""
    import io

    try:
        import matplotlib
    except ImportError:
        raise BadTrace("pictures are drawn by matplotlib: pip install 'emu-pc[profile]'") from None
    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, (functions, events) = pyplot.subplots(2, 1, figsize=(11, 10), height_ratios=(3, 1), layout="constrained")
    most = tree.by_function()[:BARS][::-1]
    whole = max(int(tree.blocks.sum()), 1)
    functions.barh([name for name, _ in most], [100 * blocks / whole for _, blocks in most], color="#c8553d")
    functions.set_xlabel("% of the blocks")
    functions.set_title(f"{trace.path.name}: time by function")
    if len(trace.events):
        span = tuple(trace.clock[1][[0, -1]] / 1e9)
        for name in ("interrupt", "exception", "software interrupt"):
            times = trace.events.filter(trace.events["kind"] == name)["time"].to_numpy() / 1e9
            if len(times):
                events.hist(times, bins=200, range=span, histtype="step", label=f"{name}s")
        events.legend()
    events.set_xlabel("guest time, s")
    events.set_ylabel("events")
    out = io.BytesIO()
    figure.savefig(out, format=kind, dpi=100)
    pyplot.close(figure)
    return out.getvalue()


PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>TITLE</title><style>
body{font:13px sans-serif;margin:12px;background:#fff;color:#222}
#graph{position:relative;width:100%;margin-top:8px}
#graph div{position:absolute;height:17px;line-height:17px;overflow:hidden;white-space:nowrap;font-size:12px;
padding-left:2px;box-sizing:border-box;border-right:1px solid #fff;border-bottom:1px solid #fff;cursor:pointer}
#says{height:1.4em;margin-top:6px;color:#555}
input{font:inherit;width:18em}
</style></head><body>
<b>TITLE</b><p>Each bar is a function, below its caller; its width is the share of the time in it and in what it calls.
Click a bar to zoom, the top one to go back. <input id="search" placeholder="search a function" aria-label="search">
<span id="found"></span></p>
<div id="says"></div><div id="graph"></div><script>
const root=DATA,graph=document.getElementById("graph"),says=document.getElementById("says"),
search=document.getElementById("search"),found=document.getElementById("found");
let top_=[root],wanted="";
function hue(name){let h=0;for(const c of name)h=(h*31+c.charCodeAt(0))>>>0;return h%40+10}
function bar(node,x,width,depth,path){
 if(width<0.0008)return depth;
 const d=document.createElement("div"),hit=wanted&&node[0].includes(wanted);
 d.style.left=100*x+"%";d.style.width=100*width+"%";d.style.top=18*depth+"px";
 d.style.background=hit?"#6a5acd":`hsl(${hue(node[0])},75%,${depth%2?68:72}%)`;if(hit)d.style.color="#fff";
 d.textContent=width>0.02?node[0]:"";
 d.onmouseenter=()=>says.textContent=`${node[0]}: ${node[1].toLocaleString()} blocks, ${(100*node[1]/root[1]).toFixed(2)} %`;
 d.onclick=()=>{top_=path;draw()};graph.appendChild(d);
 let at=x,deepest=depth;
 for(const child of node[2].slice().sort((a,b)=>b[1]-a[1])){
  const w=width*child[1]/node[1];deepest=Math.max(deepest,bar(child,at,w,depth+1,[...path,child]));at+=w}
 return deepest}
function draw(){
 graph.textContent="";const node=top_[top_.length-1];
 top_.slice(0,-1).forEach((above,i)=>bar([above[0],above[1],[]],0,1,i,top_.slice(0,i+1)));
 const deepest=bar(node,0,1,top_.length-1,top_);graph.style.height=18*(deepest+1)+"px"}
function count(node){if(node[0].includes(wanted))return node[1];return node[2].reduce((sum,child)=>sum+count(child),0)}
search.oninput=()=>{wanted=search.value;found.textContent=wanted?(100*count(root)/root[1]).toFixed(2)+" % below":"";draw()};
draw();
</script></body></html>
"""
