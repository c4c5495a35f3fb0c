"""What systems look for in memory after power-on, on our own board, and what POST made of the chips.

[ACPI] ACPI 2.0, 5.2; [SMBIOS] DSP0134 2.8, 5.2; [PIR] PCI IRQ Routing Table 1.0; [PNP] Plug and Play BIOS 1.0A, 4.4;
[PCI] PCI Local Bus Specification 2.1, 6.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from emu.boards.pc import PC
from emu.firmware import build


@pytest.fixture(scope="module")
def board() -> Iterator[PC]:
    with PC(64 << 20, firmware=build.bios(), vga_bios=build.vgabios()) as pc:
        pc.run_until("Nothing could be booted", seconds=20)
        yield pc


@pytest.fixture(scope="module")
def segment(board) -> bytes:
    return board.read(0xF0000, 0x10000)


def place(segment: bytes, signature: bytes) -> int:
    places = [at for at in range(0, 0x10000, 16) if segment[at:at + len(signature)] == signature]
    assert len(places) == 1, f"{signature!r} is at {places}"
    return places[0]


def test_rsdp_leads_to_tables_whose_bytes_sum_to_nothing(board, segment):
    rsdp = segment[(at := place(segment, b"RSD PTR ")):at + 20]
    assert sum(rsdp) & 0xFF == 0
    addresses, found = [struct.unpack_from("<I", rsdp, 16)[0]], {}
    while addresses:
        address = addresses.pop()
        head = board.read(address, 36)
        table = board.read(address, struct.unpack_from("<I", head, 4)[0])
        name = table[:4].decode()
        found[name] = table
        assert name == "FACS" or sum(table) & 0xFF == 0, name
        assert address + len(table) <= 64 << 20
        if name == "RSDT":
            addresses += struct.unpack_from(f"<{(len(table) - 36) // 4}I", table, 36)
        elif name == "FACP":
            addresses += struct.unpack_from("<II", table, 36)
            assert struct.unpack_from("<I", table, 64)[0] == 0x604, "PM1a_CNT_BLK where the BIOS put the PIIX4"
    assert {"RSDT", "FACP", "DSDT", "FACS"} <= set(found)


def test_smbios_leads_to_structures_of_which_the_first_is_the_bios(board, segment):
    anchor = segment[(at := place(segment, b"_SM_")):at + 31]
    assert sum(anchor[:anchor[5]]) & 0xFF == 0
    assert sum(anchor[16:31]) & 0xFF == 0
    length, address, number = struct.unpack_from("<HIH", anchor, 0x16)
    data, kinds = board.read(address, length), []
    while data:
        kinds.append(data[0])
        end = data.index(b"\0\0", data[1]) + 2
        data = data[end:]
    assert len(kinds) == number
    assert kinds.count(0) == 1
    assert kinds[-1] == 127


@pytest.mark.parametrize(("signature", "length"), [(b"$PIR", 0), (b"$PnP", 0x21), (b"_32_", 16)])
def test_a_table_sums_to_nothing(segment, signature, length):
    at = place(segment, signature)
    length = length or struct.unpack_from("<H", segment, at + 6)[0]
    assert sum(segment[at:at + length]) & 0xFF == 0


def test_pir_names_the_router_and_turns_the_lines_from_slot_to_slot(segment):
    at = place(segment, b"$PIR")
    length, = struct.unpack_from("<H", segment, at + 6)
    assert segment[at + 8:at + 10] == b"\0\x08", "bus 0, device 1, function 0"
    for entry in range(at + 32, at + length, 16):
        device = segment[entry + 1] >> 3
        links = [segment[entry + 2 + 3 * pin] for pin in range(4)]
        assert links == [0x60 + (device - 1 + pin) % 4 for pin in range(4)]


def test_the_bios_and_the_roms_cannot_be_written_any_more(board):
    for address in 0xC0000, 0xE0000, 0xF0000, 0xFFFF0:
        before = board.read(address, 4)
        board.write(address, bytes(byte ^ 0xFF for byte in before))
        assert board.read(address, 4) == before
    assert board.read(0xC0000, 2) == b"\x55\xAA"


def test_every_window_has_a_place_of_its_own_and_is_open(board):
    """[PCI] 6.2.5: natural alignment, nothing overlaps; the legacy IDE channels answer where they always did."""
    windows = []
    for address in board["host"].functions:
        for register in range(0x10, 0x28, 4):
            value = configuration(board, address | register)
            if value & 1 and value & ~3:
                windows.append(("io", value & ~3))
            elif value & ~0xF:
                windows.append(("memory", value & ~0xF))
    assert len(set(windows)) == len(windows) >= 3
    assert all(base >= 0xC000 for kind, base in windows if kind == "io")
    assert all(0xE0000000 <= base < 0xFEC00000 for kind, base in windows if kind == "memory")
    for address, function in board["host"].functions.items():
        if function.intpn:
            assert configuration(board, address | 0x3C) & 0xFF in (9, 10, 11)


def configuration(board: PC, address: int) -> int:
    board.ports.write[0xCF8 << 4 | 4](0x80000000 | address)
    return board.ports.read[0xCFC << 4 | 4]()


def test_the_legacy_chips_are_as_the_pc_at_has_them(board):
    assert (board["pic1"].icw2, board["pic2"].icw2) == (0x08, 0x70)
    assert board["pm"].pmba & 0xFFC0 == 0x600
