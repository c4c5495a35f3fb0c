"""Which build of libunicorn is loaded, and where its uc_struct keeps what we need.

The offsets of layout.py are those of one build, known by its build id.  The first half of CPUState and of the processor's
state has not moved from 2.1.2 to 2.1.4; `uc_struct` has.  In another build its fields are found by neighbours that are
addresses of exported functions, and proofs.py then decides, before anything is written, whether the rest fits.
"""

from __future__ import annotations

import ctypes
import functools
import os
from dataclasses import dataclass

import unicorn
from unicorn import x86_const
from unicorn.unicorn_py3.unicorn import uclib

from emu.engine import EngineError

WANTED = "unicorn 2.1.4 for x86-64 Linux (pip install unicorn==2.1.4)"
BUILD_ID = "44285d3e80527122e9e361928189385906ec813e"
BUILD_NOTE = b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0"     # ELF note header: name 4, description 20 bytes, NT_GNU_BUILD_ID
STATIC = {                          # functions that are not exported, and places within others, from tb_gen_code on
    "load_helper": -0x1D180, "decoder_lock": 0x362E8, "decoder_next": 0x36120, "decoder_illegal": 0x36430,
    "task_save_16": 0x19594, "task_load_16": 0x18846, "task_enter_32": 0x18DA6, "task_enter_16": 0x195C8,
    "cmpxchg_memory": 0x39A83, "cmpxchg_register": 0x4169B, "gen_op_mov_reg_v": 0x2B0A0}
HEAD = 1 << 16                      # bytes of the file in which the note lies


def build_id(path: str) -> str:
    """The build id of a library's file, or why there is none."""
    try:
        with open(path, "rb") as file:
            image = file.read(HEAD)
    except OSError as error:
        return f"unknown ({error.strerror})"
    note = image.find(BUILD_NOTE)
    return image[note + len(BUILD_NOTE):][:20].hex() if note >= 0 else "unknown"


LOADED = build_id(uclib._name)
KNOWN = LOADED == BUILD_ID
NAME = f"unicorn {getattr(unicorn, '__version__', '?')}, build {LOADED}"


@functools.cache
def symbol(name: str) -> int:
    """The address of an exported function, or of one that we know in this build."""
    if name in STATIC and KNOWN:
        return symbol("tb_gen_code_x86_64") + STATIC[name]
    try:
        return ctypes.cast(getattr(uclib, name), ctypes.c_void_p).value or 0
    except AttributeError:
        raise EngineError(f"libunicorn has no {name}: this needs {WANTED}") from None


def exported(name: str) -> bool:
    """Whether this build has a function."""
    return hasattr(uclib, name) or (KNOWN and name in STATIC)


def read_u64(address: int) -> int:
    """The 8 bytes at a host address."""
    return ctypes.c_uint64.from_address(address).value


def write_u64(address: int, value: int) -> None:
    """Set the 8 bytes at a host address."""
    ctypes.c_uint64.from_address(address).value = value


def peek(address: int, length: int) -> bytes:
    """Host memory that may not be there, in a build that we do not know: fewer bytes then."""
    if KNOWN:
        return ctypes.string_at(address, length)
    memory = os.open("/proc/self/mem", os.O_RDONLY)
    try:
        return os.pread(memory, length, address)
    except (OSError, OverflowError):
        return b""
    finally:
        os.close(memory)


def peek_u64(address: int) -> int:
    """The 8 bytes at a host address, or 0."""
    return int.from_bytes(peek(address, 8), "little")


@dataclass(frozen=True)
class Places:
    """Offsets in struct uc_struct."""

    stop_interrupt: int = 0xE0      # bool (*)(uc, vector): asked first about every exception (cpu-exec.c)
    cpu: int = 0x1B8
    tcg: int = 0x300                # TCGContext
    no_exit_request: int = 0x7F2    # 1: no exit check after every memory access, which would run instructions twice


def places() -> Places:
    """Those of the loaded library, as well as they can be told; proofs.py tells whether they are right."""
    if KNOWN:
        return Places()
    uc = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64)
    uc.reg_read(x86_const.UC_X86_REG_RAX)                   # any such call makes the library build the processor
    head = peek(uc._uch.value, 0x400)
    words = {int.from_bytes(head[i:i + 8], "little"): i for i in range(0, len(head), 8)}
    try:
        map_io, hook = words[symbol("memory_map_io_x86_64")], words[symbol("uc_del_inline_hook_x86_64")]
        # uc_emu_stop begins with `cmp byte [rdi + init_done], 0`, and no_exit_request lies before it
        stop = peek(symbol("uc_emu_stop"), 0x40)
        done = int.from_bytes(stop[stop.index(b"\x80\xBF") + 2:][:4], "little")
    except (EngineError, KeyError, ValueError):
        return Places()
    known = Places()
    return Places(map_io - 8, hook + 32, hook + 32 + known.tcg - known.cpu, done - 1)
