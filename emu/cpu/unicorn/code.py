"""Executable memory for our thunks, and the entry patches that lead to them.

Patches are process-wide while machines are not: a patched function serves every Unicorn of the process.  Each patch keeps a
trampoline to the original work, every thunk takes it for an engine that is not ours (CPUState.opaque is 0), and the
original bytes return when the last machine closes.  Do not open the first or close the last machine while another thread
is inside a Unicorn.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable, Mapping

from emu.assembler import assemble
from emu.cpu.unicorn.layout import symbol
from emu.engine import EngineError

RWX = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
PAGE = mmap.PAGESIZE


class Code:
    """A page or more of machine code."""

    def __init__(self, size: int = 4 * PAGE) -> None:
        self.page = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=RWX)
        self._base = ctypes.c_char.from_buffer(self.page)
        self.address = ctypes.addressof(self._base)
        self.used = 0

    def put(self, code: bytes) -> int:
        """Keep `code`; its address."""
        start = self.used
        self.used = (start + len(code) + 15) & ~15
        self.page[start:start + len(code)] = code
        return self.address + start

    def place(self, source: str) -> int:
        """Assemble and keep; the address of the first instruction."""
        return self.put(assemble(source, self.address + self.used))

    def close(self) -> None:
        """Give the memory back; nothing may point here any more."""
        del self._base
        self.page.close()


def jump(target: int) -> bytes:
    """mov r11, target; jmp r11: r11 belongs to nobody at a call (System V ABI)."""
    return b"\x49\xBB" + target.to_bytes(8, "little") + b"\x41\xFF\xE3"


class Patches:
    """Functions of the library whose entries lead to thunks of ours while at least one machine lives."""

    def __init__(self, thunks: Mapping[str, tuple[bytes, Callable[[int], str]]]) -> None:
        """`thunks`: function -> (its first instructions, whole and position-independent; source(trampoline))."""
        self.thunks = thunks
        self.machines = 0
        self.code: Code | None = None
        self.saved: dict[int, bytes] = {}

    def acquire(self) -> None:
        """One machine more.  Raises EngineError if the library's code is not what we know."""
        if self.machines == 0:
            self._apply()
        self.machines += 1

    def release(self) -> None:
        """One machine less; after the last one the library is as it was."""
        self.machines -= 1
        if self.machines == 0:
            for address, original in self.saved.items():
                ctypes.memmove(address, original, len(original))
            self.saved.clear()
            if self.code:
                self.code.close()
                self.code = None

    def _apply(self) -> None:
        for name, (entry, _) in self.thunks.items():
            if ctypes.string_at(symbol(name), len(entry)) != entry:
                raise EngineError(f"{name} does not start as it should: another tool has patched libunicorn")
        self.code = Code()
        for name, (entry, source) in self.thunks.items():
            address = symbol(name)
            trampoline = self.code.put(entry + jump(address + len(entry)))
            thunk = self.code.place(source(trampoline))
            writable(address, len(entry))
            self.saved[address] = entry
            ctypes.memmove(address, jump(thunk), 13)


def writable(address: int, length: int) -> None:
    """Let us write to the library's code.  Raises EngineError where the system forbids it."""
    start = address & -PAGE
    size = -(-(address + length - start) // PAGE) * PAGE
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mprotect(ctypes.c_void_p(start), ctypes.c_size_t(size), RWX):
        raise EngineError("this system does not allow writable code (mprotect); the engine needs it")
