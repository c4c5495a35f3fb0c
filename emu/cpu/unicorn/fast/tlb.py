"""tlb: the softmmu's TLB starts with 4,096 entries instead of 256.

The library resizes it only at a flush, and a kernel's decompressor never flushes.  Before the first run the tables of the
three MMU indexes are empty: they are replaced by larger ones from the C library's malloc, which the library will free.
Without `pages` a larger TLB makes the scans longer; together they gain.  At a flush the library shrinks a TLB that was
little used in the last tenth of a second of the host's time (tlb_mmu_resize_locked), which would be the time in which the
machine was built: its window begins GRACE later.  The size of the TLB is no part of what a guest can see.

The library doubles a TLB at a flush, too: what a guest needs that flushes nothing it would not get, and what a quiet time has
taken would not come back.  So a TLB of fewer than 16,384 entries of which three quarters are used is flushed before the next
is filled, whereupon the library doubles it.

Gain: the boot takes 0.94 of the time, copies between conflicting addresses 0.06, a paged sieve 0.35; random accesses to
64 MiB 0.2.
"""

from __future__ import annotations

import ctypes
import time

from emu.cpu.unicorn import mailbox as m
from emu.cpu.unicorn.code import saved
from emu.cpu.unicorn.layout import (
    CPU_ENV,
    CPU_OPAQUE,
    TLB,
    TLB_DESC,
    TLB_DESC_IOTLB,
    TLB_DESC_SIZE,
    TLB_DESC_USED,
    read_u64,
    symbol,
    write_u64,
)
from emu.engine import EngineError

BITS = 12                           # 9 is slower, 10 and 14 are equal
GROWN_BITS = 14                     # 64 MiB at random; 1 MiB to be cleared at a flush
OLD = 256
ENTRY, IO_ENTRY = 64, 16            # bytes
WINDOW_BEGIN = 16                   # of a CPUTLBDesc: host time in ns since 1970
GRACE = 5 * 10**9                   # ns
EMPTY = (1 << 64) - 1               # the first word of a CPUTLBDesc that has no large page

_libc = ctypes.CDLL(None)
_libc.malloc.restype = ctypes.c_void_p
_libc.malloc.argtypes = (ctypes.c_size_t,)


def enlarge(env: int) -> int:
    """Replace the tables, before the first run; the mask up to which they grow.

    Raises EngineError if they are not as they were after a reset.
    """
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
    return ((1 << GROWN_BITS) - 1) * ENTRY


def grow(original: int) -> str:
    """CPUClass.tlb_fill(cpu, address, size, access, mmu_idx, probe, retaddr), which itself may move the tables: its callers
    look for the entry anew.  Without this technique mailbox.LARGE is 0, and nothing grows here.
    """
    flush = f"sub rsp, 0x8; mov rax, {symbol('tlb_flush_x86_64'):#x}; call rax; add rsp, 0x8"
    return f"""
        mov r10, [rdi + {CPU_OPAQUE:#x}]
        movsxd r11, r8d
        mov rax, r11
        shl rax, 0x4
        mov rax, [rdi + rax + {CPU_ENV + TLB:#x}]
        cmp rax, [r10 + {m.LARGE:#x}]
        jae go_on
        imul r11, r11, {TLB_DESC_SIZE:#x}
        shr rax, 0x6
        lea rax, [rax + rax*2]
        shr rax, 0x2
        cmp [rdi + r11 + {CPU_ENV + TLB_DESC + TLB_DESC_USED:#x}], rax
        jbe go_on
        {saved("rdi rsi rdx rcx r8 r9", flush)}
    go_on:
        mov rax, {original:#x}
        jmp rax
    """


def _libc_free(*tables: int) -> None:
    for table in tables:
        _libc.free(ctypes.c_void_p(table))
