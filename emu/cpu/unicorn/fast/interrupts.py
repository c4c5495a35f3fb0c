"""interrupts: INT n and INT3 are delivered where they stand, and the run goes on with the handler's block.

QEMU's helper_raise_interrupt(env, vector, length) notes the vector and leaves the translated code by longjmp; the main loop
sees the note, asks for delivery (hooks.deliver_exception), and looks for the next block from the beginning.  The entry of
the helper leads to a thunk that makes the same notes, calls the same delivery and finds the block as lookup.py does.  What
faults in the delivery leaves by longjmp from there, as before; budget and kick are looked at by the handler's block.

Gain: INT 80h and IRET take 0.85 of the time.
"""

from __future__ import annotations

from emu.cpu.unicorn import mailbox as m
from emu.cpu.unicorn.layout import (
    CPU_ENV,
    CPU_EXCEPTION_INDEX,
    CPU_UC,
    EIP,
    ERROR_CODE,
    EXCEPTION_IS_INT,
    EXCEPTION_NEXT_EIP,
)
from emu.cpu.unicorn.privileged import MAILBOX


def _raise(trampoline: int) -> str:
    return f"""
        mov rcx, [rdi + {MAILBOX:#x}]
        test rcx, rcx
        je original
        cmp qword ptr [rcx + {m.GO_ON:#x}], 0x0
        je original
        lea rax, [rdi - {CPU_ENV:#x}]
        mov [rax + {CPU_EXCEPTION_INDEX:#x}], esi
        mov dword ptr [rdi + {ERROR_CODE:#x}], 0x0
        mov dword ptr [rdi + {EXCEPTION_IS_INT:#x}], 0x1
        movsxd rdx, edx
        add rdx, [rdi + {EIP:#x}]
        mov [rdi + {EXCEPTION_NEXT_EIP:#x}], rdx
        mov rdi, [rax + {CPU_UC:#x}]
        push rcx
        call [rcx + {m.DELIVER:#x}]
        pop rcx
        add rsp, 0x8
        jmp [rcx + {m.GO_ON:#x}]
    original:
        mov r11, {trampoline:#x}
        jmp r11
    """


ENTRIES = {"helper_raise_interrupt_x86_64": (bytes.fromhex("4189d0 4883ec08 31c9 ba01000000"), _raise)}
