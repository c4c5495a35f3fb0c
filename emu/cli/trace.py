"""emu trace: what a recording holds, as text, tables, differences, and files for other programs."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from emu.cli.recording import encoded, ranges, read_symbols
from emu.host.files import replacing
from emu.trace.layout import BadTrace

if TYPE_CHECKING:
    from emu.trace.diff import Divergence
    from emu.trace.reader import Trace
    from emu.trace.select import Selection
    from emu.trace.symbols import Symbols
    from emu.trace.text import Name


def trace(options: argparse.Namespace) -> int:
    """The whole command; returns the exit status."""
    return {"show": _show, "stats": _stats, "diff": _diff, "export": _export}[options.action](options)


def _selection(options: argparse.Namespace) -> Selection:
    from emu.trace.reader import Trace
    from emu.trace.select import Selection
    from emu.trace.window import Window

    trace = Trace(options.directory)
    window = Window(ranges(options.range, "--range", options.symbols, trace.symbols if options.range else None), options.cpl,
                    options.time, encoded(options.from_), encoded(options.to))
    return Selection(trace, window, options.first, options.count)


def _symbols(options: argparse.Namespace, trace: Trace) -> Symbols | None:
    """Those of --symbols, or else what the machine itself knew."""
    return trace.symbols if options.symbols is None else read_symbols(options.symbols)


def _name(options: argparse.Namespace, trace: Trace) -> Name:
    from emu.trace.text import no_name

    symbols = _symbols(options, trace)
    return no_name if symbols is None else symbols.name


def _show(options: argparse.Namespace) -> int:
    from emu.trace.text import Lines

    selection = _selection(options)
    for piece in Lines(selection, _name(options, selection.trace), options.syntax, with_events=not options.no_events,
                       with_accesses=options.accesses):
        sys.stdout.write(piece)
    return 0


def _stats(options: argparse.Namespace) -> int:
    from emu.trace.stats import stats, told

    selection = _selection(options)
    found = stats(selection, _name(options, selection.trace), options.top)
    sys.stdout.write(json.dumps(found, indent=1) + "\n" if options.json else told(found))
    return 0


def _diff(options: argparse.Namespace) -> int:
    from emu.trace.diff import diff
    from emu.trace.reader import Trace

    a, b = Trace(options.directory), Trace(options.other)
    found = diff(a, b)
    if found is None:
        print(f"the same: {a.length:,} blocks, {len(a.events):,} events")
        return 0
    print({
        "block": f"the first difference is block {found.position:,}:",
        "event": f"the first difference is an event, when {found.position:,} blocks had begun:",
        "end": f"the same up to block {found.position:,}, where one of them ends:",
    }[found.what])
    for trace, event in zip((a, b), found.events, strict=True):
        _around(trace, found, event, options)
    return 1


def _around(trace: Trace, found: Divergence, event: dict[str, object] | None, options: argparse.Namespace) -> None:
    from emu.trace.select import Selection
    from emu.trace.text import Lines

    first = max(found.position - options.context, int(trace.meta.get("first", 0)))
    print(f"\n--- {trace.path}")
    for begin, count in ((first, found.position - first), (found.position, options.context)):
        lines = Lines(Selection(trace, None, begin, count), _name(options, trace), options.syntax)
        sys.stdout.write("".join(lines))
        if begin == first:
            print(">>>", end="")
            print(lines.event(event).strip() if event is not None else "")


def _export(options: argparse.Namespace) -> int:
    from emu.trace import sources
    from emu.trace.export import Job, formats

    selection = _selection(options)
    name, symbols = _name(options, selection.trace), _symbols(options, selection.trace)
    lines = sources.Sources() if options.symbols is None else sources.read(options.symbols)
    if options.format not in ("perfetto", "text", "json"):
        selection.trace.need_blocks(f"a file for {options.format}")
    write = formats()[options.format]
    if options.output == "-":
        sys.stdout.flush()
        write(Job(selection, sys.stdout.buffer, name, lines, options.syntax, symbols, options.shortest))
        return 0
    try:
        with replacing(options.output) as file:
            write(Job(selection, file, name, lines, options.syntax, symbols, options.shortest))
    except OSError as error:
        raise BadTrace(f"{options.output}: cannot be written: {error.strerror or error}") from None
    return 0
