"""What is on the PC's PCI bus, its ROM and shadow RAM, fw_cfg, power: seen by a guest's accesses."""

from __future__ import annotations

import struct

import pytest

from emu.boards.board import BadBoard
from emu.boards.pc import PC
from emu.boards.pcibus import line
from emu.machine import End

MIB = 1 << 20
ROM = bytes(range(256)) * 1024                  # 256 KiB; each page of it alike


def config(machine, slot, function, register, value=None, size=4):
    """A configuration cycle by the ports."""
    machine.ports.write[0xCF8 << 4 | 4](1 << 31 | slot << 11 | function << 8 | register & 0xFC)
    entry = 0xCFC + (register & 3) << 4 | size
    return machine.ports.read[entry]() if value is None else machine.ports.write[entry](value)


def port(machine, address, size=1):
    return machine.ports.read[address << 4 | size]()


def out(machine, address, value, size=1):
    machine.ports.write[address << 4 | size](value)


@pytest.fixture
def pc():
    with PC(16 * MIB) as machine:
        yield machine


@pytest.fixture
def rom():
    """A machine with a firmware whose last 128 KiB are told apart."""
    with PC(16 * MIB, firmware=ROM[:-8] + b"the end.") as machine:
        yield machine


# The bus

def test_the_functions_are_in_the_slots_of_qemus_pc(pc):
    found = {(slot, number): config(pc, slot, number, 0) for slot in range(32) for number in range(8)}
    assert {place: identity for place, identity in found.items() if identity != 0xFFFFFFFF} == {
        (0, 0): 0x12378086, (1, 0): 0x70008086, (1, 1): 0x70108086, (1, 3): 0x71138086, (2, 0): 0x11111234}


def test_a_byte_at_cf9_is_the_reset_control_and_a_double_word_at_cf8_is_not(pc):
    out(pc, 0xCF8, 0x80000600, 4)
    pc.run(pc.now + 1000)
    assert pc.resets == 0
    out(pc, 0xCF9, 2)
    out(pc, 0xCF9, 6)
    pc.run(pc.now + 1000)
    assert pc.resets == 1


@pytest.mark.parametrize("slot, pin, expected", [(1, 1, 0), (1, 4, 3), (2, 1, 1), (3, 1, 2), (4, 1, 3), (5, 1, 0), (5, 2, 1)])
def test_each_slot_turns_its_interrupt_lines_by_one(slot, pin, expected):
    assert line(slot, pin) == expected


def test_a_pirq_reaches_the_interrupt_controller_as_a_level(pc):
    config(pc, 1, 0, 0x61, 11, 1)
    out(pc, 0x4D1, 0x08)
    pc["isa"].pirq[1](1)
    assert pc["pic2"].irr & 8
    pc["isa"].pirq[1](0)
    assert not pc["pic2"].irr & 8


def test_a_window_moves_with_its_register(pc):
    config(pc, 1, 3, 0x40, 0x0600)
    config(pc, 1, 3, 0x80, 1, 1)
    assert port(pc, 0x604, 2) == 0
    out(pc, 0x602, 0x0001, 2)
    config(pc, 1, 3, 0x40, 0xB000)
    assert port(pc, 0x602, 2) == 0xFFFF and port(pc, 0xB002, 2) == 1
    assert port(pc, 0xB03C, 4) == 0                     # implemented by nobody, but the chip's own


def test_a_window_over_the_boards_own_parts_leaves_them_alone(pc):
    config(pc, 1, 3, 0x40, 0x03C0)
    config(pc, 1, 3, 0x80, 1, 1)
    out(pc, 0x3CE, 8)
    assert port(pc, 0x3CE) == 8
    assert port(pc, 0x3F8 + 5) & 0x60 == 0x60           # the line status of COM1


def test_windows_are_where_they_were_after_a_restore(pc):
    config(pc, 1, 3, 0x40, 0xB000)
    config(pc, 1, 3, 0x80, 1, 1)
    out(pc, 0xB002, 0x0100, 2)
    with PC(16 * MIB) as other:
        fresh, empty = other.save(), dict.fromkeys(other.memories, ())
        other.restore(pc.save(), empty)
        assert port(other, 0xB002, 2) == 0x0100
        other.restore(fresh, empty)
        assert port(other, 0xB002, 2) == 0xFFFF


def test_a_reset_takes_the_windows_away(pc):
    config(pc, 1, 3, 0x40, 0xB000)
    config(pc, 1, 3, 0x80, 1, 1)
    pc.reset()
    assert port(pc, 0xB000, 2) == 0xFFFF


def test_neither_ram_nor_rom_gives_way_to_a_frame_buffer(rom):
    rom.write(8 * MIB, b"ram")
    config(rom, 2, 0, 0x04, 2, 2)
    for base in 0xFFFFFFFF, 0, 0xFF000000:              # sized, as firmware does, with memory enabled
        config(rom, 2, 0, 0x10, base)
    assert rom.read(8 * MIB, 3) == b"ram" and rom.read(0xFFFFFFF8, 8) == b"the end."
    config(rom, 2, 0, 0x10, 0xE0000000)
    rom.write(0xE0000000, b"pixels")
    assert rom.read(0xE0000000, 6) == b"pixels" and rom.read(0xFFFFFFF8, 8) == b"the end."


# ROM and shadow RAM

def test_the_rom_ends_at_4_gib_and_its_last_128_kib_at_1_mib(rom):
    assert rom.read(0xFFFC0000, 16) == ROM[:16]
    assert rom.read(0xFFFFFFF8, 8) == rom.read(0xFFFF8, 8) == b"the end."
    assert rom.read(0xE0000, 4) == ROM[:4] and rom.read(0xDFFFC, 4) == b"\xFF" * 4
    rom.write(0xFFFF8, b"changed?")
    assert rom.read(0xFFFF8, 8) == b"the end."


@pytest.mark.parametrize("register, shift, at", [
    (0x59, 4, 0xF0000), (0x5A, 0, 0xC0000), (0x5F, 4, 0xEFF00), (0x5D, 0, 0xD8000)])
def test_a_segment_reads_and_writes_rom_or_ram_as_its_two_bits_say(rom, register, shift, at):
    pci = rom.read(at, 4)

    def store(data):
        rom.write(at, data)
        return rom.read(at, 4)

    config(rom, 0, 0, register, 2 << shift, 1)          # writes go to RAM
    assert store(b"abcd") == pci
    config(rom, 0, 0, register, 1 << shift, 1)          # reads come from it
    assert rom.read(at, 4) == b"abcd" and store(b"efgh") == b"abcd"
    config(rom, 0, 0, register, 3 << shift, 1)
    assert rom.read(at, 4) == b"abcd" and store(b"ijkl") == b"ijkl"
    config(rom, 0, 0, register, 0, 1)
    assert store(b"mnop") == pci
    config(rom, 0, 0, register, 3 << shift, 1)
    assert rom.read(at, 4) == b"ijkl"
    rom.reset()
    assert rom.read(at, 4) == pci


@pytest.mark.parametrize("length", [0, 0x8000, 0x18000, 17 * MIB])
def test_a_rom_that_cannot_be_is_refused_in_one_line(length):
    with pytest.raises(BadBoard, match=f"a firmware of {length} bytes: a ROM has 64 KiB to 16 MiB"):
        PC(16 * MIB, firmware=bytes(length))


def test_the_processor_begins_at_the_reset_vector():
    #               mov al, 1; out 0F4h, al
    start = bytes.fromhex("b001e6f4f4")
    with PC(4 * MIB, firmware=bytes(0xFFF0) + start.ljust(16, b"\0")) as machine:
        assert machine.run_until(seconds=0.1) is End.EXIT and machine.exit_code == 3


def test_what_a_firmware_logs_at_402h_is_shown_with_the_debug_console():
    start = bytes.fromhex("b048ba0204eeb069e6e9f4")     # "H" to 402h, "i" to E9h
    told = bytearray()
    with PC(4 * MIB, firmware=bytes(0xFFF0) + start.ljust(16, b"\0"), debug=told.extend) as machine:
        machine.run_until(seconds=0.1)
    assert sorted(told) == sorted(b"Hi")


# fw_cfg

def item(machine, key, length):
    out(machine, 0x510, key, 2)
    return bytes(port(machine, 0x511) for _ in range(length))


def files(machine):
    count, = struct.unpack(">I", item(machine, 0x19, 4))
    entries = [struct.unpack(">IHH56s", bytes(port(machine, 0x511) for _ in range(64))) for _ in range(count)]
    return {name.rstrip(b"\0").decode(): item(machine, key, size) for size, key, _, name in entries}


def test_the_firmware_finds_the_memory():
    with PC(16 * MIB) as machine:
        assert item(machine, 3, 8) == struct.pack("<Q", 16 * MIB)
        assert files(machine)["etc/e820"] == struct.pack("<QQI", 0, 16 * MIB, 1)


@pytest.mark.parametrize("menu", [False, True])
def test_the_firmware_finds_whether_a_menu_is_wanted(menu):
    with PC(4 * MIB, menu=menu) as machine:
        assert item(machine, 0x0E, 2) == struct.pack("<H", menu)
        assert ("etc/boot-menu-wait" in files(machine)) == menu


def test_the_firmware_finds_the_boot_order():
    with PC(4 * MIB, boot="ca") as machine:
        assert b"/pci@i0cf8/isa@1/fdc@03f0/floppy@0" in files(machine)["bootorder"]
        out(machine, 0x70, 0x3D)
        assert port(machine, 0x71) == 0x12
    with pytest.raises(BadBoard, match="made of the letters a, c, d, n"):
        PC(4 * MIB, boot="x")


# Power

def test_the_guest_switches_the_power_off(pc):
    config(pc, 1, 3, 0x40, 0x0600)
    config(pc, 1, 3, 0x80, 1, 1)
    out(pc, 0x604, 0x2000, 2)
    assert pc.run(pc.now + 10_000_000) is End.POWEROFF


def test_the_system_control_interrupt_is_irq_9(pc):
    config(pc, 1, 3, 0x40, 0x0600)
    config(pc, 1, 3, 0x80, 1, 1)
    out(pc, 0xB2, 0xF1)
    out(pc, 0x602, 0x0100, 2)
    pc["pm"].pwrbtn(1)
    assert pc["pic2"].irr & 2
