"""The machine's memory: one arena of the host for RAM and ROMs, shown to the guest without copies.

Being one arena, a bit per page of it tells what holds translated code, and another what is ROM: see stores.py.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterator

from emu.cpu.unicorn import library
from emu.cpu.unicorn.layout import symbol
from emu.engine import EngineError

PAGE = 4096
MAP_NORESERVE = 0x4000              # not in the mmap module of Python 3.11
PARK = 1 << 44                      # physical addresses that no guest can form: see views.py
SPACE = 1 << 40                     # bytes of physical addresses that answer: 40 lines, as the qemu64 model has them
JUMP_BITS = 14                      # of an index
JUMPS = (16 << JUMP_BITS) + 16      # bytes: where jumps by address lead, and which block is the latest
SPARE = 64 << 20                    # bytes of address space for ROMs beside the RAM; what is not used costs nothing


class Memory:
    """Room for `size` bytes of RAM and for some ROMs.  Raises EngineError."""

    def __init__(self, size: int) -> None:
        size += SPARE
        try:
            self.arena = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE)
        except (OSError, OverflowError, ValueError) as error:
            raise EngineError(f"this host cannot give {size >> 20} MiB of address space: {error}") from None
        self.pages = size // PAGE
        self._base = ctypes.c_char.from_buffer(self.arena)
        self.address = ctypes.addressof(self._base)
        self._view = memoryview(self.arena)
        self._used = 0
        self.code_map, self.rom_map = bytearray(self.pages // 8 + 8), bytearray(self.pages // 8 + 8)
        self.epochs = mmap.mmap(-1, 4 * self.pages)         # a u32 for each page, see fast/pages.py
        self.jumps = mmap.mmap(-1, JUMPS)                   # see fast/lookup.py
        self.regions: list[tuple[int, memoryview]] = []     # (physical address, memory) of what is always shown
        self._homes: list[tuple[int, int, int]] = []        # (start in the arena, length, physical address), none twice
        self._parks = 0

    def take(self, length: int) -> memoryview:
        """`length` bytes, whole pages, zeroed."""
        start = self._used
        if length % PAGE or start + length > self.pages * PAGE:
            raise EngineError(f"no room for {length} bytes of memory beside {start} given out")
        self._used += length
        if self._parks:
            self._park(start, length)
        return self._view[start:start + length]

    def map(self, uc: int, address: int, memory: memoryview, kind: str) -> None:
        """Show a part of the arena at a physical address, always."""
        host = host_address(memory)
        library.map_memory(uc, address, host, len(memory))
        self.regions.append((address, memory))
        first = host - self.address
        if not any(start < first + len(memory) and first < start + length for start, length, _ in self._homes):
            self._homes.append((first, len(memory), address))
        if kind == "rom":
            for page in range(first // PAGE, (first + len(memory)) // PAGE):
                self.rom_map[page >> 3] |= 1 << (page & 7)

    def park(self, uc: int) -> None:
        """Give what is mapped nowhere a physical address that no guest can form; from now on what is taken gets one, too."""
        self._parks = uc
        at = 0
        for start, length, _ in [*sorted(self._homes), (self._used, 0, 0)]:
            if at < start:
                self._park(at, start - at)
            at = max(at, start + length)

    def _park(self, start: int, length: int) -> None:
        library.map_memory(self._parks, PARK + start, self.address + start, length)
        self._homes.append((start, length, PARK + start))

    def homes_of(self, memory: memoryview) -> Iterator[tuple[int, int]]:
        """(physical address, length) of the places where a part of the arena lies, or will be parked."""
        at = host_address(memory) - self.address
        end = at + len(memory)
        if at % PAGE or not 0 <= at < end <= self._used:
            raise EngineError("a view of memory that is not of this machine, or of parts of pages")
        while at < end:
            last, home = end, PARK + at
            for start, length, address in self._homes:
                if start <= at < start + length:
                    last, home = min(end, start + length), address + at - start
                elif at < start:
                    last = min(last, start)
            yield home, last - at
            at = last

    def at(self, address: int, length: int, store: bool) -> list[memoryview | int]:
        """The memory at a physical address; a number of bytes where there is none, or where a store is dropped."""
        pieces: list[memoryview | int] = []
        if address >= PARK:
            start = address - PARK
            return [self._view[start:start + length]]
        end = address + length
        for start, size, home in self._homes:           # mostly one has it all, and DMA asks for each of its pieces
            if home <= address and end <= home + size:
                start += address - home
                rom = store and self.rom_map[start // PAGE >> 3] >> (start // PAGE & 7) & 1
                return [length if rom else self._view[start:start + length]]
        for base, memory in sorted(self.regions, key=lambda region: region[0]):
            first, last = max(base, address), min(base + len(memory), end)
            if first < last:
                if first > address:
                    pieces.append(first - address)
                part = memory[first - base:last - base]
                pieces.append(len(part) if store and self._is_rom(part) else part)
                address = last
        if address < end:
            pieces.append(end - address)
        return pieces

    def _is_rom(self, memory: memoryview) -> bool:
        page = (host_address(memory) - self.address) // PAGE
        return bool(self.rom_map[page >> 3] >> (page & 7) & 1)

    def holes(self) -> Iterator[tuple[int, int]]:
        """(physical address, length) of what no memory answers."""
        free = 0
        for address, memory in [*sorted(self.regions, key=lambda region: region[0]), (SPACE, memoryview(b""))]:
            if address > free:
                yield free, address - free
            free = max(free, address + len(memory))

    def wrote(self, uc: int, memory: memoryview) -> None:
        """Drop what was translated from a part of the arena."""
        start = host_address(memory) - self.address
        end = start + len(memory)
        if not any(self.code_map[start // PAGE >> 3:(end - 1) // PAGE + 8 >> 3]):
            return
        while start < end:
            page = start // PAGE
            last = min(end, (page + 1) * PAGE)
            if self.code_map[page >> 3] >> (page & 7) & 1:
                ram = _ram_address(uc, self.address + start)
                _invalidate(uc, ram, ram + last - start)
            start = last

    def forget(self) -> None:
        """No page holds code: every translation has been dropped."""
        self.code_map[:] = bytes(len(self.code_map))
        self.jumps[:] = bytes(JUMPS)

    def close(self) -> None:
        """Give the arena back, when nobody holds a part of it any more."""
        self.regions.clear()
        del self._base
        self._view.release()


def host_address(memory: memoryview | bytearray | mmap.mmap) -> int:
    """Where a writable buffer lies in the host."""
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def _ram_address(uc: int, host: int) -> int:
    function = ctypes.PYFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p, ctypes.c_uint64)
    return int(function(symbol("qemu_ram_addr_from_host_x86_64"))(uc, host))


def _invalidate(uc: int, start: int, end: int) -> None:
    function = ctypes.PYFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64)
    function(symbol("tb_invalidate_phys_range_x86_64"))(uc, start, end)
