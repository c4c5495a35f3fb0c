"""The command line: a thin face over the library."""

from __future__ import annotations

import os
import sys

from emu.assembler import AssemblyError
from emu.boards.board import BadBoard
from emu.cli import boot, cost, disk, explaining, images, options, profile, trace
from emu.cli.signals import Signals
from emu.engine import EngineError
from emu.host.disk import ImageError
from emu.host.fetch import FetchError
from emu.host.serial import BadChannel
from emu.host.terminal import say
from emu.loaders import BadImage
from emu.script import BadScript
from emu.snapshot import BadSnapshot
from emu.trace.layout import BadTrace, TraceError

MISTAKES = (options.UsageError, BadImage, BadScript, BadSnapshot, BadChannel, BadBoard, EngineError, FetchError,
            ImageError, AssemblyError, BadTrace, TraceError)


def main(arguments: list[str] | None = None) -> int:
    """The command `emu`; returns the exit status."""
    with Signals() as signals:
        try:
            chosen = options.parser().parse_args(arguments)
            if chosen.command == "boot":
                return boot.boot(chosen, signals)
            status = {"images": images.images, "disk": disk.disk, "datasheet": images.sheet,
                      "trace": trace.trace, "profile": profile.profile, "cost": cost.cost,
                      "explain": explaining.command}[chosen.command](chosen)
            sys.stdout.flush()
            return status
        except MISTAKES as mistake:
            say(" ".join(str(mistake).split("\n")))
            return 2
        except BrokenPipeError:                         # ... | head
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)        # so that the interpreter's own flush is quiet, too
            return 141
        except OSError as error:
            if chosen.command == "boot":                # there it is none of the user's doing
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            say(f"standard output cannot be written: {error.strerror or error}")
            return 2
        except KeyboardInterrupt:
            say(f"ended by {signals.caught.name if signals.caught else 'SIGINT'}")
            return signals.status
