"""The recorder of blocks and events: native rings, emptied whenever Python has its turn.

Blocks leave their numbers at their heads (fast/record.py); exceptions, interrupts, and writes to control and
model-specific registers leave events (hooks.event); a sink takes all three streams (emu.engine.Sink).  The ring of numbers
is the sink's own memory, so nothing is copied: when a segment has no room for a further slice, the sink gives the next one.
Recording changes no run: what it adds charges nothing, and a slice that is cut shorter is only cut.

An event is eight words: position (how many blocks had begun), time, kind | vector << 8, error code, CR2, RIP, CS selector |
hflags << 32, CS base.  A write to a control or model-specific register has its number and the new value where others have
error code and CR2; of the former RIP is not kept: it is the block's last instruction.  Of a block's definition the position
is where the first entry of it can lie.
"""

from __future__ import annotations

import ctypes
import mmap
import struct
from collections.abc import Callable

from emu.cpu.unicorn import accesses, library, moves
from emu.cpu.unicorn import mailbox as m
from emu.cpu.unicorn.events import EVENT_STACK, NOTHING
from emu.cpu.unicorn.fast.record import LARGEST
from emu.cpu.unicorn.layout import CPU_ENV, TCG_EPILOGUE, TLB_WATCHPOINT, TRACE_AT, UC_TCG, read_u64, symbol
from emu.cpu.unicorn.memory import host_address
from emu.cpu.unicorn.room import reaches
from emu.engine import EngineError, Sink

DEFINITIONS = 1 << 20
EVENTS, EVENT = 1 << 14, 64     # events, and the bytes of one
_EVENT = struct.Struct("<8Q")
_ALL = (1 << 64) - 1
ACCESSES = 1 << 17
NUMBER = 4                      # bytes of a block's number
MARGIN = 4096                   # numbers: blocks that run on credit


class Recorder:
    """Records one machine: `record(sink)` between two runs, `record(None)` to end it.

    `flush` has every block made anew: with a number, or without.
    """

    def __init__(self, handle: int, env: int, box: m.Mailbox, cost: int, techniques: frozenset[str],
                 flush: Callable[[], None], now: Callable[[], int]) -> None:
        self._handle, self._env, self._words, self._cost = handle, env, box.words, cost
        self._techniques, self._flush, self._now = techniques, flush, now
        self._at = ctypes.c_uint64.from_address(env + TRACE_AT)     # where the next number goes
        self.on = False
        self.position = 0                       # of the first number of the segment

    def record(self, sink: Sink | None) -> bool:
        """See emu.engine.Engine.record; whether it is on."""
        if sink is not None and "budget" not in self._techniques:
            raise EngineError("recording needs the technique `budget`: set EMU_FAST so that it is on")
        if sink is not None and not reaches(self._epilogue):
            raise EngineError("no room for translations near the library in this process: record in one of its own")
        if self.on:
            self._stop()
        if sink is not None:
            self._start(sink)
        return self.on

    @property
    def _epilogue(self) -> int:
        """An address among the translations."""
        return read_u64(read_u64(self._handle + UC_TCG) + TCG_EPILOGUE)

    def before(self, function: Callable[[], bool]) -> Callable[[], bool]:
        """The same function, behind a `drain`."""

        def drained() -> bool:
            self.drain()
            return function()

        return drained

    def _start(self, sink: Sink) -> None:
        self._sink, self.position = sink, 0
        self._flush()
        self._rings = mmap.mmap(-1, DEFINITIONS + LARGEST + EVENTS * EVENT, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._view = memoryview(self._rings)
        self._definitions = host_address(self._rings)
        self._events = self._definitions + DEFINITIONS + LARGEST
        self._full_callback = library.ASK(self._full)
        words = self._words
        self._anew = words[m.ANEW >> 3]
        words[m.DEFINE_AT >> 3] = self._definitions
        words[m.DEFINE_END >> 3] = self._definitions + DEFINITIONS + LARGEST
        words[m.EVENT_AT >> 3], words[m.EVENT_END >> 3] = self._events, self._events + EVENTS * EVENT
        words[m.DRAIN >> 3] = library.address(self._full_callback)
        words[m.MOVING >> 3] = 0
        words[m.NUMBER >> 3] = 0
        self._take()
        words[m.RECORD >> 3] = words[m.EVENT >> 3] = 1
        if sink.memory:
            self._watch()
        self.on = True

    def _watch(self) -> None:
        """Have accesses to memory recorded."""
        accesses.PATCHES.acquire()
        self._ring = mmap.mmap(-1, ACCESSES * accesses.ACCESS, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        words, start = self._words, host_address(self._ring)
        words[m.ACCESS_START >> 3] = words[m.ACCESS_AT >> 3] = start
        words[m.ACCESS_END >> 3] = start + ACCESSES * accesses.ACCESS
        self._known = mmap.mmap(-1, accesses.PLACES * accesses.PLACE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        words[m.KNOWN_BY >> 3] = host_address(self._known)
        words[m.MARK >> 3] = TLB_WATCHPOINT
        library.VOID(symbol("tlb_flush_x86_64"))(self._env - CPU_ENV)

    def _unwatch(self) -> None:
        self._words[m.MARK >> 3] = self._words[m.ACCESS_AT >> 3] = 0
        library.VOID(symbol("tlb_flush_x86_64"))(self._env - CPU_ENV)
        accesses.PATCHES.release()
        self._ring.close()
        self._known.close()

    def _stop(self) -> None:
        """Give out everything; blocks are made anew, and leave nothing."""
        self.drain(True)
        self.on = False
        if self._words[m.MARK >> 3]:
            self._unwatch()
        self._words[m.RECORD >> 3] = self._words[m.EVENT >> 3] = 0
        self._at.value = 0
        self._flush()
        del self._segment
        self._view.release()

    def _take(self) -> None:
        """The sink's next segment."""
        self._segment = self._sink.segment()
        self._first = host_address(self._segment)
        self._last = self._first + len(self._segment)
        self._at.value = self._first

    def room(self, now: int) -> int:
        """ns that the guest may run before the next look."""
        wanted, least = self._sink.look(self.recorded(), now)
        room = (self._last - self._at.value) // NUMBER - MARGIN
        if wanted or room < MARGIN:
            self.drain(True)
            room = (self._last - self._first) // NUMBER - MARGIN
        return min(room * self._cost, least)

    def recorded(self, hand_over: bool = False) -> int:
        """See emu.engine.Engine.recorded."""
        if not self.on:
            return 0
        if hand_over:
            self.drain(True)
        return self.position + (self._at.value - self._first) // NUMBER

    def note(self, kind: int, name: int, size: int, value: int, address: int) -> None:
        """An event that Python has seen."""
        if not self.on:
            return
        words = self._words
        at = words[m.EVENT_AT >> 3]
        if at >= words[m.EVENT_END >> 3]:
            self._full()
            at = words[m.EVENT_AT >> 3]
        _EVENT.pack_into(self._rings, at - self._definitions, self._at.value, self._now(), kind | name << 8,
                         size, value & _ALL, 0, address & _ALL, 0)
        words[m.EVENT_AT >> 3] = at + EVENT

    def moved(self) -> None:
        """The guest is stopped behind a block that loads the stack pointer."""
        words = self._words
        if words[m.MOVING >> 3]:
            words[m.MOVING >> 3] = 0
            after = read_u64(self._env + moves.RSP) + read_u64(self._env + moves.SS_BASE)
            before = words[m.MOVED_FROM >> 3] & _ALL
            if abs(after - before) > moves.NEAR:
                self.note(EVENT_STACK, NOTHING >> 8, 0, after, before)

    def _full(self) -> int:
        self._definitions_out()
        self._events_out()
        self._accesses_out()
        return 0

    def drain(self, all_of_it: bool = False) -> None:
        """Give the sink what there is; numbers only when a segment is full, or `all_of_it`."""
        if not self.on:
            return
        self._full()
        at = self._at.value
        if all_of_it and at > self._first:
            count = (at - self._first) // NUMBER
            self._sink.blocks(self.position, count)
            self.position += count
            self._take()

    def _definitions_out(self) -> None:
        words, start = self._words, self._definitions
        end = words[m.DEFINE_AT >> 3]
        if end > start:
            anew, before = words[m.ANEW >> 3], self._anew
            self._sink.definitions(bytes(self._view[:end - start]), self._first, self.position, anew != before)
            self._anew = anew
            words[m.DEFINE_AT >> 3] = start

    def _accesses_out(self) -> None:
        words = self._words
        start, end = words[m.ACCESS_START >> 3], words[m.ACCESS_AT >> 3]
        if end > start and words[m.MARK >> 3]:
            self._sink.accesses(self._ring[:end - start], self._first, self.position)
            words[m.ACCESS_AT >> 3] = start

    def _events_out(self) -> None:
        words, start = self._words, self._events
        end = words[m.EVENT_AT >> 3]
        if end > start:
            base = start - self._definitions
            self._sink.events(bytes(self._view[base:base + end - start]), self._first, self.position)
            words[m.EVENT_AT >> 3] = start
