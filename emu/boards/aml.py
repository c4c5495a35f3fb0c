"""AML, the byte code of ACPI's definition blocks, and resource descriptors: each function returns the bytes of one term.

[ACPI] is ACPI 1.0b, chapters 6.4 (resource data types) and 16.2 (AML).  Integers are of 32 bits.
"""

from __future__ import annotations

import struct

LOCAL0, ARG0 = b"\x60", b"\x68"
SERIALIZED = 8                                      # of a method's flags, beside the number of its arguments
CONSUMER, ACTIVE_LOW, SHARED = 1, 4, 8              # of an extended interrupt; level unless bit 1 is set
FIXED = 0x0C                                        # [ACPI] 6.4.3.5: both ends of an address space are fixed


def package_length(length: int) -> bytes:
    """[ACPI] 16.2.4: what follows is `length` bytes long, beside the encoding itself."""
    if length + 1 < 0x40:
        return bytes([length + 1])
    for extra in (1, 2, 3):
        total = length + 1 + extra
        if total < 1 << 4 + 8 * extra:
            return bytes([extra << 6 | total & 15]) + (total >> 4).to_bytes(extra, "little")
    raise ValueError(f"a package of {length} bytes")


def path(text: str) -> bytes:
    """A name: segments of up to four characters, with dots between them; \\ at the start is the root."""
    root = b"\\" if text.startswith("\\") else b""
    segments = [segment.ljust(4, "_").encode() for segment in text.removeprefix("\\").split(".") if segment]
    if any(len(segment) != 4 for segment in segments):
        raise ValueError(f"{text}: a segment has four characters at most")
    prefix = {0: b"\0", 1: b"", 2: b"\x2E"}.get(len(segments), b"\x2F" + bytes([len(segments)]))
    return root + prefix + b"".join(segments)


def integer(value: int) -> bytes:
    """The shortest encoding."""
    if value in (0, 1):
        return bytes([value])
    for prefix, size in ((0x0A, 1), (0x0B, 2), (0x0C, 4)):
        if value < 1 << 8 * size:
            return bytes([prefix]) + value.to_bytes(size, "little")
    raise ValueError(f"{value:#x} has more than 32 bits")


def _closed(opcode: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return opcode + package_length(len(body)) + body


def buffer(data: bytes) -> bytes:
    return _closed(b"\x11", integer(len(data)), data)


def package(*items: bytes) -> bytes:
    return _closed(b"\x12", bytes([len(items)]), *items)


def name(of: str, value: bytes) -> bytes:
    return b"\x08" + path(of) + value


def scope(of: str, *terms: bytes) -> bytes:
    return _closed(b"\x10", path(of), *terms)


def device(of: str, *terms: bytes) -> bytes:
    return _closed(b"\x5B\x82", path(of), *terms)


def method(of: str, flags: int, *terms: bytes) -> bytes:
    return _closed(b"\x14", path(of), bytes([flags]), *terms)


def processor(of: str, number: int) -> bytes:
    """A processor without a register block."""
    return _closed(b"\x5B\x83", path(of), struct.pack("<BIB", number, 0, 0))


def pci_region(of: str, offset: int, length: int) -> bytes:
    """A part of the configuration space of the PCI function in which it stands."""
    return b"\x5B\x80" + path(of) + b"\x02" + integer(offset) + integer(length)


def byte_fields(region: str, *names: str) -> bytes:
    """One field a byte, reached by bytes."""
    return _closed(b"\x5B\x81", path(region), b"\x01", *(path(field) + package_length(8 - 1) for field in names))


def dword_field(source: bytes, offset: int, of: str) -> bytes:
    """CreateDWordField."""
    return b"\x8A" + source + integer(offset) + path(of)


def store(value: bytes, target: bytes) -> bytes:
    return b"\x70" + value + target


def both(left: bytes, right: bytes) -> bytes:
    """And, whose result is only a value."""
    return b"\x7B" + left + right + b"\0"


def either(left: bytes, right: bytes) -> bytes:
    """Or."""
    return b"\x7D" + left + right + b"\0"


def when(condition: bytes, *terms: bytes) -> bytes:
    return _closed(b"\xA0", condition, *terms)


def give(value: bytes) -> bytes:
    """Return."""
    return b"\xA4" + value


def eisa_id(text: str) -> bytes:
    """PNP0A03 as an integer ([ACPI] 15.2.3: EISAID)."""
    letters = [ord(letter) - 0x40 for letter in text[:3]]
    value = letters[0] << 26 | letters[1] << 21 | letters[2] << 16 | int(text[3:], 16)
    return b"\x0C" + value.to_bytes(4, "big")


# -- resource descriptors: [ACPI] 6.4

def resources(*descriptors: bytes) -> bytes:
    """A resource template, closed by its end tag (whose checksum 0 counts as right)."""
    return buffer(b"".join(descriptors) + b"\x79\0")


def ports(base: int, length: int) -> bytes:
    """I/O ports, of which all 16 address bits are decoded."""
    return struct.pack("<BBHHBB", 0x47, 1, base, base, 1, length)


def irq(number: int) -> bytes:
    """An interrupt of the ISA bus: rising edge, not shared."""
    return struct.pack("<BH", 0x22, 1 << number)


def dma(channel: int) -> bytes:
    """A channel of the 8237A that moves bytes."""
    return struct.pack("<BBB", 0x2A, 1 << channel, 0)


def interrupts(*numbers: int) -> bytes:
    """Interrupts of the PCI bus: level, active low, shared."""
    body = struct.pack("<BB", CONSUMER | ACTIVE_LOW | SHARED, len(numbers)) + struct.pack(f"<{len(numbers)}I", *numbers)
    return b"\x89" + len(body).to_bytes(2, "little") + body


def buses(first: int, last: int) -> bytes:
    """Numbers of PCI buses behind a bridge."""
    return _space("H", 2, 0, first, last)


def port_window(first: int, last: int) -> bytes:
    """I/O ports that a bridge passes on."""
    return _space("H", 1, 3, first, last)


def memory_window(first: int, last: int) -> bytes:
    """Memory that a bridge passes on: not cacheable, writable."""
    return _space("I", 0, 1, first, last)


def _space(size: str, kind: int, flags: int, first: int, last: int) -> bytes:
    body = struct.pack("<BBB5" + size, kind, FIXED, flags, 0, first, last, 0, last - first + 1)
    return (b"\x88" if size == "H" else b"\x87") + len(body).to_bytes(2, "little") + body
