"""Names of addresses: ELF, System.map, and kallsyms as Linux keeps them in memory."""

from __future__ import annotations

import random
import struct

import pytest
from unicorn.unicorn_py3.unicorn import uclib

from emu.cpu.unicorn.layout import symbol
from emu.trace.symbols import BadSymbols, Symbols, find_kallsyms, read


def test_an_address_belongs_to_the_symbol_before_it():
    symbols = Symbols([(0x2000, "b"), (0x1000, "a"), (0x2000, "alias")])
    assert symbols.name(0x1000) == "a" and symbols.name(0x1FFF) == "a+0xfff" and symbols.name(0x2004) == "b+0x4"
    assert symbols.name(0xFFF) is None and symbols.name(0x2000 + (2 << 20)) is None
    assert symbols.address("alias") == 0x2000 and symbols.address("c") is None and len(symbols) == 2


def test_a_system_map_is_read(tmp_path):
    path = tmp_path / "System.map"
    path.write_text("ffffffff81000000 T _stext\nffffffff81000040 t helper\nffffffff82000000 D data\n"
                    "0000000000000000 A absolute\n")
    symbols = read(path)
    assert symbols.name(0xFFFFFFFF81000044) == "helper+0x4" and symbols.address("data") is None


def test_an_elf_file_is_read():
    symbols = read(uclib._name)
    base = symbol("uc_open") - (symbols.address("uc_open") or 0)
    assert base % 4096 == 0 and symbols.name(symbol("uc_close") - base) == "uc_close"


@pytest.mark.parametrize(("content", "says"), [
    (b"nothing of the kind", "no symbols"), (b"\x7fELF" + b"\1" * 60, "damaged"), (b"\x7fELF", "damaged")])
def test_what_has_no_symbols_is_one_line(tmp_path, content, says):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(BadSymbols, match=says):
        read(path)
    with pytest.raises(BadSymbols, match="No such file"):
        read(tmp_path / "none")


def kernel(word: int, symbols: list[tuple[int, str, str]], base: int, newer: bool, orders: bool) -> bytes:
    """What scripts/kallsyms.c writes: 4.6 to 6.1; with `orders` 6.2, 6.3; `newer` from 6.4 on."""
    tokens = [bytes([i]) if 0x21 <= i < 0x7F else b"" for i in range(256)]
    tokens[200] = b"function"
    names, markers = b"", []
    for i, (_, kind, name) in enumerate(symbols):
        if i % 256 == 0:
            markers.append(len(names))
        text = (kind + name).encode()
        coded = text.replace(b"function", bytes([200]))
        names += (bytes([len(coded)]) if len(coded) < 128 else bytes([len(coded) & 0x7F | 0x80, len(coded) >> 7])) + coded
    table = b"".join(token + b"\0" for token in tokens)
    places, at = [], 0
    for token in tokens:
        places.append(at)
        at += len(token) + 1

    def aligned(data: bytes) -> bytes:
        return data + bytes(-len(data) % word)

    where = aligned(b"".join(struct.pack("<I", address - base) for address, _, _ in symbols))
    where += base.to_bytes(word, "little")
    count = len(symbols).to_bytes(word, "little")
    marks = aligned(struct.pack(f"<{len(markers)}I", *markers))
    order = aligned(bytes(3 * len(symbols))) if orders else b""
    tail = aligned(table) + aligned(struct.pack("<256H", *places))
    if newer:
        return count + aligned(names) + marks + tail + where + order
    return where + count + aligned(names) + marks + order + tail


@pytest.mark.parametrize("layout", ["4.6", "6.2", "6.4"])
@pytest.mark.parametrize("word", [4, 8])
def test_kallsyms_are_found_in_memory(word, layout):
    chance = random.Random(word)
    base = 0xC1000000 if word == 4 else 0xFFFFFFFF81000000
    symbols = [(base + 16 * i, chance.choice("tTdD"), f"function_{i}" + "_long" * 30 * (i == 700)) for i in range(3000)]
    image = chance.randbytes(8192) + kernel(word, symbols, base, layout == "6.4", layout == "6.2") + chance.randbytes(4096)
    found = find_kallsyms(image)
    assert found is not None
    for address, kind, name in symbols:
        assert found.address(name) == (address if kind in "tT" else None)


def test_memory_without_a_kernel_has_none():
    digits = b"".join(b"%d\0" % i for i in range(10))
    assert find_kallsyms(bytes(1 << 16)) is None
    assert find_kallsyms(bytes(4096) + digits + bytes(4096)) is None
    assert find_kallsyms(random.Random(1).randbytes(8192) + b"\0" + digits + random.Random(2).randbytes(8192)) is None


@pytest.mark.parametrize("word", [4, 8])
def test_a_table_that_is_cut_off_or_damaged_raises_nothing(word):
    chance = random.Random(word)
    base = 0xC1000000 if word == 4 else 0xFFFFFFFF81000000
    whole = kernel(word, [(base + 16 * i, "t", f"function_{i}") for i in range(3000)], base, True, False)
    assert find_kallsyms(bytes(4096) + whole) is not None
    assert find_kallsyms(bytes(4096) + whole[:-1500 * 4]) is None
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(3):
            damaged[chance.randrange(len(whole))] = chance.choice([0, 1, 0x7F, 0x80, 0xFF])
        find_kallsyms(bytes(4096) + bytes(damaged))
