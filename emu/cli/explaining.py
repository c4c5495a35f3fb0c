"""emu explain, and what emu boot says of a death: emu.debug for the command line."""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import sys
from typing import Any

from emu import x86
from emu.boards.board import Board
from emu.cli.recording import read_symbols
from emu.debug import ledger, panic, state, words
from emu.debug.explain import LIMITS, Explanation, explain, nameless
from emu.debug.ledger import Ledger
from emu.debug.watch import Watcher
from emu.host.terminal import say
from emu.trace import layout
from emu.trace.layout import BadTrace, TraceError

DEATHS = "shutdown", "halted", "panic"


class Answers:
    """What is said of a run's faults and of its end."""

    def __init__(self, options: argparse.Namespace, machine: Board) -> None:
        self.options, self.machine = options, machine
        self.end: Explanation | None = None
        self.watcher = Watcher(machine, options.explain or (), self._tell, self.symbol)
        self.poll = self.watcher.poll
        self.ledger = Ledger(machine) if options.ledger else None
        self._measured: dict[str, Any] | None = None

    @functools.cached_property
    def _symbols(self) -> Any:
        if self.options.symbols is not None:
            return read_symbols(self.options.symbols)
        if not self.machine.registers.cr0 & x86.CR0_PG:
            return None
        from emu.trace.symbols import find_kallsyms
        return find_kallsyms(self.machine.ram)

    def symbol(self, address: int) -> str | None:
        """The name of an address, if somebody knows it."""
        found = self._symbols
        return None if found is None else found.name(address)

    def ended(self, stop: str) -> dict[str, Any] | None:
        """The run has ended: explain it if the guest died, or does not live; the facts."""
        if self.ledger is not None:
            self._measured = self.ledger.facts(self.symbol)
        self.watcher.close()
        self.watcher.flush(last=stop == "shutdown")
        if stop not in DEATHS and stop not in LIMITS:
            return None
        made = explain(self.machine, stop, self.symbol)
        if stop in DEATHS or made.facts["problem"] not in ("", "waits"):
            self.end = made
        return made.facts

    def panicked(self) -> bool:
        """Whether the guest's Linux waits for ever in panic()."""
        return panic.facts(self.machine, state.now(self.machine), self.symbol) is not None

    def _tell(self, explanation: Explanation) -> None:
        self._say(explanation.paragraphs() if self.options.verbose else explanation.brief())

    @staticmethod
    def _say(lines: list[str]) -> None:
        for line in "\n".join(lines).splitlines():
            say(line)

    def report(self) -> dict[str, Any]:
        """For the report."""
        out: dict[str, Any] = {}
        if self.end is not None:
            out["explanation"] = self.end.facts
        if self.watcher.explanations:
            out["faults_explained"] = [explanation.facts for explanation in self.watcher.explanations]
            out["faults_unexplained"] = self.watcher.unexplained
        if self._measured is not None:
            out["ledger"] = self._measured
        return out

    def complete(self) -> None:
        """A trace has been written: it knows the last instructions."""
        if self.ledger is not None:                     # which was there before the recording, and goes after it
            self.ledger.close()
        if self.end is None or self.options.trace is None:
            return
        from emu.debug.fromtrace import complete
        from emu.trace.reader import Trace
        with contextlib.suppress(BadTrace, TraceError):
            self.end = Explanation(complete(self.end.facts, Trace(self.options.trace), self.symbol))

    def tell(self) -> None:
        """At the very end; of a guest that halts as its exit there is nothing to say that the last line has not said."""
        if self._measured is not None:
            self._say(ledger.told(self._measured))
        if self.watcher.unexplained:
            say(f"{self.watcher.unexplained:,} more exceptions came that are not explained")
        if self.end is None:
            return
        if self.options.verbose:
            self._say(self.end.paragraphs())
        elif self.end.facts["faults"] or self.end.facts["problem"] not in ("interrupts-off", "nothing-armed"):
            self._say(self.end.brief())


def command(options: argparse.Namespace) -> int:
    """The command `emu explain`; returns the exit status."""
    from emu.debug.fromtrace import complete
    from emu.trace.reader import Trace

    trace = Trace(options.directory)
    known = trace.symbols if options.symbols is None else read_symbols(options.symbols)
    symbol = nameless if known is None else known.name
    kept = trace.meta.get("explanation")
    try:
        facts = complete(kept or {}, trace, symbol)
        if options.json:
            said = json.dumps(facts, indent=1)
        elif kept is None:
            said = "\n".join(["The guest did not die while this trace was recorded, or the recording was cut off.",
                              *words.from_trace(facts)])
        else:
            lives = kept["problem"] in ("", "waits") and kept["end"] not in DEATHS
            said = "\n\n".join([*["The guest did not die while this trace was recorded."] * lives, *words.paragraphs(facts)])
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        if kept is None or isinstance(error, BadTrace):
            raise
        raise BadTrace(f"{trace.path}: the explanation in its {layout.META_FILE} is damaged") from None
    sys.stdout.write(said + "\n")
    return 0
