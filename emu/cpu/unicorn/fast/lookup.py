"""lookup: an indirect jump looks in the library's own jump cache, and in a second one, without a call into C.

A block that ends in RET, CALL or JMP through a register or memory asks for the next block by a helper:

    48 8B FD                mov  rdi, rbp
    E8 rel32                call helper_lookup_tb_ptr       ->      E9 rel32    jmp find
    FF E0                   jmp  rax

`find` looks where the helper would look first (tb_lookup__cpu_state): CPUState.tb_jmp_cache, by a hash of the linear PC,
compared with PC, CS base, flags and cflags.  A flush of the TLB empties that cache, and code of many pages overfills it, so
what is not there is sought in a second one, by the host's address of the guest's code, which the TLB tells: memory.jumps,
(block, address) each.  It outlives flushes, for its entries are true of the code itself, wherever that is seen: a block whose
code has changed is told by its cflags, one that goes on in a second page is left out, and when the library begins its buffer
of blocks anew, all is forgotten.  What is in neither, it leaves to the helper.

A block that ends in STI, POPF, IRET or the like leaves for the main loop, so that this looks at the pins:

    E9 rel32                jmp  epilogue                   ->      E9 rel32    jmp exit

`exit` goes on with `find` where no interrupt is asked for (CPUState.interrupt_request); kicks and the budget are looked at by
the next block itself.

Gain: the boot takes 0.94 of the time, a bytecode dispatcher 0.75; the second cache answers 90 % of what the first does not
in a boot of Debian i386, 0.985 of its time.
"""

from __future__ import annotations

from emu.cpu.unicorn import mailbox as m
from emu.cpu.unicorn.fast.editor import Site, search
from emu.cpu.unicorn.fast.fetch import HF_SMAP, KERNEL, USER
from emu.cpu.unicorn.layout import (
    CPU_ENV,
    CPU_INTERRUPT_REQUEST,
    EFLAGS,
    EIP,
    HFLAGS,
    JUMP_CACHE,
    SEGMENT_SIZE,
    SEGS,
    TB_CFLAGS,
    TB_CODE,
    TB_CODE_SIZE,
    TB_CS_BASE,
    TB_FLAGS,
    TB_RESET,
    TB_SECOND_PAGE,
    TLB,
    TLB_ADDEND,
    TLB_CODE,
    symbol,
)
from emu.cpu.unicorn.memory import JUMP_BITS

TB_EFLAGS = 0x73100                 # of EFLAGS, what a block depends on: TF IOPL RF VM AC (cpu_get_tb_cpu_state)
CFLAGS = 0xFF000000                 # of a usual block: curr_cflags with the cluster of the only processor

GOLDEN = 0x9E3779B97F4A7C15         # 2**64 over the golden ratio: its products' top bits spread


def find(jumps: int) -> str:
    """Jumped to at a block's end, with rbp = env.  `jumps`: the second cache, or 0: without one."""
    return f"""
        mov rsi, [rbp + {EIP:#x}]
        mov rdx, [rbp + {SEGS + SEGMENT_SIZE + 8:#x}]
        mov ecx, [rbp + {EFLAGS:#x}]
        add rsi, rdx
        and ecx, {TB_EFLAGS:#x}
        or ecx, [rbp + {HFLAGS:#x}]
        mov rax, rsi
        shr rax, 0x6
        xor rax, rsi
        mov rdi, rax
        and eax, 0x3f
        shr rdi, 0x6
        and edi, 0xfc0
        or eax, edi
        lea rbx, [rbp + rax*8 - {-JUMP_CACHE:#x}]
        mov rax, [rbx]
        {_is_it("second")}
        jmp qword ptr [rax + {TB_CODE:#x}]
    second:
        {_second(jumps) if jumps else ""}
    slow:
        mov rdi, rbp
        mov rax, {symbol("helper_lookup_tb_ptr_x86_64"):#x}
        call rax
        jmp rax
    """


def _is_it(label: str) -> str:
    """Go to `label` unless rax is a block for PC rsi, CS base rdx and flags ecx."""
    return f"""
        test rax, rax
        je {label}
        cmp [rax], rsi
        jne {label}
        cmp [rax + {TB_CS_BASE:#x}], rdx
        jne {label}
        cmp [rax + {TB_FLAGS:#x}], ecx
        jne {label}
        cmp dword ptr [rax + {TB_CFLAGS:#x}], {CFLAGS:#x}
        jne {label}
    """


def _second(jumps: int) -> str:
    """Look in the second cache; rbx is the place in the first.  Nothing of the block that ends is in a register."""
    return f"""
        test ecx, {HF_SMAP:#x}
        jne slow
        lea r8, [rbp - {-(TLB + 16 * KERNEL):#x}]
        lea r9, [rbp - {-(TLB + 16 * USER):#x}]
        mov eax, ecx
        and eax, 0x3
        cmp eax, 0x3
        cmove r8, r9
        mov rax, rsi
        shr rax, 0x6
        and rax, [r8]
        add rax, [r8 + 0x8]
        mov r9, rsi
        and r9, 0xfffffffffffff000
        cmp r9, [rax + {TLB_CODE:#x}]
        jne slow
        mov r12, [rax + {TLB_ADDEND:#x}]
        add r12, rsi
        mov r13, {GOLDEN:#x}
        imul r13, r12
        shr r13, {64 - JUMP_BITS:#x}
        shl r13, 0x4
        mov rax, {jumps:#x}
        add r13, rax
        cmp [r13 + 0x8], r12
        jne ask
        mov rax, [r13]
        {_is_it("ask")}
        mov [rbx], rax
        jmp qword ptr [rax + {TB_CODE:#x}]
    ask:
        mov rdi, rbp
        mov rax, {symbol("helper_lookup_tb_ptr_x86_64"):#x}
        call rax
        mov rdx, [rbx]
        test rdx, rdx
        je unknown
        cmp [rdx + {TB_CODE:#x}], rax
        jne unknown
        cmp qword ptr [rdx + {TB_SECOND_PAGE:#x}], 0xffffffffffffffff
        jne unknown
        mov [r13], rdx
        mov [r13 + 0x8], r12
    unknown:
        jmp rax
    """


def _exit(site: Site) -> str:
    """Jumped to where a block leaves for the main loop, which would only look at the pins and go on."""
    return f"""
        cmp dword ptr [rbp - {CPU_ENV - CPU_INTERRUPT_REQUEST:#x}], 0x0
        jne main_loop
        {find(site.jumps)}
    main_loop:
        mov rax, {site.epilogue:#x}
        jmp rax
    """


def _flushed(label: str, box: int, jumps: int) -> str:
    """Forget the second cache if the library has begun its buffer anew since; behind the cache stands what ANEW was."""
    return f"""
        mov rax, {box:#x}
        mov rdx, [rax + {m.ANEW:#x}]
        mov rdi, {jumps:#x}
        cmp rdx, [rdi + {16 << JUMP_BITS:#x}]
        je {label}kept
        mov [rdi + {16 << JUMP_BITS:#x}], rdx
        mov ecx, {2 << JUMP_BITS:#x}
        xor eax, eax
        rep stosq
    {label}kept:
    """


def source(site: Site, label: str) -> str:
    """See editor.py.  A block has two exits at most: one with two direct ones has no indirect one."""
    return f"""
        {_flushed(label, site.box, site.jumps)}
        cmp word ptr [rbx + {TB_RESET + 2:#x}], 0xffff
        je {label}one
        cmp word ptr [rbx + {TB_RESET:#x}], 0xffff
        jne {label}miss
    {label}one:
        mov rdi, [rbx + {TB_CODE:#x}]
        mov rcx, [rbx + {TB_CODE_SIZE:#x}]
        add rcx, rdi
        sub rcx, 0xa
        mov r8, {symbol("helper_lookup_tb_ptr_x86_64"):#x}
        {search(label, 0xE8FD, 2)}
        cmp dword ptr [rdi], 0xe8fd8b48
        jne {label}next
        cmp word ptr [rdi + 0x8], 0xe0ff
        jne {label}next
        movsxd rdx, dword ptr [rdi + 0x4]
        lea rdx, [rdi + rdx + 0x8]
        cmp rdx, r8
        jne {label}next
        mov rdx, {site.code.place(find(site.jumps)):#x}
        lea rsi, [rdi + 0x5]
        sub rdx, rsi
        mov byte ptr [rdi], 0xe9
        mov [rdi + 0x1], edx
        mov byte ptr [rdi + 0x5], 0xcc
        jmp {label}hit
    {label}none:
        cmp dword ptr [rbx + {TB_RESET:#x}], 0xffffffff
        jne {label}miss
        mov rdi, [rbx + {TB_CODE:#x}]
        mov rcx, [rbx + {TB_CODE_SIZE:#x}]
        lea rcx, [rdi + rcx - 0x5]
        mov r8, {site.epilogue:#x}
    {label}byte:
        cmp byte ptr [rdi], 0xe9
        jne {label}further
        movsxd rdx, dword ptr [rdi + 0x1]
        lea rdx, [rdi + rdx + 0x5]
        cmp rdx, r8
        je {label}exit
    {label}further:
        inc rdi
        cmp rdi, rcx
        jbe {label}byte
        jmp {label}miss
    {label}exit:
        mov rdx, {site.code.place(_exit(site)):#x}
        lea rsi, [rdi + 0x5]
        sub rdx, rsi
        mov [rdi + 0x1], edx
    """
