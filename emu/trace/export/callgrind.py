"""callgrind: instructions by function, address and source line, and the calls between functions with what they cost.  Source:
Valgrind manual, "Callgrind Format Specification".

A call's cost is that of all that ran below it, but for what ran below its caller again (recursion): so a function's own cost
and that of its calls add up to what ran in it or below it.  The address of a call is the first one that led there.
"""

from __future__ import annotations

from emu.trace.export import Job, counts, rows
from emu.trace.stacks import Tree

Place = tuple[str, str]             # file, function
Calls = dict[tuple[str, str], list[int]]        # caller, callee -> calls, cost, block that called first


def write(job: Job) -> None:
    """See export/__init__.py."""
    walk = job.walk()
    for row in rows(job.selection):
        for _ in walk.follow(row):
            pass
    calls = _calls(walk.tree())
    name = walk.name
    addresses, ran = counts(job.selection)
    by_function: dict[Place, list[tuple[int, int, int]]] = {}
    files: dict[str, str] = {}
    for address, count in zip(addresses.tolist(), ran.tolist(), strict=True):
        file, line = job.sources.at(address) or ("???", 0)
        function = name(address)
        files.setdefault(function, file)
        by_function.setdefault((file, function), []).append((address, line, count))
    for caller, callee in calls:
        for function in (caller, callee):
            by_function.setdefault((files.setdefault(function, "???"), function), [])
    job.write("# callgrind format\nversion: 1\ncreator: emu\npositions: instr line\nevents: Ir\n"
              f"summary: {int(ran.sum())}\n\n")
    outgoing: dict[str, list[tuple[str, list[int]]]] = {}
    for (caller, callee), found in calls.items():
        outgoing.setdefault(caller, []).append((callee, found))
    for (file, function), costs in by_function.items():
        job.write(f"fl={file}\nfn={function}\n" + "".join(f"{address:#x} {line} {count}\n" for address, line, count in costs))
        if file == files[function]:
            for callee, (times, cost, site) in outgoing.get(function, ()):
                _call(job, files[callee], callee, times, cost, site)
        job.write("\n")
    job.write(f"totals: {int(ran.sum())}\n")


def _call(job: Job, file: str, callee: str, times: int, cost: int, site: int) -> None:
    """One edge, behind its caller's own lines."""
    block = job.selection.trace.code.get(site)
    at = 0 if block is None else job.selection.trace.disassemble(block)[-1][0]
    _, line = job.sources.at(at) or ("???", 0)
    job.write(f"cfi={file}\ncfn={callee}\ncalls={max(times, 1)} 0 0\n{at:#x} {line} {cost}\n")


def _calls(tree: Tree) -> Calls:
    """The edges of a tree."""
    below = tree.edges()
    found: Calls = {}
    names, function, parent = tree.names, tree.function.tolist(), tree.parent.tolist()
    for node, (cost, times, site) in enumerate(zip(below.tolist(), tree.calls.tolist(), tree.site.tolist(), strict=True)):
        if node and parent[node] and (cost or (times and function[node] == function[parent[node]])):
            edge = found.setdefault((names[function[parent[node]]], names[function[node]]), [0, 0, site])
            edge[0], edge[1] = edge[0] + times, edge[1] + cost
    return found
