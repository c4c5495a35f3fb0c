"""Random programs: lists of fragments, from a seed or from hypothesis; and the smallest part of one that still fails."""

from __future__ import annotations

import functools
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace

import capstone
from hypothesis import strategies as st

from emu.assembler import assemble
from tests.fast import world
from tests.fast.fragments import FLOW, Draw
from tests.fast.fragments_data import DATA, MXCSR, OURS_ONLY, PORTABLE_MXCSR
from tests.fast.world import Start

KINDS = {**FLOW, **DATA, **OURS_ONLY}
COMMON = [*FLOW, *DATA]                 # what QEMU can run, too


@dataclass(frozen=True)
class Program:
    """Fragments by kind and seed: whatever is left out, the others stay the same."""

    start: Start
    fragments: tuple[tuple[str, int], ...]
    without: frozenset[int] = frozenset()               # statements that are left out, by their number

    def lines(self) -> list[str]:
        """The statements, labels among them."""
        lines = [f"mov {self.start.prefix}sp, {world.STACK:#x}"]
        for number, (kind, seed) in enumerate(self.fragments):
            lines += KINDS[kind](Draw(self.start, number, seed))
        return [line for number, line in enumerate(lines) if number not in self.without or line.endswith(":")]

    @functools.cached_property
    def assembled(self) -> tuple[bytes, list[int]]:
        """The code, and the address of every statement."""
        text, count = [], 0
        for line in self.lines():
            if not line.endswith(":"):
                text.append(f"s{count}:")
                count += 1
            text.append(line)
        text += [f"s{count}:", "int 0x30", *(f".long s{i}" for i in range(count + 1))]
        code = assemble("\n".join(text), world.CODE, self.start.bits)
        size = 4 * (count + 1)
        return code[:-size], sorted({address for address, in struct.iter_unpack("<I", code[-size:])})

    def image(self, leave: int = world.HALT) -> bytes:
        return bytes(world.image(self.start, *self.assembled, leave))

    def listing(self) -> str:
        """The program as it is assembled."""
        code, _ = self.assembled
        machine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64 if self.start.bits == 64 else capstone.CS_MODE_32)
        machine.skipdata = True
        lines = [f"{i.address:6x}  {i.bytes.hex():24} {i.mnemonic} {i.op_str}" for i in machine.disasm(code, world.CODE)]
        return f"{self.start}\n{self.fragments}\n{sorted(self.without)}\n" + "\n".join(lines)


def program(seed: int, kinds: list[str] | None = None, *, most: int = 12, portable: bool = False) -> Program:
    """A program that a number names."""
    rng = random.Random(seed)
    start = Start(rng.choice((32, 64)), rng.choice((0, 0, 3)), rng.getrandbits(32),
                  rng.choice(PORTABLE_MXCSR if portable else MXCSR), rng.random() < 0.8, portable)
    kinds = kinds or (COMMON if portable else [*KINDS])
    return Program(start, tuple((rng.choice(kinds), rng.getrandbits(32)) for _ in range(rng.randint(3, most))))


@st.composite
def programs(draw: st.DrawFn, kinds: list[str] | None = None) -> Program:
    """The same for hypothesis, which finds the fewest fragments that fail."""
    start = Start(draw(st.sampled_from((32, 64))), draw(st.sampled_from((0, 3))), draw(st.integers(0, 2**32 - 1)),
                  draw(st.sampled_from(MXCSR)), draw(st.booleans()))
    fragment = st.tuples(st.sampled_from(kinds or COMMON), st.integers(0, 2**32 - 1))
    return Program(start, tuple(draw(st.lists(fragment, min_size=1, max_size=12))))


def reduce(case: Program, fails: Callable[[Program], bool]) -> Program:
    """Fewer fragments, then fewer statements, as long as it fails."""
    parts = list(case.fragments)
    size = max(1, len(parts) // 2)
    while size:
        at = 0
        while at < len(parts):
            smaller = replace(case, fragments=tuple(parts[:at] + parts[at + size:]))
            if _fails(smaller, fails):
                case, parts = smaller, list(smaller.fragments)
            else:
                at += size
        size //= 2
    count = len(case.lines())
    size = max(1, count // 4)
    while size:
        for at in range(0, count, size):
            smaller = replace(case, without=case.without | set(range(at, at + size)))
            if smaller.without != case.without and _fails(smaller, fails):
                case = smaller
        size //= 2
    return case


def _fails(case: Program, fails: Callable[[Program], bool]) -> bool:
    try:
        return fails(case)
    except ValueError:                          # what is left does not assemble
        return False
