"""The machine code that gives Unicorn back what was taken out of QEMU: one function each, and what it restores.

Each returns Intel-syntax source for `Code.place`.  `cpu` is a CPUState, `env` a CPUX86State, see layout.py.  A helper that
raises a guest exception leaves by longjmp: it may be called from these thunks, where only C frames are crossed, and never
through Python.  Literals are hexadecimal throughout.
"""

from __future__ import annotations

from collections.abc import Callable

from emu.cpu.unicorn import mailbox as m
from emu.cpu.unicorn.layout import (
    BUDGET,
    CC_OP,
    CC_OP_EFLAGS,
    CC_SRC,
    CPU_ENV,
    CPU_EXCEPTION_INDEX,
    CPU_OPAQUE,
    CSTAR,
    DF,
    EFER,
    EFLAGS,
    EIP,
    ERROR_CODE,
    EXCEPTION_IS_INT,
    FMASK,
    HF2_NMI,
    HF_CS64,
    HF_EFLAGS,
    HF_INHIBIT_IRQ,
    HF_LMA,
    HF_PE,
    HFLAGS,
    HFLAGS2,
    INTERRUPT_HARD,
    INTERRUPT_NMI,
    INTERRUPT_SMI,
    LSTAR,
    SEGMENT_SIZE,
    SEGS,
    STAR,
    SYSENTER_CS,
    SYSENTER_EIP,
    SYSENTER_ESP,
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

CS, SS = SEGS + SEGMENT_SIZE, SEGS + 2 * SEGMENT_SIZE
ARITHMETIC = 0x8D5                     # CF PF AF ZF SF OF
MAILBOX = CPU_OPAQUE - CPU_ENV         # of the mailbox's address, from env


def check_exit(trampoline: int) -> str:
    """helper_check_exit_request(uc, inside): Unicorn's call at the start of every block, made our budget and kick.

    Tested first and charged after: a block that is not run costs nothing.  When the budget is spent, the machine is asked
    for more (mailbox.EXPIRED), and the block goes on if it gives some.  On either way out, a kick or a stop,
    cpu_loop_exit_restore leaves the translated code with EIP at this block; after uc_emu_stop the library returns.
    """
    return f"""
        mov rax, [rdi + {UC_CPU:#x}]
        mov rcx, [rax + {CPU_OPAQUE:#x}]
        test rcx, rcx
        je foreign
    again:
        mov rdx, [rax + {CPU_ENV + BUDGET:#x}]
        sub rdx, [rcx + {m.BLOCK_NS:#x}]
        js spent
        mov [rax + {CPU_ENV + BUDGET:#x}], rdx
        ret
    spent:
        push rdi
        mov rdx, {(1 << 64) - m.KICK // 2:#x}
        cmp [rax + {CPU_ENV + BUDGET:#x}], rdx
        jl kicked
        call [rcx + {m.EXPIRED:#x}]
        mov rdi, [rsp]
        test eax, eax
        jne stop
        pop rdi
        mov rax, [rdi + {UC_CPU:#x}]
        mov rcx, [rax + {CPU_OPAQUE:#x}]
        jmp again
    stop:
        mov rax, {symbol("uc_emu_stop"):#x}
        call rax
        jmp leave
    kicked:
        mov rdx, {m.KICK:#x}
        add [rax + {CPU_ENV + BUDGET:#x}], rdx
    leave:
        pop rdi
        mov rdi, [rdi + {UC_CPU:#x}]
        mov rsi, [rsp]
        sub rsp, 0x8
        mov rax, {symbol("cpu_loop_exit_restore_x86_64"):#x}
        call rax
    foreign:
        mov rax, {trampoline:#x}
        jmp rax
    """


def read_eflags(trampoline: int) -> str:
    """helper_read_eflags(env): PUSHF stores VM and RF as 0 (SDM vol. 2B, PUSHF); Unicorn stores them as they are."""
    return f"""
        mov r11, {trampoline:#x}
        cmp qword ptr [rdi + {MAILBOX:#x}], 0x0
        je foreign
        sub rsp, 0x8
        call r11
        add rsp, 0x8
        and eax, 0xfffcffff
        ret
    foreign:
        jmp r11
    """


def _load_flat(segment: int, selector: str, attributes: int) -> str:
    """The hidden part that SYSCALL and SYSENTER load without looking at a descriptor."""
    return f"""
        mov dword ptr [rbx + {segment:#x}], {selector}
        mov qword ptr [rbx + {segment + 8:#x}], 0x0
        mov dword ptr [rbx + {segment + 16:#x}], 0xffffffff
        mov dword ptr [rbx + {segment + 20:#x}], {attributes:#x}
    """


def _leave_loop() -> str:
    """After a change of CS and EIP: recompute hflags, and let the main loop find the next block there."""
    return f"""
        mov rdi, rbx
        mov rax, {symbol("x86_update_hflags_x86_64"):#x}
        call rax
        and dword ptr [rbx + {HFLAGS:#x}], {~HF_EFLAGS & 0xFFFFFFFF:#x}
        lea rdi, [rbx - {CPU_ENV:#x}]
        mov rax, {symbol("cpu_loop_exit_noexc_x86_64"):#x}
        call rax
    """


CODE32, CODE64, DATA32 = 0xC09B00, 0xA09B00, 0xC09300       # descriptor bits 32-63: flat, DPL 0, accessed


def syscall(trampoline: int) -> str:
    """helper_syscall(env, length): SYSCALL (AMD64 APM vol. 3; SDM vol. 2B), whose body Unicorn replaced by a hook."""
    return f"""
        cmp qword ptr [rdi + {MAILBOX:#x}], 0x0
        je foreign
        push rbx
        push r12
        push r13
        mov rbx, rdi
        movsxd r12, esi
        test dword ptr [rbx + {EFER:#x}], 0x1
        je undefined
        add r12, [rbx + {EIP:#x}]
        mov r13, [rbx + {STAR:#x}]
        mov esi, [rbx + {CC_OP:#x}]
        mov rax, {symbol("cpu_cc_compute_all_x86_64"):#x}
        call rax
        mov ecx, [rbx + {DF:#x}]
        and ecx, 0x400
        or eax, ecx
        or rax, [rbx + {EFLAGS:#x}]
        and rax, 0xfffffffffffeffff
        mov edx, [rbx + {STAR:#x}]
        test dword ptr [rbx + {HFLAGS:#x}], {HF_LMA:#x}
        jne long_mode
        mov ecx, r12d
        mov [rbx + 0x8], rcx
        and eax, 0xfffdfdff
        mov ecx, edx
        jmp load
    long_mode:
        mov [rbx + 0x8], r12
        mov [rbx + 0x58], rax
        mov rcx, [rbx + {FMASK:#x}]
        not rcx
        and rax, rcx
        mov rcx, [rbx + {LSTAR:#x}]
        test dword ptr [rbx + {HFLAGS:#x}], {HF_CS64:#x}
        jne load
        mov rcx, [rbx + {CSTAR:#x}]
    load:
        mov [rbx + {EIP:#x}], rcx
        mov ecx, eax
        and ecx, {ARITHMETIC:#x}
        mov [rbx + {CC_SRC:#x}], rcx
        mov dword ptr [rbx + {CC_OP:#x}], {CC_OP_EFLAGS:#x}
        mov ecx, eax
        shr ecx, 0x9
        and ecx, 0x2
        mov edx, 0x1
        sub edx, ecx
        mov [rbx + {DF:#x}], edx
        and rax, {~(ARITHMETIC | 0x400) & 0x7FFFFFFF:#x}
        or rax, 0x2
        mov [rbx + {EFLAGS:#x}], rax
        shr r13, 0x20
        and r13d, 0xfffc
        {_load_flat(CS, "r13d", CODE32)}
        test dword ptr [rbx + {HFLAGS:#x}], {HF_LMA:#x}
        je code32
        mov dword ptr [rbx + {CS + 20:#x}], {CODE64:#x}
    code32:
        add r13d, 0x8
        and r13d, 0xfffc
        {_load_flat(SS, "r13d", DATA32)}
        {_leave_loop()}
    undefined:
        mov rdi, rbx
        mov esi, 0x6
        mov rax, {symbol("raise_exception_x86_64"):#x}
        call rax
    foreign:
        mov r11, {trampoline:#x}
        jmp r11
    """


def sysenter(trampoline: int) -> str:
    """helper_sysenter(env, length): SYSENTER (SDM vol. 2B), whose body Unicorn replaced by a hook.

    The translator does not store EIP and the lazy flags before it, as it does for SYSCALL: cpu_restore_state finds them.
    """
    return f"""
        cmp qword ptr [rdi + {MAILBOX:#x}], 0x0
        je foreign
        push rbx
        push r12
        push r13
        mov rbx, rdi
        lea rdi, [rbx - {CPU_ENV:#x}]
        mov rsi, [rsp + 0x18]
        mov edx, 0x1
        mov rax, {symbol("cpu_restore_state_x86_64"):#x}
        call rax
        mov r13d, [rbx + {SYSENTER_CS:#x}]
        and r13d, 0xfffc
        je protection
        and dword ptr [rbx + {EFLAGS:#x}], 0xfffcfdff
        {_load_flat(CS, "r13d", CODE32)}
        test dword ptr [rbx + {HFLAGS:#x}], {HF_LMA:#x}
        je code32
        mov dword ptr [rbx + {CS + 20:#x}], {CODE64:#x}
    code32:
        add r13d, 0x8
        {_load_flat(SS, "r13d", DATA32)}
        mov rax, [rbx + {SYSENTER_ESP:#x}]
        mov [rbx + 0x20], rax
        mov rax, [rbx + {SYSENTER_EIP:#x}]
        mov [rbx + {EIP:#x}], rax
        {_leave_loop()}
    protection:
        mov rdi, rbx
        mov esi, 0xd
        xor edx, edx
        mov rax, {symbol("raise_exception_err_x86_64"):#x}
        call rax
    foreign:
        mov r11, {trampoline:#x}
        jmp r11
    """


def load_task_register(trampoline: int) -> str:
    """helper_ltr(env, selector): #GP(0) for a null selector (SDM vol. 2A, LTR); Unicorn loads it, and the next interrupt from
    ring 3 aborts the process.
    """
    return f"""
        test esi, 0xfffc
        jne original
        cmp qword ptr [rdi + {MAILBOX:#x}], 0x0
        je original
        mov rcx, [rsp]
        sub rsp, 0x8
        mov esi, 0xd
        xor edx, edx
        mov rax, {symbol("raise_exception_err_ra_x86_64"):#x}
        call rax
    original:
        mov r11, {trampoline:#x}
        jmp r11
    """


PATCHES: dict[str, tuple[bytes, Callable[[int], str]]] = {
    "helper_check_exit_request_x86_64": (bytes.fromhex("4c8b87b8010000 418b80408a0000"), check_exit),
    "helper_read_eflags_x86_64": (bytes.fromhex("55 53 4889fb 4883ec08 8bb7a8000000"), read_eflags),
    "helper_syscall_x86_64": (bytes.fromhex("4157 4989ff 4156 4155 4c63ee 4154"), syscall),
    "helper_sysenter_x86_64": (bytes.fromhex("4157 4989ff 4156 4155 4c63ee 4154"), sysenter),
    "helper_ltr_x86_64": (bytes.fromhex("4157 89f0 4989ff 4156 4155 4154"), load_task_register),
}


def deliver_exception(box: int) -> str:
    """uc->stop_interrupt(uc, vector): deliver every exception and INT n by QEMU's own x86_cpu_do_interrupt.

    Unicorn asks this function first.  Delivery may fault again: the longjmp leads back into cpu_exec, where the second
    exception becomes a nested one, then #DF, then a shutdown, as the SDM's table 6-5 has it.  Its error code is put right
    here (SDM vol. 3A, 6.13): the library never sets EXT, and gives vector * 16 + 2 for a gate in long mode.  Vectors above
    FFh are the library's own signals and go their way.
    """
    return f"""
        cmp esi, 0xff
        ja other
        push rbx
        mov rbx, [rdi + {UC_CPU:#x}]
        mov rax, {box:#x}
        mov rdx, [rax + {m.DELIVERING:#x}]
        test rdx, rdx
        je first
        lea ecx, [rsi - 0xa]
        cmp ecx, 0x3
        ja first
        mov ecx, [rbx + {CPU_ENV + ERROR_CODE:#x}]
        test ecx, 0x2
        je selector
        test dword ptr [rbx + {CPU_ENV + HFLAGS:#x}], {HF_LMA:#x}
        je selector
        shr ecx, 0x1
        and ecx, 0x7f8
        or ecx, 0x2
    selector:
        shr edx, 0x1
        or ecx, edx
        mov [rbx + {CPU_ENV + ERROR_CODE:#x}], ecx
    first:
        mov qword ptr [rax + {m.DELIVERING:#x}], 0x2
        mov edx, {m.EXCEPTIONS:#x}
        cmp dword ptr [rbx + {CPU_ENV + EXCEPTION_IS_INT:#x}], 0x0
        je count
        mov qword ptr [rax + {m.DELIVERING:#x}], 0x1
        mov edx, {m.SOFTWARE:#x}
    count:
        add rdx, rax
        mov ecx, esi
        inc qword ptr [rdx + rcx*8]
        mov rdx, [rax + {m.EXCEPTION_NS:#x}]
        sub [rbx + {CPU_ENV + BUDGET:#x}], rdx
        mov rdi, rbx
        mov rax, {symbol("x86_cpu_do_interrupt_x86_64"):#x}
        call rax
        mov dword ptr [rbx + {CPU_EXCEPTION_INDEX:#x}], 0xffffffff
        mov rax, {box:#x}
        mov qword ptr [rax + {m.DELIVERING:#x}], 0x0
        pop rbx
    other:
        xor eax, eax
        ret
    """


def take_interrupt(box: int, acknowledge: int, original: int) -> str:
    """CPUClass.cpu_exec_interrupt(cpu, request): take a hardware interrupt when IF and the shadow of STI and MOV SS allow.

    `acknowledge()` answers with the vector: it is called exactly when the processor takes INTA.  NMI and SMI go to the
    original, which Unicorn left whole.
    """
    return f"""
        test esi, {INTERRUPT_SMI:#x}
        jne original
        test esi, {INTERRUPT_NMI:#x}
        je maskable
        test dword ptr [rdi + {CPU_ENV + HFLAGS2:#x}], {HF2_NMI:#x}
        je original
    maskable:
        test esi, {INTERRUPT_HARD:#x}
        je no
        test dword ptr [rdi + {CPU_ENV + EFLAGS:#x}], 0x200
        je no
        test dword ptr [rdi + {CPU_ENV + HFLAGS:#x}], {HF_INHIBIT_IRQ:#x}
        jne no
        push rbx
        mov rbx, rdi
        mov rax, {acknowledge:#x}
        call rax
        movzx esi, al
        mov rax, {box:#x}
        inc qword ptr [rax + rsi*8 + {m.INTERRUPTS:#x}]
        mov qword ptr [rax + {m.DELIVERING:#x}], 0x2
        mov rdx, [rax + {m.INTERRUPT_NS:#x}]
        sub [rbx + {CPU_ENV + BUDGET:#x}], rdx
        lea rdi, [rbx + {CPU_ENV:#x}]
        mov edx, 0x1
        mov rax, {symbol("do_interrupt_x86_hardirq_x86_64"):#x}
        call rax
        mov rax, {box:#x}
        mov qword ptr [rax + {m.DELIVERING:#x}], 0x0
        mov eax, 0x1
        pop rbx
        ret
    no:
        xor eax, eax
        ret
    original:
        mov rax, {original:#x}
        jmp rax
    """


def port_gate(box: int, counter: int, cost: int, target: int) -> str:
    """The IN or OUT hook (uc, port, size, value): check the I/O permission (SDM vol. 1, 19.5), charge, and call
    `target(port << 4 | size, value)`, the key of the bus's table.

    Unicorn returns before the check (translate.c, gen_check_io).  A refusal raises #GP(0) by longjmp, before any Python.
    """
    return f"""
        mov r10, [rdi + {UC_CPU:#x}]
        add r10, {CPU_ENV:#x}
        mov eax, [r10 + {HFLAGS:#x}]
        test eax, {HF_PE:#x}
        je granted
        mov r11, [r10 + {EFLAGS:#x}]
        test r11d, 0x20000
        jne check
        shr r11d, 0xc
        and r11d, 0x3
        and eax, 0x3
        cmp eax, r11d
        ja check
    granted:
        mov rax, {box:#x}
        inc qword ptr [rax + {counter:#x}]
        mov r11, [rax + {cost:#x}]
        sub [r10 + {BUDGET:#x}], r11
        movzx edi, si
        shl edi, 0x4
        or edi, edx
        mov esi, ecx
        mov r10, {target:#x}
        jmp r10
    check:
        push rdi
        push rsi
        push rdx
        push rcx
        push r8
        mov rdi, r10
        mov rax, {symbol("helper_check_iob_x86_64"):#x}
        cmp edx, 0x1
        je call_it
        mov rax, {symbol("helper_check_iow_x86_64"):#x}
        cmp edx, 0x2
        je call_it
        mov rax, {symbol("helper_check_iol_x86_64"):#x}
    call_it:
        call rax
        pop r8
        pop rcx
        pop rdx
        pop rsi
        pop rdi
        mov r10, [rdi + {UC_CPU:#x}]
        add r10, {CPU_ENV:#x}
        jmp granted
    """


def read_tsc(box: int, with_aux: int) -> str:
    """The RDTSC hook (uc): virtual time in ns, so a TSC of 1 GHz; each read is charged, so each is later than the last.

    CR4.TSD has been checked before the hook is called.  RDTSCP also loads ECX from TSC_AUX, at env + `with_aux`.
    """
    aux = f"mov edx, [rcx + {with_aux:#x}]\n mov [rcx + 0x8], rdx" if with_aux else ""
    return f"""
        mov rax, {box:#x}
        mov rcx, [rdi + {UC_CPU:#x}]
        add rcx, {CPU_ENV:#x}
        inc qword ptr [rax + {m.TSC_READS:#x}]
        mov rdx, [rcx + {BUDGET:#x}]
        sub rdx, [rax + {m.TSC_NS:#x}]
        mov [rcx + {BUDGET:#x}], rdx
        mov rax, [rax + {m.END:#x}]
        sub rax, rdx
        shl rax, 0x2
        shr rax, 0x2
        mov edx, eax
        mov [rcx], rdx
        shr rax, 0x20
        mov [rcx + 0x10], rax
        {aux}
        mov eax, 0x1
        ret
    """


def fill_tlb(original: int, memory: int, pages: int, code_map: int, rom_map: int) -> str:
    """CPUClass.tlb_fill(cpu, address, size, access, mmu_idx, probe, retaddr): after a success, let stores be fast.

    Unicorn keeps every page TLB_NOTDIRTY (a store costs 100 ns) and loses code behind a non-executable alias.  Here a page
    of our memory is NOTDIRTY only while it holds translated code (`code_map`, a bit a page), whatever address it is seen
    at; a page in `rom_map` drops its writes.  An entry that cannot be executed gets the code address -2: as invalid as -1,
    but notdirty_write then leaves the entry alone.
    """
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


def always() -> str:
    """The FETCH_PROT hook: let code be fetched from where no memory is, so that the guest gets FFh bytes and its #UD."""
    return """
        mov eax, 0x1
        ret
    """
