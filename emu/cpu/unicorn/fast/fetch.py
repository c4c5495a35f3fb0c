"""fetch: the translator reads the guest's code through the TLB, as the guest reads its data.

The library's cpu_ldub_code and its wider brothers look for the page's region of memory and walk lists of hooks, for every
byte of an instruction: 5 % of what a new block costs.  Their entries lead to a thunk that answers from the TLB's entry for
code where that is one of plain memory and holds the whole of what is read; all else goes the original way.

Gain: cold code takes 0.95 of the time.
"""

from __future__ import annotations

from collections.abc import Callable

from emu.cpu.unicorn import mailbox as m
from emu.cpu.unicorn.layout import HFLAGS, TLB, TLB_ADDEND, TLB_CODE
from emu.cpu.unicorn.privileged import MAILBOX

HF_SMAP = 0x800000
USER, KERNEL = 1, 2                 # MMU indexes, without SMAP (target/i386/cpu.h)


def _read(size: int, load: str) -> Callable[[int], str]:
    """cpu_ld?_code(env, address): `load` leaves what is at [rax + rsi] in rax."""
    return lambda trampoline: f"""
        mov rcx, [rdi + {MAILBOX:#x}]
        test rcx, rcx
        je original
        cmp qword ptr [rcx + {m.FETCH_ON:#x}], 0x0
        je original
        mov eax, [rdi + {HFLAGS:#x}]
        lea rcx, [rdi - {-(TLB + 16 * KERNEL):#x}]
        lea rdx, [rdi - {-(TLB + 16 * USER):#x}]
        test eax, {HF_SMAP:#x}
        jne original
        and eax, 0x3
        cmp eax, 0x3
        cmove rcx, rdx
        mov rax, rsi
        shr rax, 0x6
        and rax, [rcx]
        add rax, [rcx + 0x8]
        lea rdx, [rsi + {size - 1:#x}]
        and rdx, 0xfffffffffffff000
        cmp rdx, [rax + {TLB_CODE:#x}]
        jne original
        mov rax, [rax + {TLB_ADDEND:#x}]
        {load}
        ret
    original:
        mov r11, {trampoline:#x}
        jmp r11
    """


def _wide(index: int) -> bytes:
    return bytes.fromhex(f"4883ec08 8b87b0000000 ba{index:02x}000000")


ENTRIES = {
    "cpu_ldub_code_x86_64": (bytes.fromhex("4157 4156 4155 4154 4989f4 55 53"), _read(1, "movzx eax, byte ptr [rax + rsi]")),
    "cpu_lduw_code_x86_64": (_wide(0x11), _read(2, "movzx eax, word ptr [rax + rsi]")),
    "cpu_ldl_code_x86_64": (_wide(0x21), _read(4, "mov eax, [rax + rsi]")),
    "cpu_ldq_code_x86_64": (_wide(0x31), _read(8, "mov rax, [rax + rsi]")),
}
