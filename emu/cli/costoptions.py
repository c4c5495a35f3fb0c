"""The options of emu cost.  What does the work is imported only when it is asked for."""

from __future__ import annotations

from typing import Any

QUICK, FULL = 3, 10             # rounds


def add_cost(commands: Any) -> None:
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
