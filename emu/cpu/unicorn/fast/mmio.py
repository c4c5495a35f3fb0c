"""mmio: device memory counted, charged and, where a chip allows it, answered natively.

Before, the region's callbacks are Python: each counts and charges with two reads and two writes of the machine's words, and
makes the key of the bus's table.  After, they are thunks (uc, offset, size[, value], base) that do this natively and look in
the machine's tables (answers.py) as ports.py does; Python is called with the key for the rest.  A page where no chip is has
a bit of its own instead: a guest that searches megabytes for a table of the firmware asks Python once a page.

Gain: an access that is answered takes 0.06 of the time: 0.6 of QEMU's; the boot of Debian i386, which searches for five
tables, 0.94.  Without it every access is Python's; it needs ports.  The library's own way to the callback, a search for the
region and of the guest's state, remains.
"""

from __future__ import annotations

from emu.cpu.unicorn import mailbox as m
from emu.cpu.unicorn.events import EVENT_MEMORY_READ, EVENT_MEMORY_WRITE, nothing
from emu.cpu.unicorn.fast import calls
from emu.cpu.unicorn.fast.answers import BLOCK, END, KIND, PAGE_BITS, PAGES, PLACES, RING, STEADY, VALUE
from emu.cpu.unicorn.fast.ports import charge, collect, find
from emu.cpu.unicorn.layout import CPU_OPAQUE, UC_CPU


def place(key: int) -> int:
    """The table's entry for an address's key."""
    return (key >> 6 ^ key >> 18) & PLACES - 1


def _start(base: str, table: int, empty: int) -> str:
    """RSI = the key of offset RSI and size EDX, in the region at `base`; RDX = the value to write; `empty`: no chip there."""
    return f"""
        mov r10, [rdi + {UC_CPU:#x}]
        mov r11, [r10 + {CPU_OPAQUE:#x}]
        {charge(m.MMIOS, m.MMIO_NS)}
        add rsi, {base}
        mov rax, rsi
        shr rax, {PAGE_BITS:#x}
        cmp rax, {PAGES:#x}
        jae high
        mov r8, [r11 + {empty:#x}]
        bt [r8], rax
        jc empty
    high:
        shl rsi, 0x4
        mov edx, edx
        or rsi, rdx
        mov rdx, rcx
        mov rax, rsi
        mov rcx, rsi
        shr rax, 0x6
        shr rcx, 0x12
        xor eax, ecx
        and eax, {PLACES - 1:#x}
        mov r9, [r11 + {table:#x}]
        {find()}
    """


def _move(*moves: str) -> str:
    """The next element of a block transfer, by the move of 1, 2, 4 or 8 bytes; or `changes`: the block is over."""
    return f"""
        mov rcx, [rax + {VALUE:#x}]
        cmp rcx, [rax + {END:#x}]
        jae changes
        mov r8d, esi
        and r8d, 0xf
        lea r9, [rcx + r8]
        mov [rax + {VALUE:#x}], r9
        mov qword ptr [r11 + {m.PENDING:#x}], 0x1
        cmp r8d, 0x2
        jb one
        je two
        cmp r8d, 0x4
        je four
        {moves[3]}
        ret
    four:
        {moves[2]}
        ret
    two:
        {moves[1]}
        ret
    one:
        {moves[0]}
        ret
    """


_LOADS = "movzx eax, byte ptr [rcx]", "movzx eax, word ptr [rcx]", "mov eax, [rcx]", "mov rax, [rcx]"
_STORES = "mov [rcx], dl", "mov [rcx], dx", "mov [rcx], edx", "mov [rcx], rdx"


def read() -> str:
    """The callback (uc, offset, size, base) of a region."""
    return f"""
        {_start("rcx", m.MMIO_READS, m.EMPTY_READS)}
    fresh:
        cmp qword ptr [rax + {KIND:#x}], {STEADY:#x}
        jne block
        mov rax, [rax + {VALUE:#x}]
        ret
    block:
        {_move(*_LOADS)}
    empty:
        mov rax, 0xffffffffffffffff
        {nothing(EVENT_MEMORY_READ)}
        mov rax, 0xffffffffffffffff
        ret
        {calls.read(m.MMIO_IN)}
    """


def write() -> str:
    """The callback (uc, offset, size, value, base) of a region."""
    return f"""
        {_start("r8", m.MMIO_WRITES, m.EMPTY_WRITES)}
    fresh:
        cmp qword ptr [rax + {KIND:#x}], {RING:#x}
        je collect
        cmp qword ptr [rax + {KIND:#x}], {BLOCK:#x}
        je block
        ret
    empty:
        mov rax, rcx
        {nothing(EVENT_MEMORY_WRITE)}
        ret
    block:
        {_move(*_STORES)}
    collect:
        {collect()}
        {calls.write(m.MMIO_OUT)}
    """
