"""Proofs that layout.py describes the loaded library; without them nothing is written into it.

For the build that is known by its id these are a second look.  In another build they decide: it runs on the plain core if
all hold, and is refused with one line if one fails.  Nothing here follows a pointer that may lead nowhere.
"""

from __future__ import annotations

import ctypes
import functools

import unicorn
from unicorn import x86_const

from emu.cpu.unicorn import layout as at
from emu.cpu.unicorn.build import KNOWN, NAME, WANTED, peek, peek_u64, symbol
from emu.engine import EngineError

REGISTERS = {                   # of the public interface, which moves with the structures, and where we look for them
    **{f"UC_X86_REG_{name}": at.REGS + 8 * i for i, name in enumerate(
        ("RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI", *(f"R{i}" for i in range(8, 16))))},
    "UC_X86_REG_FS_BASE": at.SEGS + 4 * at.SEGMENT_SIZE + 8, "UC_X86_REG_GS_BASE": at.SEGS + 5 * at.SEGMENT_SIZE + 8,
    "UC_X86_REG_CR2": at.CR + 8 * 2,
}
TABLES = {"UC_X86_REG_LDTR": at.LDT, "UC_X86_REG_TR": at.TR, "UC_X86_REG_GDTR": at.GDT, "UC_X86_REG_IDTR": at.IDT}
MSRS = {0x174: at.SYSENTER_CS, 0x175: at.SYSENTER_ESP, 0x176: at.SYSENTER_EIP, 0xC0000081: at.STAR, 0xC0000082: at.LSTAR,
        0xC0000083: at.CSTAR, 0xC0000084: at.FMASK, 0xC0000103: at.TSC_AUX}
MENTIONED = {                   # an exported function -> offsets that its code names, from CPUState or from env
    "x86_cpu_do_interrupt_x86_64": (at.CPU_EXCEPTION_INDEX, *(
        at.CPU_ENV + offset for offset in (at.ERROR_CODE, at.EXCEPTION_IS_INT, at.OLD_EXCEPTION))),
    "helper_hlt_x86_64": (at.CPU_HALTED,),
    "cpu_exec_x86_64": (at.CPU_UC,),
    "x86_cpu_set_a20_x86_64": (at.CPU_ENV + at.A20_MASK,),
    "helper_read_eflags_x86_64": tuple(at.CPU_ENV + offset for offset in (at.CC_OP, at.EFLAGS, at.DF)),
    "cpu_x86_update_cr4_x86_64": (at.CPU_ENV + at.CR + 8 * 4, at.CPU_ENV + at.HFLAGS),
}
REACH = 0x200                   # bytes of code in which they stand


class _Table(ctypes.Structure):
    _fields_ = (("selector", ctypes.c_uint16), ("base", ctypes.c_uint64), ("limit", ctypes.c_uint32),
                ("flags", ctypes.c_uint32))


def _refuse(proofs: dict[str, bool]) -> None:
    wrong = [name for name, right in proofs.items() if not right]
    if wrong:
        raise EngineError(f"the structures of {NAME} are not where they were ({', '.join(wrong)}): this needs {WANTED}")


@functools.cache
def check_library() -> None:
    """In a build that we do not know: offsets that its code names, and registers that a throw-away engine's public interface
    has written.  Raises EngineError.
    """
    if KNOWN:
        return
    _refuse({f"{offset:#x} in {name}": _mentions(name, offset) for name, offsets in MENTIONED.items() for offset in offsets})
    uc = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64)
    uc.reg_read(x86_const.UC_X86_REG_RAX)
    cpu, _ = check_structures(uc._uch.value)
    env, proofs = cpu + at.CPU_ENV, {}
    for i, (name, offset) in enumerate(REGISTERS.items()):
        value = 0x11110000 + i
        uc.reg_write(getattr(x86_const, name), value)
        proofs[name] = peek_u64(env + offset) == value
    for i, (name, offset) in enumerate(TABLES.items()):
        value = 0x22220000 + i
        uc.reg_write(getattr(x86_const, name), (0, value, 0x77, 0x8900))
        proofs[name] = peek_u64(env + offset + 8) == value and peek(env + offset + 16, 1) == b"\x77"
    for i, (number, offset) in enumerate(MSRS.items()):
        value = 0x3300 + i                                              # SYSENTER_CS keeps 16 bits
        uc.msr_write(number, value)
        proofs[f"MSR {number:#x}"] = int.from_bytes(peek(env + offset, 4), "little") == value
    for i in range(16):
        value = 0x44440000 + i << 64 | 0x55550000 + i
        uc.reg_write(x86_const.UC_X86_REG_XMM0 + i, value)
        proofs[f"xmm{i}"] = peek(env + at.XMM + 64 * i, 16) == value.to_bytes(16, "little")
    for i in range(8):
        uc.reg_write(x86_const.UC_X86_REG_FP0 + i, (0x66660000 + i, 0x3FFF))
        proofs[f"fp{i}"] = peek(env + at.FPREGS + 16 * i, 4) == (0x66660000 + i).to_bytes(4, "little")
    _refuse(proofs)


def check_structures(uc: int) -> tuple[int, int]:
    """(CPUState, CPUClass) of an initialised engine.  Raises EngineError."""
    cpu = peek_u64(uc + at.UC_CPU)
    class_ = peek_u64(cpu + at.CPU_CLASS)
    slots = peek(class_, 0x100)
    _refuse({
        "stop_interrupt": peek_u64(uc + at.UC_STOP_INTERRUPT + 8) == symbol("memory_map_io_x86_64"),
        "cpu": peek_u64(uc + at.UC_CPU - 32) == symbol("uc_del_inline_hook_x86_64"),
        "uc": peek_u64(cpu + at.CPU_UC) == uc,
        "env": peek_u64(cpu + 0x128) == cpu + at.CPU_ENV,
        "budget": peek_u64(cpu + at.CPU_ENV + at.BUDGET) == 0,
        "trace": peek_u64(cpu + at.CPU_ENV + at.TRACE_AT) == 0,
        "opaque": peek_u64(cpu + at.CPU_OPAQUE) == 0,
        "tlb": peek_u64(cpu + at.CPU_ENV + at.TLB) == at.TLB_MASK,
        "class": symbol("x86_cpu_exec_interrupt_x86_64").to_bytes(8, "little") in slots,
        "no_exit_request": peek(uc + at.UC_NO_EXIT_REQUEST, 2) == b"\0\1",          # init_done behind it
    })
    return cpu, class_


def check_after_reset(env: int) -> None:
    """Proof by the values that a reset sets (SDM vol. 3A, table 10-1).  Raises EngineError."""
    _refuse({
        "eip": at.read_u64(env + at.EIP) == 0xFFF0,
        "cs": at.read_u64(env + at.SEGS + at.SEGMENT_SIZE + 8) == 0xFFFF0000,
        "cr0": at.read_u64(env + at.CR) == 0x60000010,
        "fpuc": ctypes.c_uint16.from_address(env + at.FPUC).value == 0x37F,
        "mxcsr": ctypes.c_uint32.from_address(env + at.MXCSR).value == 0x1F80,
    })


def _mentions(name: str, offset: int) -> bool:
    code = peek(symbol(name), REACH)
    return any((offset - base).to_bytes(4, "little", signed=True) in code for base in (0, at.CPU_ENV))
