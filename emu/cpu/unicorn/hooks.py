"""What an engine of ours is given by itself: exceptions, interrupts, ports, the time-stamp counter.

Each returns Intel-syntax source for `Code.place`.  `cpu` is a CPUState, `env` a CPUX86State, see layout.py.  A helper that
raises a guest exception leaves by longjmp: it may be called from these thunks, where only C frames are crossed, and never
through Python.  Literals are hexadecimal throughout.
"""

from __future__ import annotations

from emu.cpu.unicorn import mailbox as m
from emu.cpu.unicorn.build import exported
from emu.cpu.unicorn.events import EVENT_EXCEPTION, EVENT_INTERRUPT, event
from emu.cpu.unicorn.fast import ticks
from emu.cpu.unicorn.helpers import CHECK_EXIT, check_exit
from emu.cpu.unicorn.layout import (
    BUDGET,
    CPU_ENV,
    CPU_EXCEPTION_INDEX,
    CPU_UC,
    EFLAGS,
    ERROR_CODE,
    EXCEPTION_IS_INT,
    HF2_NMI,
    HF_INHIBIT_IRQ,
    HF_LMA,
    HF_PE,
    HFLAGS,
    HFLAGS2,
    INTERRUPT_HARD,
    INTERRUPT_NMI,
    INTERRUPT_SMI,
    UC_CPU,
    symbol,
)
from emu.cpu.unicorn.recent import remember, watched

_SOFTWARE = f"""
        cmp dword ptr [rbx + {CPU_ENV + EXCEPTION_IS_INT:#x}], 0x0
        je told_kind
        inc qword ptr [r9 + 0x10]
    told_kind:
"""         # EVENT_EXCEPTION becomes EVENT_SOFTWARE


def deliver_exception(box: int) -> str:
    """uc->stop_interrupt(uc, vector): deliver every exception and INT n by QEMU's own x86_cpu_do_interrupt.

    Unicorn asks this function first.  Delivery may fault again: the longjmp leads back into cpu_exec, where the second
    exception becomes a nested one, then #DF, then a shutdown, as the SDM's table 6-5 has it.  Its error code is put right
    here (SDM vol. 3A, 6.13): the library never sets EXT, and gives vector * 16 + 2 for a gate in long mode.  Vectors above
    FFh are the library's own signals and go their way.

    A handler whose first instruction cannot be fetched is called again and again, and no block ever begins: so a budget that
    is spent is seen here, too, as the handler's first block would see it.
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
        {remember(EVENT_EXCEPTION, "kept")}
        {watched("seen")}
        {event(EVENT_EXCEPTION, "told", _SOFTWARE)}
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
        cmp dword ptr [rbx + {CPU_ENV + EXCEPTION_IS_INT:#x}], 0x0
        jne paid
    look:
        mov rdx, [rbx + {CPU_ENV + BUDGET:#x}]
        cmp rdx, [rax + {m.BLOCK_NS:#x}]
        jge paid
        mov rcx, {(1 << 64) - m.KICK // 2:#x}
        cmp rdx, rcx
        jl paid
        call [rax + {m.EXPIRED:#x}]
        test eax, eax
        mov rax, {box:#x}
        je look
        mov rdi, [rbx + {CPU_UC:#x}]
        mov rax, {symbol("uc_emu_stop"):#x}
        call rax
    paid:
        pop rbx
    other:
        xor eax, eax
        ret
    """


def take_interrupt(box: int, acknowledge: int, original: int) -> str:
    """CPUClass.cpu_exec_interrupt(cpu, request): take a hardware interrupt when IF and the shadow of STI and MOV SS allow.

    `acknowledge()` answers with the vector: it is called exactly when the processor takes INTA (of a tick: never).
    NMI and SMI go to the original, which Unicorn left whole.
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
        {ticks.acknowledge(acknowledge, box)}
        {remember(EVENT_INTERRUPT, "kept")}
        {event(EVENT_INTERRUPT, "told")}
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


def older_block(box: int) -> str:
    """The BLOCK hook (uc, address, size, data) of a build without helpers.CHECK_EXIT: the same work, called by the block,
    which then looks for requests to leave.  Where a block's calls push their return addresses is noted for `_restore`.
    """
    return f"""
        mov rax, {box:#x}
        mov [rax + {m.FRAME:#x}], rsp
        {check_exit(0)}
    """


def _restore(box: int) -> str:
    """Find EIP and the flags of the block's instruction, which the library does before this hook since 2.1.4: R10 = env."""
    return f"""
        push r10
        lea rdi, [r10 - {CPU_ENV:#x}]
        mov rax, {box:#x}
        mov rsi, [rax + {m.FRAME:#x}]
        mov rsi, [rsi]
        push rdx
        xor edx, edx
        mov rax, {symbol("cpu_restore_state_x86_64"):#x}
        call rax
        pop rdx
        pop r10
        mov rsi, [rsp + 0x18]
    """


def port_gate(box: int, counter: int, cost: int, target: int) -> str:
    """The IN or OUT hook (uc, port, size, value): check the I/O permission (SDM vol. 1, 19.5), charge, and call
    `target(port << 4 | size, value)`, the key of the bus's table.

    Unicorn returns before the check (translate.c, gen_check_io).  A refusal raises #GP(0) by longjmp, before any Python.
    """
    restore = "" if exported(CHECK_EXIT) else _restore(box)
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
        {restore}
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


def always() -> str:
    """The FETCH_PROT hook: let code be fetched from where no memory is, so that the guest gets FFh bytes and its #UD."""
    return """
        mov eax, 0x1
        ret
    """
