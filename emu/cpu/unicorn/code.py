"""Executable memory for our thunks, and the patches of the library that lead to them.

Patches are process-wide while machines are not: a patched function serves every Unicorn of the process.  Each patch keeps a
way to the original work, every thunk takes it for an engine that is not ours (CPUState.opaque is 0), and what was patched
returns when the last machine closes.  Do not open the first or close the last machine while another thread is inside a
Unicorn.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import re
from collections.abc import Callable, Mapping

from emu.assembler import assemble_plain
from emu.cpu.unicorn.build import KNOWN, WANTED, exported, peek, read_u64, symbol, write_u64
from emu.cpu.unicorn.layout import slot
from emu.cpu.unicorn.prologue import JUMP, whole
from emu.engine import EngineError

RWX = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
PAGE = mmap.PAGESIZE
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
REACH = 1 << 30                     # bytes that a jump with a 32-bit displacement safely covers, with room for the target
_FAR = re.compile(r"(mov r\w+), 0x(?!f{8})([0-9a-f]{9,16})\b")       # MOV r64, imm64: no shorter form holds the number
_MARK = 0x4E756D6265720000          # stands for the number that its low bits count


class Code:
    """Pages of machine code; `near`: within the reach of a near jump of this address.  Raises EngineError."""

    def __init__(self, size: int = 4 * PAGE, near: int | None = None) -> None:
        self.size, self.used = size, 0
        hints = [0] if near is None else [(near & -PAGE) + sign * (i << 21) for i in range(1, 64) for sign in (-1, 1)]
        for hint in hints:
            address = _libc.mmap(hint, size, RWX, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
            if address in (None, ctypes.c_void_p(-1).value):
                raise EngineError("this system does not allow writable code (mmap); the engine needs it")
            if near is None or abs(address - near) < REACH:
                self.address: int = address
                return
            _libc.munmap(address, size)
        raise EngineError("no room for code near the translations")

    def put(self, code: bytes) -> int:
        """Keep `code`; its address."""
        start = self.used
        self.used = (start + len(code) + 15) & ~15
        if self.used > self.size:
            raise EngineError("the pages for thunks are full")
        ctypes.memmove(self.address + start, code, len(code))
        return self.address + start

    def place(self, source: str) -> int:
        """Assemble and keep; the address of the first instruction."""
        return self.put(assemble(source))

    def close(self) -> None:
        """Give the memory back; nothing may point here any more."""
        if self.size:
            _libc.munmap(self.address, self.size)
            self.size = 0


def assemble(source: str) -> bytes:
    """Code of labels, literals and registers that runs wherever it lies.  What differs from machine to machine are the
    numbers of MOV r64, imm64; the rest is assembled once in a process.  Raises AssemblyError.
    """
    numbers: list[int] = []

    def mark(match: re.Match[str]) -> str:
        numbers.append(int(match[2], 16))
        return f"{match[1]}, {_MARK + len(numbers) - 1:#x}"

    marked = _FAR.sub(mark, source)
    kept, places = _assembled(marked, len(numbers))
    code = bytearray(kept)
    for place, number in zip(places, numbers):
        code[place:place + 8] = number.to_bytes(8, "little")
    return bytes(code)


@functools.lru_cache(1024)
def _assembled(marked: str, numbers: int) -> tuple[bytes, list[int]]:
    """The code, and where the numbers are to be put."""
    code = assemble_plain(marked, 0)
    return code, [code.index((_MARK + number).to_bytes(8, "little")) for number in range(numbers)]


def saved(registers: str, body: str) -> str:
    """Source of `body` with registers (by blanks) on the stack while it runs, the last one on top."""
    names = registers.split()
    return "\n".join([*(f"push {name}" for name in names), body, *(f"pop {name}" for name in reversed(names))])


def jump(target: int) -> bytes:
    """mov r11, target; jmp r11: r11 belongs to nobody at a call (System V ABI)."""
    return b"\x49\xBB" + target.to_bytes(8, "little") + b"\x41\xFF\xE3"


class Patches:
    """Functions of the library that lead to thunks of ours while at least one machine that wants them lives.

    `entries`: function -> (its first instructions, whole and position-independent; source(trampoline)): the entry is
    overwritten.  In a build that we do not know, the first instructions are whatever prologue.py understands, and functions
    that it does not have are passed over.  `slots`: function -> source(original): the library's own calls of it, through its
    global offset table, are led to the thunk.
    """

    def __init__(self, entries: Mapping[str, tuple[bytes, Callable[[int], str]]],
                 slots: Mapping[str, Callable[[int], str]] | None = None) -> None:
        self.entries, self.slots = entries, slots or {}
        self.machines = 0
        self.code: Code | None = None
        self.saved: dict[int, bytes] = {}

    def check(self) -> None:
        """Raise EngineError if the library's code is not what we know."""
        for name, (entry, _) in self.entries.items():
            self._entry(name, entry)
        for name in self.slots:
            if read_u64(slot(name)) != symbol(name):
                raise EngineError(f"the library does not call {name} as it should")

    @staticmethod
    def _entry(name: str, known: bytes) -> bytes:
        if not KNOWN:
            if not exported(name):
                return b""
            start = peek(symbol(name), 2 * JUMP)
            if length := whole(start):
                return start[:length]
        elif ctypes.string_at(symbol(name), len(known)) == known:
            return known
        raise EngineError(f"{name} does not start as it should, or another tool has patched libunicorn: this needs {WANTED}")

    def acquire(self) -> None:
        """One machine more."""
        if self.machines == 0:
            self.check()
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
        self.code = Code(16 * PAGE)
        for name, (known, source) in self.entries.items():
            entry = self._entry(name, known)
            if not entry:
                continue
            address = symbol(name)
            trampoline = self.code.put(entry + jump(address + len(entry)))
            thunk = self.code.place(source(trampoline))
            writable(address, len(entry))
            self.saved[address] = entry
            ctypes.memmove(address, jump(thunk), JUMP)
        for name, make in self.slots.items():
            address = slot(name)
            thunk = self.code.place(make(symbol(name)))
            writable(address, 8)
            self.saved[address] = ctypes.string_at(address, 8)
            write_u64(address, thunk)


def writable(address: int, length: int) -> None:
    """Let us write to the library's code and tables.  Raises EngineError where the system forbids it."""
    start = address & -PAGE
    size = -(-(address + length - start) // PAGE) * PAGE
    if _libc.mprotect(start, size, RWX):
        raise EngineError("this system does not allow writable code (mprotect); the engine needs it")
