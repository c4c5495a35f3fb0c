"""tlb: the softmmu's TLB starts with 4,096 entries instead of 256.

The library resizes it only at a flush, and a kernel's decompressor never flushes.  Before the first run the tables of the
three MMU indexes are empty: they are replaced by larger ones from the C library's malloc, which the library will free.
Without `pages` a larger TLB makes the scans longer; together they gain.  At a flush the library shrinks a TLB that was
little used in the last tenth of a second of the host's time (tlb_mmu_resize_locked), which would be the time in which the
machine was built: its window begins GRACE later.  The size of the TLB is no part of what a guest can see.

Gain: the boot takes 0.94 of the time, copies between conflicting addresses 0.06, a paged sieve 0.35.
"""

from __future__ import annotations

import ctypes
import time

from emu.cpu.unicorn.layout import TLB, TLB_DESC, TLB_DESC_IOTLB, TLB_DESC_SIZE, read_u64, write_u64
from emu.engine import EngineError

BITS = 12                           # 9 is slower, 10 and 14 are equal
OLD = 256
ENTRY, IO_ENTRY = 64, 16            # bytes
WINDOW_BEGIN = 16                   # of a CPUTLBDesc: host time in ns since 1970
GRACE = 5 * 10**9                   # ns
EMPTY = (1 << 64) - 1               # the first word of a CPUTLBDesc that has no large page

_libc = ctypes.CDLL(None)
_libc.malloc.restype = ctypes.c_void_p
_libc.malloc.argtypes = (ctypes.c_size_t,)


def enlarge(env: int) -> None:
    """Replace the tables, before the first run.  Raises EngineError if they are not as they were after a reset."""
    size = 1 << BITS
    for index in range(3):
        fast, desc = env + TLB + 16 * index, env + TLB_DESC + TLB_DESC_SIZE * index
        if read_u64(fast) != (OLD - 1) * ENTRY or read_u64(desc) != EMPTY:
            raise EngineError("the TLB is not as it is after a reset")
        table, io = _libc.malloc(size * ENTRY), _libc.malloc(size * IO_ENTRY)
        ctypes.memset(table, 0xFF, size * ENTRY)
        ctypes.memset(io, 0, size * IO_ENTRY)
        _libc_free(read_u64(fast + 8), read_u64(desc + TLB_DESC_IOTLB))
        write_u64(fast, (size - 1) * ENTRY)
        write_u64(fast + 8, table)
        write_u64(desc + TLB_DESC_IOTLB, io)
        write_u64(desc + WINDOW_BEGIN, time.time_ns() + GRACE)


def _libc_free(*tables: int) -> None:
    for table in tables:
        _libc.free(ctypes.c_void_p(table))
