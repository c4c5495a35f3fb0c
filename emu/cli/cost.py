"""emu cost: the same work in every form of virtual machine, side by side."""

from __future__ import annotations

import argparse
import json
import sys

from emu.cli.costoptions import FULL, QUICK
from emu.cli.options import UsageError
from emu.host.progress import ProgressLine


def cost(options: argparse.Namespace) -> int:
    """The command.  Raises UsageError."""
    from emu.cost import measure, table
    from emu.cost.catalog import FORMS
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
