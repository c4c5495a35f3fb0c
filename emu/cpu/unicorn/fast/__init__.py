"""Faster than the plain core: each technique one file, one switch, one job.

The plain core (the files one room up) is right by itself; what is here only makes it fast, and leaves every run the same,
block for block.  `EMU_FAST=all|none|name,name` chooses (default: all).  The library makes each block of host code with one
function; editor.py steps behind it and hands the fresh block, once, to the rewriters in this order.  A rewriter compares the
bytes before it edits, and leaves what does not match; the report counts both.

| name     | file        | what it does                              | time, of that without it    | without it
| -------- | ----------- | ----------------------------------------- | --------------------------- | ---
| budget   | budget.py   | a block's check is a subtraction in place | boot 0.88, tight loop 0.4   | a call of a thunk each
| lookup   | lookup.py   | indirect jumps look in two jump caches    | boot 0.94, dispatcher 0.75  | a call into C each
| branches | branches.py | a taken branch is one host jump           | boot 0.95                   | jcc to a jmp
| strings  | strings.py  | REP MOVS and STOS by the page             | rep movsd 0.04              | a block for each element
| access   | access.py   | the TLB is asked in nine instructions     | copy by mov 0.95            | eleven
| beside   | beside.py   | an access uses its neighbour's answer     | copy by mov 0.75            | the TLB is asked again
| pages    | pages.py    | the editor keeps the map of code pages    | boot 0.94                   | a hook, scans of the TLB
| tlb      | tlb.py      | a TLB of 4,096 entries that grows at once | boot 0.94, paged sieve 0.35 | 256, until a flush
| direct   | direct.py   | helpers' accesses ask the TLB alone       | INT 80h and IRET 0.35       | a list of regions each
| fetch    | fetch.py    | the translator reads code through the TLB | cold code 0.95              | a list of regions each
| huge     | huge.py     | huge host pages for code and guest memory | random 0.7, boot 0.96       | misses of the host's TLB
| tsc      | entries.py  | RDTSC at the helper's entry               | a read 0.1                  | hook list, state search
| pause    | pause.py    | PAUSE goes on with the next block         | a PAUSE 0.1, boot 0.96      | to the main loop each
| interrupts | interrupts.py | INT n delivered where it stands       | INT 80h and IRET 0.85       | by way of the main loop
| ports    | ports.py    | ports answered without Python             | IN, OUT 0.02 to 0.3         | a Python call each
| ticks    | ticks.py    | a periodic timer's interrupts             | a tick 0.1                  | four Python calls each
| mmio     | mmio.py     | the same for device memory                | a load or store 0.05 to 0.2 | a Python call each
| sse      | sse.py      | arithmetic and roots by the host's SSE    | SSE loop 0.5                | softfloat
| packed   | packed.py   | PACK, PMOVMSKB and others by the host     | PMOVMSKB 0.4                | byte by byte

record.py is no technique: it lets a recorder (recorder.py) hear of every block.
strings needs budget (it takes the place of its subtraction), beside access, mmio and ticks ports; all others stand alone.
sums.py tells beside how far apart registers are.  What a chip allows ports and mmio to answer is in answers.py, how they
call its Python otherwise in calls.py.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from types import ModuleType

from emu.cpu.unicorn import events
from emu.cpu.unicorn import mailbox as m
from emu.cpu.unicorn.build import KNOWN, NAME, WANTED
from emu.cpu.unicorn.code import Code, Patches
from emu.cpu.unicorn.fast import (
    access,
    beside,
    branches,
    budget,
    direct,
    editor,
    entries,
    fetch,
    huge,
    interrupts,
    lookup,
    packed,
    pages,
    pause,
    ports,
    record,
    strings,
    tlb,
)
from emu.cpu.unicorn.fast.editor import Site
from emu.cpu.unicorn.layout import TCG_EPILOGUE, UC_TCG, read_u64
from emu.cpu.unicorn.memory import Memory, host_address
from emu.cpu.unicorn.room import room
from emu.engine import EngineError

CODE = 16 * 4096                    # bytes of a machine's thunks
REWRITERS: dict[str, ModuleType] = {
    "budget": budget, "lookup": lookup, "strings": strings, "branches": branches, "access": access, "beside": beside,
    "record": record, "pages": pages,
}
NEEDS = {"strings": "budget", "beside": "access", "mmio": "ports", "ticks": "ports"}
NAMES = (*(name for name in REWRITERS if name != "record"), "tlb", "direct", "fetch", "huge", "tsc", "pause", "interrupts",
         "ports", "mmio", "ticks", "sse", "packed")
PATCHES = Patches({**entries.ENTRIES, **events.ENTRIES, **pause.ENTRIES, **interrupts.ENTRIES, **ports.entries(),
                   **fetch.ENTRIES, **packed.ENTRIES}, {**editor.SLOTS, **direct.SLOTS})


def chosen(text: str | None = None) -> frozenset[str]:
    """The techniques that `text`, or else EMU_FAST, names.  Raises EngineError for a name that is none."""
    text = os.environ.get("EMU_FAST", "all") if text is None else text
    names = NAMES if text == "all" else () if text == "none" else tuple(text.split(","))
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise EngineError(f"EMU_FAST: no technique named {', '.join(unknown)}; there are all, none, {', '.join(NAMES)}")
    return frozenset(names) - {name for name, needed in NEEDS.items() if needed not in names}


@dataclass
class Layer:
    """The techniques of one machine."""

    on: frozenset[str]
    code: Code | None = None
    box: m.Mailbox | None = None
    why: str = ""           # the plain core runs instead of what was asked for

    def report(self) -> dict[str, dict[str, int] | bool | str]:
        """Each technique: whether it is on, or for a rewriter how many blocks it rewrote and left."""
        counts: dict[str, dict[str, int] | bool | str] = {name: name in self.on for name in NAMES}
        if self.why:
            counts["plain core"] = self.why
        for i, name in enumerate(REWRITERS):
            if name in self.on and self.box:
                words = self.box.words
                counts[name] = {"matched": words[(m.MATCHED >> 3) + 2 * i], "left": words[(m.MATCHED >> 3) + 2 * i + 1]}
        return counts

    def close(self) -> None:
        """After the engine itself is closed."""
        if self.on:
            PATCHES.release()
        if self.code:
            self.code.close()


def install(handle: int, env: int, box: m.Mailbox, memory: Memory, on: frozenset[str]) -> Layer:
    """Give a machine its techniques: after its reset, before its first block.

    Where the library is not as it should be, or the host gives no memory near the translations, the plain core runs.
    """
    if not on:
        return Layer(on)
    if not KNOWN:
        return Layer(frozenset(), why=f"the fast layer knows only {WANTED}, and this is {NAME}")
    try:
        return _install(handle, env, box, memory, on)
    except EngineError as error:
        return Layer(frozenset(), why=str(error))


def _install(handle: int, env: int, box: m.Mailbox, memory: Memory, on: frozenset[str]) -> Layer:
    epilogue = read_u64(read_u64(handle + UC_TCG) + TCG_EPILOGUE)
    with room(CODE):
        code = Code(CODE, near=epilogue)
    try:
        PATCHES.acquire()
    except EngineError:
        code.close()
        raise
    words = box.words
    words[m.TSC_ON >> 3], words[m.SSE_ON >> 3], words[m.PAGES_ON >> 3] = "tsc" in on, "sse" in on, "pages" in on
    words[m.FETCH_ON >> 3], words[m.DIRECT_ON >> 3], words[m.PACKED_ON >> 3] = "fetch" in on, "direct" in on, "packed" in on
    jumps = host_address(memory.jumps)
    for name, word in (("pause", m.PAUSE), ("interrupts", m.GO_ON)):
        if name in on:
            words[word >> 3] = code.place(lookup.find(jumps if "lookup" in on else 0))
    if "huge" in on:
        huge.advise(epilogue)
        huge.advise_memory(memory.arena)
    if "tlb" in on:
        words[m.LARGE >> 3] = tlb.enlarge(env)
    site = Site(box.costs.block, code, box.address, memory.address, memory.pages,
                host_address(memory.code_map), host_address(memory.epochs), jumps, epilogue, "direct" in on)
    wanted = [(name, module) for name, module in REWRITERS.items()
              if name in on or (name == "record" and "budget" in on)]
    if wanted:
        words[m.EDITOR >> 3] = editor.assemble(site, wanted, list(REWRITERS))
    return Layer(on, code, box)
