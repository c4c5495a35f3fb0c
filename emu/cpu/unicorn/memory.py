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
SPACE = 1 << 40                     # bytes of physical addresses that answer: 40 lines, as the qemu64 model has them
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
        self.regions: list[tuple[int, memoryview]] = []

    def take(self, length: int) -> memoryview:
        """`length` bytes, whole pages, zeroed."""
        start = self._used
        if length % PAGE or start + length > self.pages * PAGE:
            raise EngineError(f"no room for {length} bytes of memory beside {start} given out")
        self._used += length
        return self._view[start:start + length]

    def map(self, uc: int, address: int, memory: memoryview, kind: str) -> None:
        """Show a part of the arena at a physical address."""
        host = host_address(memory)
        library.map_memory(uc, address, host, len(memory))
        self.regions.append((address, memory))
        if kind == "rom":
            first = (host - self.address) // PAGE
            for page in range(first, first + len(memory) // PAGE):
                self.rom_map[page >> 3] |= 1 << (page & 7)

    def holes(self) -> Iterator[tuple[int, int]]:
        """(physical address, length) of what no memory answers."""
        free = 0
        for address, memory in [*sorted(self.regions, key=lambda region: region[0]), (SPACE, memoryview(b""))]:
            if address > free:
                yield free, address - free
            free = max(free, address + len(memory))

    def wrote(self, uc: int, address: int, length: int) -> None:
        """Drop what was translated from these physical addresses."""
        end = address + length
        for base, memory in self.regions:
            host = host_address(memory) - base
            page = max(address, base) & -PAGE
            last = min(end, base + len(memory))
            while page < last:
                index = (host + page - self.address) // PAGE
                if self.code_map[index >> 3] >> (index & 7) & 1:
                    start = max(page, address)
                    ram = _ram_address(uc, host + start)
                    _invalidate(uc, ram, ram + min(page + PAGE, last) - start)
                page += PAGE

    def forget(self) -> None:
        """No page holds code: every translation has been dropped."""
        self.code_map[:] = bytes(len(self.code_map))

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
