"""emu cost: the same work in every form of virtual machine, side by side."""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from emu.cli.costoptions import FULL, QUICK
from emu.cli.options import UsageError
from emu.host.files import check_writable, replacing
from emu.host.progress import ProgressLine

MEASURING = "quick", "full", "rounds", "show", "form", "workload", "json", "plot", "html"       # options without an action


def cost(options: argparse.Namespace) -> int:
    """The command.  Raises UsageError."""
    from emu.cost.room import NoRoom
    try:
        return _cost(options)
    except NoRoom as error:
        raise UsageError(str(error)) from None


def _cost(options: argparse.Namespace) -> int:
    if options.action and (given := [name for name in MEASURING if getattr(options, name)]):
        raise UsageError(f"emu cost {options.action} measures no table, and has no --{given[0]}")
    if options.action == "explain":
        from emu.cost import explain
        with ProgressLine() as progress:
            text = explain.explain(options.workload_, _record(options.record) if options.record else None, progress)
        print(text)
        return 0
    if options.action == "kernel":
        from emu.cost import kernelview
        print(kernelview.show())
        return 0
    if options.action == "check":
        return _check(_record(options.record))
    kind = ""
    if options.plot is not None:
        kind = Path(options.plot).suffix[1:].lower()
        if kind not in ("png", "svg"):
            raise UsageError(f"--plot {options.plot}: its name ends in .png or .svg")
    _check_targets(options)
    record = _record(options.show) if options.show else _measure(options)
    _write(options, record, kind)
    print(json.dumps(record, indent=1) if options.json else _text(record))
    return 0


def _text(record: Any) -> str:
    from emu.cost import table
    terminal = sys.stdout is not None and sys.stdout.isatty()
    return table.table(record, shutil.get_terminal_size().columns if terminal else None)


def _check_targets(options: argparse.Namespace) -> None:
    """What cannot be written is said before minutes of measuring, not after."""
    if options.plot is not None and importlib.util.find_spec("matplotlib") is None:
        raise UsageError("a picture needs matplotlib: pip install matplotlib")
    for path in (options.plot, options.html):
        if path == "":
            raise UsageError("--html has no file's name")
        try:
            if path is not None:
                check_writable(path)
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror or error}") from None


def _write(options: argparse.Namespace, record: Any, kind: str) -> None:
    for path in (options.plot, options.html):
        if path is not None:
            data = _drawn(record, kind) if path is options.plot else _page(record)
            try:
                with replacing(Path(path)) as file:
                    file.write(data)
            except OSError as error:
                raise UsageError(f"{path} cannot be written: {error.strerror or error}") from None


def _drawn(record: Any, kind: str) -> bytes:
    from emu.cost import plot
    try:
        return plot.draw(record, kind)
    except plot.NoPlot as error:
        raise UsageError(str(error)) from None


def _page(record: Any) -> bytes:
    from emu.cost import page
    return page.page(record).encode()


def _record(path: str) -> Any:
    from emu.cost import measure, page, table
    try:
        record = json.loads(Path(path).read_bytes())
        if not isinstance(record, dict) or record.get("format") != measure.FORMAT:
            raise ValueError("it is another JSON file")
        table.table(record), page.page(record)          # what cannot be shown is none
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        why = f"{type(error).__name__}: {error}" if isinstance(error, (LookupError, TypeError, AttributeError)) else error
        raise UsageError(f"{path} is no record of emu cost --json: {why}") from None
    return record


def _check(record: Any) -> int:
    from emu.cost import shape
    verdicts = list(shape.check(record))
    print("\n".join(shape.told(verdicts)))
    return 1 if any(verdict.kept is False for verdict in verdicts) else 0


def _measure(options: argparse.Namespace) -> Any:
    from emu.cost import measure
    from emu.cost.catalog import FORMS
    from emu.cost.workloads import WORKLOADS

    names = options.workload or list(WORKLOADS)
    for name in names:
        if name not in WORKLOADS:
            raise UsageError(f"no workload {name!r}; there are {', '.join(WORKLOADS)}")
    known = {form.name: form for form in FORMS}
    for name in options.form or ():
        if name not in known:
            raise UsageError(f"no form {name!r}; there are {'; '.join(known)}")
    rounds = FULL if options.full else QUICK if options.rounds is None else options.rounds
    if not 1 <= rounds <= 1000:
        raise UsageError(f"--rounds {rounds}: it is from 1 to 1000")
    forms = [form for form in FORMS if not options.form or form.name in ("native", *options.form)]
    with ProgressLine() as progress:
        return measure.measure(forms, list(dict.fromkeys(names)), rounds, progress, " ".join(["emu", *sys.argv[1:]]))
