"""pause: PAUSE goes on with the next block instead of leaving for the main loop.

QEMU lets other processors run at a PAUSE: its helper leaves the translated code by longjmp, and the main loop looks for the
next block from the beginning.  Here there is one processor, and a kernel's delay loops are little else than PAUSE and
RDTSC.  The entry of helper_pause(env, length) leads to a thunk that moves EIP on, forgets its return address (nothing
follows the call in its block) and finds the next block as lookup.py does.  That block looks at budget and kicks itself, and
an interrupt that may be taken has kicked: the guest sees no difference.

Gain: a PAUSE takes 0.1 of the time; the boot of Debian i386, with millions of them, 0.96.
"""

from __future__ import annotations

from emu.cpu.unicorn import mailbox as m
from emu.cpu.unicorn.layout import EIP
from emu.cpu.unicorn.privileged import MAILBOX


def _pause(trampoline: int) -> str:
    return f"""
        mov rcx, [rdi + {MAILBOX:#x}]
        test rcx, rcx
        je original
        mov rcx, [rcx + {m.PAUSE:#x}]
        test rcx, rcx
        je original
        movsxd rax, esi
        add [rdi + {EIP:#x}], rax
        add rsp, 0x8
        jmp rcx
    original:
        mov r11, {trampoline:#x}
        jmp r11
    """


ENTRIES = {"helper_pause_x86_64": (bytes.fromhex("55 31d2 4863ee be77000000 53 4889fb"), _pause)}
