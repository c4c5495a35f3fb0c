"""Events as the recorder keeps them: the piece of a thunk that leaves one in the ring.  See recorder.py for the words.

Literals are hexadecimal.
"""

from __future__ import annotations

from collections.abc import Callable

from emu.cpu.unicorn import mailbox as m
from emu.cpu.unicorn.layout import BUDGET, CPU_ENV, CPU_OPAQUE, CR, EIP, ERROR_CODE, HFLAGS, SEGMENT_SIZE, SEGS, TRACE_AT

EVENT_EXCEPTION, EVENT_SOFTWARE, EVENT_INTERRUPT, EVENT_CONTROL, EVENT_MSR = 1, 2, 3, 4, 5
EVENT_MEMORY_READ, EVENT_MEMORY_WRITE, EVENT_STACK = 8, 9, 18


def event(kind: int, label: str, fields: str = "") -> str:
    """Keep an event for the recorder, if it wants any (recorder.py): rbx is the CPUState, all but rbx and RSI may change;
    rsp is a multiple of 16.

    `fields` fills what is the event's own, with r9 = the event.
    """
    return f"""
        cmp qword ptr [rax + {m.EVENT:#x}], 0x0
        je {label}
        mov r9, [rax + {m.EVENT_AT:#x}]
        cmp r9, [rax + {m.EVENT_END:#x}]
        jb {label}_room
        push rax
        push rsi
        call [rax + {m.DRAIN:#x}]
        pop rsi
        pop rax
        mov r9, [rax + {m.EVENT_AT:#x}]
    {label}_room:
        mov rdx, [rbx + {CPU_ENV + TRACE_AT:#x}]
        mov [r9], rdx
        mov rdx, [rax + {m.END:#x}]
        sub rdx, [rbx + {CPU_ENV + BUDGET:#x}]
        shl rdx, 0x2
        shr rdx, 0x2
        mov [r9 + 0x8], rdx
        mov edx, esi
        shl edx, 0x8
        or edx, {kind:#x}
        mov [r9 + 0x10], rdx
        mov edx, [rbx + {CPU_ENV + ERROR_CODE:#x}]
        mov [r9 + 0x18], rdx
        mov rdx, [rbx + {CPU_ENV + CR + 16:#x}]
        mov [r9 + 0x20], rdx
        mov rdx, [rbx + {CPU_ENV + EIP:#x}]
        mov [r9 + 0x28], rdx
        mov edx, [rbx + {CPU_ENV + SEGS + SEGMENT_SIZE:#x}]
        mov [r9 + 0x30], rdx
        mov edx, [rbx + {CPU_ENV + HFLAGS:#x}]
        mov [r9 + 0x34], edx
        mov rdx, [rbx + {CPU_ENV + SEGS + SEGMENT_SIZE + 8:#x}]
        mov [r9 + 0x38], rdx
        {fields}
        add qword ptr [rax + {m.EVENT_AT:#x}], 0x40
    {label}:
    """


NOTHING = 0xFFFFFF00            # the name of what is nowhere, in the third word


def nothing(kind: int) -> str:
    """Keep an access to device memory where no chip is: r10 = the CPUState, r11 = the mailbox, RSI = the address, EDX = the
    size, RAX = the value.  May change rax, rcx and r9.
    """
    return f"""
        cmp qword ptr [r11 + {m.EVENT:#x}], 0x0
        je untold
        mov r9, [r11 + {m.EVENT_AT:#x}]
        cmp r9, [r11 + {m.EVENT_END:#x}]
        jb room
        push rax
        push rsi
        push rdx
        push r10
        push r11
        call [r11 + {m.DRAIN:#x}]
        pop r11
        pop r10
        pop rdx
        pop rsi
        pop rax
        mov r9, [r11 + {m.EVENT_AT:#x}]
    room:
        mov ecx, 0x8
        sub ecx, edx
        shl ecx, 0x3
        shl rax, cl
        shr rax, cl
        mov [r9 + 0x20], rax
        mov rax, [r10 + {CPU_ENV + TRACE_AT:#x}]
        mov [r9], rax
        mov rax, [r11 + {m.END:#x}]
        sub rax, [r10 + {CPU_ENV + BUDGET:#x}]
        shl rax, 0x2
        shr rax, 0x2
        mov [r9 + 0x8], rax
        mov eax, {NOTHING | kind:#x}
        mov [r9 + 0x10], rax
        mov eax, edx
        mov [r9 + 0x18], rax
        mov qword ptr [r9 + 0x28], 0x0
        mov [r9 + 0x30], rsi
        mov qword ptr [r9 + 0x38], 0x0
        add qword ptr [r11 + {m.EVENT_AT:#x}], 0x40
    untold:
    """


def _written(kind: int, fields: str) -> str:
    """The start of an entry (env, ...) of a helper that writes a register: keep an event; the arguments stay."""
    return f"""
        mov rax, [rdi + {CPU_OPAQUE - CPU_ENV:#x}]
        test rax, rax
        je go_on
        cmp qword ptr [rax + {m.EVENT:#x}], 0x0
        je go_on
        push rbx
        push rdi
        push rsi
        push rdx
        sub rsp, 0x8
        lea rbx, [rdi - {CPU_ENV:#x}]
        xor esi, esi
        {event(kind, "told", fields)}
        add rsp, 0x8
        pop rdx
        pop rsi
        pop rdi
        pop rbx
    go_on:
    """


# helper_write_crN(env, number, value)
_CONTROL = """
        mov edx, [rsp + 0x10]
        mov [r9 + 0x18], rdx
        mov rdx, [rsp + 0x8]
        mov [r9 + 0x20], rdx
        mov qword ptr [r9 + 0x28], 0x0
"""
# helper_wrmsr(env): the number in ECX, the value in EDX:EAX
_MSR = f"""
        mov edx, [rbx + {CPU_ENV + 8:#x}]
        mov [r9 + 0x18], rdx
        mov edx, [rbx + {CPU_ENV + 16:#x}]
        shl rdx, 0x20
        mov ecx, [rbx + {CPU_ENV:#x}]
        or rdx, rcx
        mov [r9 + 0x20], rdx
"""


def control() -> str:
    """A write to a control register: the start of the entry of helper_write_crN(env, number, value), see helpers.py."""
    return _written(EVENT_CONTROL, _CONTROL)


def write_msr(trampoline: int) -> str:
    """helper_wrmsr(env)."""
    return f"""
        {_written(EVENT_MSR, _MSR)}
        mov r11, {trampoline:#x}
        jmp r11
    """


ENTRIES: dict[str, tuple[bytes, Callable[[int], str]]] = {
    "helper_wrmsr_x86_64": (bytes.fromhex("55 488b4c2408 4889fd ba01000000"), write_msr),
}
