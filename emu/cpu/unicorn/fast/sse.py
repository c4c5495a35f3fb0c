"""sse: ADD, SUB, MUL, DIV of PS, SS, PD, SD by the host's own instruction.

The library's helpers spend half their time in the C library's classification of floating-point numbers.  The entry leads
to a thunk that lets the host compute when nothing but the inexact flag can come of it: the guest's inexact flag is set
already, it rounds to nearest, FTZ and DAZ are off.  If the host raises any other flag, or the result is a NaN (whose
payload the library chooses in its own way), nothing has been stored yet and the original helper does the work.

Gain: an SSE loop takes 0.5 of the time.
"""

from __future__ import annotations

from collections.abc import Callable

from emu.cpu.unicorn import mailbox as m
from emu.cpu.unicorn.layout import SSE_STATUS
from emu.cpu.unicorn.privileged import MAILBOX

INEXACT, OTHERS = 0x20, 0x1F        # exception flags in MXCSR's order: PE; IE DE ZE OE UE
ENTRY_PACKED = bytes.fromhex("4154 4c8da728030000 55 4889d5")
ENTRY_SCALAR = bytes.fromhex("53 4989d0 4889f3 488d9728030000")


def _compute(operation: str, width: str) -> Callable[[int], str]:
    move = "movups" if width[0] == "p" else f"mov{width}"
    return lambda trampoline: f"""
        mov rax, [rdi + {MAILBOX:#x}]
        test rax, rax
        je original
        cmp qword ptr [rax + {m.SSE_ON:#x}], 0x0
        je original
        test byte ptr [rdi + {SSE_STATUS + 2:#x}], {INEXACT:#x}
        je original
        cmp byte ptr [rdi + {SSE_STATUS + 1:#x}], 0x0
        jne original
        cmp word ptr [rdi + {SSE_STATUS + 4:#x}], 0x0
        jne original
        {move} xmm0, [rsi]
        {move} xmm1, [rdx]
        {operation}{width} xmm0, xmm1
        stmxcsr dword ptr [rsp - 0x8]
        test byte ptr [rsp - 0x8], {OTHERS:#x}
        jne flagged
        movaps xmm1, xmm0
        cmpunordp{width[1]} xmm1, xmm0
        movmskp{width[1]} eax, xmm1
        test eax, eax
        jne original
        {move} [rsi], xmm0
        ret
    flagged:
        and dword ptr [rsp - 0x8], 0xffffffc0
        ldmxcsr dword ptr [rsp - 0x8]
    original:
        mov r11, {trampoline:#x}
        jmp r11
    """


ENTRIES = {
    f"helper_{operation}{width}_x86_64": (ENTRY_PACKED if width[0] == "p" else ENTRY_SCALAR, _compute(operation, width))
    for operation in ("add", "sub", "mul", "div") for width in ("ps", "ss", "pd", "sd")
}
