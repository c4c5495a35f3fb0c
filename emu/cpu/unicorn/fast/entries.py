"""tsc: RDTSC and RDTSCP answered at the entry of their helpers.

The library's helper walks a list of hooks and searches the guest's state for each read (cpu_restore_state).  The entry
leads to a thunk that charges and answers as hooks.read_tsc does; where CR4.TSD forbids the read it takes the original way,
which raises #GP.

Gain: a read takes 0.1 of the time; a boot of Debian i386, which polls the counter in its delay loops, 0.9.
"""

from __future__ import annotations

from collections.abc import Callable

from emu.cpu.unicorn import mailbox as m
from emu.cpu.unicorn.layout import BUDGET, CR, HF_CPL, HFLAGS, TSC_AUX
from emu.cpu.unicorn.privileged import MAILBOX


def _read(aux: bool) -> Callable[[int], str]:
    also = f"mov edx, [rdi + {TSC_AUX:#x}]\n mov [rdi + 0x8], rdx" if aux else ""
    return lambda trampoline: f"""
        mov rcx, [rdi + {MAILBOX:#x}]
        test rcx, rcx
        je original
        cmp qword ptr [rcx + {m.TSC_ON:#x}], 0x0
        je original
        test dword ptr [rdi + {CR + 8 * 4:#x}], 0x4
        je allowed
        test dword ptr [rdi + {HFLAGS:#x}], {HF_CPL:#x}
        jne original
    allowed:
        inc qword ptr [rcx + {m.TSC_READS:#x}]
        mov rdx, [rdi + {BUDGET}]
        sub rdx, [rcx + {m.TSC_NS:#x}]
        mov [rdi + {BUDGET}], rdx
        mov rax, [rcx + {m.END:#x}]
        sub rax, rdx
        shl rax, 0x2
        shr rax, 0x2
        mov edx, eax
        mov [rdi], rdx
        shr rax, 0x20
        mov [rdi + 0x10], rax
        {also}
        ret
    original:
        mov r11, {trampoline:#x}
        jmp r11
    """


_ENTRY = bytes.fromhex("4156 4155 4154 4989fc 55 53 4c8bb7581b0000")
ENTRIES = {"helper_rdtsc_x86_64": (_ENTRY, _read(aux=False)), "helper_rdtscp_x86_64": (_ENTRY, _read(aux=True))}
