"""The workloads as a language machine's program: CPython runs this file, translate.py makes the others' programs of it.

Numbers are 64 bits wide and stay below 2**63; `data`, `sieve` (bytes), `table` and `words` (64 bits each) are arrays of the
program.  program.asm has the same algorithms, step by step.
"""

from __future__ import annotations

import array
import os
import signal
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


def system(rounds: int) -> int:
    opened()
    mask(0)
    i = 0
    result = 0
    while rounds > 0:
        n = 1000
        while n > 0:
            i = i + 1
            result = result + mask(i & 511)
            n = n - 1
        rounds = rounds - 1
    closed()
    return result & 0xFFFFFFFF


def io(rounds: int) -> int:
    opened()
    i = 0
    while i < rounds:
        put(i * 2654435 & 0xFFFFFFFF)
        i = i + 1
    flushed()
    i = 0
    result = 0
    while i < rounds:
        result = result + get()
        i = i + 1
    closed()
    return result & 0xFFFFFFFF


def irq(rounds: int) -> int:
    timer(1)
    result = crcs(rounds)
    if timer(0) == 0:
        return 0
    return result


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
    if number == 8:
        return irq(rounds)
    return nothing(rounds)


# -- what each language has in its own way

FUNCTIONS = function0, function1, function2, function3


def indirect(kind: int, x: int) -> int:
    return FUNCTIONS[kind](x)


def bits(x: float) -> int:
    return int(struct.unpack("<q", struct.pack("<d", x))[0])


def mask(x: int) -> int:
    """One system call, which sets x and answers what was set before."""
    return os.umask(x)


file = ticks = 0
piece = bytearray(4096)


def opened() -> int:
    """A file that is gone when the program ends, however it ends."""
    global file
    file = os.open("emu-cost-io", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    os.unlink("emu-cost-io")
    return 0


def put(x: int) -> int:
    """4 KiB that begin with x."""
    piece[:4] = x.to_bytes(4, "little")
    if os.write(file, piece) != 4096:
        raise OSError(28, os.strerror(28))
    return 0


def flushed() -> int:
    """All is on the disk; the file is at its start."""
    os.fsync(file)
    return os.lseek(file, 0, os.SEEK_SET)


def get() -> int:
    """What the next 4 KiB begin with."""
    return int.from_bytes(os.read(file, 4096)[:4], "little")


def closed() -> int:
    os.close(file)
    return 0


def ticked(number: int, frame: object) -> None:
    global ticks
    ticks = ticks + 1


def timer(on: int) -> int:
    """A thousand interrupts a second from now on, or no more; how many there were."""
    signal.signal(signal.SIGALRM, ticked)
    signal.setitimer(signal.ITIMER_REAL, on * 0.001, on * 0.001)
    return ticks


def main() -> None:
    """Each line of standard input: a workload's number, rounds, rounds to warm up with, how many words.

    Writes 1, and after the work 2, the result, its CPU and wall time in ns, and 3.
    """
    prepare()
    for line in sys.stdin:
        number, rounds, warm, size = (int(text) for text in line.split())
        if warm:
            words[:] = array.array("q", bytes(8 * size))
            dispatch(number, warm)
        words[:] = array.array("q", bytes(8 * size))
        os.write(1, b"\1")
        cpu_time, wall_time = time.process_time_ns(), time.monotonic_ns()
        result = dispatch(number, rounds)
        cpu_time, wall_time = time.process_time_ns() - cpu_time, time.monotonic_ns() - wall_time
        os.write(1, b"\2%d %d %d\3" % (result, cpu_time, wall_time))


if __name__ == "__main__":
    main()
