"""The trace is true: its expansion is, instruction by instruction, what ran.

Held against two witnesses: QEMU, one instruction a block, on a guest that asks no device and no clock; and, with interrupts
and faults, the library's own hook of every instruction on a second machine that runs the same blocks.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess

import numpy as np
import pytest

from emu.assembler import assemble
from emu.boards.tiny import Tiny
from emu.cpu.unicorn import fast, library
from emu.cpu.unicorn.code import Code
from emu.firmware import build
from emu.trace.code import disassemble
from emu.trace.reader import Trace
from emu.trace.recording import Recording

UC_HOOK_CODE = 4
MOST = 1 << 23                  # instructions that the hook has room for
STEPPED = ",".join(name for name in fast.NAMES if name != "strings")      # a bulk REP does elements that no hook sees

FAULTS = """
        jmp start
    gate:                               # eax = the handler, edi = the vector
        mov [edi * 8 + idt], ax
        mov word ptr [edi * 8 + idt + 2], cs
        mov word ptr [edi * 8 + idt + 4], 0x8e00
        shr eax, 16
        mov [edi * 8 + idt + 6], ax
        ret
    divide:
        add dword ptr [esp], 2          # over the DIV
        inc ebp
        iretd
    trap:
        iretd
    call80:
        xor eax, 0x5a5a5a5a
        iretd
    undefined:
        add dword ptr [esp], 2
        iretd
        .balign 8
    idtr:
        .word 0x7ff
        .long idt
        .set idt, 0x180000
    start:
        mov esp, 0x170000
        xor edi, edi
        lea eax, [divide]
        call gate
        mov edi, 1
        lea eax, [trap]
        call gate
        mov edi, 6
        lea eax, [undefined]
        call gate
        mov edi, 0x80
        lea eax, [call80]
        call gate
        .byte 0x0f, 0x01, 0x1d          # LIDT [idtr]
        .long idtr
        mov esi, ROUNDS
        mov ebx, 0x12345678
    again:
        imul ebx, ebx, 1664525
        add ebx, 1013904223
        mov eax, ebx
        shr eax, 27
        jmp dword ptr [eax * 4 + table]
    one:
        mov ecx, ebx
        shr ecx, 16
        and ecx, 31
        mov edi, 0x160000
        cld
        rep stosd
        jmp next
    two:
        mov eax, ebx
        xor edx, edx
        xor ecx, ecx
        nop
        div ecx
        inc eax
        jmp next
    three:
        int 0x80
        add eax, 1
        jmp next
    four:
        mov byte ptr [patch + 1], bl    # its own block, a little further on
        mov al, 1
    patch:
        mov ah, 2
        jmp next
    five:
        mov ecx, 17
        mov edi, 0x160000
        mov esi_saved, esi
        mov esi, 0x160004
        repe cmpsb
        mov esi, esi_saved
        jmp next
    six:
        ud2
        nop
        jmp next
    seven:
        push ebx
        call leaf
        pop ecx
        cmp ecx, ebx
        jne seven
        jmp next
    leaf:
        mov edx, [esp + 4]
        test edx, 1
        jz even
        ret
    even:
        nop
        ret
    eight:
        mov ecx, 9
    inner:
        lea eax, [eax + ecx * 2]
        loop inner
    next:
        dec esi
        jnz again
        cli
        hlt
        .balign 4
    table:
        .long one, two, three, four, five, six, seven, eight
        .long eight, seven, eight, seven, seven, eight, seven, eight
        .long eight, seven, eight, seven, seven, eight, seven, eight
        .long one, two, eight, three, seven, eight, seven, eight
"""
TRACING = """
        mov esp, 0x170000
        lea eax, [trap]
        mov [0x180008], ax
        mov word ptr [0x18000a], cs
        mov word ptr [0x18000c], 0x8e00
        mov word ptr [0x18000e], 0x10
        .byte 0x0f, 0x01, 0x1d          # LIDT [idtr]
        .long idtr
        pushfd
        or dword ptr [esp], 0x100
        popfd
        mov eax, 1
        inc eax
        mov ecx, 3
    here:
        loop here
        pushfd
        and dword ptr [esp], 0xfffffeff
        popfd
        inc eax
        cli
        hlt
    trap:
        inc ebx
        iretd
    idtr:
        .word 0x7ff
        .long 0x180000
"""


def multiboot(source):
    """A Multiboot image that is loaded at 100000h and starts there behind its header."""
    source = source.replace("esi_saved", "dword ptr [0x16f000]")
    header = ".long 0x1badb002, 0x10000, -(0x1badb002 + 0x10000), 0x100000, 0x100000, 0, 0, 0x100020\n"
    return assemble(header + source, 0x100000, 32)


def machine(image):
    m = Tiny(4 << 20)
    m.load(image, name="program")
    return m


def watched(image, path, limit):
    """(every instruction by the hook, how the run ended) of a machine that is recorded as well."""
    seen = np.zeros(1 + MOST, np.uint64)            # the first: how many there are
    code = Code()
    hook = code.place(f"""
        mov rax, {seen.ctypes.data:#x}
        mov rcx, [rax]
        cmp rcx, {MOST:#x}
        jae full
        mov [rax + rcx*8 + 0x8], rsi
        inc qword ptr [rax]
    full:
        ret""")                                     # (uc, address, size, data)
    with machine(image) as m:
        library.hook(m.engine._handle, UC_HOOK_CODE, hook)
        with Recording(m, path):
            m.run(limit)
        end = m.now, m.engine.counters(), m.state_sha256()
    code.close()
    assert seen[0] < MOST
    return seen[1:1 + int(seen[0])], end


def expected(trace):
    """What the hook sees: a store into its own block is tried, and done again by a block of its own, so it sees it twice."""
    single = np.zeros(max(trace.code) + 1, bool)
    single[[number for number, block in trace.code.items() if block.single]] = True
    pieces = []
    for _, numbers, lengths in trace.runs():
        again = np.flatnonzero(single[numbers])
        pieces.append(np.insert(trace.expand(numbers, lengths), (np.cumsum(lengths) - lengths)[again],
                                np.array([trace.code[number].pc for number in numbers[again].tolist()], np.uint64)))
    return np.concatenate(pieces)


CASES = {name: (lambda name=name: build.kernel(name)) for name in ("hello", "ticks", "paging", "long", "ring3")} | {
    "faults": lambda: multiboot(FAULTS.replace("ROUNDS", "3000")), "single steps": lambda: multiboot(TRACING)}
LIMITS = {"ring3": 11_000_000, "ticks": 60_000_000, "long": 15_000_000}


@pytest.mark.parametrize("name", CASES)
def test_the_expansion_is_what_a_hook_of_every_instruction_saw(name, tmp_path, monkeypatch):
    image, limit = CASES[name](), LIMITS.get(name, 100_000_000)
    with machine(image) as m:
        with Recording(m, tmp_path / "a", level="insns"):
            m.run(limit)
        end = m.now, m.engine.counters(), m.state_sha256()
    monkeypatch.setenv("EMU_FAST", STEPPED)
    seen, stepped = watched(image, tmp_path / "b", limit)
    a, b = Trace(tmp_path / "a"), Trace(tmp_path / "b")
    assert stepped == end                               # it is the same run
    ran = [[(t.code[number].pc, t.code[number].code) for number in t.blocks(0, 2000).tolist()] for t in (a, b)]
    assert ran[0] == ran[1]                             # of the same blocks
    assert np.array_equal(a.rows("insns")["address"].to_numpy(), a.instructions())
    assert np.array_equal(expected(a), seen)


# -- QEMU

LINE = re.compile(rb"^Trace 0: 0x[0-9a-f]+ \[[0-9a-f]+/([0-9a-f]+)/|^(Stopped) execution", re.MULTILINE)
SILENT = 60                     # seconds without a line: QEMU is stuck


def qemu(image, entry, count, path):
    """The PCs of the first `count` instructions from `entry` on, as `-singlestep -d exec,nochain` shows them; of the
    firmware before that nothing is logged.  The pipe is read as lines come: at the guest's end it is never full."""
    kernel, pipe = path / "kernel", path / "log"
    kernel.write_bytes(image)
    os.mkfifo(pipe)
    log = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    child = subprocess.Popen(["qemu-system-i386", "-accel", "tcg,thread=single", "-singlestep", "-d", "exec,nochain", "-D",
                              str(pipe), "-dfilter", "0x100000+0x40000", "-m", "4", "-display", "none", "-net", "none",
                              "-serial", "none", "-monitor", "none", "-kernel", str(kernel)], stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
    pieces, total, rest, begun = [], 0, b"", False
    try:
        while total < count:
            assert select.select([log], [], [], SILENT)[0], f"nothing more after {total:,} instructions"
            data = os.read(log, 1 << 20)
            assert data or child.poll() is None, f"the end after {total:,} instructions"
            data = rest + data
            end = data.rfind(b"\n") + 1
            found, rest = LINE.findall(data[:end]), data[end:]
            if found and not found[-1][1]:                  # the next line may be that it was stopped
                rest = data[data.rfind(b"\n", 0, end - 1) + 1:]
                found.pop()
            pcs = np.array([-1 if stopped else int(pc, 16) for pc, stopped in found], np.int64)
            pcs = pcs[~(np.append(pcs[1:] == -1, False) | (pcs == -1))]        # what was stopped did not run
            if not begun:
                start = np.flatnonzero(pcs == entry)
                begun, pcs = bool(len(start)), pcs[start[0] if len(start) else len(pcs):]
            pieces.append(pcs)
            total += len(pcs)
    finally:
        child.kill()
        child.wait()
        os.close(log)
    return np.concatenate(pieces)[:count]


def runs(addresses, repeated):
    """[(address, how often in a row)] with the counts of REP instructions apart."""
    starts = np.flatnonzero(np.append(True, np.diff(addresses) != 0) | ~np.isin(addresses, repeated))
    return addresses[starts], np.diff(np.append(starts, len(addresses)))


def again(times, kinds):
    """How often each REP is entered once more here than in QEMU with `nochain`, whose translator then looks at ECX behind
    each element; ours looks when it enters.  So one more if it is ECX that has ended it, which was not 0 before: `rep stosd`
    always, but for ECX = 0, which is one entry in both; `repe cmpsb` when all 17 bytes were equal.
    """
    return np.where(kinds == "rep stosd", times > 1, np.where(kinds == "repe cmpsb", times == 17 + 1, False))


@pytest.mark.parametrize("count", [200_000, pytest.param(10_000_000, marks=pytest.mark.long)])
def test_the_first_instructions_are_those_of_qemu_pc_by_pc(count, tmp_path):
    if not shutil.which("qemu-system-i386"):
        pytest.skip("qemu-system-i386 is not installed")
    image = multiboot(FAULTS.replace("ROUNDS", str(count // 15)))
    with machine(image) as m, Recording(m, tmp_path / "t"):
        m.run(60_000_000_000)
    trace = Trace(tmp_path / "t")
    ours = trace.instructions(0, count)[:count + count // 10].astype(np.int64)
    theirs = qemu(image, 0x100020, count, tmp_path)
    repeated = {address: mnemonic for block in trace.code.values() for address, _, mnemonic, _ in disassemble(block)
                if mnemonic.startswith("rep")}
    assert set(repeated.values()) == {"rep stosd", "repe cmpsb"}
    (pcs, times), (their_pcs, their_times) = runs(ours, list(repeated)), runs(theirs, list(repeated))
    length = min(len(pcs), len(their_pcs)) - 1              # the last one may be cut
    pcs, times, their_times = pcs[:length], times[:length], their_times[:length]
    assert np.array_equal(pcs, their_pcs[:length])
    kinds = np.array([repeated.get(pc, "") for pc in np.unique(pcs).tolist()])[np.unique(pcs, return_inverse=True)[1]]
    assert np.array_equal(times - again(times, kinds), their_times)
    assert count - 40 < int(their_times.sum()) <= count
