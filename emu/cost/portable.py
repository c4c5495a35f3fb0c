"""The workloads as a language machine's program: CPython runs this file, translate.py makes the others' programs of it.

Numbers are 64 bits wide and stay below 2**63; `data`, `sieve` (bytes), `table` and `words` (64 bits each) are arrays of the
program.  program.asm has the same algorithms, step by step.
"""

from __future__ import annotations

import array
import os
import struct
import sys
import time
from math import sqrt

data, sieve = bytearray(16384), bytearray(16384)
table = array.array("q", bytes(256 * 8))
words = array.array("q")


def prepare() -> int:
    x = 1
    i = 0
    while i < 16384:
        x = (x * 1103515245 + 12345) & 0x7FFFFFFF
        data[i] = (x >> 16) & 255
        i = i + 1
    i = 0
    while i < 256:
        x = i
        n = 8
        while n > 0:
            x = (x >> 1) ^ (0xEDB88320 * (x & 1))
            n = n - 1
        table[i] = x
        i = i + 1
    return 0


def cpu(rounds: int) -> int:
    result = 0
    while rounds > 0:
        result = crc(result ^ 0xFFFFFFFF) ^ 0xFFFFFFFF
        i = 0
        while i < 16384:
            sieve[i] = 0
            i = i + 1
        i = 2
        while i < 16384:
            if sieve[i] == 0:
                result = result + 1
                j = i + i
                while j < 16384:
                    sieve[j] = 1
                    j = j + i
            i = i + 1
        result = result & 0xFFFFFFFF
        rounds = rounds - 1
    return result


def crcs(rounds: int) -> int:
    result = 0
    while rounds > 0:
        result = crc(result ^ 0xFFFFFFFF) ^ 0xFFFFFFFF
        rounds = rounds - 1
    return result


def crc(result: int) -> int:
    i = 0
    while i < 16384:
        result = table[(result ^ data[i]) & 255] ^ (result >> 8)
        i = i + 1
    return result


def calls(rounds: int) -> int:
    result = 0
    while rounds > 0:
        result = result + fibonacci(16)
        n = 987
        while n > 0:
            result = indirect(n & 3, result)
            n = n - 1
        rounds = rounds - 1
    return result & 0xFFFFFFFF


def fibonacci(n: int) -> int:
    if n < 2:
        return n
    return fibonacci(n - 1) + fibonacci(n - 2)


def function0(x: int) -> int:
    return x + 1


def function1(x: int) -> int:
    return (x + 2) ^ 3


def function2(x: int) -> int:
    return x ^ 0x5A5A


def function3(x: int) -> int:
    return x + 7


def memory(rounds: int) -> int:
    result = 0
    place = 0
    x = 1
    while rounds > 0:
        i = 0
        while i < 65536:
            words[place + i] = place + i
            i = i + 1
        i = 0
        while i < 65536:
            words[place + i + 65536] = words[place + i]
            i = i + 1
        i = 0
        while i < 4096:
            x = (x * 1103515245 + 12345) & 0x7FFFFFFF
            result = result + words[x >> 8]
            words[x >> 8] = x
            i = i + 1
        place = (place + 131072) & 0x7FFFFF
        rounds = rounds - 1
    return result & 0xFFFFFFFF


def float_(rounds: int) -> int:
    x = 1.0
    y = 1.0
    while rounds > 0:
        n = 1024
        while n > 0:
            x = sqrt(x * x + y)
            y = y / x + 0.75
            n = n - 1
        rounds = rounds - 1
    return bits(x)


def nothing(rounds: int) -> int:
    return 0


def dispatch(number: int, rounds: int) -> int:
    if number == 0:
        return cpu(rounds)
    if number == 1:
        return calls(rounds)
    if number == 2:
        return memory(rounds)
    if number == 3:
        return float_(rounds)
    if number == 4:
        return system(rounds)
    if number == 6:
        return crcs(rounds)
    if number == 7:
        return io(rounds)
    return nothing(rounds)


# -- what each language has in its own way

FUNCTIONS = function0, function1, function2, function3


def indirect(kind: int, x: int) -> int:
    return FUNCTIONS[kind](x)


def bits(x: float) -> int:
    return int(struct.unpack("<q", struct.pack("<d", x))[0])


def system(rounds: int) -> int:
    os.umask(0)
    i = result = 0
    while rounds > 0:
        n = 1000
        while n > 0:
            i = i + 1
            result = result + os.umask(i & 511)
            n = n - 1
        rounds = rounds - 1
    return result & 0xFFFFFFFF


def io(rounds: int) -> int:
    file = os.open("emu-cost-io", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    os.unlink("emu-cost-io")
    piece = bytearray(data[:4096])
    i = result = 0
    while i < rounds:
        piece[:4] = (i * 2654435 & 0xFFFFFFFF).to_bytes(4, "little")
        if os.write(file, piece) != 4096:
            raise OSError(28, os.strerror(28))
        i = i + 1
    os.fsync(file)
    os.lseek(file, 0, os.SEEK_SET)
    i = 0
    while i < rounds:
        result = result + int.from_bytes(os.read(file, 4096)[:4], "little")
        i = i + 1
    os.close(file)
    return result & 0xFFFFFFFF


def main() -> None:
    """argv: a workload's number, rounds, rounds to warm up with.

    Writes 1, and after the work 2, the result, its CPU and wall time in ns, and 3.
    """
    number, rounds, warm = (int(text) for text in sys.argv[1:4])
    prepare()
    if number == 2:
        words.frombytes(bytes(64 << 20))
    if warm:
        dispatch(number, warm)
        words[:] = array.array("q", bytes(len(words) * 8))
    os.write(1, b"\1")
    cpu_time, wall_time = time.process_time_ns(), time.monotonic_ns()
    result = dispatch(number, rounds)
    cpu_time, wall_time = time.process_time_ns() - cpu_time, time.monotonic_ns() - wall_time
    os.write(1, b"\2%d %d %d\3" % (result, cpu_time, wall_time))


if __name__ == "__main__":
    main()
