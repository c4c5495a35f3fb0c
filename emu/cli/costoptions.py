"""The options of emu cost.  What does the work is imported only when it is asked for."""

from __future__ import annotations

from typing import Any

LOOPS = "spawn", "cpu", "calls", "memory", "float", "syscall", "io", "irq"
QUICK, FULL = 3, 10             # rounds


def add_cost(commands: Any) -> None:
    """The command and its options."""
    cost = commands.add_parser("cost", help="measure what each form of virtual machine costs", allow_abbrev=False,
                               description="Run the same work in every form of virtual machine that is here, side by side.")
    length = cost.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help=f"{QUICK} rounds (the default)")
    length.add_argument("--full", action="store_true", help=f"{FULL} rounds, with confidence intervals")
    length.add_argument("--rounds", type=int, metavar="N", help="so many rounds")
    length.add_argument("--show", metavar="FILE", help="measure nothing: show a record that --json wrote")
    cost.add_argument("--form", action="append", metavar="NAME", help="only this form, and native; may be repeated")
    cost.add_argument("--workload", action="append", metavar="NAME", help="only this workload; may be repeated")
    cost.add_argument("--json", action="store_true", help="the record, on standard output")
    cost.add_argument("--plot", metavar="FILE", help="a picture, .png or .svg (needs matplotlib)")
    cost.add_argument("--html", metavar="FILE", help="a page for a newcomer")
    do = cost.add_subparsers(dest="action", metavar="ACTION")
    explain = do.add_parser("explain", allow_abbrev=False, help="the same inner loop in every form, and the ledger of exits",
                            description="The same inner loop in every form, side by side, and the ledger of exits.")
    explain.add_argument("workload_", metavar="WORKLOAD", choices=LOOPS, help=", ".join(LOOPS))
    explain.add_argument("--record", metavar="FILE", help="with the times of this record, instead of measuring")
    do.add_parser("kernel", allow_abbrev=False, help="who serves a system call",
                  description="Who serves a system call: in a container the host's kernel, in a guest its own.")
    check = do.add_parser("check", allow_abbrev=False, help="whether a record has the shape that is expected",
                          description="Compare a record with what the literature knows; nothing is started.")
    check.add_argument("record", metavar="FILE", help="a record that --json wrote")
