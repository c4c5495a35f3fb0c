"""callgrind: instructions by function, address and source line.  Source: Valgrind manual, "Callgrind Format Specification".

Not told: calls between functions.
"""

from __future__ import annotations

from emu.trace.export import Job, counts


def write(job: Job) -> None:
    """See export/__init__.py."""
    addresses, ran = counts(job.selection)
    by_function: dict[tuple[str, str], list[tuple[int, int, int]]] = {}
    for address, count in zip(addresses.tolist(), ran.tolist(), strict=True):
        file, line = job.sources.at(address) or ("???", 0)
        by_function.setdefault((file, job.function(address)), []).append((address, line, count))
    job.write("# callgrind format\nversion: 1\ncreator: emu\npositions: instr line\nevents: Ir\n"
              f"summary: {int(ran.sum())}\n\n")
    for (file, function), rows in by_function.items():
        job.write(f"fl={file}\nfn={function}\n" + "".join(f"{address:#x} {line} {count}\n" for address, line, count in rows))
        job.write("\n")
    job.write(f"totals: {int(ran.sum())}\n")
