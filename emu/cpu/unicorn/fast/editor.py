"""The block editor: steps behind tb_gen_code_x86_64, through which the library makes every block of host code.

The library calls tb_gen_code(cpu, pc, cs_base, flags, cflags) through its global offset table.  Our slot leads to a thunk
that finds the machine (CPUState.opaque) and jumps to its editor: it calls the original and hands the fresh block to the
machine's rewriters, in order.  A rewriter is a module with

    def source(site, done): Intel-syntax source; rbx is the TranslationBlock, r12 the CPUState, r13 and r14 are kept for
                            nobody, all else is free, as are FRAME bytes from rsp on; it jumps to `done` + "hit" when it
                            has edited, or to `done` + "miss"

A block that lies before the last one tells that the library has begun its buffer of blocks anew: mailbox.ANEW counts it.
In translated code rbp is env (CPUX86State); no register is live at a block's start.  Labels carry the rewriter's name.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from types import ModuleType

from emu.cpu.unicorn import mailbox as m
from emu.cpu.unicorn import moves
from emu.cpu.unicorn.attention import made
from emu.cpu.unicorn.code import Code
from emu.cpu.unicorn.helpers import is_single
from emu.cpu.unicorn.layout import BUDGET, CPU_ENV, CPU_INTERRUPT_REQUEST, CPU_OPAQUE, CPU_UC, UC_TCG, symbol

FRAME = 0xB8                    # bytes of the stack that rewriters may use; calls find it aligned


@dataclass(frozen=True)
class Site:
    """What the code of one machine is made with."""

    cost: int               # ns a block
    code: Code              # near the translations
    box: int                # addresses: the mailbox, the arena, its maps
    arena: int
    pages: int
    code_map: int
    epochs: int
    jumps: int
    epilogue: int           # of the translated code
    across: bool = False    # accesses across two pages are direct.py's


def _ours(work: str, original: int) -> str:
    """`work`, with the mailbox in rax, for a CPUState of ours in rdi; then, or at `foreign`, the original."""
    return f"""
        mov rax, [rdi + {CPU_OPAQUE:#x}]
        test rax, rax
        je foreign
        {work}
    foreign:
        mov rax, {original:#x}
        jmp rax
    """


def _generate(original: int) -> str:
    return _ours(f"""
        mov rax, [rax + {m.EDITOR:#x}]
        test rax, rax
        je foreign
        jmp rax
    """, original)


def _flush(original: int) -> str:
    """tlb_flush(cpu): no page has a fast store entry after it."""
    return _ours(f"inc dword ptr [rax + {m.EPOCH:#x}]", original)


def _reset_dirty(original: int) -> str:
    """tlb_reset_dirty_by_vaddr(cpu, start, length), a scan of the TLB for each new block: pages.py makes it needless."""
    return _ours(f"""
        cmp qword ptr [rax + {m.PAGES_ON:#x}], 0x0
        je foreign
        ret
    """, original)


SLOTS = {
    "tb_gen_code_x86_64": _generate,
    "tlb_flush_x86_64": _flush,
    "tlb_reset_dirty_by_vaddr_x86_64": _reset_dirty,
}


def assemble(site: Site, wanted: list[tuple[str, ModuleType]], order: list[str]) -> int:
    """Place one machine's editor; its address."""
    steps = []
    for name, module in wanted:
        counter = site.box + m.MATCHED + 16 * order.index(name)
        steps.append(f"""
            {module.source(site, name + "_")}
        {name}_hit:
            mov rax, {counter:#x}
            inc qword ptr [rax]
            jmp {name}_end
        {name}_miss:
            mov rax, {counter + 8:#x}
            inc qword ptr [rax]
        {name}_end:
        """)
    return site.code.place(f"""
        push rbx
        push r12
        push r13
        push r14
        sub rsp, {FRAME:#x}
        mov r12, rdi
        mov rax, {symbol("tb_gen_code_x86_64"):#x}
        call rax
        mov rbx, rax
        mov rax, {site.box:#x}
        cmp rbx, [rax + {m.LAST_BLOCK:#x}]
        mov [rax + {m.LAST_BLOCK:#x}], rbx
        ja later
        mov rcx, {m.ONE_BUFFER:#x}
        add [rax + {m.ANEW:#x}], rcx
    later:
        {"".join(steps)}
        mov r13, {site.box:#x}
        {made("r12", "r13")}
        mov rax, rbx
        add rsp, {FRAME:#x}
        pop r14
        pop r13
        pop r12
        pop rbx
        ret
    """)


def has_bmi2(site: Site) -> bool:
    """CPUID.(EAX=07H,ECX=0H):EBX.BMI2, of the host."""
    ask = site.code.place("push rbx\n mov eax, 0x7\n xor ecx, ecx\n cpuid\n mov eax, ebx\n pop rbx\n ret")
    return bool(ctypes.CFUNCTYPE(ctypes.c_uint32)(ask)() >> 8 & 1)


def search(label: str, pair: int, at: int) -> str:
    """From rdi to rcx, sixteen bytes at a time: the next place with `pair` (a little-endian word) in the bytes from `at` on.

    Leaves rdi there and falls through, or goes to `label` + "none"; `label` + "next" goes on behind the place.  It reads a
    few bytes behind rcx, which the library's buffer has.  Takes eax and xmm0 to xmm3.
    """
    return f"""
        mov eax, {(pair & 0xff) * 0x01010101:#x}
        movd xmm0, eax
        pshufd xmm0, xmm0, 0x0
        mov eax, {(pair >> 8) * 0x01010101:#x}
        movd xmm1, eax
        pshufd xmm1, xmm1, 0x0
        jmp {label}scan
    {label}on:
        add rdi, 0x10
    {label}scan:
        cmp rdi, rcx
        ja {label}none
        movdqu xmm2, [rdi + {at:#x}]
        movdqu xmm3, [rdi + {at + 1:#x}]
        pcmpeqb xmm2, xmm0
        pcmpeqb xmm3, xmm1
        pand xmm2, xmm3
        pmovmskb eax, xmm2
        test eax, eax
        je {label}on
        bsf eax, eax
        add rdi, rax
        cmp rdi, rcx
        jbe {label}candidate
        jmp {label}none
    {label}next:
        inc rdi
        jmp {label}scan
    {label}candidate:
    """


def spent(site: Site, calls: int = 1) -> str:
    """Where a block's head goes when the budget does not reach: `calls` calls away from translated code, with rbp = env.

    As helpers.check_exit: give back what was charged; take back a kick, or ask the machine for more time.
    """
    frame = 8 if calls % 2 else 16
    back = frame + 8 * (calls - 1)          # from rsp on: where the return address in the block is
    return f"""
        add qword ptr [rbp + {BUDGET}], {site.cost:#x}
        sub rsp, {frame:#x}
        mov rax, {site.box:#x}
        cmp qword ptr [rax + {m.MOVING:#x}], {moves.ALONE:#x}
        jne asked
        {moves.seen(site.box, "alone")}
        cmp dword ptr [rbp - {CPU_ENV - CPU_INTERRUPT_REQUEST:#x}], 0x0
        jne asked
        mov rdx, {m.KICK:#x}
        add rdx, [rbp + {BUDGET}]
        mov [rbp + {BUDGET}], rdx
        sub rdx, {site.cost:#x}
        js asked
        mov [rbp + {BUDGET}], rdx
        add rsp, {frame:#x}
        ret
    asked:
        mov rdx, [rbp - {CPU_ENV - CPU_UC:#x}]
        {is_single(f"[rdx + {UC_TCG:#x}]", f"[rsp + {back:#x}]")}
        jne again
        sub qword ptr [rbp + {BUDGET}], {site.cost:#x}
        add rsp, {frame:#x}
        ret
    again:
        mov rdx, {(1 << 64) - m.KICK // 2:#x}
        cmp [rbp + {BUDGET}], rdx
        jl kicked
        mov rax, {site.box + m.EXPIRED:#x}
        call [rax]
        test eax, eax
        jne stop
        mov rdx, [rbp + {BUDGET}]
        sub rdx, {site.cost:#x}
        js again
        mov [rbp + {BUDGET}], rdx
        add rsp, {frame:#x}
        ret
    stop:
        mov rdi, [rbp - {CPU_ENV - CPU_UC:#x}]
        mov rax, {symbol("uc_emu_stop"):#x}
        call rax
        jmp leave
    kicked:
        mov rdx, {m.KICK:#x}
        add [rbp + {BUDGET}], rdx
        {moves.seen(site.box, "kicked")}
    leave:
        lea rdi, [rbp - {CPU_ENV:#x}]
        mov rsi, [rsp + {back:#x}]
        mov rax, {symbol("cpu_loop_exit_restore_x86_64"):#x}
        call rax
    """
