"""SYSCALL, SYSENTER and LTR, whose bodies the library has taken out or left unsafe: helpers.py lists them."""

from __future__ import annotations

from emu.cpu.unicorn.layout import (
    CC_OP,
    CC_OP_EFLAGS,
    CC_SRC,
    CPU_ENV,
    CPU_OPAQUE,
    CSTAR,
    DF,
    EFER,
    EFLAGS,
    EIP,
    FMASK,
    HF_CS64,
    HF_EFLAGS,
    HF_LMA,
    HFLAGS,
    LSTAR,
    SEGMENT_SIZE,
    SEGS,
    STAR,
    SYSENTER_CS,
    SYSENTER_EIP,
    SYSENTER_ESP,
    symbol,
)

CS, SS = SEGS + SEGMENT_SIZE, SEGS + 2 * SEGMENT_SIZE
ARITHMETIC = 0x8D5                     # CF PF AF ZF SF OF
MAILBOX = CPU_OPAQUE - CPU_ENV         # of the mailbox's address, from env


def _load_flat(segment: int, selector: str, attributes: int) -> str:
    """The hidden part that SYSCALL and SYSENTER load without looking at a descriptor."""
    return f"""
        mov dword ptr [rbx + {segment:#x}], {selector}
        mov qword ptr [rbx + {segment + 8:#x}], 0x0
        mov dword ptr [rbx + {segment + 16:#x}], 0xffffffff
        mov dword ptr [rbx + {segment + 20:#x}], {attributes:#x}
    """


def _load_code() -> str:
    """CS from the selector in R13D: 64-bit code in long mode."""
    return f"""
        {_load_flat(CS, "r13d", CODE32)}
        test dword ptr [rbx + {HFLAGS:#x}], {HF_LMA:#x}
        je code32
        mov dword ptr [rbx + {CS + 20:#x}], {CODE64:#x}
    code32:
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
        {_load_code()}
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
        {_load_code()}
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
