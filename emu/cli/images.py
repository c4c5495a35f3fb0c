"""emu images: what can be booted by name.  emu datasheet: what a board is made of."""

from __future__ import annotations

import argparse

from emu import datasheet, snapshot
from emu.boards.board import MIB
from emu.bus import Bus
from emu.firmware import build
from emu.host import fetch
from emu.host.progress import ProgressLine
from emu.host.terminal import say


def images(options: argparse.Namespace) -> int:
    """The list, or `fetch`."""
    if options.action == "fetch":
        with ProgressLine() as progress:
            image = fetch.fetch(options.name, progress, refresh=options.refresh)
        if image.warning:
            say(f"warning: {image.warning}")
        print(f"{image.name}: version {image.version}")
        for role, path in image.files.items():
            print(f"  {role:8} {path}")
        return 0
    for listed in fetch.listing():
        entry, image_here = listed.entry, listed.image
        origin = entry.origin
        print(f"{entry.name}: {entry.what}")
        print(f"  from         {origin.source}: {origin.package} ({origin.download / 1e6:.0f} MB)")
        print(f"  licence      {entry.licence}")
        print(f"  last tested  {origin.version}")
        print(f"  here         {image_here.version if image_here else 'no; it is fetched on first use'}")
        print(f"  memory       {max(entry.memory, 256 * MIB) // MIB}M (at least {entry.minimum // MIB}M)"
              + (f", --append {entry.append!r}" if entry.append else ""))
    print(f"our own kernels, with nothing to fetch: {', '.join(build.names())}")
    print(f"our own floppies: {', '.join(build.floppies())}")
    return 0


def sheet(options: argparse.Namespace) -> int:
    """The data sheet of a board."""
    with snapshot.Configuration(options.machine, 16 * MIB).build() as machine:
        inside = [bus for chip in machine.chips.values() for bus in vars(chip).values() if isinstance(bus, Bus)]
        print(datasheet.render(datasheet.placements(machine.chips.values(), machine.ports, *inside)), end="")
    return 0
