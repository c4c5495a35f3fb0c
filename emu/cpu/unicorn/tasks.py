"""Task switches (SDM vol. 3A, 7.3), where the library does them otherwise.

A 16-bit TSS has ES, CS, SS and DS in words at 22h, 24h, 26h and 28h (SDM vol. 3A, 7.6); the library takes them for
doublewords, both to save and to load them, and would find a null CS in every task of a 286's operating system.

When what the new task's registers name is bad, the task has been switched to, and the frame has its first instruction (SDM
vol. 3A, 6.15, #TS); the library would put that at which the switch began into the new task's frame.

Not modelled: in a build of the library that we do not know, nothing of this is changed.
"""

from __future__ import annotations

from collections.abc import Callable

from emu.cpu.unicorn.layout import CPU_ENV, CPU_OPAQUE, symbol

MAILBOX = CPU_OPAQUE - CPU_ENV
SAVE, LOAD = bytes.fromhex("4d89e0 4889df 8b5443ec 4c01ee"), bytes.fromhex("4a8d343b 4889e9 4c89e7 4983c704")


ENTER_32, ENTER_16 = bytes.fromhex("4c89ab80000000 48c7c0ff8cd8ff"), bytes.fromhex("4c89ab80000000 48c7c0ff8cffff")


def enter(trampoline: int) -> str:
    """Where EIP becomes the new task's: RBX is env, R12 the way back into the translated code, by which a fault would
    find the old EIP; 0 stands for none."""
    return f"""
        mov r11, {trampoline:#x}
        cmp qword ptr [rbx + {MAILBOX:#x}], 0x0
        je foreign
        xor r12d, r12d
    foreign:
        jmp r11
    """


def save_segment(trampoline: int) -> str:
    """Before the store of one selector: RBX is env, R13 the offset that the library has in mind, from 22h in steps of 4."""
    return f"""
        cmp qword ptr [rbx + {MAILBOX:#x}], 0x0
        je foreign
        mov r8, r12
        mov rdi, rbx
        mov edx, [rbx + rax * 2 - 0x14]
        lea rax, [r13 - 0x22]
        shr rax, 0x1
        add rsi, r13
        sub rsi, rax
        mov r11, {symbol("task_save_16") + len(SAVE):#x}
        jmp r11
    foreign:
        mov r11, {trampoline:#x}
        jmp r11
    """


def load_segment(trampoline: int) -> str:
    """Before the load of one selector: R12 is env; R15, from [RSP+30h] in steps of 4, counts them, and RBX + R15 is where the
    library would look."""
    return f"""
        cmp qword ptr [r12 + {MAILBOX:#x}], 0x0
        je foreign
        mov rax, r15
        sub rax, [rsp + 0x30]
        shr rax, 0x1
        lea rsi, [rbx + r15]
        sub rsi, rax
        mov rcx, rbp
        mov rdi, r12
        add r15, 0x4
        mov r11, {symbol("task_load_16") + len(LOAD):#x}
        jmp r11
    foreign:
        mov r11, {trampoline:#x}
        jmp r11
    """


ENTRIES: dict[str, tuple[bytes, Callable[[int], str]]] = {
    "task_save_16": (SAVE, save_segment), "task_load_16": (LOAD, load_segment),
    "task_enter_32": (ENTER_32, enter), "task_enter_16": (ENTER_16, enter)}
