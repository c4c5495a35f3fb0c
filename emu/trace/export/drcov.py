"""drcov, version 2: which blocks ran, as DynamoRIO's coverage tool writes it.

A module is what lies together: a start is told in 32 bits from its module's base.  Source: DynamoRIO, drcov.h and drcovlib's
documentation.
"""

from __future__ import annotations

import struct

import numpy as np

from emu.trace.export import Job

APART = 1 << 28                 # bytes of nothing that part two modules
REACH = 1 << 32
PAGE = 4096
LONGEST = 0xFFFF


def write(job: Job) -> None:
    """See export/__init__.py."""
    code = job.selection.trace.code
    ran = np.zeros(max(code, default=-1) + 1, bool)
    for _, numbers, _ in job.selection.runs():
        ran[numbers] = True
    blocks = sorted({(code[number].pc, min(code[number].size, LONGEST)) for number in np.flatnonzero(ran).tolist()})
    modules: list[list[int]] = []                       # base, end
    table = bytearray()
    for pc, size in blocks:
        if not modules or pc + size - modules[-1][0] >= REACH or pc - modules[-1][1] > APART:
            modules.append([pc & -PAGE, 0])
        modules[-1][1] = max(modules[-1][1], -(-(pc + size) // PAGE) * PAGE)
        table += struct.pack("<IHH", pc - modules[-1][0], size, len(modules) - 1)
    job.write("DRCOV VERSION: 2\nDRCOV FLAVOR: emu\n"
              f"Module Table: version 2, count {len(modules)}\nColumns: id, base, end, entry, path\n")
    for number, (base, end) in enumerate(modules):
        job.write(f"{number:3}, {base:#018x}, {end:#018x}, {0:#018x}, guest-{base:x}\n")
    job.write(f"BB Table: {len(blocks)} bbs\n")
    job.out.write(table)
