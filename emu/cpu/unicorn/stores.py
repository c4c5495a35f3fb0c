"""Fast stores, ROM, and exact detection of self-modifying code: what the TLB says of each page of memory.

Each returns Intel-syntax source for `Code.place`.  `cpu` is a CPUState, `env` a CPUX86State, see layout.py.  A helper that
raises a guest exception leaves by longjmp: it may be called from these thunks, where only C frames are crossed, and never
through Python.  Literals are hexadecimal throughout.
"""

from __future__ import annotations

from emu.cpu.unicorn.layout import (
    CPU_ENV,
    TLB,
    TLB_ADDEND,
    TLB_CODE,
    TLB_DISCARD_WRITE,
    TLB_INVALID,
    TLB_MMIO,
    TLB_NOTDIRTY,
    TLB_WRITE,
    UC_CPU,
    symbol,
)


def fill_tlb(original: int, memory: int, pages: int, code_map: int, rom_map: int, epochs: int = 0,
             epoch: int = 0) -> str:
    """CPUClass.tlb_fill(cpu, address, size, access, mmu_idx, probe, retaddr): after a success, let stores be fast.

    Unicorn keeps every page TLB_NOTDIRTY (a store costs 100 ns) and loses code behind a non-executable alias.  Here a page
    of our memory is NOTDIRTY only while it holds translated code (`code_map`, a bit a page), whatever address it is seen
    at; a page in `rom_map` drops its writes.  An entry that cannot be executed gets the code address -2: as invalid as -1,
    but notdirty_write then leaves the entry alone.  With `epochs`, the word of each page whose stores have become fast is
    set to the word at `epoch`: see fast/pages.py.
    """
    note = f"""
        mov r9, {epoch:#x}
        mov eax, [r9]
        mov r9, {epochs:#x}
        mov [r9 + r8*4], eax
    """ if epochs else ""
    return f"""
        push rbx
        push r12
        push r13
        mov rbx, rdi
        mov r12, rsi
        mov r13d, r8d
        mov rax, [rsp + 0x20]
        sub rsp, 0x8
        push rax
        mov rax, {original:#x}
        call rax
        add rsp, 0x10
        test al, al
        je done
        shl r13, 0x4
        lea rdx, [rbx + r13 + {CPU_ENV + TLB:#x}]
        mov rcx, r12
        shr rcx, 0x6
        and rcx, [rdx]
        add rcx, [rdx + 0x8]
        mov rdx, [rcx + {TLB_WRITE:#x}]
        test edx, {TLB_NOTDIRTY:#x}
        je filled
        test edx, {TLB_INVALID | TLB_MMIO:#x}
        jne filled
        mov r8, rdx
        and r8, 0xfffffffffffff000
        add r8, [rcx + {TLB_ADDEND:#x}]
        mov r9, {memory:#x}
        sub r8, r9
        shr r8, 0xc
        cmp r8, {pages:#x}
        jae filled
        cmp qword ptr [rcx + {TLB_CODE:#x}], 0xffffffffffffffff
        jne executable
        mov qword ptr [rcx + {TLB_CODE:#x}], 0xfffffffffffffffe
    executable:
        mov r9, {rom_map:#x}
        bt [r9], r8
        jc rom
        mov r9, {code_map:#x}
        bt [r9], r8
        jc filled
        and rdx, {~TLB_NOTDIRTY & 0xFFFFFFFFFFFFFFFF:#x}
        mov [rcx + {TLB_WRITE:#x}], rdx
        {note}
        jmp filled
    rom:
        or qword ptr [rcx + {TLB_WRITE:#x}], {TLB_DISCARD_WRITE:#x}
    filled:
        mov eax, 0x1
    done:
        pop r13
        pop r12
        pop rbx
        ret
    """


def new_block(memory: int, pages: int, code_map: int) -> str:
    """The EDGE_GENERATED hook (uc, block, ...): set the code bit of each page that a new block lies in.

    A page's first block takes the fast stores away from every TLB entry that shows the page.
    """
    return f"""
        push rbx
        push r12
        push r13
        sub rsp, 0x10
        mov rbx, [rdi + {UC_CPU:#x}]
        mov r12, [rsi]
        movzx r13d, word ptr [rsi + 0xa]
        add r13, r12
        dec r13
    each_page:
        mov qword ptr [rsp], 0x0
        lea rdi, [rbx + {CPU_ENV:#x}]
        mov rsi, r12
        mov rdx, rsp
        mov rax, {symbol("get_page_addr_code_hostp_x86_64"):#x}
        call rax
        mov rsi, [rsp]
        test rsi, rsi
        je next_page
        and rsi, 0xfffffffffffff000
        mov rcx, rsi
        mov r9, {memory:#x}
        sub rcx, r9
        shr rcx, 0xc
        cmp rcx, {pages:#x}
        jae next_page
        mov r9, {code_map:#x}
        bts [r9], rcx
        jc next_page
        mov rdi, rbx
        mov edx, 0x1000
        mov rax, {symbol("tlb_reset_dirty_x86_64"):#x}
        call rax
    next_page:
        mov rax, r12
        xor rax, r13
        shr rax, 0xc
        je done
        mov r12, r13
        jmp each_page
    done:
        add rsp, 0x10
        pop r13
        pop r12
        pop rbx
        ret
    """
