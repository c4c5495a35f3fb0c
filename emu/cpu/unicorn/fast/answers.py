"""What the native side may answer by itself: one machine's tables, its ring, and their Python.

An access that Python serves may leave an answer in a table, if the chip's declaration allows one (emu.device: VALUE, RING,
BLOCK).  An answer counts for one generation: each time Python runs for this machine, for whatever reason, the generation
advances, and all answers are void until they are given again.  Only the read of a VALUE changes nothing and leaves the
others valid.  So an answer cannot be stale, and no chip has to tell of its changes; what a guest does most, to poll a
register or to write the same port again and again, stays native from the second access on.

Bytes that are only collected go to one ring, with a segment {key, start} wherever the port changes, so their order is
kept.  `turn` hands them out before anything else in Python sees the machine: at the next callback, alarm, interrupt
acknowledge, or return of `run`; also when the ring is full.

An entry of a table is 64 bytes, at `place(key) * 64`: key (address << 4 | size), generation, kind, value or next byte,
end, and the function that serves the access, which calls.py calls; `Served` keeps it alive.
Two places of the address space may share one; the one that was served last has it.  Device memory has a bit for each page
below 4 GiB besides: no chip is there, so reads are all ones and writes are lost until the space is wired anew.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable
from typing import Any

from emu.cpu.unicorn import mailbox as m
from emu.engine import Native, Space

ENTRY, PLACES = 64, 4096                        # bytes of an entry; entries of a table
KEY, GENERATION, KIND, VALUE, END, FUNCTION = 0, 8, 16, 24, 32, 40
CALL, STEADY, RING, BLOCK = range(4)            # kinds: KIND of an entry
TABLE, BYTES, SEGMENTS = ENTRY * PLACES, 1 << 16, 1 << 15
PAGE_BITS, PAGES = 12, 1 << 20                 # the pages below 4 GiB
TABLES = m.PORT_READS, m.PORT_WRITES, m.MMIO_READS, m.MMIO_WRITES
EMPTY = {m.MMIO_READS: m.EMPTY_READS, m.MMIO_WRITES: m.EMPTY_WRITES}
BITMAPS = len(TABLES) * TABLE + BYTES + SEGMENTS        # where they begin
SIZE = BITMAPS + len(EMPTY) * PAGES // 8
CACHED = 1 << 16                                # functions; a guest that scans an address space must not fill the memory


class Served(dict[int, Any]):
    """Key -> the function that serves the access and leaves what may be answered natively; made at the first touch."""

    def __init__(self, make: Callable[[int], Any], forget: Callable[[], None]) -> None:
        super().__init__()
        self.make, self.forget = make, forget

    def __missing__(self, key: int) -> Any:
        if len(self) >= CACHED:
            self.forget()
        function = self[key] = self.make(key)
        return function


class Answers:
    """The tables of one machine; `fail` takes what is raised while the ring is emptied."""

    def __init__(self, box: m.Mailbox, fail: Callable[[BaseException], int]) -> None:
        self._fail = fail
        self._page = mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._base = ctypes.c_char.from_buffer(self._page)
        self._bytes = memoryview(self._page)
        self._words = self._bytes.cast("Q")
        self._box = box.words
        self._address = ctypes.addressof(self._base)
        self._ring = self._address + len(TABLES) * TABLE
        self._box[m.RING_END >> 3] = self._ring + BYTES
        self._box[m.SEGMENT_END >> 3] = self._ring + BYTES + SEGMENTS
        self._box[m.GENERATION >> 3] = 1
        for i, field in enumerate(EMPTY.values()):
            self._box[field >> 3] = self._address + BITMAPS + i * PAGES // 8
        self._nowhere: set[int] = set()                         # bytes of the bitmaps that are not 0
        self._empty()
        self._collect: dict[int, Callable[[bytes], None]] = {}
        self._blocks: dict[int, tuple[int, int, memoryview, Callable[[int], None]]] = {}
        self.ticked: Callable[[int, int], None] = lambda whole, stage: None     # see emu.engine.Ticker
        self._functions: dict[int, dict[int, int]] = {}         # index of an entry -> key -> function
        self._served: list[Served] = []

    # -- Python has its turn

    def turn(self) -> None:
        """Python is about to run: hand out what was kept; every answer is void."""
        box = self._box
        box[m.GENERATION >> 3] += 1
        if box[m.PENDING >> 3]:
            self._drain()

    def before(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, after a turn."""
        turn = self.turn

        def turned(*args: Any) -> Any:
            turn()
            return function(*args)

        return turned

    def _empty(self) -> None:
        box, ring = self._box, self._ring
        box[m.PENDING >> 3] = box[m.RING_KEY >> 3] = 0
        box[m.RING_AT >> 3], box[m.SEGMENT_AT >> 3] = ring, ring + BYTES

    def _drain(self) -> None:
        box, words = self._box, self._words
        ticks, stage = box[m.TICKS >> 3], box[m.TICK_STAGE >> 3]
        first = self._ring - self._address
        end, segments = box[m.RING_AT >> 3] - self._address, box[m.SEGMENT_AT >> 3] - self._ring - BYTES
        kept: list[tuple[int, bytes]] = []
        if segments:
            table = self._bytes[first + BYTES:first + BYTES + segments].cast("Q").tolist()
            starts = [start - self._address for start in table[1::2]] + [end]
            kept = [(key, bytes(self._bytes[starts[i]:starts[i + 1]])) for i, key in enumerate(table[::2])]
        blocks = [(words[index + (VALUE >> 3)] - start, moved)
                  for index, (key, start, _, moved) in self._blocks.items() if words[index] == key]
        self._blocks.clear()
        self._empty()
        box[m.TICKS >> 3] = box[m.TICK_STAGE >> 3] = 0
        try:
            if ticks or stage:
                self.ticked(ticks, stage)
            for key, data in kept:
                self._collect[key](data)
            for length, moved in blocks:
                if length:
                    moved(length)
        except BaseException as error:
            self._fail(error)

    # -- functions that leave answers

    def serve(self, space: Space, fields: tuple[int, int], place: Callable[[int], int]) -> tuple[Served, Served]:
        """(reads, writes) of an address space, for its callbacks, whose thunks find the tables at `fields` of the mailbox.

        `place` is the entry of a key.
        """
        for field in fields:
            self._box[field >> 3] = self._address + TABLES.index(field) * TABLE
        served = (Served(self._maker(space, "r", fields[0], place), self._forget),
                  Served(self._maker(space, "w", fields[1], place), self._forget))
        self._served += served
        space.on_rewire.append(self._forget)
        return served

    def _forget(self) -> None:
        """Make every function anew, and let no entry point to one that is gone."""
        for index in self._functions:
            self._words[index] = 0
        self._functions.clear()
        for index in self._nowhere:
            self._bytes[index] = 0
        self._nowhere.clear()
        for served in self._served:
            served.clear()

    def _maker(self, space: Space, access: str, field: int, place: Callable[[int], int]) -> Callable[[int], Any]:
        first = TABLES.index(field) * TABLE
        makers: dict[str, Any] = {"value": self._steady if access == "r" else self._dropped, "ring": self._collected,
                                  "block": self._streamed_in if access == "r" else self._streamed_out}

        def make(key: int) -> Any:
            function = (space.read if access == "r" else space.write)[key]
            native = space.native(key >> 4, key & 15, access)
            index = (first + place(key) * ENTRY) >> 3
            if native is not None:
                function = makers[native.kind](key, index, native, function)
            if field in EMPTY:
                self._look(space, field, key >> 4 + PAGE_BITS)
            self._functions.setdefault(index, {})[key] = id(function)
            self._show(key, index, CALL)
            return function

        return make

    def _look(self, space: Space, field: int, page: int) -> None:
        """Note whether no chip is in the page; what a person should be told of that, the access itself has told."""
        if page < PAGES and space.empty(page << PAGE_BITS, 1 << PAGE_BITS):
            index = self._box[EMPTY[field] >> 3] - self._address + (page >> 3)
            self._bytes[index] |= 1 << (page & 7)
            self._nowhere.add(index)

    def _show(self, key: int, index: int, kind: int, value: int = 0, end: int = 0) -> None:
        function = self._functions.get(index, {}).get(key)
        if function is not None:                    # or the access itself has changed what answers here
            words = self._words
            words[index], words[index + 1], words[index + 2] = key, self._box[m.GENERATION >> 3] if kind else 0, kind
            words[index + 3], words[index + 4], words[index + 5] = value, end, function

    def _steady(self, key: int, index: int, native: Native, reader: Callable[[], int]) -> Callable[[], int]:
        holds, show, box = native.holds, self._show, self._box

        def read() -> int:
            if holds():
                value = reader()
                show(key, index, STEADY, value)
                return value
            box[m.GENERATION >> 3] += 1             # the native side takes this read for one without effects
            return reader()

        return read

    def _dropped(self, key: int, index: int, native: Native, writer: Callable[[int], None]) -> Callable[[int], None]:
        show = self._show

        def write(value: int) -> None:
            writer(value)
            show(key, index, STEADY)

        return write

    def _collected(self, key: int, index: int, native: Native, writer: Callable[[int], None]) -> Callable[[int], None]:
        holds, show = native.holds, self._show
        self._collect[key] = native.collect

        def write(value: int) -> None:
            writer(value)
            if holds():
                show(key, index, RING)

        return write

    def _streamed_in(self, key: int, index: int, native: Native, reader: Callable[[], int]) -> Callable[[], int]:
        def read() -> int:
            value = reader()
            self._open(key, index, native)
            return value

        return read

    def _streamed_out(self, key: int, index: int, native: Native, writer: Callable[[int], None]) -> Callable[[int], None]:
        def write(value: int) -> None:
            writer(value)
            self._open(key, index, native)

        return write

    def _open(self, key: int, index: int, native: Native) -> None:
        view = native.buffer()
        size = key & 15
        if view is not None and len(view) >= size:
            start = ctypes.addressof(ctypes.c_char.from_buffer(view))
            self._blocks[index] = key, start, view, native.moved
            self._show(key, index, BLOCK, start, start + len(view) // size * size)

    def close(self) -> None:
        """Give the tables back; no thunk of this machine may run any more."""
        self._words.release()
        self._bytes.release()
        del self._base
        self._page.close()
