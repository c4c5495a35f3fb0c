"""Events as the recorder keeps them: the piece of a thunk that leaves one in the ring.  See recorder.py for the words.

Literals are hexadecimal.
"""

from __future__ import annotations

from emu.cpu.unicorn import mailbox as m
from emu.cpu.unicorn.layout import BUDGET, CPU_ENV, CR, EIP, ERROR_CODE, HFLAGS, SEGMENT_SIZE, SEGS, TRACE_AT

EVENT_EXCEPTION, EVENT_SOFTWARE, EVENT_INTERRUPT, EVENT_CONTROL, EVENT_MSR = 1, 2, 3, 4, 5


def event(kind: int, label: str, fields: str = "") -> str:
    """Keep an event for the recorder, if it wants any (recorder.py): rbx is the CPUState, all but rbx and RSI may change.

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
        push rsi
        call [rax + {m.DRAIN:#x}]
        pop rsi
        pop rsi
        pop rax
        mov r9, [rax + {m.EVENT_AT:#x}]
    {label}_room:
        mov rdx, [rbx + {CPU_ENV + TRACE_AT:#x}]
        mov [r9], rdx
        mov rdx, [rax + {m.END:#x}]
        sub rdx, [rbx + {CPU_ENV + BUDGET:#x}]
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
