"""The processor's registers, live, in the SDM's names; and all of them as plain values for a snapshot.

Everything is read and written in Unicorn's own structures: the public calls cost 2 us each and load segments as a guest
would.  Raw engine memory is never saved: it holds pointers.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from unicorn import x86_const
from unicorn.unicorn_py3.unicorn import uclib

from emu.cpu.unicorn import layout as at
from emu.cpu.unicorn.layout import symbol
from emu.x86 import Segment

GENERAL = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{i}" for i in range(8, 16)))
SEGMENTS = {name: at.SEGS + at.SEGMENT_SIZE * i for i, name in enumerate(("es", "cs", "ss", "ds", "fs", "gs"))}
SEGMENTS |= {"ldtr": at.LDT, "tr": at.TR}
TR_BUSY = 2                         # in the type of a loaded TR (SDM vol. 3A, 7.2.3); the library keeps it clear, or aborts
TABLES = {"gdtr": at.GDT, "idtr": at.IDT}
CONTROL = {"cr0": 0, "cr2": 2, "cr3": 3, "cr4": 4}
DEBUG = {f"dr{i}": getattr(x86_const, f"UC_X86_REG_DR{i}") for i in (0, 1, 2, 3, 6, 7)}
SMALL = {"fop": at.FPOP}

# The model-specific registers that this engine keeps (misc_helper.c); EFER and the segment bases are registers above.
MSRS = (
    0x174, 0x175, 0x176,                                            # SYSENTER_CS ESP EIP
    0x1A0, 0x277, 0x2FF,                                            # MISC_ENABLE PAT MTRR_DEF_TYPE
    *range(0x200, 0x210), 0x250, 0x258, 0x259, *range(0x268, 0x270),    # MTRRs
    0xC0000081, 0xC0000082, 0xC0000083, 0xC0000084,                 # STAR LSTAR CSTAR FMASK
    0xC0000102, 0xC0000103,                                         # KERNEL_GS_BASE TSC_AUX
)


class _Msr(ctypes.Structure):
    _fields_ = (("number", ctypes.c_uint32), ("value", ctypes.c_uint64))


class Registers:
    """A live view; see emu.engine.Registers."""

    def __init__(self, uc: int, env: int) -> None:
        set_ = object.__setattr__
        set_(self, "_uc", ctypes.c_void_p(uc))
        set_(self, "_env", env)
        words = {name: at.REGS + 8 * i for i, name in enumerate(GENERAL)}
        words |= {"rip": at.EIP, "efer": at.EFER} | {name: at.CR + 8 * i for name, i in CONTROL.items()}
        words |= {"fip": at.FPIP, "fdp": at.FPDP}
        set_(self, "_words", {name: ctypes.c_uint64.from_address(env + offset) for name, offset in words.items()})
        set_(self, "_small", {name: ctypes.c_uint16.from_address(env + offset) for name, offset in SMALL.items()})

    def __getattr__(self, name: str) -> Any:
        word = self._words.get(name)
        if word is not None:
            return word.value
        if name in SEGMENTS:
            segment = _segment(self._env + SEGMENTS[name])
            return replace(segment, attributes=segment.attributes | TR_BUSY) if name == "tr" else segment
        if name in TABLES:
            table = _segment(self._env + TABLES[name])
            return table.base, table.limit
        if name in self._small:
            return self._small[name].value
        reader = _READ.get(name)
        if reader is None:
            raise AttributeError(f"no register named {name}")
        return reader(self)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in CONTROL:
            _set_control(self, name, value)
        elif name in self._words:
            self._words[name].value = value
        elif name in SEGMENTS:
            clear = TR_BUSY if name == "tr" else 0
            _set_segment(self._env + SEGMENTS[name], replace(value, attributes=value.attributes & ~clear))
            _update_hflags(self._env)
        elif name in TABLES:
            address = self._env + TABLES[name]
            at.write_u64(address + 8, value[0])
            ctypes.c_uint32.from_address(address + 16).value = value[1]
        elif name in self._small:
            self._small[name].value = value
        elif name in _WRITE:
            _WRITE[name](self, value)
        else:
            raise AttributeError(f"no register named {name}")

    def __dir__(self) -> list[str]:
        return [*GENERAL, "rip", "rflags", *SEGMENTS, *TABLES, *CONTROL, *DEBUG, "efer", *SMALL, "fcw", "fsw",
                "ftw", "fip", "fdp", "mxcsr", "st", "xmm"]

    def api(self, number: int) -> int:
        """A register through the public call."""
        value = ctypes.c_uint64(0)
        uclib.uc_reg_read(self._uc, number, ctypes.byref(value))
        return value.value

    def set_api(self, number: int, value: int) -> None:
        """The inverse of `api`."""
        uclib.uc_reg_write(self._uc, number, ctypes.byref(ctypes.c_uint64(value)))

    def msr(self, number: int) -> int:
        """RDMSR; 0 where the engine keeps nothing."""
        msr = _Msr(number, 0)
        uclib.uc_reg_read(self._uc, x86_const.UC_X86_REG_MSR, ctypes.byref(msr))
        return int(msr.value)

    def set_msr(self, number: int, value: int) -> None:
        """WRMSR."""
        uclib.uc_reg_write(self._uc, x86_const.UC_X86_REG_MSR, ctypes.byref(_Msr(number, value)))

    def save(self) -> dict[str, Any]:
        """All of them as ints, lists and hex strings."""
        state: dict[str, Any] = {name: getattr(self, name) for name in
                                 (*GENERAL, "rip", "rflags", *CONTROL, *DEBUG, "efer",
                                  *SMALL, "fcw", "fsw", "ftw", "fip", "fdp", "mxcsr")}
        for name in SEGMENTS:
            segment = getattr(self, name)
            state[name] = [segment.selector, segment.base, segment.limit, segment.attributes]
        for name in TABLES:
            state[name] = list(getattr(self, name))
        state["st"] = [value.hex() for value in self.st]
        state["xmm"] = [value.hex() for value in self.xmm]
        state["msr"] = {f"{number:x}": self.msr(number) for number in MSRS}
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of `save`."""
        for number, value in state["msr"].items():
            self.set_msr(int(number, 16), value)
        for name in ("fcw", "fsw", "ftw", "mxcsr", *SMALL, "fip", "fdp", *GENERAL, "rip", "efer"):
            setattr(self, name, state[name])
        self.st = [bytes.fromhex(value) for value in state["st"]]
        self.xmm = [bytes.fromhex(value) for value in state["xmm"]]
        for name in SEGMENTS:
            setattr(self, name, Segment(*state[name]))
        for name in TABLES:
            setattr(self, name, state[name])
        for name, i in CONTROL.items():
            if name != "cr4":
                at.write_u64(self._env + at.CR + 8 * i, state[name])
        _set_control(self, "cr4", state["cr4"])
        self.set_api(DEBUG["dr7"], 0x400)
        for name in ("dr0", "dr1", "dr2", "dr3", "dr6"):
            self.set_api(DEBUG[name], state[name])
        self.dr7 = state["dr7"]
        self.rflags = state["rflags"]
        _update_hflags(self._env)


def _call(name: str, env: int, *values: int) -> None:
    ctypes.CFUNCTYPE(None, ctypes.c_void_p, *[ctypes.c_uint32] * len(values))(symbol(name))(env, *values)


def _update_hflags(env: int) -> None:
    _call("x86_update_hflags_x86_64", env)
    hflags = ctypes.c_uint32.from_address(env + at.HFLAGS)
    hflags.value &= ~at.HF_EFLAGS                       # they would stay when EFLAGS changes


def _segment(address: int) -> Segment:
    raw = (ctypes.c_uint32 * 6).from_address(address)
    return Segment(raw[0], raw[2] | raw[3] << 32, raw[4], raw[5] >> 8 & 0xF0FF)


def _set_segment(address: int, segment: Segment) -> None:
    ctypes.c_uint32.from_address(address).value = segment.selector
    at.write_u64(address + 8, segment.base)
    ctypes.c_uint32.from_address(address + 16).value = segment.limit
    ctypes.c_uint32.from_address(address + 20).value = segment.attributes << 8


def _set_control(registers: Registers, name: str, value: int) -> None:
    """The update functions recompute hflags, drop the TLB, and let CR0.PG switch long mode on and off as EFER.LME says."""
    if name == "cr2":
        registers._words[name].value = value
    elif name == "cr3" and value >> 32:
        registers._words[name].value = value            # the update function masks to 32 bits
        _call("cpu_x86_update_cr4_x86_64", registers._env, registers.cr4)
    else:
        _call(f"cpu_x86_update_{name}_x86_64", registers._env, value)


def _read_ftw(registers: Registers) -> int:
    """The abridged tag word of FXSAVE: bit i set while physical register i holds something."""
    tags = ctypes.string_at(registers._env + at.FPTAGS, 8)
    return sum(1 << i for i, empty in enumerate(tags) if not empty)


def _write_ftw(registers: Registers, value: int) -> None:
    ctypes.memmove(registers._env + at.FPTAGS, bytes(0 if value >> i & 1 else 1 for i in range(8)), 8)


def _strings(start: int, step: int, length: int, count: int) -> Callable[[Registers], list[bytes]]:
    return lambda registers: [ctypes.string_at(registers._env + start + step * i, length) for i in range(count)]


def _reader(number: int) -> Callable[[Registers], int]:
    return lambda registers: registers.api(number)


def _writer(number: int) -> Callable[[Registers, int], None]:
    return lambda registers, value: registers.set_api(number, value)


def _set_strings(start: int, step: int, length: int) -> Callable[[Registers, list[bytes]], None]:
    def write(registers: Registers, values: list[bytes]) -> None:
        for i, value in enumerate(values):
            ctypes.memmove(registers._env + start + step * i, value, length)

    return write


_READ: dict[str, Callable[[Registers], Any]] = {
    "rflags": lambda registers: registers.api(x86_const.UC_X86_REG_RFLAGS),
    "fcw": lambda registers: registers.api(x86_const.UC_X86_REG_FPCW) & 0xFFFF,
    "fsw": lambda registers: registers.api(x86_const.UC_X86_REG_FPSW) & 0xFFFF,
    "ftw": _read_ftw,
    "mxcsr": lambda registers: registers.api(x86_const.UC_X86_REG_MXCSR) & 0xFFFFFFFF,
    "st": _strings(at.FPREGS, 16, 10, 8),               # physical registers R0 to R7, 80 bits each
    "xmm": _strings(at.XMM, 64, 16, 16),
    **{name: _reader(number) for name, number in DEBUG.items()},
}
_WRITE: dict[str, Callable[[Registers, Any], None]] = {
    "rflags": lambda registers, value: registers.set_api(x86_const.UC_X86_REG_RFLAGS, value),
    "fcw": lambda registers, value: registers.set_api(x86_const.UC_X86_REG_FPCW, value),     # and the rounding with it
    "fsw": lambda registers, value: registers.set_api(x86_const.UC_X86_REG_FPSW, value),
    "ftw": _write_ftw,
    "st": _set_strings(at.FPREGS, 16, 10),
    "xmm": _set_strings(at.XMM, 64, 16),
    "mxcsr": lambda registers, value: registers.set_api(x86_const.UC_X86_REG_MXCSR, value),
    **{name: _writer(number) for name, number in DEBUG.items() if name != "dr7"},
    "dr7": lambda registers, value: _call("cpu_x86_update_dr7_x86_64", registers._env, value),      # sets breakpoints, too
}
