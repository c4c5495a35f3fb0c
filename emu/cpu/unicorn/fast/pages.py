"""pages: the bitmap of pages with code is kept by the editor, and the TLB is scanned only where it can matter.

The plain core hears of new blocks by a hook (stores.new_block) and then takes the fast stores away from every TLB entry
that shows the page, by a scan of the whole TLB; the library makes a second scan itself (tlb_reset_dirty_by_vaddr, editor.py
answers it at once).  A scan is needed only if some entry lets stores to that page be fast: stores.fill_tlb notes, in a word
for each page, the epoch in which it last did so, and a whole TLB flush begins a new epoch.

Gain: the boot takes 0.94 of the time; and the TLB can grow, see tlb.py.
"""

from __future__ import annotations

from emu.cpu.unicorn import mailbox as m
from emu.cpu.unicorn.fast.editor import Site
from emu.cpu.unicorn.layout import CPU_ENV, TB_PC, TB_SIZE, symbol


def source(site: Site, label: str) -> str:
    """See editor.py."""
    return f"""
        mov r13, [rbx + {TB_PC:#x}]
        movzx r14d, word ptr [rbx + {TB_SIZE:#x}]
        lea r14, [r13 + r14 - 0x1]
    {label}each:
        mov qword ptr [rsp], 0x0
        lea rdi, [r12 + {CPU_ENV:#x}]
        mov rsi, r13
        mov rdx, rsp
        mov rax, {symbol("get_page_addr_code_hostp_x86_64"):#x}
        call rax
        mov rsi, [rsp]
        test rsi, rsi
        je {label}other
        and rsi, 0xfffffffffffff000
        mov rcx, rsi
        mov r9, {site.arena:#x}
        sub rcx, r9
        shr rcx, 0xc
        cmp rcx, {site.pages:#x}
        jae {label}other
        mov r9, {site.code_map:#x}
        bts [r9], rcx
        jc {label}other
        mov r9, {site.epochs:#x}
        mov r10, {site.box + m.EPOCH:#x}
        mov eax, [r10]
        cmp [r9 + rcx*4], eax
        jne {label}other
        mov rdi, r12
        mov edx, 0x1000
        mov rax, {symbol("tlb_reset_dirty_x86_64"):#x}
        call rax
    {label}other:
        mov rax, r13
        xor rax, r14
        shr rax, 0xc
        je {label}hit
        mov r13, r14
        jmp {label}each
    """
