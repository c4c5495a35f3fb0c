"""The command line: a thin face over the library.  A command's work is imported when it is chosen."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

from emu.cli import options
from emu.cli.signals import Signals
from emu.host.terminal import say


def _mistakes() -> tuple[type[BaseException], ...]:
    """What is told in one line."""
    from emu.assembler import AssemblyError
    from emu.boards.board import BadBoard
    from emu.engine import EngineError
    from emu.host.disk import ImageError
    from emu.host.fetch import FetchError
    from emu.host.serial import BadChannel
    from emu.loaders import BadImage
    from emu.script import BadScript
    from emu.snapshot import BadSnapshot
    from emu.trace.layout import BadTrace, TraceError
    from emu.trace.symbols import BadSymbols

    return (BadImage, BadScript, BadSnapshot, BadChannel, BadBoard, EngineError, FetchError, ImageError,
            AssemblyError, BadTrace, TraceError, BadSymbols)


def _told(mistake: BaseException) -> int:
    say(" ".join(str(mistake).split("\n")))
    return 2


def _work(command: str) -> Callable[[argparse.Namespace], int]:
    """The function of a command."""
    if command in ("images", "datasheet"):
        from emu.cli import images
        return images.images if command == "images" else images.sheet
    if command == "disk":
        from emu.cli.disk import disk
        return disk
    if command == "trace":
        from emu.cli.trace import trace
        return trace
    if command == "profile":
        from emu.cli.profile import profile
        return profile
    if command == "cost":
        from emu.cli.cost import cost
        return cost
    from emu.cli import explaining
    return explaining.command


def main(arguments: list[str] | None = None) -> int:
    """The command `emu`; returns the exit status."""
    with Signals() as signals:
        try:
            chosen = options.parser().parse_args(arguments)
            if chosen.command == "boot":
                from emu.cli.boot import boot
                return boot(chosen, signals)
            status = _work(chosen.command)(chosen)
            sys.stdout.flush()
            return status
        except SystemExit:                              # of --help; what stands below would be imported to be compared with
            raise
        except options.UsageError as mistake:
            return _told(mistake)
        except _mistakes() as mistake:
            return _told(mistake)
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
