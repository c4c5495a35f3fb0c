"""emu disk: what a disk image is."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from typing import Any

from emu.host.disk import describe
from emu.host.disk.file import printable


def disk(options: argparse.Namespace) -> int:
    """The command `emu disk info`."""
    found = describe(options.file)
    if options.json:
        print(json.dumps(found, indent=2))
        return 0
    for name, value in found.items():
        if name == "snapshots":
            _snapshots(value)
        else:
            print(f"{name.replace('_', ' ') + ':':16}{_said(name, value)}")
    return 0


def _said(name: str, value: Any) -> str:
    if name.endswith("size"):
        return f"{value} bytes" + (f" ({_round(value)})" if value >= 1024 else "")
    if isinstance(value, list):
        return printable(", ".join(map(str, value)))
    return "yes" if value is True else "not said" if value is None else printable(str(value))


def _round(size: int) -> str:
    units = ["KiB", "MiB", "GiB", "TiB", "PiB"]
    value = size / 1024
    while value >= 1024 and len(units) > 1:
        value /= 1024
        units.pop(0)
    return f"{value:.4g} {units[0]}"


def _snapshots(snapshots: list[dict[str, Any]]) -> None:
    for snapshot in snapshots:
        when = datetime.fromtimestamp(snapshot["seconds"], UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        state = f", with {_round(snapshot['vm_state'])} of a machine's state" if snapshot["vm_state"] else ""
        print(f"{'snapshot:':16}{snapshot['id']} {snapshot['name']!r}, {when}{state}")
