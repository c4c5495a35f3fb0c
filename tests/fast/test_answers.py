"""What is answered natively, what is not, and who hears of it when; who shares the process."""

from __future__ import annotations

import ctypes

import pytest
import unicorn
from unicorn import x86_const

from emu.assembler import assemble
from emu.boards.board import late
from emu.cpu.unicorn.layout import symbol
from emu.firmware import build
from emu.machine import End
from tests.fast.boards import ALONE, BOTH, WINDOW, Bytes, Device4, Longs, Maker, Sectors, state
from tests.test_contract import Subject

POLL = "mov dx, {port}; mov cx, 1000; a: in al, dx; loop a; hlt"
SAY = "mov dx, {port}; mov cx, 1000; mov al, 'x'; a: out dx, al; loop a; cli; hlt"


@pytest.fixture
def made(monkeypatch):
    maker = Maker(monkeypatch)
    yield maker
    maker.close()


def served(machine, access, port):
    """How often Python serves an access from now on: a list that grows."""
    calls = []
    table = getattr(machine.ports, {"r": "read", "w": "write"}[access])
    function = table[port << 4 | 1]
    table[port << 4 | 1] = (lambda: (calls.append(1), function())[1]) if access == "r" else (
        lambda value: (calls.append(value), function(value))[1])
    return calls


@pytest.mark.parametrize("source, access, port, most", [
    (POLL, "r", 0x3FD, 2), (POLL, "r", 0x64, 2), (POLL, "r", 0x60, 2), (POLL, "r", 0x21, 2), (POLL, "r", 0xED, 2),
    (POLL, "r", 0x61, 1000), (SAY, "w", 0xE9, 2), (SAY, "w", 0x80, 2), (SAY, "w", 0x3F8, 3), (SAY, "w", 0xED, 2)])
def test_what_holds_still_is_answered_without_python(made, source, access, port, most):
    machine = made(ALONE, source.format(port=port))
    calls = served(machine, access, port)
    machine.run(5_000_000)
    name = "port_reads" if access == "r" else "port_writes"
    assert machine.engine.counters()[name] == 1000
    assert 1 <= len(calls) <= most


def test_a_character_is_seen_by_the_poll_after_its_arrival(made):
    polls = []
    for fast in "none", ALONE:
        machine = made(fast, "cli; mov dx, 0x3FD; a: inc ebx; in al, dx; test al, 1; jz a; cli; hlt")
        machine.send(b"x")
        machine.run(50_000_000)
        polls.append((machine.registers.rbx & 0xFFFFFFFF, state(machine)))
    assert polls[0] == polls[1] and polls[0][0] > 100


def test_a_handler_sees_the_interrupt_in_service(made):
    """Between the poll that was answered natively and the one of the handler nothing has run but the acknowledge cycle."""
    image = assemble("""
        cli
        mov word ptr [0x20], 0x7D00
        mov word ptr [0x22], 0
        mov al, 0x11; out 0x20, al; mov al, 8; out 0x21, al; mov al, 4; out 0x21, al; mov al, 1; out 0x21, al
        mov al, 0xFE; out 0x21, al
        mov al, 0x0B; out 0x20, al
        mov al, 0x34; out 0x43, al; mov al, 0; out 0x40, al; mov al, 8; out 0x40, al
        xor cx, cx; xor dx, dx; xor bx, bx
        sti
    a:  in al, 0x20
        or bl, al
        cmp cx, 10
        jb a
        cli
        hlt
    """, 0x7C00, 16).ljust(0x100) + assemble("""
        push ax
        in al, 0x20
        add dl, al
        in al, 0x20
        add dl, al
        mov al, 0x20
        out 0x20, al
        inc cx
        pop ax
        iret
    """, 0x7D00, 16)
    ends = []
    for fast in "none", ALONE, "ports,ticks":
        machine = made(fast, image)
        assert machine.run(100_000_000) is End.HALTED
        ends.append((machine.registers.rdx & 0xFF, machine.registers.rbx & 0xFF, state(machine)))
    assert ends[0] == ends[1] == ends[2]
    assert ends[0][:2] == (20, 0)


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
    machine, heard = made(ALONE, "mov dx, 0x3F8; a: mov al, 'a'; out 0xE9, al; out 0x80, al; out dx, al;"
                                 "mov al, 'b'; out 0xE9, al; out 0xE9, al; jmp a"), []
    machine.on_output = late(lambda data: heard.append("c" * len(data)))
    machine.on_debug = late(lambda data: heard.append(data.decode()))
    machine.run(20_000_000)
    text = "".join(heard)
    assert len(text) > 100_000 and ("acbb" * len(text)).startswith(text)


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
        machine = made(fast, f"mov dx, 0x5A0; mov di, 0x9000; mov cx, {elements * 10}; {ins}; mov cx, {elements * 9};"
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
    code = assemble("in al, 0x60; mov bl, al; in ax, 0x60; in eax, 0x60; out 0xE9, al; out 0xE9, ax; out 0xE9, eax; nop",
                    0x1000, 32)
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
    first = made(ALONE, POLL.format(port=0x3FD))
    patched = ctypes.string_at(symbol(name), 16)
    made(ALONE, POLL.format(port=0x3FD)).close()
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
    enter(machine, LOOK.format(window=WINDOW, value=0x89ABCDEF))
    before, registers, now = machine.engine.counters()["mmio_accesses"], machine.registers, machine.now
    assert machine.run(now + 5_000_000) is End.HALTED
    assert registers.rsi == 7 and registers.rdx == 1000
    assert machine["device"].seen == bytes(i & 0xFF for i in range(1000, 0, -1))
    assert machine.engine.counters()["mmio_accesses"] - before == 5000
    assert machine.now - now == 5000 * machine.costs.mmio + (3 * 1000 + 1) * machine.costs.block


def enter(machine, source):
    """Let the processor be at `source` in flat 32-bit code, after the default kernel has set its tables up."""
    machine.write(0x200000, assemble(source, 0x200000, 32))
    machine.run(1000)
    machine.registers.rip, machine.registers.rflags, machine.registers.cr0 = 0x200000, 2, 0x11


@pytest.mark.parametrize("cls, letter, elements", [(Sectors, "w", 32), (Bytes, "b", 64), (Longs, "d", 16)])
def test_a_block_of_device_memory_moves_natively_but_for_its_ends(made, cls, letter, elements):
    """A register of the block kind at one address; what was written comes to the chip before the next of its functions."""
    register = {"b": "al", "w": "ax", "d": "eax"}[letter]
    ends = []
    for fast in "none", ALONE, BOTH:
        machine = made(fast, build.kernel("default"))
        chip = machine.add("fifo", cls)
        machine.mmio.place(chip, "at", WINDOW + 0x1000)
        port = WINDOW + 0x1000
        enter(machine, f"""
            mov edi, 0x300000
            mov ecx, {elements * 10}
        a:  mov {register}, [{port:#x}]
            stos{letter}
            loop a
            mov esi, 0x200000
            mov ecx, {elements * 9}
        b:  lods{letter}
            mov [{port:#x}], {register}
            loop b
            mov ecx, {elements}
        c:  mov {register}, [{port:#x}]
            stos{letter}
            movzx edx, byte ptr [{port + cls.NUMBER.offset:#x}]
            loop c
            cli
            hlt
        """)
        now = machine.now
        assert machine.run(now + 5_000_000) is End.HALTED
        ends.append((state(machine), bytes(machine.ram[0x300000:0x300400]), list(chip.written), machine.registers.rdx))
        assert len(chip.calls) == elements * 20 if fast != BOTH else len(chip.calls) < elements + 60
    assert ends[0] == ends[1] == ends[2]
    assert len(ends[0][2]) == 9 and ends[0][2][0] == bytes(machine.ram[0x200000:0x200040])


SCAN = """
    mov esi, 0xD0000000
    mov ecx, 0x4000
a:  lodsd
    and ebx, eax
    mov [esi], ecx
    mov dl, [esi + 1]
    and bl, dl
    loop a
    cli
    hlt
"""


def test_where_no_chip_is_python_is_asked_once_a_page(made):
    ends = []
    for fast in "none", BOTH:
        machine = made(fast, build.kernel("default"))
        asked = []
        machine.mmio.unclaimed = lambda *what, asked=asked, tell=machine.mmio.unclaimed: (asked.append(what), tell(*what))
        enter(machine, "mov ebx, -1;" + SCAN)
        reads = machine.mmio.read
        machine.run(machine.now + 100_000_000)
        ends.append((state(machine), machine.registers.rbx & 0xFFFFFFFF, asked))
        assert len(reads) < 100 if fast == BOTH else len(reads) > 30_000
    assert ends[0] == ends[1] and ends[0][1] == 0xFFFFFFFF


def test_a_chip_that_comes_to_an_empty_page_answers_at_once(made):
    machine = made(BOTH, build.kernel("default"))
    enter(machine, "xor ebx, ebx; a: mov eax, [0xD0000100]; mov edx, [0xD0000104]; inc ebx; jmp a")
    machine.run(machine.now + 1_000_000)
    assert machine.registers.rax & 0xFFFFFFFF == machine.registers.rdx & 0xFFFFFFFF == 0xFFFFFFFF
    chip = machine.add("late", Device4)
    chip.steady = 0x1234567
    machine.mmio.place(chip, "at", 0xD0000100)
    before = machine.registers.rbx
    machine.run(machine.now + 1_000_000)
    assert machine.registers.rax & 0xFFFFFFFF == 0x1234567
    assert machine.registers.rbx - before - 2 <= machine.registers.rdx == chip.count


@pytest.mark.parametrize("cls", [Sectors, Bytes, Longs, Device4])
def test_a_chip_of_blocks_answered_natively_is_the_chip_answered_by_itself(cls):
    plain, fast = Subject(cls), Subject(cls, native=True)
    for subject in plain, fast:
        subject.run("blocks", 20_000, again=True)
    assert fast.native
    fast.native.turn()
    assert fast.log == plain.log and fast.chip.save() == plain.chip.save()
    assert fast.native.native > 1000
