"""emu profile: where the time of a traced machine went."""

from __future__ import annotations

import argparse

from emu.host.progress import ProgressLine


def profile(options: argparse.Namespace) -> int:
    """Write the profile, and say what took most."""
    from emu.trace import profile as profiles
    from emu.trace.reader import Trace
    from emu.trace.symbols import read

    trace = Trace(options.trace)
    with ProgressLine() as progress:
        tree = profiles.write(trace, options.output, read(options.symbols) if options.symbols else None,
                              lambda done: progress("following the calls", done))
    whole = max(int(tree.blocks.sum()), 1)
    for name, blocks in tree.by_function()[:options.top]:
        print(f"{100 * blocks / whole:6.2f} %  {name}")
    print(f"written: {options.output}")
    return 0
