"""The workloads, and what each must come to: computed here in another way than the forms compute it, where there is one."""

from __future__ import annotations

import array
import functools
import math
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

SIZE = 16384                    # bytes of the CRC, numbers of the sieve


@dataclass(frozen=True)
class Workload:
    """`number` as program.asm has it; `rounds` is the whole work of a quick run; `unit` says what a round is."""

    name: str
    number: int
    rounds: int
    what: str
    unit: str


WORKLOADS = {w.name: w for w in (
    Workload("spawn", 5, 1, "start, do nothing, end", "one start and end"),
    Workload("cpu", 0, 2048, "CRC-32 by table, and a sieve", "CRC-32 of 16 KiB and the primes below 16,384"),
    Workload("calls", 1, 4096, "recursive and indirect calls", "fibonacci(16), and 987 calls by a table of four functions"),
    Workload("memory", 2, 128, "copy and random access, 64 MiB", "512 KiB written and copied, 4,096 random words changed"),
    Workload("float", 3, 4096, "square root, division, addition", "1,024 steps in double precision"),
    Workload("syscall", 4, 1024, "a million trivial system calls", "1,000 umask"),
    Workload("io", 7, 16384, "64 MiB written in pieces of 4 KiB, flushed, read back", "4 KiB written and read"),
    Workload("irq", 8, 2048, "timer interrupts at 1 kHz under load", "CRC-32 of 16 KiB"),
)}


CRC = Workload("crc", 6, 4096, "CRC-32 by table", "CRC-32 of 16 KiB")     # the inner loop that `emu cost explain` shows


@functools.lru_cache(maxsize=256)
def expected(name: str, rounds: int) -> int:
    """The checked result."""
    model: dict[str, Callable[[int], int]] = {
        "cpu": _cpu, "calls": _calls, "memory": _memory, "float": _float, "syscall": _syscall, "spawn": _nothing, "crc": _crc,
        "io": _io, "irq": _crc}
    return model[name](rounds)


def _nothing(rounds: int) -> int:
    return 0


def _random(x: int) -> int:
    return (x * 1103515245 + 12345) & 0x7FFFFFFF


@functools.cache
def data() -> bytes:
    """What the CRC is of."""
    x, made = 1, bytearray()
    for _ in range(SIZE):
        x = _random(x)
        made.append(x >> 16 & 255)
    return bytes(made)


@functools.cache
def primes() -> int:
    """How many numbers from 2 to below SIZE are prime."""
    return sum(all(n % d for d in range(2, math.isqrt(n) + 1)) for n in range(2, SIZE))


def _cpu(rounds: int) -> int:
    result = 0
    for _ in range(rounds):
        result = (zlib.crc32(data(), result) + primes()) & 0xFFFFFFFF
    return result


def _crc(rounds: int) -> int:
    result = 0
    for _ in range(rounds):
        result = zlib.crc32(data(), result)
    return result


def _calls(rounds: int) -> int:
    x = 0
    for _ in range(rounds):
        x = (x + 987) & 0xFFFFFFFF
        for n in range(987, 0, -1):
            kind = n & 3
            x = x + 1 if kind == 0 else (x + 2) ^ 3 if kind == 1 else x ^ 0x5A5A if kind == 2 else x + 7
        x &= 0xFFFFFFFF
    return x


def _memory(rounds: int) -> int:
    words = array.array("q", bytes(64 << 20))
    x, place, result = 1, 0, 0
    for _ in range(rounds):
        words[place:place + 131072] = array.array("q", [*range(place, place + 65536)] * 2)
        for _ in range(4096):
            x = _random(x)
            result += words[x >> 8]
            words[x >> 8] = x
        place = (place + 131072) & 0x7FFFFF
    return result & 0xFFFFFFFF


def _float(rounds: int) -> int:
    x = y = 1.0
    for _ in range(rounds * 1024):
        x = math.sqrt(x * x + y)
        y = y / x + 0.75
    return int(struct.unpack("<Q", struct.pack("<d", x))[0])


def _io(rounds: int) -> int:
    return sum(n * 2654435 & 0xFFFFFFFF for n in range(rounds)) & 0xFFFFFFFF


def _syscall(rounds: int) -> int:
    """umask answers what the call before it set: 0, 1, 2 ... 511, 0 ..."""
    calls = rounds * 1000
    whole, rest = divmod(calls, 512)
    return (whole * (511 * 512 // 2) + rest * (rest - 1) // 2) & 0xFFFFFFFF
