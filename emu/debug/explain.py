"""Why a guest died, or what a fault was: facts for programs, and the same in words.

    explanation = explain(machine, "shutdown")
    print("\\n\\n".join(explanation.paragraphs()))
    json.dumps(explanation.facts)

The words are made of the facts alone, so that a trace which keeps the facts can tell them again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from emu import x86
from emu.boards.board import Board
from emu.debug import causes, halt, instruction, panic, stack, state, words
from emu.debug.delivery import deliver, name
from emu.engine import Happened

VERSION = 1
LIMITS = "loop", "time", "timeout", "host-timeout", "SIGHUP", "SIGINT", "SIGTERM"     # ends that are not the guest's doing
REPEATED = 8                    # times in a row make a loop
Name = Callable[[int], str | None]


class Explanation:
    """`facts` as JSON takes them."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self.facts = facts

    @property
    def summary(self) -> str:
        """The cause in one sentence."""
        return str(self.facts["summary"])

    def brief(self) -> list[str]:
        """A few lines."""
        return words.brief(self.facts)

    def paragraphs(self) -> list[str]:
        """All of it; a paragraph may have several lines."""
        return words.paragraphs(self.facts)


def nameless(address: int) -> str | None:
    """There are no symbols."""
    return None


def explain(machine: Board, end: str, symbol: Name = nameless) -> Explanation:
    """`end`: "shutdown", "halted", "panic", "fault" (one that was just raised), "loop" (see emu.debug.watch), or any
    other."""
    then = state.now(machine)
    faults = machine.engine.recent()
    chain = last_chain(faults)
    facts: dict[str, Any] = {"version": VERSION, "end": end, "time": machine.now, "faults": [], "problem": "", "summary": ""}
    repeated = repetition(faults)
    if repeated and (end in LIMITS or (end == "shutdown" and repeated["falling"])):
        facts["repeated"] = repeated
        chain = _root(machine, faults, chain, repeated)
    if end == "halted" or (end in LIMITS and machine.engine.save()["activity"] == "hlt"):
        facts["halt"] = halt.facts(machine, then)
    if end == "panic" or end in LIMITS:
        found = panic.facts(machine, then, symbol)
        if found is not None:
            facts["panic"] = found
    if chain and (end in ("shutdown", "fault") or repeated or end == "halted"):
        facts["faults"] = [_fault(machine, chain, i, symbol) for i in range(len(chain))]
        if repeated:
            repeated["itself"] = facts["faults"][0].get("handler", {}).get("linear") == facts["faults"][0]["linear"]
    facts["registers"] = _registers(then)
    at = state.before(machine, chain[0]) if facts["faults"] and end != "halted" else then
    if facts.get("halt") and then.peek(then.code - 1, 1) == b"\xF4":
        at = replace(then, registers={**then.registers, "rip": then.registers["rip"] - 1})
    facts["at"] = {"cs": at.segments["cs"].selector, "rip": at.registers["rip"], "linear": at.code, "symbol": symbol(at.code),
                   "instruction": instruction.at(at).facts()}
    facts["stack"] = [{**frame, "symbol": symbol(frame["return"])}
                      for frame in stack.frames(at, panic.STACK // at.width if facts.get("panic") else stack.SCANNED)]
    facts["problem"], facts["summary"] = words.verdict(facts)
    return Explanation(facts)


def last_chain(events: Sequence[Happened]) -> list[Happened]:
    """The last exception with those during whose delivery it came, the first one first."""
    faults = list(events)
    chain: list[Happened] = []
    while faults and faults[-1].kind != "exception" and not chain:
        faults.pop()
    while faults:
        event = faults.pop()
        if chain and event.number != chain[0].number - 1:
            break
        chain.insert(0, event)
        if not event.during:
            break
    return chain


def repetition(events: Sequence[Happened]) -> dict[str, Any] | None:
    """The same exception at the same place again and again, until now."""
    faults = [event for event in events if event.kind == "exception" and event.vector != 8 and not event.during]
    run: list[Happened] = []
    for event in reversed(faults):
        if run and (event.vector, event.rip, event.cs_base) != (run[0].vector, run[0].rip, run[0].cs_base):
            break
        run.append(event)
    if len(run) < REPEATED:
        return None
    stacks = [event.general["rsp"] for event in run]
    return {"vector": run[0].vector, "rip": run[0].rip, "count": len(run), "more": len(run) == len(faults),
            "same": all(event.general == run[0].general and event.cr2 == run[0].cr2 for event in run),
            "falling": all(newer < older for newer, older in pairwise(stacks))}


def _root(machine: Board, events: Sequence[Happened], chain: list[Happened], repeated: dict[str, Any]) -> list[Happened]:
    """Of a handler that faults itself: the fault for which it was called first, if it is still remembered."""
    if not repeated["falling"]:
        return chain
    faults = [event for event in events if event.kind == "exception"]
    first = next(i for i, event in enumerate(faults) if (event.vector, event.rip) == (repeated["vector"], repeated["rip"]))
    if first == 0 or repeated["more"]:
        return chain
    before = faults[first - 1]
    handler = deliver(state.before(machine, before), before.vector).handler
    return [before, *chain] if handler is not None and 0 <= repeated["rip"] - handler < 4096 else chain


def _fault(machine: Board, chain: list[Happened], i: int, symbol: Name) -> dict[str, Any]:
    """One of a chain: the first is the instruction's, a later one comes of the delivery of the one before."""
    happened = chain[i]
    then = state.before(machine, happened)
    software = happened.kind == "software interrupt"
    delivered = deliver(then, happened.vector, software=software, external=happened.kind == "interrupt")
    known = x86.EXCEPTIONS.get(happened.vector)
    code = x86.pushes_error_code(happened.vector) and then.protected and happened.kind == "exception"
    out: dict[str, Any] = {
        "vector": happened.vector, "name": name(happened.vector), "mnemonic": known.mnemonic if known else "",
        "kind": happened.kind,
        "error": happened.error if code else None,
        "error_words": x86.describe_error_code(happened.vector, happened.error) if code else "",
        "time": happened.time, "cs": happened.cs, "rip": happened.rip, "linear": then.code, "symbol": symbol(then.code),
        "cpl": happened.cpl, "bits": happened.bits, "rsp": happened.general["rsp"], "ss": happened.ss,
        "cr2": happened.cr2 if happened.vector == 14 else None, "during": happened.during}
    if not happened.during:
        inside = instruction.at(then)
        out["instruction"] = inside.facts()
        if happened.kind == "exception":
            cause = causes.diagnose(then, happened.vector, happened.error, inside, _image(machine))
            out["cause"] = cause.facts()
            if cause.place:
                out["place"] = list(cause.place)
    if i + 1 < len(chain) and chain[i + 1].during:
        out["delivery"] = delivered.facts()
        if delivered.place:
            out["delivery"]["place"] = list(delivered.place)
        if chain[i + 1].vector == 8 and delivered.raises is not None:
            out["delivery"]["makes"] = 8
    elif not delivered.problem:
        out["handler"] = {"linear": delivered.handler, "symbol": symbol(delivered.handler or 0)}
    else:
        out["delivery"] = delivered.facts()
    return out


def _image(machine: Board) -> causes.Blocks:
    """What was loaded; of a kernel that moves and unpacks itself nothing can be said."""
    start = machine.start
    return () if start is None or start.kind == "linux" or start.mode == "firmware" else start.blocks


def _registers(then: state.State) -> dict[str, Any]:
    out: dict[str, Any] = dict(then.registers)
    for key, segment in then.segments.items():
        out[key] = [segment.selector, segment.base, segment.limit, segment.attributes]
    return {**out, "gdtr": list(then.gdtr), "idtr": list(then.idtr), "cpl": then.cpl, "bits": then.bits}
