"""Ports and device memory that are answered natively: every run is the one of the plain core."""

from __future__ import annotations

import ctypes
import random

import pytest
import unicorn
from unicorn import x86_const

from emu.assembler import assemble
from emu.boards.board import late
from emu.boards.pc import PC
from emu.boards.tiny import Tiny
from emu.cpu.unicorn import mailbox as m
from emu.cpu.unicorn.layout import symbol
from emu.device import BLOCK, RING, RW, VALUE, Device, R, Reg, State, W
from emu.firmware import build
from emu.machine import End
from emu.script import Player, parse

ALONE, BOTH, ALL = "ports", "ports,mmio", "all"
WINDOW = 0xFEC00000


class Sectors(Device):
    """A port of SIZE bytes that reads and writes 64-byte sectors; a sector that ends is counted."""

    SIZE = 2
    DATA = Reg(0, RW, "the next element", size=2, native=BLOCK)
    NUMBER = Reg(2, R, "which sector", native=VALUE)
    DONE = State(0, "bytes of the sector that have moved")
    WRITTEN = State([], "the sectors that were written")

    def __init__(self) -> None:
        self.sector = bytearray(64)
        self.calls = []

    def reset(self) -> None:
        super().reset()
        self.fill()

    def fill(self) -> None:
        self.sector[:] = random.Random(self.number).randbytes(64)

    def step(self) -> None:
        self.done += self.SIZE
        if self.done == 64:
            self.number, self.done = self.number + 1 & 0xFF, 0
            self.fill()

    def read_DATA(self) -> int:
        self.calls.append("r")
        value = int.from_bytes(self.sector[self.done:self.done + self.SIZE], "little")
        self.step()
        return value

    def write_DATA(self, value: int) -> None:
        self.calls.append("w")
        self.sector[self.done:self.done + self.SIZE] = value.to_bytes(self.SIZE, "little")
        if self.done + self.SIZE == 64:
            self.written.append(bytes(self.sector))
        self.step()

    def block_DATA(self, access: str) -> memoryview | None:
        return memoryview(self.sector)[self.done:64 - self.SIZE]

    def moved_DATA(self, access: str, length: int) -> None:
        self.done += length


class Bytes(Sectors):
    SIZE = 1
    DATA = Reg(0, RW, "the next element", native=BLOCK)


class Longs(Sectors):
    SIZE = 4
    DATA = Reg(0, RW, "the next element", size=4, native=BLOCK)
    NUMBER = Reg(4, R, "which sector", native=VALUE)


class Device4(Device):
    """Device memory: a register that holds its value, one that counts its reads, bytes that are collected."""

    STEADY = Reg(0, RW, "a value", size=4, native=VALUE)
    COUNT = Reg(4, R, "how often it was read", size=4)
    TEXT = Reg(8, W, "bytes", native=RING)
    SEEN = State(b"", "what was written to TEXT")

    def read_COUNT(self) -> int:
        self.count += 1
        return self.count

    def write_TEXT(self, value: int) -> None:
        self.collect_TEXT(bytes([value]))

    def collect_TEXT(self, data: bytes) -> None:
        self.seen += data


@pytest.fixture
def made(monkeypatch):
    """make(techniques, code or Multiboot image): a PC that is ready to run, with two chips more."""
    machines = []

    def make(fast, image, sectors=Sectors, board=PC, **options):
        monkeypatch.setenv("EMU_FAST", fast)
        machine = board(16 << 20, **options)
        machines.append(machine)
        machine.add("sectors", sectors, at=0x1F0)
        machine.mmio.place(machine.add("device", Device4), "at", WINDOW)
        machine.load(image if isinstance(image, bytes) else assemble(image, 0x7C00, 16))
        return machine

    yield make
    for machine in machines:
        machine.close()


def state(machine):
    return (machine.now, machine.engine.counters(), machine.state_sha256(), bytes(machine.console.kept), machine.irqs,
            machine.notes)


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


# -- random guests

READS = [0x3F8, 0x3F9, 0x3FA, 0x3FB, 0x3FC, 0x3FD, 0x3FE, 0x3FF, 0x20, 0x21, 0xA0, 0xA1, 0x60, 0x64, 0x61, 0x80, 0xE9, 0xED,
         0x71, 0x40, 0x42, 0x92, 0x2F8, 0x2FD, 0x1F0, 0x1F2, 0x13FD, 0x10, 0xCF8, 0x4D0]
WRITES = {0x3F8: None, 0x3F9: (0, 1, 2, 4, 8, 15), 0x3FA: (0, 1, 7, 0xC1), 0x3FB: (3, 3, 3, 0x83), 0x3FC: (0, 0x0B, 0x1B),
          0x3FF: None, 0x20: (0x20, 0x0A, 0x0B, 0x0C, 0x60), 0x21: None, 0xA0: (0x20, 0x0B), 0xA1: None, 0x60: (0xF4, 0x45),
          0x64: (0x20, 0x60, 0xAA, 0xD4), 0x61: None, 0x80: None, 0xE9: None, 0xED: None, 0x70: None, 0x43: (0x34, 0, 0x80),
          0x40: None, 0x2F8: None, 0x1F0: None, 0x80E9: None}
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
|   mov dx, 0x1F0; mov cx, 50; rep insw
|   mov dx, 0x1F0; mov cx, 50; mov si, 0x7C00; rep outsw
|   mov dx, 0x3F8; mov cx, 6; t{n}: mov dx, 0x3FD; in al, dx; test al, 0x20; jz t{n}; mov dx, 0x3F8; mov al, cl; out dx, al; loop t{n}
|   mov eax, fs:[bx]; stosd; mov eax, fs:[bx]; stosd; mov al, fs:[bx]; mov eax, fs:[bx + 4]; stosd
|   mov fs:[bx], edi; mov eax, fs:[bx]; stosd; mov byte ptr fs:[bx + 8], 0x41; mov byte ptr fs:[bx + 8], 0x42
|   cli | sti | sti; mov al, 0x20; out 0x20, al
"""


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


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("listener", [None, "late", "at once"])
def test_random_guests_run_as_on_the_plain_core(made, seed, listener):
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


# -- what is answered, and what is not

POLL = "mov dx, 0x3FD; mov cx, 1000; a: in al, dx; loop a; hlt"
SAY = "mov cx, 1000; mov al, 'x'; mov dx, {port}; a: out dx, al; loop a; cli; hlt"


def served(machine, access, port, size=1):
    """How often Python serves an access from now on: a list that grows."""
    calls = []
    table = getattr(machine.ports, {"r": "read", "w": "write"}[access])
    function = table[port << 4 | size]
    table[port << 4 | size] = (lambda: (calls.append(1), function())[1]) if access == "r" else (
        lambda value: (calls.append(value), function(value))[1])
    return calls


@pytest.mark.parametrize("source, access, port, size, most", [
    (POLL, "r", 0x3FD, 1, 2), (POLL.replace("0x3FD", "0x64"), "r", 0x64, 1, 2), (POLL.replace("0x3FD", "0x21"), "r", 0x21, 1, 2),
    (POLL.replace("0x3FD", "0xED"), "r", 0xED, 1, 2), (SAY.format(port=0xE9), "w", 0xE9, 1, 2),
    (SAY.format(port=0x80), "w", 0x80, 1, 2), (SAY.format(port=0x3F8), "w", 0x3F8, 1, 3), (SAY.format(port=0xED), "w", 0xED, 1, 2),
    (POLL.replace("0x3FD", "0x61"), "r", 0x61, 1, 1000)])
def test_what_holds_still_is_answered_without_python(made, source, access, port, size, most):
    machine = made(ALONE, source)
    calls = served(machine, access, port, size)
    machine.run(5_000_000)
    name = "port_reads" if access == "r" else "port_writes"
    assert machine.engine.counters()[name] == 1000
    assert 1 <= len(calls) <= most


@pytest.mark.parametrize("port, listen", [(0x3F8, "on_output"), (0xE9, "on_debug")])
def test_a_listener_hears_of_each_byte_at_its_time_unless_it_is_content_to_be_late(made, port, listen):
    times = []
    for fast, wrap in (("none", lambda f: f), (BOTH, lambda f: f), (BOTH, late)):
        machine, heard = made(fast, SAY.format(port=port)), []
        setattr(machine, listen, wrap(lambda data, machine=machine, heard=heard: heard.append((machine.now, bytes(data)))))
        machine.run(5_000_000)
        times.append(heard)
    assert times[0] == times[1] and len(times[0]) == 1000
    assert len(times[2]) < 10 and b"".join(data for _, data in times[2]) == b"x" * 1000


def test_the_order_of_the_bytes_of_two_ports_is_kept(made):
    machine, heard = made(ALONE, "a: mov al, 'a'; out 0xE9, al; out 0x80, al; mov dx, 0x3F8; out dx, al; mov al, 'b'; out 0xE9, al;"
                                 "out 0xE9, al; jmp a"), []
    machine.on_output = late(lambda data: heard.append("c" * len(data)))
    machine.on_debug = late(lambda data: heard.append(data.decode()))
    machine.run(20_000_000)
    text = "".join(heard)
    assert len(text) > 100_000 and text.startswith("acbbacbb") and set(text.removesuffix(text[-(len(text) % 4) or len(text):])
                                                                       .split("acbb")) == {""}


def test_a_full_ring_is_emptied_in_the_middle_of_a_run(made):
    machine, heard = made(ALONE, "mov al, 'y'; a: out 0xE9, al; jmp a"), []
    machine.slice = 1 << 40
    machine.on_debug = late(lambda data: heard.append(len(data)))
    machine.run(30_000_000)
    assert max(heard) == 1 << 16 and sum(heard) == machine.engine.counters()["port_writes"]


def test_reading_what_a_collected_write_has_set(made):
    machine = made(ALONE, "mov cl, 50; a: mov al, cl; out 0x80, al; out 0x80, al; inc al; out 0x80, al; in al, 0x80; dec al;"
                          "cmp al, cl; jne bad; dec cl; jnz a; mov bl, 7; bad: cli; hlt")
    machine.run(5_000_000)
    assert machine.registers.rbx & 0xFF == 7


def test_a_bank_switch_takes_the_answers_back(made):
    machine = made(ALONE, """
        mov cx, 20
    a:  mov dx, 0x3F8; mov al, 'x'; out dx, al; out dx, al; out dx, al
        mov dx, 0x3FB; mov al, 0x83; out dx, al
        mov dx, 0x3F8; mov al, cl; out dx, al; in al, dx; in al, dx
        cmp al, cl
        jne bad
        mov dx, 0x3FB; mov al, 3; out dx, al
        in al, dx; in al, dx
        loop a
        mov bl, 7
    bad: cli; hlt
    """)
    machine.run(5_000_000)
    assert machine.registers.rbx & 0xFF == 7
    assert machine.console.kept == b"xxx" * 20 and machine["com1"].dll == 1


def test_a_port_where_nothing_is_is_noted_once(made):
    for fast in "none", ALONE:
        machine = made(fast, "a: mov dx, 0x5555; in al, dx; in al, dx; out dx, al; out dx, al; jmp a")
        machine.run(1_000_000)
        assert [note for note in machine.notes if "0x5555" in note] == [
            "read from port 0x5555, where nothing is", "write to port 0x5555, where nothing is"]


@pytest.mark.parametrize("cls, ins, outs, elements", [
    (Sectors, ".byte 0xF3, 0x6D", ".byte 0xF3, 0x6F", 32), (Bytes, ".byte 0xF3, 0x6C", ".byte 0xF3, 0x6E", 64),
    (Longs, ".byte 0x66, 0xF3, 0x6D", ".byte 0x66, 0xF3, 0x6F", 16)])
def test_a_block_moves_natively_but_for_its_ends(made, cls, ins, outs, elements):
    ends = []
    for fast in ("none", BOTH):
        machine = made(fast, f"mov dx, 0x1F0; mov di, 0x9000; mov cx, {elements * 10}; {ins}; mov cx, {elements * 9};"
                             f"mov si, 0x7C00; {outs}; mov cx, {elements}; {ins}; cli; hlt", cls)
        machine.run(5_000_000)
        ends.append((state(machine), bytes(machine.ram[0x9000:0x9300]), list(machine["sectors"].written)))
        calls = len(machine["sectors"].calls)
        assert calls == elements * 20 if fast == "none" else calls < 60
    assert ends[0] == ends[1]
    assert len(ends[0][2]) == 9 and ends[0][2][0] == bytes(machine.ram[0x7C00:0x7C40])


def test_an_error_in_a_late_listener_ends_the_run(made):
    def fail(data):
        raise ValueError("the listener")

    machine = made(BOTH, SAY.format(port=0xE9))
    machine.on_debug = late(fail)
    with pytest.raises(ValueError, match="the listener"):
        machine.run(5_000_000)


# -- the process

def test_machines_with_and_without_and_a_stock_engine_share_the_process(made):
    fast, plain = made(ALONE, SAY.format(port=0xE9)), made("none", SAY.format(port=0xE9))
    uc = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_32)
    uc.mem_map(0, 0x2000)
    code = assemble("in al, 0x60; mov bl, al; in ax, 0x60; in eax, 0x60; out 0xE9, al; out 0xE9, ax; out 0xE9, eax; nop", 0x1000, 32)
    uc.mem_write(0x1000, code)
    uc.reg_write(x86_const.UC_X86_REG_EAX, 0x12345678)
    uc.emu_start(0x1000, 0x1000 + len(code))                        # no hooks: reads zeros
    assert uc.reg_read(x86_const.UC_X86_REG_EAX) == 0
    seen = []
    uc.hook_add(unicorn.UC_HOOK_INSN, lambda uc, port, size, data: seen.append((port, size)) or 0x41, None, 1, 0,
                x86_const.UC_X86_INS_IN)
    uc.hook_add(unicorn.UC_HOOK_INSN, lambda uc, port, size, value, data: seen.append((port, size, value)), None, 1, 0,
                x86_const.UC_X86_INS_OUT)
    uc.emu_start(0x1000, 0x1000 + len(code))
    assert seen == [(0x60, 1), (0x60, 2), (0x60, 4), (0xE9, 1, 0x41), (0xE9, 2, 0x41), (0xE9, 4, 0x41)]
    assert uc.reg_read(x86_const.UC_X86_REG_EBX) == 0x41
    for machine in fast, plain, fast, plain:
        machine.run(machine.now + 50_000)
    assert state(fast)[:4] == state(plain)[:4]


def test_a_fast_machine_that_closes_leaves_the_others_as_they_are(made):
    name = "cpu_inb_x86_64"
    first = made(ALONE, POLL)
    patched = ctypes.string_at(symbol(name), 16)
    made(ALONE, POLL).close()
    assert ctypes.string_at(symbol(name), 16) == patched != b"\x48\x8B\x87\x58"
    first.run(5_000_000)
    assert first.engine.counters()["port_reads"] == 1000


# -- device memory

LOOK = """
    mov ecx, 1000
a:  mov eax, [{window:#x}]
    cmp eax, {value:#x}
    jne bad
    mov edx, [{window:#x} + 4]
    mov byte ptr [{window:#x} + 8], cl
    mov eax, [{window:#x} + 0x100]
    inc eax
    jnz bad
    mov [{window:#x} + 0x100], eax
    loop a
    mov esi, 7
bad: cli
    hlt
"""


@pytest.mark.parametrize("fast", ["none", ALONE, BOTH])
def test_device_memory_is_answered_counted_and_charged_as_by_python(made, fast):
    machine = made(fast, build.kernel("default"))
    machine["device"].steady = 0x89ABCDEF
    code = assemble(LOOK.format(window=WINDOW, value=0x89ABCDEF), 0x200000, 32)
    machine.write(0x200000, code)
    machine.run(1000)
    before = machine.engine.counters()["mmio_accesses"]
    registers = machine.registers
    registers.rip, registers.rflags, registers.cr0 = 0x200000, 2, 0x11
    now = machine.now
    assert machine.run(now + 5_000_000) is End.HALTED
    assert registers.rsi == 7 and registers.rdx == 1000
    assert machine["device"].seen == bytes(i & 0xFF for i in range(1000, 0, -1))
    assert machine.engine.counters()["mmio_accesses"] - before == 5000
    assert machine.now - now == 5000 * machine.costs.mmio + (3 * 1000 + 1) * machine.costs.block
