"""attention: a guest that keeps the host translating is stopped now and then, so that the host gets its turn.

The machine looks at the host between slices of guest time.  A guest whose every instruction changes the block that it is
in (it runs zeros, `add [bx+si], al`) has up to 512 instructions translated for each: a millisecond of its time then takes the
host a minute, here as in QEMU.  So every LIMIT translations the run stops at the next block, as by UnicornEngine.stop, asks
the machine to look, and goes on: a cut like any other, which changes no run.
"""

from __future__ import annotations

from emu.cpu.unicorn import mailbox as m
from emu.cpu.unicorn.layout import BUDGET, CPU_ENV, CPU_UC, symbol

LIMIT = 256                     # half a millisecond each at worst; a boot of Debian makes 60,000 to 150,000


def made(cpu: str, box: str) -> str:
    """A block has been made; `cpu` (CPUState) and `box` (the mailbox) are registers that calls keep.  Takes rax, rdx, rdi."""
    return f"""
        inc qword ptr [{box} + {m.MADE:#x}]
        cmp qword ptr [{box} + {m.MADE:#x}], {LIMIT:#x}
        jb go_on
        mov qword ptr [{box} + {m.MADE:#x}], 0x0
        mov qword ptr [{box} + {m.LOOK:#x}], 0x1
        mov rdx, {(1 << 64) - m.KICK // 2:#x}
        cmp [{cpu} + {CPU_ENV + BUDGET:#x}], rdx
        jl kicked
        mov rdx, {m.KICK:#x}
        sub [{cpu} + {CPU_ENV + BUDGET:#x}], rdx
        jmp stop
    kicked:
        and qword ptr [{box} + {m.MOVING:#x}], 0x1
    stop:
        mov rdi, [{cpu} + {CPU_UC:#x}]
        mov rax, {symbol("uc_emu_stop"):#x}
        call rax
    go_on:
    """
