"""Names of addresses: from ELF files, from System.map, and from a running Linux by its own kallsyms.

    symbols = read("vmlinux")               # ELF with .symtab, or a System.map
    symbols = find_kallsyms(machine.ram)    # what a kernel carries in its own memory
    symbols.name(0xFFFFFFFF81000042)        # "_stext+0x42"

kallsyms: scripts/kallsyms.c and kernel/kallsyms.c of Linux, from 4.6 on: a table of 256 tokens, an index of it, names as
strings of tokens, a marker for each 256 names, and addresses relative to a base.  All of it lies together in the kernel's
read-only data, and the ten digits, which are always tokens of themselves, give it away.
"""

from __future__ import annotations

import bisect
import os
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

FUNCTIONS = "tTwW"                      # nm's letters for what is code
FAR = 1 << 20                           # bytes behind a symbol that may still be its own
DIGITS = b"".join(b"%d\0" % digit for digit in range(10))
PIECE = 1 << 16                         # bytes that are searched at once
NEAR, BEFORE = 1 << 20, 16 << 20        # bytes before the tokens in which the markers lie: usually, and at most
SEPARATOR = chr(256)                    # no token

class BadSymbols(ValueError):
    """A file of symbols that cannot be read: one line that says which and why."""


class Symbols:
    """Code symbols by address; of several at one address, the first."""

    def __init__(self, symbols: Iterable[tuple[int, str]]) -> None:
        self.addresses: list[int] = []
        self.names: list[str] = []
        self._addresses: dict[str, int] = {}
        for address, name in sorted(symbols, key=lambda symbol: symbol[0]):
            self._addresses.setdefault(name, address)
            if not self.addresses or address != self.addresses[-1]:
                self.addresses.append(address)
                self.names.append(name)

    def __len__(self) -> int:
        return len(self.names)

    def at(self, address: int) -> tuple[str, int] | None:
        """(name, distance) of the symbol in which an address lies."""
        index = bisect.bisect_right(self.addresses, address) - 1
        if index < 0 or address - self.addresses[index] > FAR:
            return None
        return self.names[index], address - self.addresses[index]

    def name(self, address: int) -> str | None:
        """As `function+0x10`."""
        found = self.at(address)
        return found and (f"{found[0]}+{found[1]:#x}" if found[1] else found[0])

    def address(self, name: str) -> int | None:
        """Where a symbol lies."""
        return self._addresses.get(name)


# -- files

def read(path: str | os.PathLike[str]) -> Symbols:
    """The code symbols of an ELF file or a System.map.  Raises BadSymbols."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise BadSymbols(f"{path}: cannot be read: {error.strerror}") from None
    symbols = list(_elf(path, data) if data[:4] == b"\x7fELF" else _map(data))
    if not symbols:
        raise BadSymbols(f"{path}: no symbols of functions in it; an ELF file with .symtab and a System.map have some")
    return Symbols(symbols)


def _elf(path: str | os.PathLike[str], data: bytes) -> Iterator[tuple[int, str]]:
    import io

    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import SymbolTableSection

    try:
        for section in ELFFile(io.BytesIO(data)).iter_sections():
            if isinstance(section, SymbolTableSection):
                for symbol in section.iter_symbols():
                    if symbol.name and symbol["st_info"]["type"] in ("STT_FUNC", "STT_NOTYPE") and symbol["st_value"] \
                            and symbol["st_shndx"] not in ("SHN_UNDEF", "SHN_ABS"):
                        yield symbol["st_value"], symbol.name
    except (ELFError, KeyError, IndexError, TypeError, ValueError, UnicodeError, struct.error) as error:
        raise BadSymbols(f"{path}: a damaged ELF file: {error}") from None


def _map(data: bytes) -> Iterator[tuple[int, str]]:
    for match in re.finditer(rb"^([0-9a-fA-F]{8,16}) ([A-Za-z]) (\S+)", data, re.MULTILINE):
        if chr(match[2][0]) in FUNCTIONS:
            yield int(match[1], 16), match[3].decode(errors="replace")


# -- kallsyms

@dataclass(frozen=True)
class _Table:
    """Where the names of a kernel lie, how many they are, of which tokens, and where the index of these ends."""

    names: int
    count: int
    tokens: list[bytes]
    word: int                       # bytes of a pointer
    behind: int

    @property
    def size(self) -> int:
        """Bytes of the addresses."""
        return -(-self.count * 4 // self.word) * self.word

    @property
    def addresses(self) -> tuple[int, int]:
        """Where they may stand: before the names, from 6.4 on behind the tokens; the base follows them."""
        return self.names - 2 * self.word - self.size, -(-self.behind // self.word) * self.word


def find_kallsyms(memory: Any, near: int = 0) -> Symbols | None:
    """The code symbols of the Linux whose image lies somewhere in `memory` (bytes-like), if there is one; it is looked for
    from `near` on first."""
    image = memoryview(memory)
    for table in _tables(image, near):
        try:
            return Symbols(_decode(image, table))
        except (IndexError, ValueError):                # it ends before its end: it is none
            continue
    return None


def part_of_kallsyms(memory: Any, near: int = 0) -> memoryview | None:
    """The few megabytes of `memory` in which `find_kallsyms` finds what it would find in all of it."""
    image = memoryview(memory)
    for table in _tables(image, near):
        before, behind = table.addresses
        return image[max(before, 0) & -4096:behind + table.size + table.word]
    return None


def _tables(image: memoryview, near: int) -> Iterator[_Table]:
    """What looks like the table of a kernel."""
    for at in _digits(image, near):
        for word in 8, 4:
            try:
                table = _kallsyms(image, at, word)
            except (IndexError, ValueError):
                continue
            if table is not None:
                yield table


def _digits(image: memoryview, near: int) -> Iterator[int]:
    """Where the ten digits lie as tokens."""
    wanted = b"\0" + DIGITS
    blank = bytes(PIECE + len(wanted))
    near = near // PIECE * PIECE
    for base in (*range(near, len(image), PIECE), *range(0, min(near, len(image)), PIECE)):
        piece = bytes(image[base:base + PIECE + len(wanted)])
        at = piece.find(wanted) if piece != blank else -1           # `find` is slow where all is 0
        while at >= 0:
            yield base + at + 1
            at = piece.find(wanted, at + 1)


def _kallsyms(image: memoryview, digits: int, word: int) -> _Table | None:
    """The table whose token `0` lies at `digits`, with pointers of `word` bytes; None if it is none."""
    found = _tokens(image, digits)
    if found is None:
        return None
    start, tokens, end = found
    index = -(-end // word) * word
    offsets, place = [], 0
    for token in tokens:
        offsets.append(place)
        place += len(token) + 1
    if bytes(image[index:index + 512]) != struct.pack("<256H", *offsets):
        return None
    for before in NEAR, BEFORE:
        for first, markers in _markers(image, start, before):
            names = _names(image, first, markers, word)
            if names is not None:
                return _Table(*names, tokens, word, index + 512)
    return None


def _markers(image: memoryview, end: int, before: int) -> Iterator[tuple[int, np.ndarray[Any, Any]]]:
    """(where, values) of what may be the markers, the longest first: offsets that rise from 0, 256 names a step."""
    import numpy as np  # here: a machine that is recorded needs it only now

    begin = max(end - before, 0) + end % 4
    words = np.frombuffer(image[begin:end - (end - begin) % 4], dtype="<u4")
    steps = np.diff(words.astype(np.int64))
    rises = (steps >= 2 * 256) & (steps < 128 * 256)
    falls = np.append(np.flatnonzero(~rises), len(rises))
    zeros = np.flatnonzero((words[:-1] == 0) & rises)
    lengths = falls[np.searchsorted(falls, zeros)] - zeros + 1
    for zero, length in sorted(zip(zeros.tolist(), lengths.tolist(), strict=True), key=lambda found: -found[1]):
        if length >= 8:
            yield begin + 4 * zero, words[zero:zero + length]


def _tokens(image: memoryview, digits: int) -> tuple[int, list[bytes], int] | None:
    """(start, the 256 tokens, end) of the token table whose 48th is at `digits`."""
    window = bytes(image[max(digits - 48 * 64, 0):digits])
    start = len(window)
    for _ in range(48):
        start = window.rfind(b"\0", 0, start - 1) + 1
        if start <= 0:
            return None
    first = digits - len(window) + start
    tokens = bytes(image[first:first + 256 * 64]).split(b"\0", 256)[:256]
    if len(tokens) < 256 or any(not token.isascii() or len(token) > 63 for token in tokens):
        return None
    return first, tokens, first + sum(len(token) + 1 for token in tokens)


def _names(image: memoryview, markers_at: int, markers: np.ndarray[Any, Any], word: int) -> tuple[int, int] | None:
    """(where, how many) the names whose markers lie at `markers_at` are."""
    low, high = 256 * (len(markers) - 1), 256 * len(markers)
    longest = markers_at - int(markers[-1])
    for names in range(longest - longest % word, max(longest - 256 * 128, word), -word):
        count = int.from_bytes(image[names - word:names - word + 4], "little")
        if low < count <= high and _walk(image, names, 256) == names + int(markers[1]):
            return names, count
    return None


def _length(image: memoryview, at: int) -> tuple[int, int]:
    """(tokens of the name at `at`, where they begin); from 128 on two bytes say it."""
    length = image[at]
    return (length & 0x7F | image[at + 1] << 7, at + 2) if length & 0x80 else (length, at + 1)


def _walk(image: memoryview, at: int, count: int) -> int | None:
    for _ in range(count):
        if at + 2 > len(image) or image[at] == 0:
            return None
        length, at = _length(image, at)
        at += length
    return at


def _decode(image: memoryview, table: _Table) -> list[tuple[int, str]]:
    """All symbols."""
    import numpy as np

    count, tokens, word = table.count, table.tokens, table.word
    for first in table.addresses:
        base = int.from_bytes(image[first + table.size:first + table.size + word], "little")
        if first >= 0 and base >> 8 * word - 1 and not base & 0xFFF:    # a kernel lies in the upper half, on a page
            break
    offsets = np.frombuffer(image[first:first + 4 * count], dtype="<i4").astype(np.int64)
    addresses = np.uint64(base) + (offsets & 0xFFFFFFFF).astype(np.uint64)
    if np.count_nonzero(offsets < 0) > count // 2:                      # CONFIG_KALLSYMS_ABSOLUTE_PERCPU
        addresses = np.where(offsets < 0, np.uint64(base) + (-1 - offsets).astype(np.uint64), offsets.astype(np.uint64))
    texts, kept, at = [], [], table.names
    functions = [bool(token) and token[0] in FUNCTIONS.encode() for token in tokens]
    for number in range(count):
        length, at = _length(image, at)
        if functions[image[at]]:
            texts.append(str(image[at:at + length], "latin-1"))
            kept.append(number)
        at += length
    spelled = SEPARATOR.join(texts).translate([token.decode("ascii") for token in tokens])      # one call for all
    said = spelled.split(SEPARATOR) if texts else []
    return [(address & (1 << 8 * word) - 1, text[1:]) for address, text in zip(addresses[kept].tolist(), said, strict=True)]
