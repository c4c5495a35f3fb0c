"""What the thunks of x87.py are made of.  In them rdi is env, esi or rsi the helper's argument, eax the top of the stack."""

from __future__ import annotations

from collections.abc import Callable

from emu.cpu.unicorn.layout import CR, FPREGS, FPSTT, FPTAGS, FPUC, FPUS, FT0, symbol
from emu.cpu.unicorn.privileged import MAILBOX

C1, CONDITIONS = 0x200, 0x4700          # of the status word: C1; C3, C2, C1, C0
EMPTY, FULL = 0x41, 0x241               # a stack fault: IE and SF; C1 tells which
LOAD0, LOAD1, STORE0, STORE1 = "41db28", "41db29", "41db38", "41db39"       # FLD, FSTP m80 at r8 and at r9
DROP = "ddd8"                           # FSTP ST(0)
ANEW = "dbe3d96c24f8"                   # FNINIT, FLDCW: before what may leave conditions, of anything, as they are

Thunk = Callable[[int], str]


def code(hexadecimal: str) -> str:
    return f".byte {','.join(f'0x{byte:x}' for byte in bytes.fromhex(hexadecimal))}\n" if hexadecimal else ""


def begin() -> str:
    """edx: status word, ecx: the control word inverted.  An unmasked pending exception is #MF, with CR0.NE."""
    return f"""
        cmp qword ptr [rdi + {MAILBOX:#x}], 0x0
        je foreign
    slow:
        movzx ecx, word ptr [rdi + {FPUC:#x}]
        movzx edx, word ptr [rdi + {FPUS:#x}]
        not ecx
        mov eax, edx
        and eax, ecx
        test al, 0x3f
        jne pending
    going:
        mov eax, [rdi + {FPSTT:#x}]
    """


def end(trampoline: int) -> str:
    return f"""
    pending:
        test byte ptr [rdi + {CR:#x}], 0x20
        je going
        or word ptr [rdi + {FPUS:#x}], 0x8080
        mov rdx, [rsp]
        mov esi, 0x10
        sub rsp, 0x8
        mov rax, {symbol("raise_exception_ra_x86_64"):#x}
        call rax
    foreign:
        mov r11, {trampoline:#x}
        jmp r11
    """


def fault(flags: int, response: str, label: str) -> str:
    """A stack fault, from `label` on: unmasked, it changes nothing else."""
    return f"""
    {label}:
        and edx, {0xFFFF & ~C1:#x}
        or edx, {flags:#x}
        test cl, 0x1
        je {label}_masked
        or edx, 0x8080
        mov [rdi + {FPUS:#x}], dx
        xor eax, eax
        ret
    {label}_masked:
        mov [rdi + {FPUS:#x}], dx
        {response}
        ret
    """


def indefinite(at: str) -> str:
    return f"""
        mov rax, 0xc000000000000000
        mov [{at}], rax
        mov word ptr [{at} + 0x8], 0xffff
    """


POINT = f"shl r8d, 0x4\n lea r8, [rdi + r8 + {FPREGS:#x}]"
TAG = f"mov byte ptr [rdi + rsi + {FPTAGS:#x}], 0x0\n"
PUSHED = f"""
        mov [rdi + {FPSTT:#x}], esi
        mov byte ptr [rdi + rsi + {FPTAGS:#x}], 0x0
"""
POPPED = f"""
        mov eax, [rdi + {FPSTT:#x}]
        mov byte ptr [rdi + rax + {FPTAGS:#x}], 0x1
        inc eax
        and eax, 0x7
        mov [rdi + {FPSTT:#x}], eax
"""
VALID = f"""
        mov eax, [rdi + {FPSTT:#x}]
        mov byte ptr [rdi + rax + {FPTAGS:#x}], 0x0
"""
NEW = """
        lea esi, [rax - 0x1]
        and esi, 0x7
"""
OTHER = f"""
        and esi, 0x7
        mov r10d, esi
        shl r10d, 0x4
        lea r9, [rdi + r10 + {FPREGS:#x}]
        cmp byte ptr [rdi + rsi + {FPTAGS:#x}], 0x0
        jne empty"""
# r8: ST(0), r9: the other; jumps to `empty` where one is, to `full` where there is no room for a result
OPERANDS = {
    "": "",
    "ft0": f"lea r9, [rdi + {FT0:#x}]",
    "stn": f"""
        add esi, eax{OTHER}""",
    "st1": f"""
        lea esi, [rax + 0x1]{OTHER}""",
    "new": f"""
        {NEW}
        mov r10d, esi
        shl r10d, 0x4
        lea r9, [rdi + r10 + {FPREGS:#x}]
        cmp byte ptr [rdi + rsi + {FPTAGS:#x}], 0x0
        je full""",
}


QUICK = {               # the same operands, which leave esi as it is for the slow way
    "": "",
    "ft0": f"lea r9, [rdi + {FT0:#x}]",
    "stn": f"""
        lea r10d, [rax + rsi]
        and r10d, 0x7
        cmp byte ptr [rdi + r10 + {FPTAGS:#x}], 0x0
        jne slow
        shl r10d, 0x4
        lea r9, [rdi + r10 + {FPREGS:#x}]""",
}


def quick(core: str, store: str, point: str, conditions: int = C1, after: str = "") -> str:
    """The usual case: all exceptions masked, the default rounding and precision, no empty register, no new flag."""
    return f"""
        cmp qword ptr [rdi + {MAILBOX:#x}], 0x0
        je foreign
        movzx ecx, word ptr [rdi + {FPUC:#x}]
        mov eax, [rdi + {FPSTT:#x}]
        and ecx, 0xf3f
        cmp ecx, 0x33f
        jne slow
        {point}
        {code(core)}
        {code("dfe0")}
        movzx edx, word ptr [rdi + {FPUS:#x}]
        mov ecx, edx
        not ecx
        and ecx, eax
        test cl, 0x3f
        jne again_slow
        {store if " " in store else code(store)}
        and edx, {0xFFFF & ~conditions:#x}
        and eax, {conditions:#x}
        or edx, eax
        mov [rdi + {FPUS:#x}], dx
        {after}
        ret
    again_slow:
        {code("dbe3")}
    """


def compute(core: str, store: str, conditions: int = C1, after: str = "") -> str:
    """The host's work; `store` takes its stack away, eax then still being its status."""
    return f"""
        mov r11d, ecx
        not r11d
        or r11d, 0x3f
        mov [rsp - 0x8], r11w
        and r11d, 0xf00
        sub r11d, 0x300
        je ready
        {code("d96c24f8")}
    ready:
        {code(core)}
        {code("dfe0")}
        mov r10d, edx
        not r10d
        and r10d, eax
        test r10b, 0x3f
        je settled
        {code("dbe3")}
        test r11d, r11d
        je again
        {code("d96c24f8")}
    again:
        {code(core)}
        {code("dfe0")}
    settled:
        {store if " " in store else code(store)}
        and edx, {0xFFFF & ~conditions:#x}
        and eax, {0x3F | conditions:#x}
        or edx, eax
        and ecx, edx
        test cl, 0x3f
        je no_error
        or edx, 0x8080
    no_error:
        mov [rdi + {FPUS:#x}], dx
        test r11d, r11d
        je restored
        mov word ptr [rsp - 0x8], 0x37f
        {code("d96c24f8")}
    restored:
        {after}
    """
