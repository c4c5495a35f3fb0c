"""Address space near the library, kept free for translations and thunks.

Translated code calls the library by near calls where it can, and that is what fast/ looks for.  The kernel gives the highest
gap that fits, so in a process that has filled the gigabytes below the library with other things (a data frame's arenas, say)
the translations would lie out of reach: nothing would be wrong, but all of it slow.  So room is reserved when the library is
loaded, which costs no memory, and given up for the moment in which an engine makes its own.

The engine's own structure, whose address is in each block, must lie elsewhere: above 4 GiB and out of reach, so that it is
loaded by the long MOV that fast/budget.py looks for.  A Python that is no position-independent executable, Debian's, has its
heap in the first 4 GiB.  A thread's heap is a mapping of its own (malloc(3), "arenas").
"""

from __future__ import annotations

import ctypes
import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from emu.cpu.unicorn.layout import symbol

SIZE, GRAIN = 1 << 30, 2 << 20              # bytes; the kernel aligns large mappings to 2 MiB
REACH = (1 << 31) - (256 << 20)             # bytes, with room for the translations' own length
MAP_PRIVATE, MAP_ANONYMOUS, MAP_NORESERVE, MAP_FIXED_NOREPLACE = 0x02, 0x20, 0x4000, 0x100000
FLAGS = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE

MAP_FAILED = (1 << 64) - 1
FAR = 1 << 32                               # bytes: farther than a displacement of 32 bits from wherever translations are

Made = TypeVar("Made")
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_libc.malloc.restype = ctypes.c_void_p
_libc.malloc.argtypes = (ctypes.c_size_t,)
_libc.free.argtypes = (ctypes.c_void_p,)
_held: set[int] = set()
_base = (symbol("uc_open") - SIZE) & -GRAIN


def hold() -> None:
    """Reserve what is free of the room: at the library's load, and again when an engine has been closed."""
    for address in range(_base, _base + SIZE, GRAIN):
        if address not in _held and _libc.mmap(address, GRAIN, 0, FLAGS | MAP_FIXED_NOREPLACE, -1, 0) == address:
            _held.add(address)


def _run(wanted: int) -> range | None:
    """The highest piece of so many grains that is held."""
    for last in sorted(_held, reverse=True):
        run = range(last - (wanted - 1) * GRAIN, last + 1, GRAIN)
        if _held.issuperset(run):
            return run
    return None


@contextmanager
def room(size: int) -> Iterator[None]:
    """What is mapped inside finds `size` bytes of the room in one piece, if there are as many; the rest stays reserved.

    Engines that nobody closed may hold it: before it is said to be full, the collector looks for them, among what was frozen
    (gc.freeze), too.
    """
    wanted = -(-size // GRAIN)
    run = _run(wanted)
    if run is None:
        gc.unfreeze()
        gc.collect()
        hold()
        run = _run(wanted)
    for address in run or ():
        _libc.munmap(address, GRAIN)
    _held.difference_update(run or ())
    try:
        yield
    finally:
        hold()


def out_of_reach(address: int) -> bool:
    """Whether translations, wherever they lie, load this address by MOV r64, imm64."""
    return address >= 1 << 32 and abs(address - symbol("uc_open")) > FAR


def away(make: Callable[[], Made]) -> Made:
    """What `make` makes with memory of the C library that is out of reach, as far as that is to be had."""
    heap = _libc.malloc(4096)
    _libc.free(heap)
    if out_of_reach(heap):
        return make()
    made: list[Made] = []
    failed: list[BaseException] = []

    def elsewhere() -> None:
        try:
            made.append(make())
        except BaseException as error:
            failed.append(error)

    between = _libc.mmap(None, 2 * FAR, 0, FLAGS, -1, 0)        # the kernel gives the highest gap: now below this
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    if between != MAP_FAILED:
        _libc.munmap(between, 2 * FAR)
    if failed:
        raise failed[0]
    return made[0]


def reaches(address: int) -> bool:
    """Whether code at `address` calls the library by near calls."""
    return abs(address - symbol("uc_open")) < REACH


hold()
