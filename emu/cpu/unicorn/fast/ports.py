"""ports: IN, OUT, INS and OUTS at the entry of the library's port functions, answered from a table where a chip allows it.

Before, at cpu_inb_x86_64(uc, port, retaddr), and likewise for the other sizes and for cpu_out*(uc, port, value, retaddr):

    48 8B 87 58 03 00 00    mov rax, [rdi + 0x358]      the list of hooks, which it walks; it then searches the guest's
    48 85 C0                test rax, rax               state in the block's tables (cpu_restore_state) and calls our gate,
    74 79                   je none                     which calls Python
    41 54                   push r12

After: mov r11, thunk; jmp r11.  The thunk checks the I/O permission (SDM vol. 1, 19.5; the state is restored only where that
may fail), counts and charges as hooks.port_gate does, and looks in the machine's table (answers.py): the value of a register
that holds still, a ring for bytes that are only collected, the buffer of a block transfer.  Python is called for the rest.

Gain: an access that is answered takes about 5 ns (QEMU: 50), one that Python serves (calls.py) 0.25 of what it took: 1.1 to
1.7 of QEMU's.  Without it every access is Python's, by way of ctypes.  EIP and the arithmetic flags are those of an earlier
instruction of the block while a chip's Python runs.
"""

from __future__ import annotations

from collections.abc import Callable

from emu.cpu.unicorn import mailbox as m
from emu.cpu.unicorn.fast import calls, ticks
from emu.cpu.unicorn.fast.answers import BLOCK, END, GENERATION, KEY, KIND, PLACES, RING, STEADY, VALUE
from emu.cpu.unicorn.layout import BUDGET, CPU_ENV, CPU_OPAQUE, EFLAGS, HF_CPL, HFLAGS, UC_CPU, symbol

REGISTERS = {1: ("dl", "movzx edx, dl"), 2: ("dx", "movzx edx, dx"), 4: ("edx", "mov edx, edx")}
CHECKS = {1: "helper_check_iob_x86_64", 2: "helper_check_iow_x86_64", 4: "helper_check_iol_x86_64"}


def place(key: int) -> int:
    """The table's entry for a port's key."""
    return key >> 4 & PLACES - 1


def gate(size: int, back: str, table: int) -> str:
    """Go on at `granted` if the port in ESI may be used; else #GP(0).  r10 = CPUState; `back` holds the return address.

    At CPL 0, as in real mode, it always may: virtual-8086 mode has CPL 3.
    """
    return f"""
        mov eax, [r10 + {CPU_ENV + HFLAGS:#x}]
        test al, {HF_CPL:#x}
        je granted
        mov r8, [r10 + {CPU_ENV + EFLAGS:#x}]
        test r8d, 0x20000
        jne check
        shr r8d, 0xc
        and r8d, {HF_CPL:#x}
        and eax, {HF_CPL:#x}
        cmp eax, r8d
        jbe granted
    check:
        push rdi
        push rsi
        push rdx
        push r10
        push r11
        mov rdi, r10
        mov rsi, {back}
        xor edx, edx
        mov rax, {symbol("cpu_restore_state_x86_64"):#x}
        call rax
        mov rdi, [rsp + 0x8]
        add rdi, {CPU_ENV:#x}
        mov esi, [rsp + 0x18]
        movzx esi, si
        mov rax, {symbol(CHECKS[size]):#x}
        call rax
        pop r11
        pop r10
        pop rdx
        pop rsi
        pop rdi
        mov r9, [r11 + {table:#x}]
    granted:
    """


def find() -> str:
    """rax = the entry for the key in RSI, whose place in the table at r9 is in EAX.

    Goes on at `fresh`, where the answer counts.  Else at `python`, where the generation has advanced unless the entry is
    STEADY; at `unknown` if it is another key's.
    """
    return f"""
        shl eax, 0x6
        add rax, r9
        cmp [rax + {KEY:#x}], rsi
        jne unknown
        mov rcx, [r11 + {m.GENERATION:#x}]
        cmp [rax + {GENERATION:#x}], rcx
        je fresh
        cmp qword ptr [rax + {KIND:#x}], {STEADY:#x}
        je python
    changes:
        inc qword ptr [r11 + {m.GENERATION:#x}]
        jmp python
    """


def collect() -> str:
    """Keep DL in the ring for the key in ESI, or go on at `changes`: the ring is full."""
    return f"""
        mov rcx, [r11 + {m.RING_AT:#x}]
        cmp rcx, [r11 + {m.RING_END:#x}]
        jae changes
        cmp rsi, [r11 + {m.RING_KEY:#x}]
        jne segment
    keep:
        mov [rcx], dl
        inc rcx
        mov [r11 + {m.RING_AT:#x}], rcx
        ret
    segment:
        mov r8, [r11 + {m.SEGMENT_AT:#x}]
        cmp r8, [r11 + {m.SEGMENT_END:#x}]
        jae changes
        mov [r8], rsi
        mov [r8 + 0x8], rcx
        add qword ptr [r11 + {m.SEGMENT_AT:#x}], 0x10
        mov [r11 + {m.RING_KEY:#x}], rsi
        mov qword ptr [r11 + {m.PENDING:#x}], 0x1
        jmp keep
    """


def machine(table: int) -> str:
    """r9 = the table, r10 = CPUState, r11 = the mailbox of a machine that uses this technique; else `original`."""
    return f"""
        mov r10, [rdi + {UC_CPU:#x}]
        mov r11, [r10 + {CPU_OPAQUE:#x}]
        test r11, r11
        je original
        mov r9, [r11 + {table:#x}]
        test r9, r9
        je original
    """


def charge(counter: int, cost: int) -> str:
    """Count an access and pay for it."""
    return f"""
        inc qword ptr [r11 + {counter:#x}]
        mov rax, [r11 + {cost:#x}]
        sub [r10 + {CPU_ENV + BUDGET:#x}], rax
    """


def key(size: int) -> str:
    """RSI = the key of the port in SI, EAX = its place."""
    return f"""
        movzx esi, si
        mov eax, esi
        and eax, {PLACES - 1:#x}
        shl esi, 0x4
        or esi, {size:#x}
    """


def _in(size: int, name: str, entry: bytes) -> Callable[[int], str]:
    load = {1: "movzx eax, byte ptr [rcx]", 2: "movzx eax, word ptr [rcx]", 4: "mov eax, [rcx]"}[size]
    return lambda trampoline: f"""
        {machine(m.PORT_READS)}
        {gate(size, "rdx", m.PORT_READS)}
        {charge(m.READS, m.READ_NS)}
        {key(size)}
        {find()}
    fresh:
        cmp qword ptr [rax + {KIND:#x}], {STEADY:#x}
        jne block
        mov rax, [rax + {VALUE:#x}]
        ret
    block:
        mov rcx, [rax + {VALUE:#x}]
        cmp rcx, [rax + {END:#x}]
        jae changes
        lea rdx, [rcx + {size:#x}]
        mov [rax + {VALUE:#x}], rdx
        mov qword ptr [r11 + {m.PENDING:#x}], 0x1
        {load}
        ret
        {calls.read(m.PORT_IN)}
    original:
        mov rax, [rdi + 0x358]
        test rax, rax
        mov r11, {symbol(name) + 12 + entry[11]:#x}
        je empty
        mov r11, {symbol(name) + len(entry):#x}
        push r12
    empty:
        jmp r11
    """


def _out(size: int) -> Callable[[int], str]:
    low, widen = REGISTERS[size]
    ring = f"cmp qword ptr [rax + {KIND:#x}], {RING:#x}\n je collect" if size == 1 else ""
    return lambda trampoline: f"""
        {machine(m.PORT_WRITES)}
        {gate(size, "rcx", m.PORT_WRITES)}
        {charge(m.WRITES, m.WRITE_NS)}
        {widen}
        {key(size)}
        {ticks.end() if size == 1 else ""}
        {find()}
    fresh:
        {ring}
        cmp qword ptr [rax + {KIND:#x}], {BLOCK:#x}
        jne dropped
        mov rcx, [rax + {VALUE:#x}]
        cmp rcx, [rax + {END:#x}]
        jae changes
        mov [rcx], {low}
        add rcx, {size:#x}
        mov [rax + {VALUE:#x}], rcx
        mov qword ptr [r11 + {m.PENDING:#x}], 0x1
    dropped:
        ret
    collect:
        {collect() if size == 1 else ""}
        {calls.write(m.PORT_OUT)}
    original:
        mov r11, {trampoline:#x}
        jmp r11
    """


_ENTRY_IN = bytes.fromhex("488b8758030000 4885c0 7479 4154")           # its jump leads behind the entry: _in emulates it
_ENTRY_IN_LONG = _ENTRY_IN.replace(b"\x74\x79", b"\x74\x7b")
_ENTRY_OUT = bytes.fromhex("4157 4156 4155 4154 55 53 4883ec18")


def entries() -> dict[str, tuple[bytes, Callable[[int], str]]]:
    """The patches, for code.Patches."""
    made: dict[str, tuple[bytes, Callable[[int], str]]] = {}
    for letter, size in ("b", 1), ("w", 2), ("l", 4):
        name, start = f"cpu_in{letter}_x86_64", _ENTRY_IN_LONG if size == 4 else _ENTRY_IN
        made[name] = start, _in(size, name, start)
        made[f"cpu_out{letter}_x86_64"] = _ENTRY_OUT, _out(size)
    return made
