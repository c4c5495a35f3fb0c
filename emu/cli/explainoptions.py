"""The options of emu explain, and those of emu boot by which it answers."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable
from typing import Any


def vector(text: str) -> int:
    """A vector by its number or its mnemonic."""
    from emu.x86 import EXCEPTIONS

    names = {vector.mnemonic.strip("#").lower(): number for number, vector in EXCEPTIONS.items()}
    name = text.strip("#").lower()
    with contextlib.suppress(ValueError):
        number = names[name] if name in names else int(text, 0)
        if 0 <= number <= 255:
            return number
    raise argparse.ArgumentTypeError(f"{text!r} is no vector: 0 to 255, as 14, 0x0e or #PF")


def add_answers(boot: argparse.ArgumentParser) -> None:
    """Those of emu boot."""
    why = boot.add_argument_group("answers (see emu explain)")
    why.add_argument("--explain", type=vector, action="append", metavar="VECTOR",
                     help="explain each exception of this vector as it happens (the first thousand), as 14 or #PF; may be "
                          "repeated.  A fault that has no handler, and the guest's death, are explained in any case")
    why.add_argument("--ledger", action="store_true",
                     help="measure what the ways out of the guest's code cost, by device and by guest function")


def add_explain(commands: Any, text: Callable[[str], str]) -> None:
    """emu explain."""
    made = commands.add_parser("explain", help="why the guest of a trace died", allow_abbrev=False,
                               description="Why the guest died, by a trace that emu boot --trace or --flight has recorded.")
    made.add_argument("directory", metavar="DIR", help="the trace")
    made.add_argument("--symbols", type=text, metavar="FILE", help="ELF file or System.map that knows the functions")
    made.add_argument("--json", action="store_true", help="for programs")
