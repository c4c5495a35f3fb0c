"""The workloads, and what each must come to: computed here in another way than the forms compute it, where there is one."""

from __future__ import annotations

import functools
import itertools
import math
import struct
import zlib
from collections.abc import Callable, Iterator
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
    Workload("cpu", 0, 1024, "CRC-32 by table, and a sieve", "CRC-32 of 16 KiB and the primes below 16,384"),
    Workload("calls", 1, 2048, "recursive and indirect calls", "fibonacci(16), and 987 calls by a table of four functions"),
    Workload("memory", 2, 128, "copy and random access, 64 MiB", "512 KiB written and copied, 4,096 random words changed"),
    Workload("float", 3, 2048, "square root, division, addition", "1,024 steps in double precision"),
    Workload("syscall", 4, 1024, "a million trivial system calls", "1,000 umask"),
    Workload("io", 7, 16384, "64 MiB written by 4 KiB, flushed, read back", "4 KiB written and read"),
    Workload("irq", 8, 1024, "timer interrupts at 1 kHz under load", "CRC-32 of 16 KiB"),
)}


CRC = Workload("crc", 6, 4096, "CRC-32 by table", "CRC-32 of 16 KiB")     # the inner loop that `emu cost explain` shows


@functools.cache
def _results(name: str) -> tuple[Iterator[int], list[int]]:
    """What comes after each round, as far as it was asked for: a part of the work is the beginning of the whole."""
    model: dict[str, Callable[[], Iterator[int]]] = {
        "cpu": _cpu, "calls": _calls, "memory": _memory, "float": _float, "syscall": _syscall, "spawn": _nothing, "crc": _crc,
        "io": _io, "irq": _crc}
    return model[name](), [0]


def expected(name: str, rounds: int) -> int:
    """The checked result."""
    coming, known = _results(name)
    while len(known) <= rounds:
        known.append(next(coming))
    return known[rounds]


def _nothing() -> Iterator[int]:
    while True:
        yield 0


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


def _cpu() -> Iterator[int]:
    result = 0
    while True:
        result = (zlib.crc32(data(), result) + primes()) & 0xFFFFFFFF
        yield result


def _crc() -> Iterator[int]:
    result = 0
    while True:
        result = zlib.crc32(data(), result)
        yield result


def _calls() -> Iterator[int]:
    x = 0
    while True:
        x = (x + 987) & 0xFFFFFFFF
        for n in range(987, 0, -1):
            kind = n & 3
            x = x + 1 if kind == 0 else (x + 2) ^ 3 if kind == 1 else x ^ 0x5A5A if kind == 2 else x + 7
        x &= 0xFFFFFFFF
        yield x


def _memory() -> Iterator[int]:
    """Of the 64 parts only what was changed since is kept: else a word holds its place in the first half, or is 0."""
    changed: list[dict[int, int]] = [{} for _ in range(64)]
    written = [False] * 64
    x, result = 1, 0
    for turn in itertools.count():
        changed[turn & 63].clear()
        written[turn & 63] = True
        for _ in range(4096):
            x = (x * 1103515245 + 12345) & 0x7FFFFFFF
            part, at = x >> 25, x >> 8
            words = changed[part]
            if at in words:
                result += words[at]
            elif written[part]:
                result += at & ~65536
            words[at] = x
        yield result & 0xFFFFFFFF


def _float() -> Iterator[int]:
    x = y = 1.0
    while True:
        for _ in range(1024):
            x = math.sqrt(x * x + y)
            y = y / x + 0.75
        yield int(struct.unpack("<Q", struct.pack("<d", x))[0])


def _io() -> Iterator[int]:
    return (total & 0xFFFFFFFF for total in itertools.accumulate(n * 2654435 & 0xFFFFFFFF for n in itertools.count()))


def _syscall() -> Iterator[int]:
    """umask answers what the call before it set: 0, 1, 2 ... 511, 0 ..."""
    for calls in itertools.count(1000, 1000):
        whole, rest = divmod(calls, 512)
        yield (whole * (511 * 512 // 2) + rest * (rest - 1) // 2) & 0xFFFFFFFF
