"""Views, fast stores, ROM, and exact detection of self-modifying code: what the TLB says of each page of memory.

Each returns Intel-syntax source for `Code.place`.  `cpu` is a CPUState, `env` a CPUX86State, see layout.py.  A helper that
raises a guest exception leaves by longjmp: it may be called from these thunks, where only C frames are crossed, and never
through Python.  Literals are hexadecimal throughout.
"""

from __future__ import annotations

from collections.abc import Callable

from emu.cpu.unicorn import mailbox as m
from emu.cpu.unicorn.attention import made
from emu.cpu.unicorn.layout import (
    CPU_ENV,
    CPU_OPAQUE,
    TLB,
    TLB_ADDEND,
    TLB_CODE,
    TLB_DESC,
    TLB_DESC_SIZE,
    TLB_DESC_USED,
    TLB_DISCARD_WRITE,
    TLB_INVALID,
    TLB_MMIO,
    TLB_NOTDIRTY,
    TLB_PADDR,
    TLB_WRITE,
    UC_CPU,
    symbol,
)

VIEWED = 1 << 32                    # physical addresses below may be shown by views
DROP = 1                            # in the table of stores: they go nowhere


def fill_tlb(original: int, memory: int, pages: int, code_map: int, rom_map: int, loads: int, stores: int,
             epochs: int = 0, epoch: int = 0) -> str:
    """CPUClass.tlb_fill(cpu, address, size, access, mmu_idx, probe, retaddr): after a success, show what a view shows, and
    let stores be fast.

    `loads` and `stores` are the tables of views.py: where a physical page below 4 GiB has an entry, the TLB's entry is made
    anew for the page that it names.  Where loads and stores lead to two pages, the entry is made for the access that
    asks and does not hold for the other, which then asks again.

    Unicorn keeps every page TLB_NOTDIRTY (a store costs 100 ns) and loses code behind a non-executable alias.  Here a page
    of our memory is NOTDIRTY only while it holds translated code (`code_map`, a bit a page), whatever address it is seen
    at; a page in `rom_map` drops its writes.  A fetch leaves its page NOTDIRTY: a block will be there at once, and would
    have every TLB scanned.  An entry that cannot be executed gets the code address -2: as invalid as -1, but
    notdirty_write then leaves the entry alone.  With `epochs`, the word of each page whose stores have become fast is
    set to the word at `epoch`: see fast/pages.py.  While accesses are recorded, each entry is marked: see accesses.py.
    """
    note = f"""
        mov r9, {epoch:#x}
        mov eax, [r9]
        mov r9, {epochs:#x}
        mov [r9 + r8*4], eax
    """ if epochs else ""
    watch = f"""
        mov rax, [rbx + {CPU_OPAQUE:#x}]
        mov rax, [rax + {m.MARK:#x}]
        or [rcx], rax
        or [rcx + {TLB_WRITE:#x}], rax
    """ if epochs else ""
    return f"""
        push rbx
        push r12
        push r13
        push r14
        push r15
        mov rbx, rdi
        mov r12, rsi
        mov r13d, r8d
        mov r14d, ecx
        mov rax, [rsp + 0x30]
        sub rsp, 0x8
        push rax
        mov rax, {original:#x}
        call rax
        add rsp, 0x10
        test al, al
        je done
        mov rdx, r13
        shl rdx, 0x4
        lea rdx, [rbx + rdx + {CPU_ENV + TLB:#x}]
        mov rcx, r12
        shr rcx, 0x6
        and rcx, [rdx]
        add rcx, [rdx + 0x8]
        mov rax, [rcx + {TLB_PADDR:#x}]
        shr rax, 0xc
        cmp rax, {VIEWED >> 12:#x}
        jae shown
        mov r9, {loads:#x}
        mov r9, [r9 + rax*8]
        test r9, r9
        jne view
    shown:
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
        cmp r14d, 0x2
        je filled
        mov r9, {code_map:#x}
        bt [r9], r8
        jc filled
        and rdx, {~TLB_NOTDIRTY & 0xFFFFFFFFFFFFFFFF:#x}
        mov [rcx + {TLB_WRITE:#x}], rdx
        {note}
        jmp filled
    view:
        {_show_view(stores)}
        cmp r14, {DROP:#x}
        jne shown
        cmp qword ptr [rcx + {TLB_WRITE:#x}], 0xffffffffffffffff
        je filled
    rom:
        or qword ptr [rcx + {TLB_WRITE:#x}], {TLB_DISCARD_WRITE:#x}
    filled:
        {watch}
        mov eax, 0x1
    done:
        pop r15
        pop r14
        pop r13
        pop r12
        pop rbx
        ret
    """


def _show_view(stores: int) -> str:
    """Make the TLB entry at rcx anew, for the page r9 (loads) or that of the table `stores`, which is left in r14.

    rax is the number of the page that the guest means, r13 the MMU index, r14 the access: 0 a load, 1 a store, 2 a fetch.
    The library counts an entry each time that it makes one.
    """
    return f"""
        mov r10, {stores:#x}
        mov r10, [r10 + rax*8]
        mov r15, rcx
        xor eax, eax
        xor r8d, r8d
        cmp qword ptr [rcx], 0xffffffffffffffff
        setne r8b
        cmp qword ptr [rcx + {TLB_WRITE:#x}], 0xffffffffffffffff
        setne al
        lea r8d, [r8 + rax*2]
        cmp qword ptr [rcx + {TLB_CODE:#x}], 0xffffffffffffffff
        setne al
        lea r8d, [r8 + rax*4]
        cmp r10, r9
        je both
        cmp r10, {DROP:#x}
        je both
        cmp r14d, 0x1
        je store
        and r8d, 0x5
        jmp both
    store:
        mov r9, r10
        mov r8d, 0x2
    both:
        mov r14, r10
        imul rax, r13, {TLB_DESC_SIZE:#x}
        dec qword ptr [rbx + rax + {CPU_ENV + TLB_DESC + TLB_DESC_USED:#x}]
        mov rdi, rbx
        mov rsi, r12
        and rsi, 0xfffffffffffff000
        mov rdx, r9
        xor ecx, ecx
        mov r9d, r13d
        sub rsp, 0x8
        push 0x1000
        mov rax, {symbol("tlb_set_page_with_attrs_x86_64"):#x}
        call rax
        add rsp, 0x10
        mov rcx, r15
    """


def _walk(table: int) -> Callable[[int], str]:
    """x86_ldl_phys(cpu, address), x86_ldq_phys and x86_stl_phys_notdirty(cpu, address, value), by which page tables are
    read and their A and D bits set: let them meet the views, too.  `table`: which of the mailbox's.
    """
    dropped = f"cmp rax, {DROP:#x}\n je dropped" if table == m.VIEW_STORES else ""
    return lambda trampoline: f"""
        mov rax, [rdi + {CPU_OPAQUE:#x}]
        test rax, rax
        je original
        mov rcx, rsi
        shr rcx, 0xc
        cmp rcx, {VIEWED >> 12:#x}
        jae original
        mov rax, [rax + {table:#x}]
        mov rax, [rax + rcx*8]
        test rax, rax
        je original
        {dropped}
        and esi, 0xfff
        or rsi, rax
    original:
        mov r11, {trampoline:#x}
        jmp r11
    dropped:
        ret
    """


_LOAD = bytes.fromhex("4155 4989f5 4154 4531e4 55 488b87b0810000")
PATCHES: dict[str, tuple[bytes, Callable[[int], str]]] = {
    "x86_ldl_phys_x86_64": (_LOAD, _walk(m.VIEW_LOADS)),
    "x86_ldq_phys_x86_64": (_LOAD, _walk(m.VIEW_LOADS)),
    "x86_stl_phys_notdirty_x86_64": (bytes.fromhex("4155 4189d5 4154 4989f4 55 4889fd"), _walk(m.VIEW_STORES)),
}


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
        mov r12, [rbx + {CPU_OPAQUE:#x}]
        test r12, r12
        je go_on
        {made("rbx", "r12")}
        add rsp, 0x10
        pop r13
        pop r12
        pop rbx
        ret
    """
