"""Helpers of the library that are replaced, for every engine of the process: code.Patches.

Each returns Intel-syntax source for `Code.place`.  `cpu` is a CPUState, `env` a CPUX86State, see layout.py.  A helper that
raises a guest exception leaves by longjmp: it may be called from these thunks, where only C frames are crossed, and never
through Python.  Literals are hexadecimal throughout.
"""

from __future__ import annotations

from collections.abc import Callable

from emu.cpu.unicorn import events
from emu.cpu.unicorn import mailbox as m
from emu.cpu.unicorn.layout import (
    BUDGET,
    CF_COUNT,
    CF_NOCACHE,
    CPU_ENV,
    CPU_OPAQUE,
    CR,
    TB_CFLAGS,
    UC_CPU,
    UC_TCG,
    symbol,
)
from emu.cpu.unicorn.privileged import MAILBOX, load_task_register, syscall, sysenter


def is_single(context: str, return_address: str) -> str:
    """ZF: the block that calls from `return_address` is the one instruction with which a block that changed itself goes on.

    The library asks for it once (cflags_next_tb); left at its head, it would be forgotten, and the run would depend on where
    it is cut.  So it always runs, on credit; it does not follow itself.  Code that is fetched from device memory
    comes in single instructions, too, and is told by CF_NOCACHE.
    """
    return f"""
        mov rdi, {context}
        mov rsi, {return_address}
        mov rax, {symbol("tcg_tb_lookup_x86_64"):#x}
        call rax
        test rax, rax
        je unknown
        mov eax, [rax + {TB_CFLAGS:#x}]
        and eax, {CF_COUNT | CF_NOCACHE:#x}
        cmp eax, 0x1
        jmp known
    unknown:
        cmp eax, 0x1
    known:
    """


def check_exit(trampoline: int) -> str:
    """helper_check_exit_request(uc, inside): Unicorn's call at the start of every block, made our budget and kick.

    Tested first and charged after: a block that is not run costs nothing.  When the budget is spent, the machine is asked
    for more (mailbox.EXPIRED), and the block goes on if it gives some.  On either way out, a kick or a stop,
    cpu_loop_exit_restore leaves the translated code with EIP at this block; after uc_emu_stop the library returns.
    Builds before 2.1.4 have no such helper: hooks.older_block.
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
        {is_single("[rdi + " + hex(UC_TCG) + "]", "[rsp + 0x8]")}
        mov rdi, [rsp]
        mov rax, [rdi + {UC_CPU:#x}]
        mov rcx, [rax + {CPU_OPAQUE:#x}]
        jne usual
        mov rdx, [rcx + {m.BLOCK_NS:#x}]
        sub [rax + {CPU_ENV + BUDGET:#x}], rdx
        pop rdi
        ret
    usual:
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


def write_control(trampoline: int) -> str:
    """helper_write_crN(env, register, value): a change of CR0.PE is charged, and counted."""
    return f"""
        {events.control()}
        test esi, esi
        jne done
        mov rax, [rdi + {MAILBOX:#x}]
        test rax, rax
        je done
        mov rcx, [rdi + {CR:#x}]
        xor rcx, rdx
        test cl, 0x1
        je done
        inc qword ptr [rax + {m.MODES:#x}]
        mov rcx, [rax + {m.MODE_NS:#x}]
        sub [rdi + {BUDGET}], rcx
    done:
        mov r11, {trampoline:#x}
        jmp r11
    """


CHECK_EXIT = "helper_check_exit_request_x86_64"
PATCHES: dict[str, tuple[bytes, Callable[[int], str]]] = {
    CHECK_EXIT: (bytes.fromhex("4c8b87b8010000 418b80408a0000"), check_exit),
    "helper_read_eflags_x86_64": (bytes.fromhex("55 53 4889fb 4883ec08 8bb7a8000000"), read_eflags),
    "helper_write_crN_x86_64": (bytes.fromhex("4154 4989d4 31d2 55 4889fd 53 4863de"), write_control),
    "helper_syscall_x86_64": (bytes.fromhex("4157 4989ff 4156 4155 4c63ee 4154"), syscall),
    "helper_sysenter_x86_64": (bytes.fromhex("4157 4989ff 4156 4155 4c63ee 4154"), sysenter),
    "helper_ltr_x86_64": (bytes.fromhex("4157 89f0 4989ff 4156 4155 4154"), load_task_register),
}
