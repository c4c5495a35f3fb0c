"""Ports and device memory that are answered natively: every run is the one of the plain core."""

from __future__ import annotations

import random

import pytest

from emu.assembler import assemble
from emu.boards.board import late
from emu.boards.pc import PC
from emu.boards.tiny import Tiny
from emu.firmware import build
from emu.machine import End
from emu.script import Player, parse
from tests.fast.boards import ALL, ALONE, BOTH, Maker, state

READS = [0x3F8, 0x3F9, 0x3FA, 0x3FB, 0x3FC, 0x3FD, 0x3FE, 0x3FF, 0x20, 0x21, 0xA0, 0xA1, 0x60, 0x64, 0x61, 0x80, 0xE9, 0xED,
         0x71, 0x40, 0x42, 0x92, 0x2F8, 0x2FD, 0x5A0, 0x5A2, 0x13FD, 0x10, 0xCF8, 0x4D0]
WRITES = {0x3F8: None, 0x3F9: (0, 1, 2, 4, 8, 15), 0x3FA: (0, 1, 7, 0xC1), 0x3FB: (3, 3, 3, 0x83), 0x3FC: (0, 0x0B, 0x1B),
          0x3FF: None, 0x20: (0x20, 0x0A, 0x0B, 0x0C, 0x60), 0x21: None, 0xA0: (0x20, 0x0B), 0xA1: None, 0x60: (0xF4, 0x45),
          0x64: (0x20, 0x60, 0xAA, 0xD4), 0x61: None, 0x80: None, 0xE9: None, 0xED: None, 0x70: None, 0x43: (0x34, 0, 0x80),
          0x40: None, 0x2F8: None, 0x5A0: None, 0x80E9: None}
FRAGMENTS = """
    mov dx, {port}; mov cx, 5
    again{n}: in al, dx; stosb; loop again{n}
|   mov dx, {port}; in ax, dx; stosw
|   .byte 0x66; mov dx, {port}; in eax, dx; stosd
|   mov dx, {write}; mov al, {value}; out dx, al
|   mov dx, {write}; mov al, {value}; out dx, al; out dx, al; mov dx, {write2}; out dx, al; mov dx, {write}; out dx, al
|   mov dx, {write}; mov ax, {value}; out dx, ax
|   mov dx, {write}; mov si, 0x7C00; mov cx, 40; rep outsb
|   mov dx, {port}; mov cx, 9; rep insb
|   mov dx, 0x5A0; mov cx, 50; rep insw
|   mov dx, 0x5A0; mov cx, 50; mov si, 0x7C00; rep outsw
|   mov cx, 6
    t{n}: mov dx, 0x3FD; in al, dx; test al, 0x20; jz t{n}; mov dx, 0x3F8; mov al, cl; out dx, al; loop t{n}
|   mov eax, fs:[bx]; stosd; mov eax, fs:[bx]; stosd; mov al, fs:[bx]; mov eax, fs:[bx + 4]; stosd
|   mov fs:[bx], edi; mov eax, fs:[bx]; stosd; mov byte ptr fs:[bx + 8], 0x41; mov byte ptr fs:[bx + 8], 0x42
|   cli | sti | sti; mov al, 0x20; out 0x20, al
"""


@pytest.fixture
def made(monkeypatch):
    maker = Maker(monkeypatch)
    yield maker
    maker.close()


def run(machine, end, seed, typed=b""):
    """Run to `end`, cut at random; what was typed is sent at one of the cuts."""
    rng = random.Random(seed)
    while machine.now < end:
        stopped = machine.run(min(end, machine.now + rng.randrange(1, end // 4)))
        if typed and rng.random() < 0.5:
            machine.send(typed)
            typed = b""
        if stopped is not End.TIME:
            break


def program(seed: str) -> str:
    """A loop of random accesses; every vector counts itself and ends the interrupt.  FS is a big segment at the window."""
    rng = random.Random(seed)
    body = []
    for n in range(40):
        port, write, write2 = rng.choice(READS), rng.choice(list(WRITES)), rng.choice(list(WRITES))
        value = rng.choice(WRITES[write] or (rng.randrange(256), 0, 0xFF))
        body.append(rng.choice(FRAGMENTS.split("|")).format(n=n, port=port, write=write, write2=write2, value=value))
    return f"""
        cli
        xor ax, ax
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov sp, 0x7000
        lgdt [gdtr]
        mov eax, cr0
        or al, 1
        mov cr0, eax
        mov dx, 8
        mov fs, dx
        and al, 0xFE
        mov cr0, eax
        xor di, di
        mov cx, 256
    vector: mov word ptr [di], offset_of_handler
        mov word ptr [di + 2], 0
        add di, 4
        loop vector
        mov al, 0x36
        out 0x43, al
        mov al, 0x40
        out 0x40, al
        mov al, 2
        out 0x40, al
    round: mov di, 0x9000
        mov bx, 0
        {"; ".join(";".join(piece.split(chr(10))) for piece in body)}
        jmp round
    handler: push ax
        inc word ptr [0x8F00]
        mov al, 0x20
        out 0xA0, al
        out 0x20, al
        pop ax
        iret
    gdtr: .word 15
        .long table
    table: .quad 0
        .word 0xFFFF, 0
        .byte 0xC0, 0x93, 0x8F, 0xFE
    """


def source(seed):
    text = program(seed)
    handler = 0
    for _ in range(2):                              # the assembler has no `offset`: the handler is found by its bytes
        code = assemble(text.replace("offset_of_handler", f"{handler:#x}"), 0x7C00, 16)
        handler = 0x7C00 + code.index(bytes.fromhex("50 ff06008f b020"))
    return code


LISTENERS = pytest.mark.parametrize("listener", [None, "late", "at once"])


def alike(made: Maker, seed: int, listener: str | None) -> None:
    ends = []
    for fast in ("none", ALONE, BOTH, ALL):
        machine, heard, printed = made(fast, source(f"ports {seed}")), bytearray(), bytearray()
        if listener:
            machine.on_output = heard.extend if listener == "at once" else late(heard.extend)
            machine.on_debug = printed.extend if listener == "at once" else late(printed.extend)
        run(machine, 20_000_000, seed, b"typed text")
        ends.append((*state(machine), bytes(heard), bytes(printed), bytes(machine["device"].seen)))
        assert len(machine.notes) == len(set(machine.notes))
    assert ends[0] == ends[1] == ends[2] == ends[3]
    counters = ends[0][1]
    assert counters["port_reads"] > 1000 and counters["port_writes"] > 1000


@pytest.mark.parametrize("seed", range(4))
@LISTENERS
def test_random_guests_run_as_on_the_plain_core(made, seed, listener):
    alike(made, seed, listener)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4, 40))
@LISTENERS
def test_random_guests_of_many(made, seed, listener):
    alike(made, seed, listener)


# -- our own kernels

@pytest.mark.parametrize("board", [PC, Tiny])
def test_the_default_kernel_under_a_script_runs_as_on_the_plain_core(made, board):
    ends = []
    for fast in ("none", BOTH, ALL):
        machine = made(fast, build.kernel("default"), board=board)
        steps = parse('expect "> "\nsend "help\\r"\nexpect "> "\nwait 0.05\nsend "ticks\\r"\nexpect "> "\nquit')
        player = Player(machine, steps, machine.stop)
        machine.on_output = lambda data, player=player: player.output()
        player.start()
        machine.run(2_000_000_000)
        ends.append(state(machine))
    assert ends[0] == ends[1] == ends[2]
    assert len(ends[0][3]) > 100


@pytest.mark.parametrize("listener", [None, "late", "at once"])
def test_the_echo_kernel_echoes_as_on_the_plain_core(made, listener):
    ends = []
    for fast in ("none", BOTH):
        machine, heard = made(fast, build.kernel("echo"), board=Tiny), bytearray()
        if listener:
            machine.on_output = heard.extend if listener == "at once" else late(heard.extend)
        machine.send("what is typed comes back\r")
        machine.run(100_000_000)
        ends.append((*state(machine), bytes(heard)))
    assert ends[0] == ends[1]
    assert b"comes back" in ends[0][3]
