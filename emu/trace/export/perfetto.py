"""Perfetto: a track of nested calls for each task, while it ran, with what interrupted it; which task ran; a track for each
device with what it was asked, and counters of exceptions and interrupts.

The fields are those of perfetto's protos (trace_packet.proto, track_event.proto, track_descriptor.proto, interned_data.proto,
debug_annotation.proto); protobuf's encoding is simple enough to be written here.
"""

from __future__ import annotations

from typing import Any

from emu.trace.export import Job, Slice, functions, tasks
from emu.trace.text import EXCEPTIONS, said
from emu.trace.window import FOREVER

# Trace; TracePacket; TrackDescriptor; TrackEvent; DebugAnnotation; InternedData and its EventName
PACKET = 1
TIMESTAMP, SEQUENCE, TRACK_EVENT, INTERNED, FLAGS, DESCRIPTOR = 8, 10, 11, 12, 13, 60
UUID, NAME, PARENT, COUNTER = 1, 2, 5, 8
ANNOTATION, TYPE, NAME_IID, TRACK_UUID, COUNTER_VALUE = 4, 9, 10, 11, 30
ANNOTATION_NAME, ANNOTATION_STRING = 10, 6
EVENT_NAMES = 2
BEGIN, END, INSTANT, COUNTS = 1, 2, 3, 4
CLEARED, NEEDED = 1, 2          # SEQ_INCREMENTAL_STATE_CLEARED, SEQ_NEEDS_INCREMENTAL_STATE
CPU, TASKS, EVENTS = "processor", "tasks", "exceptions and interrupts"


def varint(value: int) -> bytes:
    """A number, seven bits a byte."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field: int, value: int) -> bytes:
    """A numeric field."""
    return varint(field << 3) + varint(value)


def nested(field: int, data: bytes) -> bytes:
    """A field of bytes: a string or a message."""
    return varint(field << 3 | 2) + varint(len(data)) + data


class Encoder:
    """Packets of one sequence; tracks and names are told when they first come."""

    def __init__(self, job: Job) -> None:
        self.out = job.out
        self._tracks: dict[str, int] = {}
        self._names: dict[str, int] = {}
        self._packet(number(FLAGS, CLEARED))

    def _packet(self, data: bytes) -> None:
        self.out.write(nested(PACKET, data + number(SEQUENCE, 1)))

    def track(self, name: str, within: str = "", counter: bool = False) -> int:
        """The number of a track, below another one."""
        if name not in self._tracks:
            above = number(PARENT, self.track(within)) if within else b""
            self._tracks[name] = len(self._tracks) + 1
            self._packet(nested(DESCRIPTOR, number(UUID, self._tracks[name]) + nested(NAME, name.encode()) + above
                                + (nested(COUNTER, b"") if counter else b"")))
        return self._tracks[name]

    def count(self, time: float, name: str, value: int) -> None:
        """A counter's new value."""
        uuid = self.track(name, EVENTS, counter=True)
        data = number(TYPE, COUNTS) + number(TRACK_UUID, uuid) + number(COUNTER_VALUE, value)
        self._packet(number(TIMESTAMP, round(time)) + nested(TRACK_EVENT, data) + number(FLAGS, NEEDED))

    def event(self, time: float, kind: int, track: str, name: str = "", more: str = "") -> None:
        """One event on a track."""
        uuid, interned = self.track(track), b""
        data = number(TYPE, kind) + number(TRACK_UUID, uuid)
        if name:
            if name not in self._names:
                self._names[name] = len(self._names) + 1
                interned = nested(INTERNED, nested(EVENT_NAMES, number(1, self._names[name]) + nested(2, name.encode())))
            data += number(NAME_IID, self._names[name])
        if more:
            data += nested(ANNOTATION, nested(ANNOTATION_NAME, b"what") + nested(ANNOTATION_STRING, more.encode()))
        self._packet(number(TIMESTAMP, round(time)) + nested(TRACK_EVENT, data) + interned + number(FLAGS, NEEDED))


def _place(row: dict[str, Any]) -> tuple[str, str]:
    """(track, name) of an event."""
    kind, name = row["kind"], row["name"]
    if kind in ("exception", "interrupt", "software interrupt"):
        vector = row["vector"]
        return EVENTS, EXCEPTIONS.get(vector, f"exception {vector:#x}") if kind == "exception" else f"{kind} {vector:#x}"
    if kind in ("control register", "msr"):
        return "processor's registers", name
    if kind == "stack":
        return "", ""
    if kind == "screen":
        return "screen", name
    if kind in ("console", "reset"):
        return kind, kind
    if kind in ("pin", "alarm") or not name:
        return name.split(".")[0] or "nothing there", f"{name} {kind}".strip()
    return name.split(".")[0], f"{kind} {name}"


def write(job: Job) -> None:
    """See export/__init__.py."""
    encoder = Encoder(job)
    slices = functions(job)
    titles = tasks(slices)
    for title in titles.values():
        encoder.track(title, TASKS)
    running: list[tuple[int, str]] = []
    for one in slices:
        _end(encoder, running, one.begin)
        for name in (one.taken, one.function):
            if name:
                encoder.event(one.begin, BEGIN, titles[one.task], name)
                running.append((one.end, titles[one.task]))
    _end(encoder, running, FOREVER)
    _processor(encoder, slices)
    counts: dict[str, int] = {}
    for row in job.selection.events.iter_rows(named=True):
        track, name = _place(row)
        if not track:
            continue
        encoder.event(row["time"], INSTANT, track, name, said(row))
        if track == EVENTS:
            counts[name] = counts.get(name, 0) + 1
            encoder.count(row["time"], f"{name}, so far", counts[name])


def _end(encoder: Encoder, running: list[tuple[int, str]], now: int) -> None:
    """Slices that have ended, the innermost first."""
    while running and running[-1][0] <= now:
        end, track = running.pop()
        encoder.event(end, END, track)


def _processor(encoder: Encoder, slices: list[Slice]) -> None:
    """Which task ran: the outermost slices."""
    titles, end = tasks(slices), -1
    for one in slices:
        if one.begin >= end:
            encoder.event(one.begin, BEGIN, CPU, titles[one.task])
            encoder.event(one.end, END, CPU)
            end = one.end
