"""The x87 by the host's own: its arithmetic, its conversions, its exceptions and their flags.

QEMU 5.0 keeps of the exceptions only the division by zero, computes the transcendental instructions in double precision,
and knows neither the stack's faults nor that any waiting instruction takes a pending exception (SDM vol. 1, 8.5 to 8.7;
vol. 2).  Each thunk loads the operands into the host's x87 under the guest's rounding and precision, with all exceptions
masked, lets it compute, and takes result and status back.  The host's flags are sticky and may be of something else: only
when they hold one that the guest's status word lacks are they cleared, and the work is done again.

Not modelled: an unmasked exception before the operation (invalid, denormal, division by zero) stores its result and pops
all the same; FLD ST(i) on a full stack loads the value; FXCH and FSTP m80 of an empty register; FIP, FDP and FOP; FLDCW that
unmasks a pending exception is seen by the next instruction, but not by FWAIT.  Transcendental results are the host's.
"""

from __future__ import annotations

from emu.cpu.unicorn.layout import FPREGS, FPSTT, FPTAGS, FPUC, FT0
from emu.cpu.unicorn.privileged import MAILBOX
from emu.cpu.unicorn.x87parts import (
    C1,
    EMPTY,
    FULL,
    LOAD0,
    NEW,
    OPERANDS,
    POINT,
    PUSHED,
    QUICK,
    STORE0,
    STORE1,
    TAG,
    VALID,
    Thunk,
    begin,
    compute,
    end,
    fault,
    indefinite,
    quick,
)


def numeric(core: str, store: str, operand: str = "", conditions: int = C1, after: str = "", empty: str = "") -> Thunk:
    """On ST(0) and perhaps another register.  `empty`: the masked response to an empty one, by default an indefinite
    result; "original": the library's.
    """
    into, tag = ("r9", TAG) if store == STORE1 else ("r8", VALID)
    response = empty or (indefinite(into) + tag if operand != "new" else indefinite("r8") + VALID + indefinite("r9") + PUSHED)
    full = fault(FULL, indefinite("r8") + indefinite("r9") + PUSHED, "full") if operand == "new" else ""
    point = f"cmp byte ptr [rdi + rax + {FPTAGS:#x}], 0x0\n jne slow\n mov r8d, eax\n {POINT}\n {QUICK.get(operand, '')}"
    fast = quick(core, store, point, conditions, after) if operand in QUICK else ""
    return lambda trampoline: f"""
        {fast}
        {begin()}
        mov r8d, eax
        shl r8d, 0x4
        lea r8, [rdi + r8 + {FPREGS:#x}]
        {OPERANDS[operand]}
        cmp byte ptr [rdi + rax + {FPTAGS:#x}], 0x0
        jne {"foreign" if empty == "original" else "empty"}
        {compute(core, store, conditions, after)}
        ret
        {"" if empty == "original" else fault(EMPTY, response + after, "empty")}
        {full}
        {end(trampoline)}
    """


def load(core: str, into_ft0: bool) -> Thunk:
    """From memory, whose bytes are in rsi: to FT0, or onto the stack."""
    place, full = f"lea r8, [rdi + {FT0:#x}]", ""
    if not into_ft0:
        place = f"{NEW}\n mov r8d, esi\n {POINT}\n cmp byte ptr [rdi + rsi + {FPTAGS:#x}], 0x0\n je full"
        full = fault(FULL, indefinite("r8") + PUSHED, "full")
    fast = quick(core, STORE0, place.replace("je full", "je slow"), after="" if into_ft0 else PUSHED)
    return lambda trampoline: f"""
        mov [rsp - 0x10], rsi
        {fast}
        {begin()}
        {place}
        {compute(core, STORE0, C1, "" if into_ft0 else PUSHED)}
        ret
        {full}
        {end(trampoline)}
    """


def constant(core: str) -> Thunk:
    """Into ST(0), which is there already, in the guest's rounding."""
    return lambda trampoline: f"""
        {begin()}
        mov r8d, eax
        {POINT}
        {compute(core, STORE0)}
        ret
        {end(trampoline)}
    """


def store(core: str, value: str, least: int) -> Thunk:
    """To memory, by way of rax."""
    return numeric(LOAD0 + core, "", after=value, empty=f"mov rax, {least:#x}\n mov [rsp - 0x10], rax\n")


def waiting(check: str = "", faults: str = "", quick: str = "") -> Thunk:
    """An instruction without arithmetic: pending exceptions and the stack's faults, then the library.

    `quick`: all of it, where nothing is unmasked; it leaves by RET, or goes to `slow`.
    """
    start = f"""
        cmp qword ptr [rdi + {MAILBOX:#x}], 0x0
        je foreign
        movzx ecx, word ptr [rdi + {FPUC:#x}]
        mov eax, [rdi + {FPSTT:#x}]
        not ecx
        test cl, 0x3f
        jne slow
        {quick}
    """
    return lambda trampoline: f"""
        {start if quick else ""}
        {begin()}
        {check}
        jmp foreign
        {faults}
        {end(trampoline)}
    """


def wants(index: str, into: str, tag: str = "", quick: str = "") -> Thunk:
    """`index` leaves in r10d which register must not be empty; `into` points r8 at what becomes indefinite then."""
    check = f"{index}\n cmp byte ptr [rdi + r10 + {FPTAGS:#x}], 0x0\n jne "
    return waiting(check + "empty", fault(EMPTY, f"{into}\n {indefinite('r8')} {tag}", "empty"),
                   f"{check}slow\n {quick}" if quick else "")


def copy(into: str) -> str:
    """A register, whose index is in r10d, to where r8 points: in the pieces in which the x87 stores it."""
    return f"""
        {into}
        shl r10d, 0x4
        mov rax, [rdi + r10 + {FPREGS:#x}]
        movzx ecx, word ptr [rdi + r10 + {FPREGS + 8:#x}]
        mov [r8], rax
        mov [r8 + 0x8], cx
        ret
    """


def pushes(response: str, quick: str = "") -> Thunk:
    """An instruction that needs an empty register above."""
    check = f"lea r10d, [rax - 0x1]\n and r10d, 0x7\n cmp byte ptr [rdi + r10 + {FPTAGS:#x}], 0x0\n je "
    return waiting(check + "full", fault(FULL, response, "full"), f"{check}slow\n {quick}" if quick else "")
