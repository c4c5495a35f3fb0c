"""Call stacks of tasks that wait at the same place, held against a shadow that sees every instruction and stack pointer."""

from __future__ import annotations

import collections
import ctypes

import numpy as np
import pytest

from emu.assembler import assemble
from emu.boards.pc import PC
from emu.boards.tiny import Tiny
from emu.cpu.unicorn import library
from emu.firmware import build
from emu.trace import layout
from emu.trace.code import disassemble
from emu.trace.reader import Trace
from emu.trace.recording import Recording
from emu.trace.stacks import Walk, called, everything, stacks
from emu.trace.symbols import Symbols

UC_HOOK_CODE = 4
CALLBACK = ctypes.PYFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_void_p)
START, STACKS, SIZE = 0x7C00, 0x4000, 0x200
FUNCTIONS = ["red", "green", "blue", "grey", "black", "deep", "give", "pick", "tick", "twice"]
# Five tasks call `deep` to a depth of their own and give the processor away there, by a call and by an interrupt; who is next
# is drawn.  All wait at the same place.
TASKS = """
        cli
        xor ax, ax
        mov ss, ax
        mov sp, STACKS + SIZE
        mov word ptr [0x20 * 4], tick
        mov word ptr [0x20 * 4 + 2], 0
        mov bp, 1
        mov si, entries + 2
    prepare:
        mov di, bp
        shl di, 9
        add di, STACKS + SIZE - 20
        lodsw
        mov [di + 16], ax               # behind what POPA takes; the assembler's RET takes four bytes
        mov word ptr [di + 18], 0
        mov bx, bp
        shl bx, 1
        mov [pointers + bx], di
        inc bp
        cmp bp, 5
        jb prepare
        jmp red
    entries:
        .word red, green, blue, grey, black
    pointers:
        .word 0, 0, 0, 0, 0
    now:
        .word 0
    seed:
        .word 12345
    red:
        mov bl, 0x41
        mov cx, 1
        call deep
        call twice
        jmp red
    green:
        mov bl, 0x42
        mov cx, 2
        call deep
        jmp green
    blue:
        mov bl, 0x43
        mov cx, 3
        call deep
        jmp blue
    grey:
        mov bl, 0x44
        mov cx, 3
        call deep
        jmp grey
    black:
        mov bl, 0x45
        mov cx, 7
        call deep
        jmp black
    deep:
        mov bl, 0x46
        push cx
        dec cx
        jz bottom
        call deep
        int 0x20
    bottom:
        call give
        pop cx
        ret
    give:
        mov bl, 0x47
        pusha
        call pick
        SWITCH
        popa
        ret
    pick:                               # bx and di: two bytes a task, from where and to where
        mov bl, 0x48
        mov ax, [seed]
        imul ax, ax, 25173
        add ax, 13849
        mov [seed], ax
        shr ax, 8
        mov bl, 5
        div bl
        movzx di, ah
        shl di, 1
        mov bx, [now]
        mov [now], di
        ret
    tick:
        mov bl, 0x49
        pusha
        call give
        popa
        .byte 0xCF
    twice:
        mov bl, 0x4A
        call give
        call give
        ret
"""
SWITCHES = {
    "mov": "mov [pointers + bx], sp; mov sp, [pointers + di]",
    "mov by a register": "mov [pointers + bx], sp; mov ax, [pointers + di]; mov sp, ax",
    "xchg": "mov [pointers + bx], sp; mov ax, [pointers + di]; xchg sp, ax",
    "pop": "mov [pointers + bx], sp; push word ptr [pointers + di]; push cx; pop cx; pop sp",
    "lss": "mov [pointers + bx], sp; mov ax, [pointers + di]; mov [0x3ff0], ax; mov word ptr [0x3ff2], 0; "
           ".byte 0x0f, 0xb2, 0x26; .word 0x3ff0",
}


def program(switch):
    return assemble(TASKS.replace("SWITCH", SWITCHES[switch]).replace("STACKS", hex(STACKS)).replace("SIZE", hex(SIZE)),
                    START, 16)


def recorded(path, switch, until=2_000_000):
    """(trace, symbols, [(address, sp)] of every instruction, how the run ended)."""
    code = program(switch)
    seen = []
    with Tiny(1 << 20) as m:
        m.load(code, name="program")
        callback = CALLBACK(lambda uc, address, size, data: seen.append((address, m.registers.rsp)))
        library.hook(m.engine._handle, UC_HOOK_CODE, library.address(callback))
        with Recording(m, path):
            m.run(until)
        end = m.now, m.engine.counters(), m.state_sha256()
    places = [code.index(bytes([0xB3, number])) + START for number in range(0x41, 0x41 + len(FUNCTIONS))]
    return Trace(path), Symbols([(START, "main"), *zip(places, FUNCTIONS, strict=True)]), seen, end


def shadow(trace, symbols, seen):
    """Blocks by call path, from what lies on the stacks: a frame lives as long as the stack pointer is not above its slot."""
    mnemonics = {address: mnemonic for block in trace.code.values() for address, _, mnemonic, _ in disassemble(block)}
    lengths = np.concatenate([lengths for _, _, lengths in trace.runs()])
    starts = set((np.cumsum(lengths) - lengths).tolist())
    frames, bases = collections.defaultdict(list), {}
    folded, before = collections.Counter(), ""
    for index, (address, sp) in enumerate(seen):
        name, region = symbols.at(address)[0], (sp - 1) // SIZE
        stack = frames[region]
        while stack and stack[-1][0] < sp:
            stack.pop()
        if before in ("call", "int"):
            stack.append((sp, name))
        if not stack:
            bases[region] = name
        if index in starts:
            folded[(bases.get(region), *(function for _, function in stack))] += 1
        before = mnemonics[address]
    return folded


@pytest.mark.parametrize("switch", SWITCHES)
def test_tasks_that_wait_at_the_same_place_keep_their_stacks(switch, tmp_path):
    trace, symbols, seen, _ = recorded(tmp_path / "t", switch)
    assert len(trace.instructions()) == len(seen)
    truth = shadow(trace, symbols, seen)
    walk = Walk(trace, symbols, plain=True)
    for row in everything(trace):
        list(walk.follow(row))
    found = collections.Counter(walk.tree().folded())
    if switch == "lss":                 # it ends its block, and what follows tells only at its return that a task is new
        assert sum((truth - found).values()) == truth["give",] == 4 and sum((found - truth).values()) == 4
        truth = found
    assert found == truth
    assert {path[0] for path in truth} == {"main", "red", "green", "blue", "grey", "black"} and max(map(len, truth)) > 9
    assert sum(path[-2:] == ("deep", "give") for path in truth) > 10


def test_what_is_compiled_follows_the_same(tmp_path):
    pytest.importorskip("numba", reason="no numba: pip install 'emu-pc[profile]'")
    trace, symbols, seen, _ = recorded(tmp_path / "t", "mov", 5_000_000)
    assert stacks(trace, symbols).folded() == shadow(trace, symbols, seen)


def test_a_task_that_begins_where_the_one_before_would_go_on_has_a_stack_of_its_own(tmp_path):
    pytest.importorskip("numba", reason="no numba: pip install 'emu-pc[profile]'")
    with PC(memory=16 << 20) as m:                      # both return to `trap_return`, and from there to ring 3
        m.load(build.kernel("ring3"))
        with Recording(m, tmp_path / "t"):
            m.run(25_000_000)
    trace = Trace(tmp_path / "t")
    programs = min(block.pc for block in trace.code.values() if block.cpl == 3)
    kernel = called(trace, trace.pieces())
    rings = {block.pc: block.cpl for block in trace.code.values()}
    names = [(address, "program" if rings[address] else f"kernel {name}")
             for address, name in zip(kernel.addresses, kernel.names, strict=True)]
    paths = stacks(trace, Symbols([*names, (programs, "program")])).folded()
    assert sum(blocks for path, blocks in paths.items() if path[-1] == "program") > 1_000_000
    assert not [path for path in paths if path[-1] == "program" and any(name != "program" for name in path)]
    assert any(path[0] == "program" and path[-1] != "program" for path in paths)        # a system call, an interrupt


def test_recording_the_loads_changes_no_run(tmp_path):
    *_, end = recorded(tmp_path / "t", "mov")
    with Tiny(1 << 20) as m:
        m.load(program("mov"), name="program")
        m.run(2_000_000)
        assert (m.now, m.engine.counters(), m.state_sha256()) == end


def test_each_switch_is_an_event_with_both_pointers(tmp_path):
    trace, _, seen, _ = recorded(tmp_path / "t", "mov")
    events = trace.events.filter(trace.events["kind"] == layout.KINDS[layout.STACK])
    starts = np.cumsum(np.concatenate([lengths for _, _, lengths in trace.runs()]))
    blocks = trace.blocks()
    assert len(events) > 100
    for position, before, after in events.select("position", "address", "value").iter_rows():
        block = trace.code[int(blocks[position - 1])]
        assert any("sp, word ptr" in operands for _, _, _, operands in disassemble(block))
        assert seen[starts[position - 1]][1] == after                   # at the next block's first instruction
        assert seen[starts[position - 2]][1] == before
