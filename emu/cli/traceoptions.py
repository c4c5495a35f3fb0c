"""The options of recording, and of emu trace: what they mean.  What does the work is imported only when it is asked for."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import Any

from emu.trace import layout

FOREVER = 1 << 62               # ns
FORMATS = "perfetto", "drcov", "lcov", "callgrind", "speedscope", "text", "json"


def span(text: str) -> tuple[int, int] | str:
    """Linear addresses FIRST-LAST in hexadecimal, or the name of a symbol."""
    match = re.fullmatch(r"(?:0x)?([0-9a-f]{1,16})-(?:0x)?([0-9a-f]{1,16})", text, re.IGNORECASE | re.ASCII)
    if match is None:
        if re.fullmatch(r"[A-Za-z_.$][\w.$]*", text, re.ASCII):
            return text
        raise argparse.ArgumentTypeError(f"{text!r} is no range of addresses, such as c0100000-c01fffff, and no symbol")
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
    trace.add_argument("--trace-range", type=span, action="append", metavar="FIRST-LAST|SYMBOL",
                       help="only code at these linear addresses, in hexadecimal; may be repeated")
    trace.add_argument("--trace-cpl", type=int, choices=range(4), metavar="N", help="only code of this privilege level")
    trace.add_argument("--trace-time", type=moments, metavar="A-B", help="only this guest time, in seconds since power-on")
    trace.add_argument("--trace-from", type=text, metavar="TEXT", help="from when the console has shown TEXT")
    trace.add_argument("--trace-to", type=text, metavar="TEXT", help="until the console has then shown TEXT")
    trace.add_argument("--symbols", type=text, metavar="FILE", help="ELF file or System.map that knows SYMBOL")
    trace.add_argument("--flight", type=count, metavar="N",
                       help="keep only the last N blocks and their events, and write them if the guest dies, time runs out, "
                            "or a signal ends the run")


def whole(text: str) -> int:
    """A number from 0 on."""
    if not re.fullmatch(r"\d{1,18}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number")
    return int(text)


def nanoseconds(text: str) -> int:
    """A short time: a number, and ns, us or ms."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)(ns|us|ms|s)|0", text, re.ASCII)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no short time, such as 500ns, 20us or 1ms")
    return round(float(match[1]) * {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}[match[2]]) if match[1] else 0


def add_reading(commands: Any, text: Callable[[str], str]) -> None:
    """emu trace."""
    top = commands.add_parser("trace", help="read what --trace has recorded", allow_abbrev=False,
                              description="Read a trace that emu boot --trace has recorded.")
    do = top.add_subparsers(dest="action", metavar="ACTION", parser_class=type(top), required=True)
    show = _reader(do, text, "show", "every instruction, with the events in between")
    show.add_argument("--syntax", choices=("intel", "att"), default="intel", help="of instructions (default: intel)")
    show.add_argument("--accesses", action="store_true", help="loads and stores, too, of a trace that has them")
    show.add_argument("--no-events", action="store_true", help="instructions alone")
    stats = _reader(do, text, "stats", "hot blocks and functions, accesses, interrupts")
    stats.add_argument("--top", type=whole, default=20, metavar="N", help="lines of each table (default: 20)")
    stats.add_argument("--json", action="store_true", help="for programs")
    diff = do.add_parser("diff", help="where two runs part", allow_abbrev=False,
                         description="The first block or event in which two traces differ.  Status 0: none, 1: one, 2: they "
                                     "cannot be compared: their windows differ, or one is of events alone.")
    diff.add_argument("directory", metavar="A")
    diff.add_argument("other", metavar="B")
    diff.add_argument("--context", type=whole, default=5, metavar="N", help="blocks before and behind (default: 5)")
    diff.add_argument("--syntax", choices=("intel", "att"), default="intel", help="of instructions (default: intel)")
    diff.add_argument("--symbols", type=text, metavar="FILE", help="ELF file or System.map that knows the functions")
    export = _reader(do, text, "export", "a file for other programs")
    export.add_argument("--format", choices=FORMATS, required=True, help="of the file")
    export.add_argument("--syntax", choices=("intel", "att"), default="intel", help="of instructions (default: intel)")
    export.add_argument("--shortest", type=nanoseconds, metavar="TIME",
                        help="leave out of time lines (perfetto, speedscope) what ran for less: 500ns, 20us, 1ms; 0: nothing "
                             "(default: a 100,000th of the time that is shown)")
    export.add_argument("-o", "--output", type=text, required=True, metavar="FILE", help="the file; - is standard output")


def _reader(do: Any, text: Callable[[str], str], name: str, what: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = do.add_parser(name, help=what, allow_abbrev=False,
                                                  description=what[0].upper() + what[1:] + ".")
    made.add_argument("directory", metavar="DIR", help="the trace")
    made.add_argument("--symbols", type=text, metavar="FILE", help="ELF file or System.map that knows the functions")
    made.add_argument("--range", type=span, action="append", metavar="FIRST-LAST|SYMBOL",
                      help="only code at these linear addresses, in hexadecimal; may be repeated")
    made.add_argument("--cpl", type=int, choices=range(4), metavar="N", help="only code of this privilege level")
    made.add_argument("--time", type=moments, metavar="A-B", help="only this guest time, in seconds since power-on")
    made.add_argument("--from", type=text, metavar="TEXT", dest="from_", help="from when the console has shown TEXT")
    made.add_argument("--to", type=text, metavar="TEXT", help="until the console has then shown TEXT")
    made.add_argument("--first", type=whole, default=0, metavar="N", help="from the Nth block on")
    made.add_argument("--count", type=whole, metavar="N", help="so many blocks")
    return made
