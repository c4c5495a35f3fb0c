"""emu cost: the same work in every form of virtual machine, side by side."""

from __future__ import annotations

import argparse
import json
import sys

from emu.cli.options import UsageError
from emu.host.progress import ProgressLine

QUICK, FULL = 3, 10             # rounds


def add_cost(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command and its options."""
    cost = commands.add_parser("cost", help="measure what each form of virtual machine costs",
                               description="Run the same work in every form of virtual machine that is here, side by side.")
    length = cost.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help=f"{QUICK} rounds (the default)")
    length.add_argument("--full", action="store_true", help=f"{FULL} rounds, with confidence intervals")
    length.add_argument("--rounds", type=int, metavar="N", help="so many rounds")
    cost.add_argument("--form", action="append", metavar="NAME", help="only this form, and native; may be repeated")
    cost.add_argument("--workload", action="append", metavar="NAME", help="only this workload; may be repeated")
    cost.add_argument("--json", action="store_true", help="the record, on standard output")


def cost(options: argparse.Namespace) -> int:
    """The command.  Raises UsageError."""
    from emu.cost import measure, table
    from emu.cost.forms import FORMS
    from emu.cost.workloads import WORKLOADS

    names = options.workload or list(WORKLOADS)
    for name in names:
        if name not in WORKLOADS:
            raise UsageError(f"no workload {name!r}; there are {', '.join(WORKLOADS)}")
    known = {form.name: form for form in FORMS}
    for name in options.form or ():
        if name not in known:
            raise UsageError(f"no form {name!r}; there are {', '.join(known)}")
    rounds = FULL if options.full else QUICK if options.rounds is None else options.rounds
    if not 1 <= rounds <= 1000:
        raise UsageError(f"--rounds {rounds}: it is from 1 to 1000")
    forms = [form for form in FORMS if not options.form or form.name in ("native", *options.form)]
    with ProgressLine() as progress:
        record = measure.measure(forms, list(dict.fromkeys(names)), rounds, progress, " ".join(["emu", *sys.argv[1:]]))
    print(json.dumps(record, indent=1) if options.json else table.table(record))
    return 0
