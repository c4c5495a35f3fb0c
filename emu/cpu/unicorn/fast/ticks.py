"""ticks: a periodic timer's interrupts, from the request to its end, without Python.

A tick is an alarm of the timer, a rising request, an acknowledge cycle and the handler's end of interrupt: four ways into
Python, after which all is as before but the next alarm is later by a period.  When the budget is spent, Python is asked
whether that is a tick (emu.engine.Ticker); its answer counts for one generation, as those of answers.py do.  Then

    the end of the budget   (`expired`) raises the request, and the budget reaches to the next tick      stage 0 -> 1
    hooks.take_interrupt    takes the vector from the mailbox                                            stage 1 -> 2
    OUT, in ports.py        of the value that ends it is counted                                         stage 2 -> 0

and before Python runs for any reason it is told how many ticks were whole, and how far the last one came, and catches up.
Other answers are void all the while: those of before, since Python was asked; and new ones only Python gives, which ends it.
Whatever does not fit goes to Python: a tick while the last one is not over, or one that is late by a period.

Gain: a tick takes 0.1 of the time.  Literals are hexadecimal.
"""

from __future__ import annotations

from collections.abc import Callable

from emu.cpu.unicorn import mailbox as m
from emu.cpu.unicorn.layout import BUDGET, CPU_ENV, CPU_INTERRUPT_REQUEST, INTERRUPT_HARD
from emu.engine import Ticker

SECOND = 10**9


def acknowledge(function: int, box: int) -> str:
    """ESI = the vector, rax = the mailbox: of a tick, or by `function`; rbx = the CPUState."""
    return f"""
        mov rax, {box:#x}
        cmp qword ptr [rax + {m.TICK_STAGE:#x}], 0x1
        jne ask
        mov qword ptr [rax + {m.TICK_STAGE:#x}], 0x2
        and dword ptr [rbx + {CPU_INTERRUPT_REQUEST:#x}], {~INTERRUPT_HARD & 0xFFFFFFFF:#x}
        mov esi, [rax + {m.TICK_VECTOR:#x}]
        jmp answered
    ask:
        mov rax, {function:#x}
        call rax
        movzx esi, al
        mov rax, {box:#x}
    answered:
    """


def end() -> str:
    """An OUT of the byte DL to the key in ESI, r11 = the mailbox: return if it ends a tick."""
    return f"""
        cmp qword ptr [r11 + {m.TICK_STAGE:#x}], 0x2
        jne not_a_tick
        cmp esi, [r11 + {m.TICK_KEY:#x}]
        jne not_a_tick
        cmp edx, [r11 + {m.TICK_END:#x}]
        jne not_a_tick
        mov qword ptr [r11 + {m.TICK_STAGE:#x}], 0x0
        inc qword ptr [r11 + {m.TICKS:#x}]
        ret
    not_a_tick:
    """


def expired(box: int, env: int, hz: int, slack: int, python: int) -> str:
    """The budget is spent: raise the tick's request and return 0, with the time of the next one as the budget's end."""
    return f"""
        mov r11, {box:#x}
        mov rax, [r11 + {m.GENERATION:#x}]
        cmp rax, [r11 + {m.TICK_GENERATION:#x}]
        jne python
        cmp qword ptr [r11 + {m.TICK_STAGE:#x}], 0x0
        jne python
        mov r8, [r11 + {m.TICK_PULSE:#x}]
        add r8, [r11 + {m.TICK_PERIOD:#x}]
        mov rax, {SECOND:#x}
        mul r8
        mov rcx, {hz:#x}
        add rax, {hz - 1:#x}
        adc rdx, 0x0
        div rcx
        mov r10, {env + BUDGET:#x}
        mov rdx, [r11 + {m.END:#x}]
        sub rdx, [r10]
        cmp rax, rdx
        jbe python
        mov rcx, [r11 + {m.TICK_UNTIL:#x}]
        cmp rcx, rdx
        jbe python
        cmp rax, rcx
        jb another
        mov rax, rcx
        mov qword ptr [r11 + {m.TICK_GENERATION:#x}], 0x0
    another:
        mov [r11 + {m.TICK_PULSE:#x}], r8
        add rax, {slack:#x}
        mov rdx, rax
        sub rdx, [r11 + {m.END:#x}]
        mov [r11 + {m.END:#x}], rax
        mov rcx, {m.KICK:#x}
        sub rdx, rcx
        add [r10], rdx
        mov rax, {env - CPU_ENV + CPU_INTERRUPT_REQUEST:#x}
        or dword ptr [rax], {INTERRUPT_HARD:#x}
        mov qword ptr [r11 + {m.TICK_STAGE:#x}], 0x1
        mov qword ptr [r11 + {m.PENDING:#x}], 0x1
        xor eax, eax
        ret
    python:
        mov rax, {python:#x}
        jmp rax
    """


def asked(box: m.Mailbox, expired: Callable[[], bool], ticker: Ticker) -> Callable[[], bool]:
    """What is called in the end: the ticker, and for what is no tick `expired`."""
    words, ticks = box.words, ticker.ticks

    def ask() -> bool:
        tick = ticks()
        if tick is None:
            return expired()
        words[m.TICK_PULSE >> 3], words[m.TICK_PERIOD >> 3], words[m.TICK_UNTIL >> 3] = tick[:3]
        words[m.TICK_VECTOR >> 3], words[m.TICK_KEY >> 3], words[m.TICK_END >> 3] = tick[3:]
        words[m.TICK_GENERATION >> 3] = words[m.GENERATION >> 3]
        return False                            # the budget is spent still, and who sees it calls once more

    return ask
