"""Perfetto: functions over guest time, interrupts, and what each device was asked.

The fields are those of perfetto's protos (trace_packet.proto, track_event.proto, track_descriptor.proto, interned_data.proto,
debug_annotation.proto); protobuf's encoding is simple enough to be written here.
"""

from __future__ import annotations

from typing import Any

from emu.trace.export import Job, functions
from emu.trace.text import EXCEPTIONS, said

# Trace; TracePacket; TrackDescriptor; TrackEvent; DebugAnnotation; InternedData and its EventName
PACKET = 1
TIMESTAMP, SEQUENCE, TRACK_EVENT, INTERNED, FLAGS, DESCRIPTOR = 8, 10, 11, 12, 13, 60
UUID, NAME, PARENT = 1, 2, 5
ANNOTATION, TYPE, NAME_IID, TRACK_UUID = 4, 9, 10, 11
ANNOTATION_NAME, ANNOTATION_STRING = 10, 6
EVENT_NAMES = 2
BEGIN, END, INSTANT = 1, 2, 3
CLEARED, NEEDED = 1, 2          # SEQ_INCREMENTAL_STATE_CLEARED, SEQ_NEEDS_INCREMENTAL_STATE
CPU, CONSOLE, EVENTS = "processor", "console", "exceptions and interrupts"


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

    def _track(self, name: str) -> int:
        if name not in self._tracks:
            self._tracks[name] = len(self._tracks) + 1
            self._packet(nested(DESCRIPTOR, number(UUID, self._tracks[name]) + nested(NAME, name.encode())))
        return self._tracks[name]

    def event(self, time: float, kind: int, track: str, name: str = "", more: str = "") -> None:
        """One event on a track."""
        uuid, interned = self._track(track), b""
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
    for begin, end, function in functions(job):
        encoder.event(begin, BEGIN, CPU, function)
        encoder.event(end, END, CPU)
    for row in job.selection.events.iter_rows(named=True):
        track, name = _place(row)
        encoder.event(row["time"], INSTANT, track, name, said(row))
