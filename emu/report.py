"""What a run did, as a JSON file: how it ended, how long it took, what the machine counted, digests of what it left."""

from __future__ import annotations

import json
from typing import Any

from emu.boards.board import Board
from emu.host.files import replacing


def report(machine: Board) -> dict[str, Any]:
    """What the machine itself can tell.  Counts, console and digests are since power-on, through snapshots too."""
    counters = machine.engine.counters()
    named = {key: dict(sorted(value.items())) for key, value in counters.items() if isinstance(value, dict)}
    named["interrupts"] = {irq: count for irq, count in enumerate(machine.irqs) if count}
    return {
        "guest_ns": machine.now,
        **{key: value for key, value in counters.items() if not isinstance(value, dict)},
        **named,
        "resets": machine.resets,
        "serial_bytes": machine.console.end,
        "serial_sha256": machine.console.sha256(),
        "state_sha256": machine.state_sha256(),
        "techniques": machine.engine.techniques(),
        "notes": machine.notes,
    }


def write(path: str, value: dict[str, Any]) -> None:
    """Put a report into the file `path`.  Raises OSError."""
    with replacing(path) as file:
        file.write(json.dumps(value, indent=2).encode() + b"\n")
