"""accesses: every load and store, for a recorder that wants them (emu.engine.Sink.memory).

Translated code asks the TLB in line.  While accesses are recorded, stores.fill_tlb marks each entry TLB_WATCHPOINT, which
leads every access to the library's functions for the rare cases; there it means a look at a list of watchpoints, which is
empty.  The entries of those functions keep each access that has succeeded.  Translated code stays as it is: a hook of
accesses (UC_HOOK_MEM) would make other blocks.  REP MOVS in bulk (fast/strings.py) finds no page that it may use.

An access is five words: position (as an event's), linear address, value, size | store << 8, linear address of the
instruction.  That is what the library finds for the return address in the block (cpu_restore_state), looked up once and kept
in a table; the processor's own accesses have the instruction that they interrupt.  An access that is not aligned is made
of smaller ones by the library, which it replaces: two loads, or a store for each byte.  Fetches, the walk of page tables
and what the host or a DMA engine does are none; loads and stores of the processor's own (descriptors, stacks of
interrupts, FXSAVE) are.  A value is of at most 8 bytes: SSE and far pointers take several.
"""

from __future__ import annotations

from collections.abc import Callable

from emu.cpu.unicorn import mailbox as m
from emu.cpu.unicorn.code import Patches, saved
from emu.cpu.unicorn.layout import CPU_ENV, EIP, SEGMENT_SIZE, SEGS, TRACE_AT, symbol
from emu.cpu.unicorn.privileged import MAILBOX

ACCESS = 40                     # bytes of one
PLACES, PLACE = 1 << 16, 16     # of the table of instructions, and the bytes of one: key, address
CC_OP = 0xA8                    # CPUX86State.cc_op, with df behind it: cpu_restore_state sets it, too
ROOM = 16 * ACCESS              # what the parts of one may need


def _room(size: str) -> str:
    """Have the ring emptied unless it has room; never between the parts of an access that is not aligned.  May change rax,
    r10, r11; `size` is a mask: bytes - 1.
    """
    return f"""
        mov r10, [rax + {m.ACCESS_END:#x}]
        sub r10, {ROOM:#x}
        test rsi, {size}
        je fits
        sub r10, {ROOM:#x}
    fits:
        cmp [rax + {m.ACCESS_AT:#x}], r10
    """


def _keep(value: str, size: str, parts: str, store: int) -> str:
    """rdi = env, rsi = the address; `size` leaves it in ecx, `parts` in edx of how many smaller ones it was made if it was
    not aligned.
    """
    return f"""
        mov r8, [rdi + {MAILBOX:#x}]
        mov r9, [r8 + {m.ACCESS_AT:#x}]
        {size}
        lea edx, [rcx - 0x1]
        test rsi, rdx
        je aligned
        {parts}
        imul edx, edx, {ACCESS:#x}
        sub r9, rdx
        cmp r9, [r8 + {m.ACCESS_START:#x}]
        jae aligned
        add r9, rdx
    aligned:
        mov rdx, [rdi + {TRACE_AT}]
        mov [r9], rdx
        mov [r9 + 0x8], rsi
        mov [r9 + 0x10], {value}
        or ecx, {store << 8:#x}
        mov [r9 + 0x18], rcx
        mov rdx, [r8 + {m.BY:#x}]
        mov [r9 + 0x20], rdx
        add r9, {ACCESS:#x}
        mov [r8 + {m.ACCESS_AT:#x}], r9
    """


def _by(back: str) -> str:
    """Note whose access it is: rdi = env, `back` = the return address in the block, 0: none.  May change rax, r10, r11."""
    return f"""
        mov rax, [rdi + {MAILBOX:#x}]
        test {back}, {back}
        je outside
        mov r11, {back}
        and r11d, {PLACES - 1:#x}
        shl r11, 0x4
        add r11, [rax + {m.KNOWN_BY:#x}]
        mov r10, [rax + {m.ANEW:#x}]
        or r10, {back}
        cmp [r11], r10
        je known
        mov [r11], r10
        {saved("rdi rsi rdx rcx r8 r9 rax r11", _restored(back))}
        mov [r11 + 0x8], r10
    known:
        mov r11, [r11 + 0x8]
        jmp noted
    outside:
        mov r11, [rdi + {EIP:#x}]
        add r11, [rdi + {SEGS + SEGMENT_SIZE + 8:#x}]
    noted:
        mov [rax + {m.BY:#x}], r11
    """


def _restored(back: str) -> str:
    """r10 = the linear address of the instruction that `back` belongs to; EIP and CC_OP stay.  Ten words on the stack make
    a multiple of 16, and RDI lies below them.
    """
    return f"""
        push qword ptr [rdi + {EIP:#x}]
        push qword ptr [rdi + {CC_OP:#x}]
        mov rsi, {back}
        sub rdi, {CPU_ENV:#x}
        xor edx, edx
        mov rax, {symbol("cpu_restore_state_x86_64"):#x}
        call rax
        mov rdi, [rsp + 0x48]
        mov r10, [rdi + {EIP:#x}]
        add r10, [rdi + {SEGS + SEGMENT_SIZE + 8:#x}]
        pop qword ptr [rdi + {CC_OP:#x}]
        pop qword ptr [rdi + {EIP:#x}]
    """


def _drain() -> str:
    """Call the recorder; the stack is a multiple of 16."""
    return saved("rdi rsi rdx rcx r8 r9", f"call [rax + {m.DRAIN:#x}]")


def load(trampoline: int) -> str:
    """load_helper(env, address, oi, return address, MemOp, code; function on the stack), the way of all loads."""
    return f"""
        test r9d, r9d
        jne original
        mov rax, [rdi + {MAILBOX:#x}]
        test rax, rax
        je original
        cmp qword ptr [rax + {m.MARK:#x}], 0x0
        je original
        push rdi
        push rsi
        push r8
        push rcx
        mov ecx, r8d
        and ecx, 0x3
        mov r11d, 0x1
        shl r11d, cl
        pop rcx
        dec r11d
        {_room("r11")}
        jb roomy
        {_drain()}
    roomy:
        {_by("rcx")}
        sub rsp, 0x8
        push qword ptr [rsp + 0x28]
        mov r11, {trampoline:#x}
        call r11
        add rsp, 0x10
        pop rcx
        pop rsi
        pop rdi
        {_keep("rax", '''
        and ecx, 0x3
        mov edx, 0x1
        shl edx, cl
        mov ecx, edx''', "mov edx, 0x2", 0)}
        ret
    original:
        mov r11, {trampoline:#x}
        jmp r11
    """


def store(size: int) -> Callable[[int], str]:
    """helper_*_st*_mmu and cpu_st*_mmuidx_ra(env, address, value, oi, return address): the ways of all stores."""
    mask = (1 << 8 * size) - 1
    return lambda trampoline: f"""
        mov rax, [rdi + {MAILBOX:#x}]
        test rax, rax
        je original
        cmp qword ptr [rax + {m.MARK:#x}], 0x0
        je original
        push rdi
        push rsi
        push rdx
        {_room(hex(size - 1))}
        jb roomy
        {_drain()}
    roomy:
        {_by("r8")}
        mov r11, {trampoline:#x}
        call r11
        pop rax
        pop rsi
        pop rdi
        {f"mov rdx, {mask:#x}" if size < 8 else ""}
        {"and rax, rdx" if size < 8 else ""}
        {_keep("rax", f"mov ecx, {size:#x}", f"mov edx, {size:#x}", 1)}
        ret
    original:
        mov r11, {trampoline:#x}
        jmp r11
    """


PATCHES = Patches({
    "load_helper": (bytes.fromhex("4157 4156 4989fe 4155 4154 55 53"), load),
    "helper_ret_stb_mmu_x86_64": (bytes.fromhex("4157 4156 4155 4989fd 4154 55 53"), store(1)),
    "helper_le_stw_mmu_x86_64": (bytes.fromhex("4157 0fb7c2 4156 4989fe 4155 4154"), store(2)),
    "helper_le_stl_mmu_x86_64": (bytes.fromhex("4157 4189d7 4156 4155 4989f5 89ce"), store(4)),
    "helper_le_stq_mmu_x86_64": (bytes.fromhex("4157 4156 4989f6 89ce 4155 83e60f"), store(8)),
    "cpu_stb_mmuidx_ra_x86_64": (bytes.fromhex("4189cb 4157 4889f1 4c89d8 4156"), store(1)),
    "cpu_stw_mmuidx_ra_x86_64": (bytes.fromhex("4189ca 4157 4889f1 4c89d0 4156"), store(2)),
    "cpu_stl_mmuidx_ra_x86_64": (bytes.fromhex("4157 4189d7 4156 4155 4989f5 89ce"), store(4)),
    "cpu_stq_mmuidx_ra_x86_64": (bytes.fromhex("4157 4156 4989f6 89ce 4155 4889f0"), store(8)),
})
