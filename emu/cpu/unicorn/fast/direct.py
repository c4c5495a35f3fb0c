"""direct: what the processor loads and stores by itself asks the TLB alone, and so does an access across two pages.

Descriptors, the stacks of interrupts, far calls and IRET, the operands of BOUND, CMPXCHG8B or FXSAVE: QEMU's helpers access
memory by cpu_ld*_mmuidx_ra(env, address, MMU index, return address) and cpu_st*_mmuidx_ra(env, address, value, ...), and for
each Unicorn searches its list of regions for hooks of memory, of which a machine of ours has none.  The library calls them
through its global offset table.  The thunks there look for an entry of the TLB that shows plain memory, without any flag (of
a page with code, ROM, device memory, of accesses that are recorded), and leave all else to the library.

An access of translated code that crosses a page comes to a thunk of access.py, from its slow path: `across` does it where
both pages are plain memory.  The library's order, the bytes of a store one by one, shows nowhere.

Gain: INT 80h and IRET, and a load of a segment register, take 0.35 of the time, an access across two pages 0.15.
"""

from __future__ import annotations

from collections.abc import Callable

from emu.cpu.unicorn import mailbox as m
from emu.cpu.unicorn.layout import TLB, TLB_ADDEND, TLB_WRITE
from emu.cpu.unicorn.privileged import MAILBOX

LOADS = {1: "movzx eax, byte ptr [rsi + r9]", 2: "movzx eax, word ptr [rsi + r9]", 4: "mov eax, [rsi + r9]",
         8: "mov rax, [rsi + r9]"}
STORES = {1: "mov [rsi + r9], dl", 2: "mov [rsi + r9], dx", 4: "mov [rsi + r9], edx", 8: "mov [rsi + r9], rdx"}
SIZES = {"b": 1, "w": 2, "l": 4, "q": 8}


def _access(size: int, index: str, tag: int, access: str) -> Callable[[int], str]:
    """`index`: the register with the MMU index; `tag`: the place of an entry's address for this kind of access."""
    return lambda original: f"""
        mov rax, [rdi + {MAILBOX:#x}]
        test rax, rax
        je original
        cmp qword ptr [rax + {m.DIRECT_ON:#x}], 0x0
        je original
        mov eax, {index}
        shl rax, 0x4
        mov r9, rsi
        shr r9, 0x6
        and r9, [rdi + rax - {-TLB:#x}]
        add r9, [rdi + rax - {-TLB - 8:#x}]
        lea rax, [rsi + {size - 1:#x}]
        and rax, -0x1000
        cmp rax, [r9 + {tag:#x}]
        jne original
        mov r9, [r9 + {TLB_ADDEND:#x}]
        {access}
        ret
    original:
        mov rax, {original:#x}
        jmp rax
    """


SLOTS: dict[str, Callable[[int], str]] = {}
for _letter, _size in SIZES.items():
    _load = f"cpu_ld{'u' * (_size < 4)}{_letter}_mmuidx_ra_x86_64"
    SLOTS[_load] = _access(_size, "edx", 0, LOADS[_size])
    SLOTS[f"cpu_st{_letter}_mmuidx_ra_x86_64"] = _access(_size, "ecx", TLB_WRITE, STORES[_size])


def _pages(size: int, index: str, tag: int) -> str:
    """Go to `usual` unless the access at RSI lies in two pages of plain memory: rax = the end of its part of the first page
    in the host, r9 = the start of the second, ecx = the bytes in the first.  `index`: the access's MemOp and MMU index.
    """
    return f"""
        mov r10d, esi
        and r10d, 0xfff
        sub r10d, {0x1000 - size:#x}
        jbe usual
        mov r11d, {index}
        and r11d, 0xf
        shl r11d, 0x4
        lea r11, [rbp + r11 - {-TLB:#x}]
        mov rax, rsi
        shr rax, 0x6
        and rax, [r11]
        add rax, [r11 + 0x8]
        mov r9, rsi
        and r9, -0x1000
        cmp r9, [rax + {tag:#x}]
        jne usual
        add r9, 0x1000
        mov rdi, r9
        shr rdi, 0x6
        and rdi, [r11]
        add rdi, [r11 + 0x8]
        cmp r9, [rdi + {tag:#x}]
        jne usual
        mov rax, [rax + {TLB_ADDEND:#x}]
        add rax, r9
        add r9, [rdi + {TLB_ADDEND:#x}]
        mov ecx, {size:#x}
        sub ecx, r10d
    """


def across(helper: str) -> str:
    """At the start of the thunk for a helper_*_mmu: the access if it lies in two pages, to the return."""
    size = SIZES[helper.removesuffix("_mmu_x86_64")[-1]]
    if size == 1:
        return ""
    if "_ld" in helper:
        return f"""
        push rcx
        {_pages(size, "edx", 0)}
        neg ecx
        add ecx, 0x8
        shl ecx, 0x3
        mov rax, [rax - 0x8]
        mov r9, [r9]
        shrd rax, r9, cl
        {({2: "movzx eax, ax", 4: "mov eax, eax"}).get(size, "")}
        pop rcx
        or rdi, -0x1
        ret
    usual:
        pop rcx
        """
    return f"""
        push rcx
        {_pages(size, "ecx", TLB_WRITE)}
        mov r11d, ecx
        sub rax, r11
    first:
        mov [rax], dl
        shr rdx, 0x8
        inc rax
        dec ecx
        jne first
    second:
        mov [r9], dl
        shr rdx, 0x8
        inc r9
        dec r10d
        jne second
        pop rcx
        or rdi, -0x1
        ret
    usual:
        pop rcx
    """
