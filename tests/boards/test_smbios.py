"""The SMBIOS tables: their form by DSP0134, their content by dmidecode."""

from __future__ import annotations

import shutil
import struct
import subprocess

import pytest

from emu.boards import smbios

GIB = 1 << 30


def structures(table):
    """(type, handle, formatted part, strings) of each."""
    at, found = 0, []
    while at < len(table):
        kind, length, handle = struct.unpack_from("<BBH", table, at)
        end = table.index(b"\0\0", at + length)
        found.append((kind, handle, table[at + 4:at + length], table[at + length:end].split(b"\0")))
        at = end + 2
    return found


@pytest.fixture(params=[(1, 1), (256, 256), (6 * 1024, 3584), (100 * 1024, 3584)], ids=lambda sizes: f"{sizes[0]} MiB")
def files(request):
    memory, low = request.param
    return smbios.tables(memory << 20, low << 20, "qemu64")


def test_the_structures_are_numbered_and_end_with_type_127(files):
    found = structures(files[smbios.TABLES])
    assert {0, 1, 3, 4, 16, 17, 19, 32} <= {kind for kind, *_ in found}          # [DMTF] 6.2: what is required
    assert found[-1][0] == 127 and len({handle for _, handle, *_ in found}) == len(found)


def test_every_string_that_is_numbered_is_there(files):
    numbered = {0: (0, 1, 4), 1: (0, 1, 2), 2: (0, 1), 3: (0,), 4: (0, 3, 12), 17: (12,)}
    for kind, _, body, strings in structures(files[smbios.TABLES]):
        numbers = [body[offset] for offset in numbered.get(kind, ())]
        assert sorted(numbers) == list(range(1, len(numbers) + 1)), kind
        assert len([string for string in strings if string]) == len(numbers)


def test_the_entry_point_has_both_sums_and_tells_of_the_table(files):
    anchor, table = files[smbios.ANCHOR], files[smbios.TABLES]
    assert (len(anchor), anchor[:4], anchor[16:21], anchor[5]) == (0x1F, b"_SM_", b"_DMI_", 0x1F)
    assert sum(anchor) & 0xFF == 0 and sum(anchor[16:]) & 0xFF == 0
    length, address, count = struct.unpack_from("<HIH", anchor, 22)
    found = structures(table)
    assert (length, address, count) == (len(table), 0, len(found))
    largest = max(len(body) + 4 + sum(len(s) + 1 for s in strings) + 1 for _, _, body, strings in found)
    assert struct.unpack_from("<H", anchor, 8)[0] in (largest, largest + 1)      # no string: one zero more


def decoded(files, tmp_path):
    if not shutil.which("dmidecode"):
        pytest.skip("dmidecode is not installed")
    anchor = bytearray(files[smbios.ANCHOR])
    struct.pack_into("<I", anchor, 24, 0x20)
    anchor[21] = (anchor[21] - sum(anchor[16:])) & 0xFF
    anchor[4] = (anchor[4] - sum(anchor)) & 0xFF
    (tmp_path / "dump").write_bytes(bytes(anchor).ljust(0x20, b"\0") + files[smbios.TABLES])
    done = subprocess.run(["dmidecode", "--from-dump", str(tmp_path / "dump")], capture_output=True, text=True, timeout=60,
                          check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout


def test_dmidecode_finds_nothing_wrong(files, tmp_path):
    text = decoded(files, tmp_path)
    assert "SMBIOS 2.8 present." in text
    for wrong in ("OUT OF SPEC", "BAD INDEX", "broken", "Invalid", "Wrong"):
        assert wrong not in text, text


def test_dmidecode_tells_the_machine(tmp_path):
    text = decoded(smbios.tables(6 * GIB, 0xE000_0000, "core2duo"), tmp_path)
    for line in ("Manufacturer: emu", "Product Name: PC", "Version: core2duo", "Maximum Capacity: 6 GB", "Size: 6 GB",
                 "Range Size: 3584 MB", "Range Size: 2560 MB", "Starting Address: 0x00100000000", "ACPI is supported",
                 "Core Count: 1"):
        assert line in text, line
