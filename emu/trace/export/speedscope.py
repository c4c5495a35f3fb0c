"""speedscope: functions over guest time, as an evented profile.  Source: speedscope's file-format-spec.ts."""

from __future__ import annotations

import json

from emu.trace.export import Job, functions

SCHEMA = "https://www.speedscope.app/file-format-schema.json"


def write(job: Job) -> None:
    """See export/__init__.py."""
    frames: dict[str, int] = {}
    events: list[str] = []
    begin = end = 0.0
    for start, stop, function in functions(job):
        frame = frames.setdefault(function, len(frames))
        begin, end = (start if not events else begin), stop
        events += [f'{{"type":"O","frame":{frame},"at":{start:.0f}}}', f'{{"type":"C","frame":{frame},"at":{stop:.0f}}}']
    name = str(job.selection.trace.path)
    job.write(f'{{"$schema":"{SCHEMA}","exporter":"emu","name":{json.dumps(name)},"activeProfileIndex":0,'
              f'"shared":{{"frames":{json.dumps([{"name": frame} for frame in frames])}}},"profiles":[{{"type":"evented",'
              f'"name":{json.dumps(name)},"unit":"nanoseconds","startValue":{begin:.0f},"endValue":{end:.0f},"events":[')
    for at in range(0, len(events), 1 << 16):
        job.write((",\n" if at else "\n") + ",\n".join(events[at:at + (1 << 16)]))
    job.write("]}]}\n")
