"""`emu`, and `python -m emu`."""

from __future__ import annotations

import sys

from emu.cli import main as run


def main() -> None:
    """The command `emu`."""
    sys.exit(run())


if __name__ == "__main__":
    main()
