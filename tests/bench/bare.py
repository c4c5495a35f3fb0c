"""The floor: Unicorn without a machine around it, at its best.

The library as its public interface has it (32-bit mode, mapped memory, a hook for OUT), and of the engine only what makes
stores fast: no exit check after each access (`no_exit_request`), and the thunks that keep a page's stores fast while it holds
no code.  Nothing counts time here, nothing stops the guest, no exception or interrupt is delivered: each block still calls
the library's own exit check, which our engine has replaced by its budget.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable
from pathlib import Path

import unicorn
from unicorn import unicorn_const, x86_const
from unicorn.unicorn_py3.unicorn import uclib

from emu.cpu.unicorn import layout as at
from emu.cpu.unicorn import proofs, stores
from emu.cpu.unicorn.code import Code
from emu.engine import EngineError

MEMORY = 64 << 20
ENTRY = 0x10000
PAGES = MEMORY >> 12
OUT = ctypes.PYFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint32, ctypes.c_void_p)


def run(image: Path, debug: Callable[[bytes], None]) -> None:
    """Run a workload to its HLT; `debug` takes what it writes to port E9h."""
    proofs.check_library()
    memory = mmap.mmap(-1, MEMORY, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    data = image.read_bytes()
    memory[ENTRY:ENTRY + len(data)] = data
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    uc = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_32)
    uc.ctl_set_tcg_buffer_size(128 << 20)
    uc.ctl_exits_enabled(True)
    uc.mem_map_ptr(0, MEMORY, unicorn.UC_PROT_ALL, ctypes.c_void_p(base))
    uc.reg_read(x86_const.UC_X86_REG_EAX)           # builds the processor
    handle = uc._uch.value
    _, class_ = proofs.check_structures(handle)
    ctypes.c_uint8.from_address(handle + at.UC_NO_EXIT_REQUEST).value = 1

    code, code_map, rom_map = Code(), bytearray(PAGES // 8 + 8), bytearray(PAGES // 8 + 8)
    maps = [ctypes.addressof(ctypes.c_char.from_buffer(x)) for x in (code_map, rom_map)]
    original = at.symbol("x86_cpu_tlb_fill_x86_64")
    views = [mmap.mmap(-1, 8 * (stores.VIEWED >> 12), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) for _ in range(2)]
    tables = [ctypes.addressof(ctypes.c_char.from_buffer(table)) for table in views]             # nothing is viewed
    fill = code.place(stores.fill_tlb(original, base, PAGES, *maps, *tables))
    for slot, function in at.class_slots(class_).items():
        if function == original:
            at.write_u64(slot, fill)
    block = code.place(stores.new_block(base, PAGES, maps[0]))
    out = OUT(lambda uc, port, size, value, data: debug(bytes([value])) if port == 0xE9 else None)
    _hook(handle, unicorn_const.UC_HOOK_EDGE_GENERATED, block)
    _hook(handle, unicorn_const.UC_HOOK_INSN, ctypes.cast(out, ctypes.c_void_p).value or 0, x86_const.UC_X86_INS_OUT)

    memory[:3] = b"\xEB\x00\xF4"                    # jmp $+2; hlt: the EDGE hook misses what comes before a first return
    start = ctypes.PyDLL(uclib._name).uc_emu_start
    start.argtypes = (ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_size_t)
    for entry in (0, ENTRY):
        if error := start(handle, entry, 0, 0, 0):
            raise EngineError(f"unicorn: {unicorn.UcError(error)}")


def _hook(handle: int, kind: int, thunk: int, *more: int) -> None:
    hook = ctypes.c_size_t()
    if error := uclib.uc_hook_add(ctypes.c_void_p(handle), ctypes.byref(hook), ctypes.c_int(kind), ctypes.c_void_p(thunk),
                                  ctypes.c_void_p(0), ctypes.c_uint64(1), ctypes.c_uint64(0), *map(ctypes.c_int, more)):
        raise EngineError(f"unicorn: {unicorn.UcError(error)}")
