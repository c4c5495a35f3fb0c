"""lcov: how often each source line ran.  Source: geninfo(1), "TRACEFILE FORMAT"."""

from __future__ import annotations

from emu.trace.export import Job, counts
from emu.trace.layout import BadTrace


def write(job: Job) -> None:
    """See export/__init__.py.  A line ran as often as the most frequent of its instructions."""
    if not job.sources:
        raise BadTrace("lcov needs source lines: give --symbols an ELF file that has DWARF line tables (.debug_line)")
    ran = dict(zip(*(row.tolist() for row in counts(job.selection)), strict=True))
    files: dict[str, dict[int, int]] = {name: dict.fromkeys(lines, 0) for name, lines in job.sources.files.items()}
    for address, count in ran.items():
        if (place := job.sources.at(address)) is not None:
            lines = files[place[0]]
            lines[place[1]] = max(lines.get(place[1], 0), count)
    job.write("TN:emu\n")
    for name, lines in sorted(files.items()):
        job.write(f"SF:{name}\n")
        job.write("".join(f"DA:{line},{count}\n" for line, count in sorted(lines.items())))
        job.write(f"LF:{len(lines)}\nLH:{sum(map(bool, lines.values()))}\nend_of_record\n")
