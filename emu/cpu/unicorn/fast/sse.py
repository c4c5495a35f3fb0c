"""sse: ADD, SUB, MUL, DIV, SQRT of PS, SS, PD, SD by the host's own instruction.

The library's helpers spend half their time in the C library's classification of floating-point numbers.  The thunks of
../sse.py begin with this where it is on: the host computes when nothing but the inexact flag can come of it, which the guest
has set already, rounding to nearest, with FTZ and DAZ off.  If the host raises any other flag, or the result is a NaN (whose
payload the library chooses in its own way), nothing has been stored yet and the original helper does the work.  Asking the
host for its flags waits for the result: of scalars that are normal numbers the exponents alone tell.

Gain: an SSE loop takes 0.5 of the time.
"""

from __future__ import annotations

from collections.abc import Callable

from emu.cpu.unicorn import mailbox as m
from emu.cpu.unicorn.layout import MXCSR
from emu.cpu.unicorn.privileged import MAILBOX

USUAL, OTHERS = 0x1FA0, 0x1F        # of MXCSR: masks, no FZ, DAZ, to nearest, PE; and the flags IE DE ZE OE UE


def _normal(width: str, first: str, second: str) -> str:
    """Leave by `check` unless the scalars at rsi and rdx are normal numbers, and xmm0 is one above the least: then nothing
    but the inexact flag can have come of it.
    """
    double = width == "sd"
    one = 53 if double else 24                      # the exponent's place, without the sign
    a, b, limit = ("rax", "rcx", "r8") if double else ("eax", "ecx", "r8d")
    least, most = 1 << one, (0x7FD if double else 0xFD) << one
    inputs = "".join(f"""
        mov {register}, [{pointer}]
        add {register}, {register}
        cmp {register}, {limit}
        jb check""" for register, pointer in ((a, first), (b, second)) if pointer)
    return f"""
        mov {limit}, {least:#x}
        {inputs}
        mov{"q" if double else "d"} {a}, xmm0
        add {a}, {a}
        sub {a}, {limit}
        sub {a}, {limit}
        mov {limit}, {most:#x}
        cmp {a}, {limit}
        jae check
        mov{width} [rsi], xmm0
        ret
    """


def _compute(operation: str, width: str) -> Callable[[str], str]:
    """To [rsi]: it and [rdx], or the root of [rdx]; or else what `original` does."""
    root = operation == "sqrt"
    move = "movups" if width[0] == "p" else f"mov{width}"
    load = f"{move} xmm0, [rdx]" if root else f"{move} xmm0, [rsi]\n {move} xmm1, [rdx]"
    normal = "" if width[0] == "p" else _normal(width, "" if root else "rsi", "rdx")
    return lambda original: f"""
        mov rax, [rdi + {MAILBOX:#x}]
        test rax, rax
        je original
        cmp qword ptr [rax + {m.SSE_ON:#x}], 0x0
        je original
        mov eax, [rdi + {MXCSR:#x}]
        and eax, 0xffe0
        cmp eax, {USUAL:#x}
        jne original
        {load}
        {operation}{width} xmm0, {"xmm0" if root else "xmm1"}
        {normal}
    check:
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
        {original}
    """


WAYS = {operation + width: _compute(operation, width)
        for operation in ("add", "sub", "mul", "div", "sqrt") for width in ("ps", "ss", "pd", "sd")}
