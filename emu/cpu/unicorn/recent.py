"""The last exceptions and interrupts, always remembered: two small rings that wrap, written by the thunks of hooks.py.

One ring is for exceptions and INT n, one for hardware interrupts, so that ticks do not wash out a fault.  A slot holds the
processor as it was before the delivery: in a chain of faults none of the general registers has changed since the first.
A function may watch: it is called before the delivery of a fault that comes during the delivery of another one, and of
vectors that it names.  None of this is charged, saved, or part of a digest.  Literals are hexadecimal.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable
from ctypes import addressof, c_char

from emu.cpu.unicorn import layout as at
from emu.cpu.unicorn import mailbox as m
from emu.cpu.unicorn.callbacks import Callbacks
from emu.cpu.unicorn.code import Code
from emu.cpu.unicorn.layout import CPU_ENV
from emu.engine import Happened

SLOTS, SLOT = 64, 0x100         # of each ring, and the bytes of one
KINDS = {1: "exception", 2: "software interrupt", 3: "interrupt"}
WORDS = {0x20: at.CR + 16, 0x28: at.EIP, 0x38: at.SEGS + at.SEGMENT_SIZE + 8, 0x40: at.CR + 24, 0x48: at.EFLAGS,
         0x58: at.SEGS + 2 * at.SEGMENT_SIZE + 8}          # CR2 RIP CS-base CR3 EFLAGS SS-base
HALVES = {0x18: at.ERROR_CODE, 0x30: at.SEGS + at.SEGMENT_SIZE, 0x34: at.HFLAGS, 0x50: at.SEGS + 2 * at.SEGMENT_SIZE,
          0x60: at.CR, 0x64: at.CR + 32, 0x68: at.EFER}    # error CS hflags SS CR0 CR4 EFER
_SLOT = struct.Struct("<QQQI4xQQIIQQQI4xQIII4xQ8x16Q")
_GENERAL = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{i}" for i in range(8, 16)))
_NOW = m.KICK - 1

assert _SLOT.size == SLOT


def remember(kind: int, label: str) -> str:
    """Fill the next slot: rax = the mailbox, rbx = the CPUState, ESI = the vector; rax, rbx and RSI stay."""
    ring, count = (SLOTS * SLOT, m.TAKEN) if kind == 3 else (0, m.RAISES)
    software = f"""
        cmp dword ptr [rbx + {CPU_ENV + at.EXCEPTION_IS_INT:#x}], 0x0
        je {label}_kind
        inc qword ptr [r9 + 0x10]
    {label}_kind:
    """ if kind == 1 else ""
    return f"""
        mov r9, [rax + {count:#x}]
        mov rdx, [rax + {m.RAISES:#x}]
        add rdx, [rax + {m.TAKEN:#x}]
        inc qword ptr [rax + {count:#x}]
        and r9d, {SLOTS - 1:#x}
        shl r9d, 0x8
        add r9, [rax + {m.RECENT:#x}]
        add r9, {ring:#x}
        mov [r9], rdx
        mov rdx, [rax + {m.END:#x}]
        sub rdx, [rbx + {CPU_ENV + at.BUDGET:#x}]
        mov [r9 + 0x8], rdx
        mov edx, esi
        shl edx, 0x8
        or edx, {kind:#x}
        mov [r9 + 0x10], rdx
        mov rdx, [rax + {m.DELIVERING:#x}]
        mov [r9 + 0x70], rdx
        {"".join(f'''
        mov rdx, [rbx + {CPU_ENV + source:#x}]
        mov [r9 + {place:#x}], rdx''' for place, source in WORDS.items())}
        {"".join(f'''
        mov edx, [rbx + {CPU_ENV + source:#x}]
        mov [r9 + {place:#x}], edx''' for place, source in HALVES.items())}
        {"".join(f'''
        movups xmm0, [rbx + {CPU_ENV + at.REGS + 16 * i:#x}]
        movups [r9 + {0x80 + 16 * i:#x}], xmm0''' for i in range(8))}
        {software}
    """


def watched(label: str) -> str:
    """Call who watches, if anyone does and this is for him; the registers as in `remember`."""
    return f"""
        cmp qword ptr [rax + {m.WATCH:#x}], 0x0
        je {label}
        cmp qword ptr [rax + {m.DELIVERING:#x}], 0x2
        je {label}_call
        mov edx, esi
        shr edx, 0x5
        mov edx, [rax + rdx*4 + {m.WATCHED:#x}]
        bt edx, esi
        jae {label}
    {label}_call:
        push rax
        push rsi
        call [rax + {m.WATCH:#x}]
        pop rsi
        pop rax
    {label}:
    """


class Recent:
    """The rings of one machine."""

    def __init__(self, box: m.Mailbox, callbacks: Callbacks, code: Code) -> None:
        self._words, self._callbacks, self._code = box.words, callbacks, code
        self._memory = mmap.mmap(-1, 2 * SLOTS * SLOT, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._base = c_char.from_buffer(self._memory)
        self._words[m.RECENT >> 3] = addressof(self._base)

    def clear(self) -> None:
        """The processor's past is another's."""
        self._words[m.RAISES >> 3] = self._words[m.TAKEN >> 3] = 0

    def counts(self) -> tuple[int, int]:
        """See emu.engine.Engine.happened."""
        return self._words[m.RAISES >> 3], self._words[m.TAKEN >> 3]

    def read(self) -> list[Happened]:
        """See emu.engine.Engine.recent."""
        out = [self._read(ring + (number & SLOTS - 1) * SLOT)
               for ring, count in ((0, self._words[m.RAISES >> 3]), (SLOTS * SLOT, self._words[m.TAKEN >> 3]))
               for number in range(max(0, count - SLOTS), count)]
        return sorted(out, key=lambda happened: happened.number)

    def _read(self, place: int) -> Happened:
        (number, time, what, error, cr2, rip, cs, hflags, cs_base, cr3, flags, ss, ss_base, cr0, cr4, efer, during,
         *general) = _SLOT.unpack_from(self._memory, place)
        return Happened(number, time & _NOW, KINDS[what & 0xFF], what >> 8, error, cr2, rip, cs, cs_base, hflags & at.HF_CPL,
                        64 if hflags & at.HF_CS64 else 32 if hflags & at.HF_CS32 else 16, ss, ss_base, flags, cr0, cr3,
                        cr4, efer, ("", "software interrupt", "exception")[during], dict(zip(_GENERAL, general)))

    def watch(self, function: Callable[[], None] | None, vectors: frozenset[int] = frozenset()) -> None:
        """See emu.engine.Engine.watch."""
        def watched() -> int:
            assert function
            function()
            return 0

        for i in range(4):
            mask = sum(1 << vector % 64 for vector in vectors if vector // 64 == i)
            self._words[(m.WATCHED >> 3) + i] = mask - (mask >> 63 << 64)
        self._words[m.WATCH >> 3] = 0 if function is None else self._callbacks.ask(watched, self._code)
