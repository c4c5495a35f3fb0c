"""The options of recording, and of emu trace: what they mean.  What does the work is imported only when it is asked for."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable

from emu.trace import layout

FOREVER = 1 << 62               # ns


def span(text: str) -> tuple[int, int]:
    """Linear addresses FIRST-LAST in hexadecimal."""
    match = re.fullmatch(r"(?:0x)?([0-9a-f]{1,16})-(?:0x)?([0-9a-f]{1,16})", text, re.IGNORECASE | re.ASCII)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no range of addresses, such as c0100000-c01fffff")
    first, last = (int(number, 16) for number in match.groups())
    if first > last:
        raise argparse.ArgumentTypeError(f"{text}: the range ends before it begins")
    return first, last


def moments(text: str) -> tuple[int, int]:
    """Guest seconds A-B, A- or -B, as ns."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)?-(\d{1,9}(?:\.\d{1,9})?)?", text, re.ASCII)
    if match is None or text == "-":
        raise argparse.ArgumentTypeError(f"{text!r} is no span of guest time in seconds, such as 1.5-2, 3- or -0.5")
    first, last = round(float(match[1] or 0) * 1e9), round(float(match[2]) * 1e9) if match[2] else FOREVER
    if first >= last:
        raise argparse.ArgumentTypeError(f"{text}: the span ends before it begins")
    return first, last


def count(text: str) -> int:
    """A number of blocks for the flight recorder."""
    match = re.fullmatch(r"(\d{1,9})([KM]?)", text, re.IGNORECASE | re.ASCII)
    value = int(match[1]) * {"": 1, "K": 1000, "M": 10**6}[match[2].upper()] if match else 0
    if not 1 <= value <= 10**9:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of blocks, such as 100000 or 5M")
    return value


def add_recording(boot: argparse.ArgumentParser, text: Callable[[str], str]) -> None:
    """The options of `emu boot` that record."""
    trace = boot.add_argument_group("recording (see emu trace)")
    trace.add_argument("--trace", type=text, metavar="DIR", help="record what runs, and what happens, into a new directory")
    trace.add_argument("--trace-level", choices=layout.LEVELS, default="blocks",
                       help="blocks (default), and beside them a row for each instruction (insns) or for each access to "
                            "memory (memory); or events alone")
    trace.add_argument("--trace-range", type=span, action="append", metavar="FIRST-LAST",
                       help="only code at these linear addresses, in hexadecimal; may be repeated")
    trace.add_argument("--trace-cpl", type=int, choices=range(4), metavar="N", help="only code of this privilege level")
    trace.add_argument("--trace-time", type=moments, metavar="A-B", help="only this guest time, in seconds since power-on")
    trace.add_argument("--trace-from", type=text, metavar="TEXT", help="from when the console has shown TEXT")
    trace.add_argument("--trace-to", type=text, metavar="TEXT", help="until the console has then shown TEXT")
    trace.add_argument("--flight", type=count, metavar="N",
                       help="keep only the last N blocks and their events, and write them if the guest dies, time runs out, "
                            "or a signal ends the run")
