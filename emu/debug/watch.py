"""Who watches a run: faults without a handler, vectors that somebody wants explained, and faults that come for ever.

A watcher looks and remembers; it changes no run.  `poll`, between slices, tells what has happened since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from emu.boards.board import Board
from emu.debug.explain import Explanation, Name, explain, last_chain, nameless, repetition

FEW, MOST = 5, 1000             # explanations of a run, unasked and asked for; what comes after is only counted
LOOK = 64                       # exceptions between two looks: what the engine remembers, and no fewer is a loop
LOOPS = 3                       # looks in a row that find the same


class Watcher:
    """Watches `machine` until `close`; `vectors`: those of which each exception is explained; `tell` is given each one."""

    def __init__(self, machine: Board, vectors: Iterable[int] = (), tell: Callable[[Explanation], None] | None = None,
                 symbol: Name = nameless) -> None:
        self.machine, self.tell, self.symbol = machine, tell or (lambda explanation: None), symbol
        self.explanations: list[Explanation] = []
        self.unexplained = 0
        self.vectors = frozenset(vectors)
        self._told = self._loops = self._seen = 0
        self._first = -1                        # the number of the first event of the last chain
        self._place: Any = None
        machine.engine.watch(self._fault, self.vectors)

    def _fault(self) -> None:
        """An exception is about to be delivered."""
        chain = last_chain(self.machine.engine.recent())
        again = chain[0].number == self._first and self._told < len(self.explanations)
        if not again and len(self.explanations) >= (MOST if self.vectors else FEW):
            self.unexplained += 1
            return
        self._first = chain[0].number
        made = explain(self.machine, "fault", self.symbol)
        if again:
            self.explanations[-1] = made
        else:
            self.explanations.append(made)

    def poll(self) -> None:
        """Between slices: tell, and look for a fault that comes again and again."""
        self.flush()
        raised = self.machine.engine.happened()[0]
        if raised - self._seen < LOOK:
            self._seen, self._loops = raised, 0
            return
        self._seen = raised
        found = repetition(self.machine.engine.recent())
        place = found and found["same"] and (found["vector"], found["rip"])
        self._loops = self._loops + 1 if place and place == self._place else 0
        self._place = place
        if self._loops == LOOPS:
            self.explanations.append(explain(self.machine, "loop", self.symbol))
            self.flush()

    def flush(self, last: bool = False) -> None:
        """Tell what was not told; `last`: but of the chain of which the guest has died."""
        waiting = self.explanations[self._told:]
        if last and waiting and waiting[-1].facts["faults"] and not self._lives():
            self.explanations.pop()
            waiting.pop()
        self._told = len(self.explanations)
        for explanation in waiting:
            self.tell(explanation)

    def _lives(self) -> bool:
        chain = last_chain(self.machine.engine.recent())
        return not chain or chain[0].number != self._first

    def close(self) -> None:
        """Watch no more; between runs."""
        self.machine.engine.watch(None)
