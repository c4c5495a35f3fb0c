"""The ACPI tables: as a firmware loads them, as Intel's compiler and interpreter read them."""

from __future__ import annotations

import shutil
import struct
import subprocess

import pytest

from emu.boards import acpi, aml, smbios
from emu.boards.board import MIB
from emu.boards.pc import PC
from emu.boards.pcibus import line
from emu.chips.fwcfg import FILE_DIR

LOW = 0x0FE0_0000
BASES = {acpi.TABLES: 0x7F_0000, acpi.RSDP: 0xF_5000}


def loaded(files):
    """Memory after a firmware has done what the script says: {file: bytearray}, at the addresses BASES."""
    memory = {}
    script = files[acpi.LOADER]
    assert len(script) % 128 == 0
    for at in range(0, len(script), 128):
        (number,), fields = struct.unpack_from("<I", script, at), script[at + 4:at + 128]
        if number == 1:
            file, align, zone = struct.unpack_from("<56sIB", fields)
            file = file.rstrip(b"\0").decode()
            assert file not in memory and BASES[file] % align == 0 and zone == (2 if file == acpi.RSDP else 1)
            memory[file] = bytearray(files[file])
        elif number == 2:
            file, to, offset, size = struct.unpack_from("<56s56sIB", fields)
            memory_of = memory[file.rstrip(b"\0").decode()]
            value = int.from_bytes(memory_of[offset:offset + size], "little") + BASES[to.rstrip(b"\0").decode()]
            memory_of[offset:offset + size] = value.to_bytes(size, "little")
        else:
            assert number == 3
            file, offset, start, length = struct.unpack_from("<56sIII", fields)
            memory_of = memory[file.rstrip(b"\0").decode()]
            assert start <= offset < start + length <= len(memory_of)
            memory_of[offset] = (memory_of[offset] - sum(memory_of[start:start + length])) & 0xFF
    return memory


@pytest.fixture(scope="module")
def found():
    """Every table by its signature, reached from the RSDP as an operating system does: (bytes, address)."""
    memory = loaded(acpi.tables(LOW))
    root = bytes(memory[acpi.RSDP])
    assert root.startswith(b"RSD PTR ") and len(root) == 20 and sum(root) & 0xFF == 0

    def table(address):
        at = address - BASES[acpi.TABLES]
        blob = memory[acpi.TABLES]
        return bytes(blob[at:at + int.from_bytes(blob[at + 4:at + 8], "little")]), address

    rsdt = table(int.from_bytes(root[16:20], "little"))
    tables = {"RSDT": rsdt}
    for (address,) in struct.iter_unpack("<I", rsdt[0][36:]):
        one = table(address)
        tables[one[0][:4].decode()] = one
    for name, offset in (("FACS", 36), ("DSDT", 40)):
        tables[name] = table(int.from_bytes(tables["FACP"][0][offset:offset + 4], "little"))
        assert tables[name][0][:4].decode() == name
    return tables


def test_the_script_leads_to_every_table(found):
    assert set(found) == {"RSDT", "FACP", "FACS", "DSDT"}


@pytest.mark.parametrize("name", ["RSDT", "FACP", "DSDT"])
def test_the_bytes_of_a_table_sum_up_to_0(found, name):
    assert sum(found[name][0]) & 0xFF == 0


def test_the_FACS_is_64_bytes_and_aligned_to_64(found):
    table, address = found["FACS"]
    assert (len(table), address % 64) == (64, 0)


def test_the_fixed_hardware_is_that_of_the_PIIX4(found):
    table = found["FACP"][0]
    assert len(table) == 116
    assert struct.unpack_from("<HIBB", table, 46) == (9, 0xB2, 0xF1, 0xF0)
    assert struct.unpack_from("<8I", table, 56) == (0x600, 0, 0x604, 0, 0, 0x608, 0x60C, 0)
    assert tuple(table[88:95]) == (4, 2, 0, 4, 4, 0, 0)
    assert table[108] == 0x32
    assert int.from_bytes(table[112:116], "little") & 1 << 8 == 0           # a timer of 24 bits


@pytest.fixture(scope="module")
def source(found, tmp_path_factory):
    """The DSDT as Intel's disassembler writes it, which its compiler then takes again."""
    if not shutil.which("iasl"):
        pytest.skip("iasl (acpica-tools) is not installed")
    directory = tmp_path_factory.mktemp("acpi")
    for name in ("DSDT", "FACP", "FACS"):
        (directory / f"{name}.aml").write_bytes(found[name][0])
        done = subprocess.run(["iasl", "-d", f"{name}.aml"], cwd=directory, capture_output=True, text=True, timeout=60,
                              check=False)
        text = (directory / f"{name}.dsl").read_text()
        assert done.returncode == 0 and "Incorrect checksum" not in text, done.stderr
    done = subprocess.run(["iasl", "-p", "again", "DSDT.dsl"], cwd=directory, capture_output=True, text=True, timeout=60,
                          check=False)
    assert "0 Errors" in done.stdout and done.returncode == 0, done.stdout + done.stderr
    return (directory / "DSDT.dsl").read_text()


@pytest.mark.parametrize("identifier", ["PNP0A03", "PNP0B00", "PNP0303", "PNP0F13", "PNP0700", "PNP0501", "PNP0C02"])
def test_the_DSDT_has_a_device(source, identifier):
    assert source.count(f'EisaId ("{identifier}")') == 1


@pytest.mark.parametrize("text", ["0x0FE00000,         // Range Minimum", "0xFEBFFFFF,         // Range Maximum",
                                  "OperationRegion (PIRQ, PCI_Config, 0x60, 0x04)", "Name (\\_S5, Package (0x04)"])
def test_the_DSDT_says(source, text):
    assert text in source


@pytest.mark.parametrize("slot, pin, link", [(1, 0, "LNKS"), (1, 1, "LNKB"), (1, 3, "LNKD"), (2, 0, "LNKB"), (2, 3, "LNKA"),
                                             (3, 0, "LNKC"), (5, 0, "LNKA"), (31, 0, "LNKC"), (31, 3, "LNKB")])
def test_slots_take_turns_with_the_PIRQs(source, slot, pin, link):
    number = {0: "Zero", 1: "One"}.get(pin, f"0x{pin:02X}")
    assert f"0x{slot:04X}FFFF,{number},{link},Zero" in "".join(source.split())


def test_a_link_tells_disables_and_sets_its_PIRQ(found, tmp_path):
    if not shutil.which("acpiexec"):
        pytest.skip("acpiexec (acpica-tools) is not installed")
    (tmp_path / "dsdt.aml").write_bytes(found["DSDT"][0])
    link = r"\_SB.LNKB"
    setting = "(" + " ".join(f"{byte:02X}" for byte in aml.interrupts(11) + b"\x79\0") + ")"
    commands = [f"evaluate {link}._STA", f"evaluate {link}._DIS", f"evaluate {link}._STA", f"evaluate {link}._SRS {setting}",
                f"evaluate {link}._STA", f"evaluate {link}._CRS", r"evaluate \_SB.LNKA._CRS"]
    done = subprocess.run(["acpiexec", "-b", ";".join(commands), "dsdt.aml"], cwd=tmp_path, capture_output=True, text=True,
                          timeout=60, check=False)
    states = [line.split("=")[1].strip() for line in done.stdout.splitlines() if "[Integer] =" in line]
    assert states == ["000000000000000B", "0000000000000009", "000000000000000B"], done.stdout
    shown = [line for line in done.stdout.splitlines() if "89 06 00 0D 01" in line]
    assert ["0B 00 00 00" in line for line in shown] == [True, False]
    assert "Warning" not in done.stdout and "Error" not in done.stdout, done.stdout


# -- AML

@pytest.mark.parametrize("length", [0, 1, 0x3E, 0x3F, 0x40, 0xFFD, 0xFFE, 0xFFF, 0x1000, 0xFFFFC, 0xFFFFD, 0x100000])
def test_a_package_length_counts_itself(length):
    encoded = aml.package_length(length)
    more = encoded[0] >> 6
    value = encoded[0] & 0x3F if not more else encoded[0] & 15 | int.from_bytes(encoded[1:], "little") << 4
    assert len(encoded) == 1 + more and value == len(encoded) + length
    assert more == 0 or not encoded[0] & 0x30


@pytest.mark.parametrize("text, encoded", [
    ("PCI0", b"PCI0"), ("ISA", b"ISA_"), ("\\_S5", b"\\_S5_"), ("\\", b"\\\0"), ("\\_SB.PCI0", b"\\\x2E_SB_PCI0"),
    ("\\_SB.PCI0.ISA", b"\\\x2F\x03_SB_PCI0ISA_")])
def test_a_path_is_segments_of_four_characters(text, encoded):
    assert aml.path(text) == encoded


@pytest.mark.parametrize("value, encoded", [(0, "00"), (1, "01"), (2, "0a02"), (0xFF, "0aff"), (0x100, "0b0001"),
                                            (0x10000, "0c00000100")])
def test_an_integer_is_as_short_as_it_can_be(value, encoded):
    assert aml.integer(value) == bytes.fromhex(encoded)


def test_what_cannot_be_said_is_refused():
    for wrong in (lambda: aml.integer(1 << 32), lambda: aml.path("TOOLONG"), lambda: aml.package_length(1 << 28)):
        with pytest.raises(ValueError):
            wrong()


def test_an_EISA_identifier_is_three_letters_and_four_digits():
    assert aml.eisa_id("PNP0A03") == bytes.fromhex("0c41d00a03")            # [ACPI] 15.2.3


def test_the_PC_gives_its_firmware_both_sets_of_tables():
    with PC(32 * MIB) as pc:
        fwcfg = pc["fwcfg"]
        directory = bytes(fwcfg.items[FILE_DIR])
        for name in (acpi.TABLES, acpi.RSDP, acpi.LOADER, smbios.TABLES, smbios.ANCHOR):
            assert directory.count(name.encode() + b"\0") == 1
        assert acpi.tables(32 * MIB)[acpi.TABLES] in [bytes(item) for item in fwcfg.items.values()]


def test_the_routes_are_the_board_s_wires():
    for slot in range(1, 32):
        for pin in range(4):
            link = "LNKS" if (slot, pin) == (1, 0) else f"LNK{'ABCD'[line(slot, pin + 1)]}"
            assert acpi._route(slot, pin).count(link.encode()) == 1
