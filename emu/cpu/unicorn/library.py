"""Unicorn's C interface as we call it: with the GIL held, so that a callback need not take it again, and raw callbacks."""

from __future__ import annotations

import ctypes
from typing import Any

import unicorn
from unicorn import unicorn_const
from unicorn.unicorn_py3.unicorn import uclib

from emu.engine import EngineError

_library = ctypes.PyDLL(uclib._name)
start = _library.uc_emu_start
start.argtypes = (ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_size_t)
stop = _library.uc_emu_stop
stop.argtypes = (ctypes.c_void_p,)
_map_ptr, _mmio_map, _hook_add = _library.uc_mem_map_ptr, _library.uc_mmio_map, _library.uc_hook_add

VOID = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)                     # (cpu)
OUT = ctypes.PYFUNCTYPE(None, ctypes.c_uint32, ctypes.c_uint32)     # (port << 4 | size, value)
IN = ctypes.PYFUNCTYPE(ctypes.c_uint32, ctypes.c_uint32)            # (port << 4 | size)
ASK = ctypes.PYFUNCTYPE(ctypes.c_int)
KEY_IN = ctypes.PYFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64)        # (address << 4 | size), as fast/mmio.py calls it
KEY_OUT = ctypes.PYFUNCTYPE(None, ctypes.c_uint64, ctypes.c_uint64)
MMIO_READ = ctypes.PYFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint, ctypes.c_void_p)
MMIO_WRITE = ctypes.PYFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint, ctypes.c_uint64, ctypes.c_void_p)


def check(error: int) -> None:
    """Raise EngineError unless `error` is UC_ERR_OK."""
    if error:
        raise EngineError(f"unicorn: {unicorn.UcError(error)}")


def address(callback: Any) -> int:
    """Where a ctypes callback can be called; the callback must be kept."""
    return ctypes.cast(callback, ctypes.c_void_p).value or 0


def map_memory(uc: int, base: int, host: int, length: int) -> None:
    """Show `length` bytes of host memory at physical `base`, for every kind of access."""
    check(_map_ptr(ctypes.c_void_p(uc), ctypes.c_uint64(base), ctypes.c_size_t(length), unicorn.UC_PROT_ALL,
                   ctypes.c_void_p(host)))


def map_mmio(uc: int, base: int, length: int, read: int, write: int, data: int) -> None:
    """Let the functions at `read` and `write` answer from physical `base` on; both get `data`."""
    check(_mmio_map(ctypes.c_void_p(uc), ctypes.c_uint64(base), ctypes.c_size_t(length), ctypes.c_void_p(read),
                    ctypes.c_void_p(data), ctypes.c_void_p(write), ctypes.c_void_p(data)))


def hook(uc: int, kind: int, thunk: int, begin: int = 1, end: int = 0, *more: Any) -> None:
    """Install a native hook; begin > end: everywhere."""
    handle = ctypes.c_size_t()
    check(_hook_add(ctypes.c_void_p(uc), ctypes.byref(handle), ctypes.c_int(kind), ctypes.c_void_p(thunk),
                    ctypes.c_void_p(0), ctypes.c_uint64(begin), ctypes.c_uint64(end), *more))


def hook_fetch(uc: int, thunk: int, begin: int, end: int) -> None:
    """Install a native hook of fetches from device memory, at the physical addresses from `begin` to `end`."""
    hook(uc, unicorn_const.UC_HOOK_MEM_FETCH_PROT, thunk, begin, end)


def hook_instruction(uc: int, instruction: int, thunk: int) -> None:
    """Install a native hook of one instruction."""
    hook(uc, unicorn_const.UC_HOOK_INSN, thunk, 1, 0, ctypes.c_int(instruction))


class Closed:
    """What is left of an engine and its registers after `close`."""

    def __getattr__(self, name: str) -> Any:
        raise EngineError(f"{name}: this machine is closed")

    def close(self) -> None:
        """Once more does no harm."""
