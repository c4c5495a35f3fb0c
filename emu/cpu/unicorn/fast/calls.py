"""A chip's Python called from a thunk by CPython's own interface, without a ctypes callback between.

A ctypes callback takes the GIL, which is held anyway, makes a tuple of its arguments, and calls a wrapper that looks the
function up: half the time of an access.  Here the table's entry holds the function (answers.py keeps it alive), and the thunk
calls it.  What it raises goes to the mailbox, and from there to `UnicornEngine.run` by way of one callback.

Literals are hexadecimal.  At `python`: rax = the entry, r11 = the mailbox, RSI = the key, RDX = the value to write.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

from emu.cpu.unicorn import mailbox as m
from emu.cpu.unicorn.fast.answers import FUNCTION

SAVED = "rbx", "r12", "r13", "r14", "r15"       # an odd number: with the return address, the stack is aligned for a call
PUSH = "\n".join(f"push {register}" for register in SAVED)
POP = "\n".join(f"pop {register}" for register in reversed(SAVED))


def _c(name: str, *arguments: str) -> str:
    """Call a function of CPython with these registers."""
    address = ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value
    moves = "\n".join(f"mov {target}, {source}" for target, source in zip(("rdi", "rsi"), arguments, strict=False))
    return f"""
        {moves}
        mov rax, {address:#x}
        call rax
    """


_FAILED = f"""
    failed:
        lea rdi, [r13 + {m.ERROR:#x}]
        lea rsi, [r13 + {m.ERROR + 8:#x}]
        lea rdx, [r13 + {m.ERROR + 16:#x}]
        {_c("PyErr_Fetch")}
        mov r11, r13
        {POP}
        jmp [r11 + {m.RAISED:#x}]
"""


# Return the number that a function has answered with, the object in R12 (0: it has raised something).
_VALUE = f"""
        test r12, r12
        je failed
        {_c("PyLong_AsUnsignedLongMask", "r12")}
        mov rbx, rax
        {_c("Py_DecRef", "r12")}
        cmp rbx, -0x1
        je doubtful
    value:
        mov rax, rbx
        {POP}
        ret
    doubtful:
        {_c("PyErr_Occurred")}
        test rax, rax
        je value
        {_FAILED}
"""


def _late(field: int, arguments: str) -> str:
    """`unknown`: no entry; `late`: something was kept for Python, which takes its turn first.  Both by callbacks."""
    return f"""
    unknown:
        inc qword ptr [r11 + {m.GENERATION:#x}]
        {arguments}
        cmp qword ptr [r11 + {m.PENDING:#x}], 0x0
        jne late_one
        jmp [r11 + {field:#x}]
    late:
        {arguments}
    late_one:
        jmp [r11 + {field + m.LATE:#x}]
    """


def read(field: int) -> str:
    """Answer with the function's value."""
    return f"""
    python:
        cmp qword ptr [r11 + {m.PENDING:#x}], 0x0
        jne late
        {PUSH}
        mov rbx, [rax + {FUNCTION:#x}]
        mov r13, r11
        {_c("Py_IncRef", "rbx")}
        {_c("PyObject_CallNoArgs", "rbx")}
        mov r12, rax
        {_c("Py_DecRef", "rbx")}
        {_VALUE}
        {_late(field, "mov rdi, rsi")}
    """


def write(field: int) -> str:
    """Call the function with the value in RDX."""
    return f"""
    python:
        cmp qword ptr [r11 + {m.PENDING:#x}], 0x0
        jne late
        {PUSH}
        mov rbx, [rax + {FUNCTION:#x}]
        mov r13, r11
        {_c("PyLong_FromUnsignedLong", "rdx")}
        mov r12, rax
        test rax, rax
        je failed
        {_c("Py_IncRef", "rbx")}
        {_c("PyObject_CallOneArg", "rbx", "r12")}
        mov r14, rax
        {_c("Py_DecRef", "r12")}
        {_c("Py_DecRef", "rbx")}
        test r14, r14
        je failed
        {_c("Py_DecRef", "r14")}
        {POP}
        ret
        {_FAILED}
        {_late(field, "mov rdi, rsi" + chr(10) + "mov rsi, rdx")}
    """


def ask(box: int, function: object, late: int) -> str:
    """The code that calls a function without arguments, which may change anything; `late`: the callback to take instead
    while something is kept for Python.  The function must be kept alive.
    """
    return f"""
        mov r11, {box:#x}
        cmp qword ptr [r11 + {m.PENDING:#x}], 0x0
        jne late
        inc qword ptr [r11 + {m.GENERATION:#x}]
        {PUSH}
        mov r13, r11
        mov rbx, {id(function):#x}
        {_c("PyObject_CallNoArgs", "rbx")}
        mov r12, rax
        {_VALUE}
    late:
        mov rax, {late:#x}
        jmp rax
    """


def raised(box: m.Mailbox, fail: Callable[[BaseException], int]) -> Callable[[], int]:
    """The callback that fetches what a function has raised."""
    restore = ctypes.pythonapi.PyErr_Restore
    words = box.words

    def fetch() -> int:
        error = [ctypes.c_void_p(words[(m.ERROR >> 3) + i]) for i in range(3)]
        try:
            restore(*error)                         # it comes out of this very call
        except BaseException as what:
            return fail(what)
        return 0

    return fetch
