"""Where things lie in libunicorn 2.1.4 (the wheel for x86-64 Linux): every private offset that we use, found or checked.

Names are those of Unicorn's source (QEMU 5.0 inside): CPUState, CPUX86State ("env"), CPUTLBEntry.  All offsets are bytes.
build.py tells which library is loaded, proofs.py whether all this is true of it: if not, nothing is poked into it.
"""

from __future__ import annotations

from emu.cpu.unicorn.build import places, read_u64, symbol, write_u64

__all__ = ["read_u64", "symbol", "write_u64"]

_places = places()
UC_STOP_INTERRUPT, UC_CPU = _places.stop_interrupt, _places.cpu
UC_TCG, UC_NO_EXIT_REQUEST = _places.tcg, _places.no_exit_request
TCG_EPILOGUE = 0x98             # code_gen_epilogue of a TCGContext

# CPUState
CPU_STOPPED = 18
CPU_INTERRUPT_REQUEST = 28
CPU_OPAQUE = 0x8170             # no user in the x86 target: we keep the address of our mailbox here
CPU_HALTED = 0x8198
CPU_EXCEPTION_INDEX = 0x81A0
CPU_UC = 0x81A8
CPU_CLASS = 0x81B0
CPU_ENV = 0x8A50
INTERRUPT_HARD, INTERRUPT_SMI, INTERRUPT_NMI = 2, 0x40, 0x200

# CPUX86State
BUDGET = -8                     # padding before it, which nobody uses: see mailbox.py
TRACE_AT = -0x48                # padding, too: where the next block leaves its number, see fast/record.py
REGS = 0
EIP = 0x80
EFLAGS = 0x88
CC_DST, CC_SRC, CC_SRC2, CC_OP, DF = 0x90, 0x98, 0xA0, 0xA8, 0xAC
HFLAGS, HFLAGS2 = 0xB0, 0xB4
SEGS = 0xB8                     # ES CS SS DS FS GS, then LDT and TR, GDT, IDT; see SEGMENT_SIZE
SEGMENT_SIZE = 24               # u32 selector, u64 base at 8, u32 limit at 16, u32 flags at 20
LDT, TR, GDT, IDT = 0x148, 0x160, 0x178, 0x190
CR = 0x1A8
A20_MASK = 0x1F0
EFER = 0x250
FPSTT, FPUS, FPUC, FPTAGS, FPREGS, FPOP, FPIP, FPDP = 0x25C, 0x260, 0x262, 0x264, 0x270, 0x2F0, 0x2F8, 0x300
FT0 = 0x310                     # the x87's second operand, of an instruction that has it in memory or in ST(i)
SSE_STATUS = 0x328              # float_status: rounding mode +1, exception flags +2, FTZ +4, DAZ +5
MXCSR = 0x330
XMM = 0x338                     # 32 ZMM registers of 64 bytes
SYSENTER_CS, SYSENTER_ESP, SYSENTER_EIP = 0x12C0, 0x12C8, 0x12D0
STAR, LSTAR, CSTAR, FMASK, TSC_AUX = 0x12D8, 0x12E8, 0x12F0, 0x12F8, 0x1320
ERROR_CODE = 0x1508
EXCEPTION_IS_INT, EXCEPTION_NEXT_EIP = 0x150C, 0x1510
OLD_EXCEPTION = 0x1578
FEATURES = 0x1600               # u64 each: 1.EDX 1.ECX 7.EBX 7.ECX 7.EDX 7.1.EAX 80000001.EDX 80000001.ECX ...
TLB_DESC, TLB_DESC_SIZE = -0x870, 0x2B8         # CPUTLBDesc per MMU index
TLB_DESC_USED, TLB_DESC_IOTLB = 0x20, 0x2B0
JUMP_CACHE = -0x8918            # CPUState.tb_jmp_cache, 4096 pointers
TLB = -0x40                     # per MMU index: mask, table; entries of 64 bytes
TLB_WRITE, TLB_CODE, TLB_PADDR, TLB_ADDEND = 8, 16, 24, 32
TLB_MASK = 255 << 6             # of a new one: its last entry
TLB_NOTDIRTY, TLB_MMIO, TLB_INVALID, TLB_DISCARD_WRITE, TLB_WATCHPOINT = 0x400, 0x200, 0x800, 0x40, 0x100

# TranslationBlock
TB_PC, TB_CS_BASE, TB_FLAGS, TB_SIZE, TB_CFLAGS = 0, 8, 0x10, 0x14, 0x18
CF_COUNT, CF_NOCACHE = 0x7FFF, 0x10000          # of its cflags
TB_CODE, TB_CODE_SIZE = 0x20, 0x28              # the host code
TB_SECOND_PAGE = 0x50                           # where the guest's code goes on in a second page, -1: it does not
TB_RESET, TB_TARGET = 0x58, 0x60                # of goto_tb 0 and 1: u16 behind the jump (FFFFh: none), u64 of its rel32

# From the address where libunicorn is loaded: functions, and slots of its global offset table
TB_GEN_CODE = 0x42EC60
SLOTS = {
    "tb_gen_code_x86_64": 0x14BDEB0,
    "tlb_flush_x86_64": 0x14BF7C0,
    "tlb_reset_dirty_by_vaddr_x86_64": 0x14C67F8,
    "cpu_ldub_mmuidx_ra_x86_64": 0x14C5788,
    "cpu_lduw_mmuidx_ra_x86_64": 0x14BCAE0,
    "cpu_ldl_mmuidx_ra_x86_64": 0x14C9558,
    "cpu_ldq_mmuidx_ra_x86_64": 0x14C5638,
    "cpu_stb_mmuidx_ra_x86_64": 0x14CA9E8,
    "cpu_stw_mmuidx_ra_x86_64": 0x14C4C00,
    "cpu_stl_mmuidx_ra_x86_64": 0x14C0870,
    "cpu_stq_mmuidx_ra_x86_64": 0x14C4630,
}

# hflags (target/i386/cpu.h)
HF_CPL, HF_INHIBIT_IRQ, HF_CS32, HF_PE, HF_LMA, HF_CS64 = 3, 8, 0x10, 0x80, 0x4000, 0x8000
HF_EFLAGS = 0x23100             # TF, IOPL, VM: x86_update_hflags copies them, but a block's key takes them from EFLAGS itself
HF2_GIF, HF2_NMI = 1, 4
CC_OP_EFLAGS = 1


def slot(name: str) -> int:
    """Where the library keeps the address by which it calls an exported function of its own."""
    return symbol("tb_gen_code_x86_64") - TB_GEN_CODE + SLOTS[name]


def class_slots(class_: int) -> dict[int, int]:
    """The function pointers of a CPUClass: address of the slot -> function."""
    return {class_ + i: read_u64(class_ + i) for i in range(0, 0x100, 8)}
