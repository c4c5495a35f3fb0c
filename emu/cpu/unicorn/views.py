"""What is shown where below 4 GiB: views, by redirection of physical pages.

Two tables say for each page where a load or a fetch leads (`loads`) and where a store leads (`stores`): 0, where it always
did; otherwise the physical address of another page, or DROP.  stores.fill_tlb follows them when it fills the TLB, and
stores.PATCHES when page tables are walked.  So all that the library derives from an entry is of the page that is shown:
code is known by the memory it lies in and not by the address, and stores to code, ROM and device memory are what they are.

A switch is a write to the tables and a flush: 2 to 5 us with the call from Python.  A kick makes the guest leave its chain of
blocks, for blocks of one page follow one another without a look at it.  An instruction that begins in memory and ends in
device memory is not fetched anew when memory takes the place of the latter: the library does not know where it ended.

What can be shown lies outside of what a guest can address: memory that nothing maps at `PARK` + its place in the arena, and
the machine's device memory, once more, at `DEVICES` + its address.
"""

from __future__ import annotations

import mmap
from array import array
from typing import Any

from emu.cpu.unicorn import library
from emu.cpu.unicorn.memory import PAGE, PARK, Memory, host_address
from emu.cpu.unicorn.stores import DROP, VIEWED
from emu.engine import EngineError

DEVICES = 1 << 45
PAGES = VIEWED // PAGE
KINDS = "ram", "rom", "mmio"
CACHED = 64                         # views whose rows are kept: a switch goes to and fro between a few
Rows = tuple[slice, memoryview, memoryview]


class Views:
    """The views of one machine, which show parts of `memory`."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self._tables = [mmap.mmap(-1, 8 * PAGES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) for _ in range(2)]
        self.addresses = host_address(self._tables[0]), host_address(self._tables[1])
        self.loads, self.stores = (memoryview(table).cast("Q") for table in self._tables)
        self._rows: dict[Any, Rows] = {}
        self._early: list[tuple[int, int, memoryview | None, str, memoryview | None]] | None = []

    def show(self, address: int, length: int, memory: memoryview | None, kind: str, writes: memoryview | None) -> bool:
        """See Engine.view; whether anything has changed.  Raises EngineError."""
        view = (address, length, kind, (host_address(memory), len(memory)) if memory else memory is None,
                (host_address(writes), len(writes)) if writes else writes is None)
        rows = self._rows.get(view)
        if rows is None:
            rows = self._make(address, length, memory, kind, writes)
            if len(self._rows) >= CACHED:
                self._rows.clear()
            self._rows[view] = rows
        if self._early is not None:
            self._early.append((address, length, memory, kind, writes))
        places, loads, stores = rows
        if self.loads[places] == loads and self.stores[places] == stores:
            return False
        self.loads[places], self.stores[places] = loads, stores
        return True

    def _make(self, address: int, length: int, memory: memoryview | None, kind: str, writes: memoryview | None) -> Rows:
        """What a view puts into the tables."""
        if address % PAGE or length % PAGE or not 0 <= address < address + length <= VIEWED:
            raise EngineError(f"a view of {length:#x} bytes at {address:#x}: whole pages below 4 GiB")
        if kind not in KINDS or (memory is None) is not (kind == "mmio"):
            raise EngineError(f"a view of {kind}{' of nothing' if memory is None else ''}")
        for part in (memory, writes):
            if part is not None and len(part) != length:
                raise EngineError(f"a view of {length:#x} bytes that shows {len(part):#x}")
        loads = self._devices(address, length) if memory is None else self._pages(address, memory)
        stores = loads if writes is None else self._pages(address, writes)
        if kind == "rom" and writes is None:
            stores = array("Q", [DROP]) * len(loads)
        if stores is not loads:                         # 0 would be: both where they always led
            for i in range(len(loads)):
                loads[i], stores[i] = loads[i] or address + i * PAGE, stores[i] or address + i * PAGE
            if not loads[0]:
                raise EngineError("page 0 is shown whole, or not at all")
        first = address // PAGE
        return slice(first, first + len(loads)), memoryview(loads), memoryview(stores)

    def _devices(self, address: int, length: int) -> array[int]:
        return array("Q", range(DEVICES + address, DEVICES + address + length, PAGE))

    def _pages(self, address: int, memory: memoryview) -> array[int]:
        """Where the pages of a part of the arena lie; 0 for the one that lies at the very address."""
        pages = array("Q")
        for home, length in self.memory.homes_of(memory):
            pages.extend([0] * (length // PAGE) if home == address + len(pages) * PAGE else range(home, home + length, PAGE))
        return pages

    def seal(self, uc: int, read: int, write: int, fetch: int) -> None:
        """Before the first run: give everything its place.  `read`, `write`, `fetch`: the callbacks of device memory."""
        self.memory.park(uc)
        for base, length in [*self.memory.holes(), (DEVICES, VIEWED)]:
            library.map_mmio(uc, base, length, read, write, base % DEVICES)
            library.hook_fetch(uc, fetch, base, base + length - 1)
        early, self._early = self._early or [], None
        self._rows.clear()
        for view in early:
            self.show(*view)

    def pieces(self, address: int, length: int, store: bool) -> list[memoryview | int]:
        """See Engine.pieces."""
        pieces: list[memoryview | int] = []
        end = address + length
        if end > PARK:                                                  # a DMA engine may form such an address
            low = PARK - address
            return [*self.pieces(address, low, store), length - low] if low > 0 else [length]
        table = self.stores if store else self.loads
        if address < end <= PAGES * PAGE and not any(table[address // PAGE:-(-end // PAGE)]):
            return self.memory.at(address, length, store)               # everything lies at its own address
        while address < end:
            page = address // PAGE
            entry = table[page] if page < PAGES else 0
            last = page + 1
            if page >= PAGES:
                last = -(-end // PAGE)
            else:
                step = 0 if entry <= DROP else PAGE
                while last < PAGES and last * PAGE < end and table[last] == entry + (last - page) * step:
                    last += 1
            size = min(end, last * PAGE) - address
            if entry == DROP or entry >= DEVICES:
                pieces.append(size)
            else:
                pieces += self.memory.at((entry or page * PAGE) + address % PAGE, size, store)
            address += size
        return pieces

    def wrote(self, uc: int, address: int, length: int) -> None:
        """See Engine.wrote."""
        for piece in self.pieces(address, length, store=True):
            if isinstance(piece, memoryview):
                self.memory.wrote(uc, piece)

    def close(self) -> None:
        """Give the tables and the memory back, after the engine itself is closed."""
        self.loads.release()
        self.stores.release()
        self.memory.close()
