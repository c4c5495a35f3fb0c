"""emu profile: where the time of a traced machine went."""

from __future__ import annotations

import argparse

from emu.cli.recording import read_symbols
from emu.host.files import check_writable
from emu.host.progress import ProgressLine
from emu.trace.layout import BadTrace


def profile(options: argparse.Namespace) -> int:
    """Write the profile, and say what took most."""
    from emu.trace import profile as profiles
    from emu.trace.reader import Trace

    trace = Trace(options.trace)
    symbols = read_symbols(options.symbols) if options.symbols else None
    try:
        check_writable(options.output)
        with ProgressLine() as progress:
            tree = profiles.write(trace, options.output, symbols, lambda done: progress("following the calls", done))
    except OSError as error:
        raise BadTrace(f"{options.output}: cannot be written: {error.strerror or error}") from None
    whole = max(int(tree.blocks.sum()), 1)
    for name, blocks in tree.by_function()[:options.top]:
        print(f"{100 * blocks / whole:6.2f} %  {name}")
    print(f"written: {options.output}")
    return 0
