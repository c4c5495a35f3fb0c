"""A Linux kernel in fw_cfg, for a PC's firmware.  [L] Linux, Documentation/arch/x86/boot.rst."""

from __future__ import annotations

import struct

import pytest

from emu import snapshot
from emu.boards.pc import PC
from emu.loaders import BadImage, load
from emu.loaders.pieces import items

MIB = 1 << 20
TOP = 64 * MIB
ROM = bytes(0x10000)
KERNEL_ADDR, KERNEL_SIZE, KERNEL_DATA = 0x07, 0x08, 0x11
INITRD_ADDR, INITRD_SIZE, INITRD_DATA = 0x0A, 0x0B, 0x12
CMDLINE_ADDR, CMDLINE_SIZE, CMDLINE_DATA = 0x13, 0x14, 0x15
SETUP_ADDR, SETUP_SIZE, SETUP_DATA = 0x16, 0x17, 0x18


def kernel(version=0x20F, loadflags=1, sectors=2, code=b"protected mode" * 100):
    """A bzImage, as far as a loader looks at it."""
    setup = bytearray(512 * ((sectors or 4) + 1))
    setup[0x1F1] = sectors
    setup[0x1FE:0x200] = b"\x55\xAA"
    setup[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", setup, 0x206, version)
    setup[0x211] = loadflags
    struct.pack_into("<I", setup, 0x22C, 0x7FFFFFFF)
    return bytes(setup) + code


def pieces(data, **more):
    return items(load(data, memory_map=[], top=TOP, **more))


def number(data):
    return int.from_bytes(data, "little")


def test_the_set_up_code_and_the_kernel_are_told_apart_by_setup_sects():
    data = kernel(sectors=3)
    found = pieces(data)
    assert number(found[SETUP_SIZE]) == len(found[SETUP_DATA]) == 4 * 512
    assert found[KERNEL_DATA] == data[4 * 512:] and number(found[KERNEL_SIZE]) == len(found[KERNEL_DATA])
    assert len(pieces(kernel(sectors=0))[SETUP_DATA]) == 5 * 512      # [L] 0 means 4


@pytest.mark.parametrize("version, loadflags, setup, line, code", [
    (0x20F, 1, 0x10000, 0x20000, 0x100000), (0x202, 1, 0x10000, 0x20000, 0x100000),
    (0x201, 1, 0x90000, 0x99000, 0x100000), (0x20F, 0, 0x90000, 0x99000, 0x10000), (0x200, 0, 0x90000, 0x99000, 0x10000)])
def test_where_the_pieces_go_follows_from_version_and_loadflags(version, loadflags, setup, line, code):
    found = pieces(kernel(version, loadflags))
    assert [number(found[key]) for key in (SETUP_ADDR, CMDLINE_ADDR, KERNEL_ADDR)] == [setup, line, code]


def test_the_header_tells_the_kernel_of_its_command_line_and_heap():
    found = pieces(kernel(), append="console=ttyS0")
    setup = found[SETUP_DATA]
    assert found[CMDLINE_DATA] == b"console=ttyS0\0" and number(found[CMDLINE_SIZE]) == 14
    assert setup[0x210] == 0xFF and setup[0x211] == 0x81
    assert struct.unpack_from("<I", setup, 0x228) == (0x20000,)
    assert struct.unpack_from("<H", setup, 0x224) == (0x10000 - 0x200,)


def test_before_2_02_the_command_line_has_a_magic_number():
    setup = pieces(kernel(0x200, 0), append="x")[SETUP_DATA]
    assert struct.unpack_from("<HH", setup, 0x20) == (0xA33F, 0x9000)
    assert setup[0x211] == 0


def test_the_initrd_lies_as_high_as_the_kernel_and_the_firmware_allow(tmp_path):
    path = tmp_path / "initrd"
    path.write_bytes(b"initrd" * 1000)
    found = pieces(kernel(), initrd=str(path))
    address = number(found[INITRD_ADDR])
    assert found[INITRD_DATA] == b"initrd" * 1000 and number(found[INITRD_SIZE]) == 6000
    assert address % 4096 == 0 and address + 6000 + 4096 >= TOP - 0x28000 - 4096 and address + 6000 <= TOP - 0x28000
    assert struct.unpack_from("<II", found[SETUP_DATA], 0x218) == (address, 6000)
    with pytest.raises(BadImage, match="no room for the initrd"):
        load(kernel(), memory_map=[], top=MIB, initrd=str(path))


@pytest.mark.parametrize("length", [0x206, 0x207, 0x230, 1536])
def test_a_file_that_ends_too_early_is_cut_short(length):
    with pytest.raises(BadImage, match="cut short"):
        load(kernel()[:length], memory_map=[], top=TOP)


def read(machine, key, length):
    machine.ports.write[0x510 << 4 | 2](key)
    return bytes(machine.ports.read[0x511 << 4 | 1]() for _ in range(length))


def test_with_a_firmware_the_kernel_is_in_fw_cfg_through_resets_and_snapshots(tmp_path):
    data = kernel(code=b"long" * MIB)                   # more than one record of a snapshot
    with PC(16 * MIB, firmware=ROM) as machine:
        machine.load(data, append="one")
        machine.reset()
        assert read(machine, CMDLINE_DATA, 4) == b"one\0"
        assert machine.registers.rip == 0xFFF0
        machine.load(data, append="two")
        snapshot.save(machine, tmp_path / "saved")
    with snapshot.load(tmp_path / "saved") as machine:
        assert read(machine, CMDLINE_DATA, 4) == b"two\0"
        assert bytes(machine["fwcfg"].items[KERNEL_DATA]) == b"long" * MIB


def test_without_one_it_is_started_directly():
    with PC(16 * MIB) as machine:
        with pytest.raises(BadImage):                   # this one has no 32-bit entry that could be started
            machine.load(kernel(version=0x201))
        assert read(machine, SETUP_SIZE, 4) == bytes(4)
