"""`emu`, and `python -m emu`."""

from __future__ import annotations

import sys


def main() -> None:
    """The command `emu`."""
    try:
        from emu.cli import main as run  # here, as it takes a moment, in which Ctrl-C works already

        status = run()
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)


if __name__ == "__main__":
    main()
