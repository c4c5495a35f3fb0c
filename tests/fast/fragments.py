"""Random pieces of programs: integer arithmetic, control flow, stacks.  The rest is in fragments_data.py.

A fragment is a function (Draw) -> statements.  It needs nothing of the fragments before it, leaves RSP and RBP as they were,
and ends.  RBP points into the data; RSP to a stack of four pages.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.fast import world
from tests.fast.world import Start

CONDITIONS = ["o", "no", "b", "ae", "e", "ne", "be", "a", "s", "ns", "p", "np", "l", "ge", "le", "g"]
POINTER = {1: "byte", 2: "word", 4: "dword", 8: "qword"}
_OLD = ["ax", "cx", "dx", "bx", "si", "di"]


class Draw:
    """Random choices, and the names that they are written with."""

    def __init__(self, start: Start, number: int, seed: int) -> None:
        self.start, self.number, self.random = start, number, random.Random(seed)
        self.bits, self.r = start.bits, start.prefix
        self.word = self.bits // 8
        self.fixed: set[str] = set()                # registers that are not to be written
        self._labels = self._cells = 0

    def label(self) -> str:
        self._labels += 1
        return f"f{self.number}_{self._labels}"

    def cell(self) -> str:
        """A counter that no other statement reaches."""
        self._cells += 1
        return f"dword ptr [{self.absolute(world.CELLS + 64 * self.number + 4 * self._cells)}]"

    def absolute(self, address: int) -> str:
        """`address` in brackets, by way of RBP: an absolute address would be relative to RIP."""
        sign = "-" if address < world.BASE else "+"
        return f"{self.r}bp {sign} {abs(address - world.BASE):#x}"

    def one(self, *values):
        return self.random.choice(values)

    def chance(self, part: float) -> bool:
        return self.random.random() < part

    def number_of(self, low: int, high: int) -> int:
        return self.random.randint(low, high)

    def size(self) -> int:
        return self.random.choice((1, 2, 4, 4, 4, 8, 8) if self.bits == 64 else (1, 2, 4, 4, 4))

    def wide(self) -> int:
        """A size that is not one byte."""
        return self.random.choice((2, 4, 4, 8, 8) if self.bits == 64 else (2, 4, 4))

    def register(self, size: int) -> str:
        names = [name for name in _OLD if name not in self.fixed]
        if size == 1 and self.bits == 32:
            return self.random.choice([name[0] + self.one("l", "h") for name in names if name[1] == "x"])
        if self.bits == 64 and self.chance(0.4):
            return f"r{self.number_of(8, 15)}" + {1: "b", 2: "w", 4: "d", 8: ""}[size]
        name = self.random.choice(names)
        if size == 1:
            return name[0] + "l" if name[1] == "x" else name + "l"
        return {2: "", 4: "e", 8: "r"}[size] + name

    def address(self) -> str:
        """Of the data, now and then at the end of a page."""
        disp = self.number_of(-0x3FC0, 0x3FC0)
        if self.chance(0.15):
            disp = disp & -0x1000 | 0x1000 - self.number_of(1, 8)
        return f"{self.r}bp {'-' if disp < 0 else '+'} {abs(disp):#x}"

    def memory(self, size: int) -> str:
        return f"{POINTER[size]} ptr [{self.address()}]"

    def operand(self, size: int, memory: float = 0.3) -> str:
        return self.memory(size) if self.chance(memory) else self.register(size)

    def immediate(self, size: int) -> str:
        bits = min(8 * size, 32)
        top = 1 << bits - 1
        value = self.one(self.random.getrandbits(bits), self.number_of(0, 8), top - 1, top, 2 * top - 1)
        if size == 8 and value >> 31:
            value -= 1 << 32                        # sign-extended
        return f"{value:#x}" if value >= 0 else f"-{-value:#x}"

    def condition(self) -> str:
        return self.random.choice(CONDITIONS)


def statement(d: Draw) -> list[str]:
    """One integer operation, of any kind that cannot fault; the flags that it leaves undefined are defined after it."""
    size = d.size()
    kind = d.number_of(0, 21)
    if kind <= 4:
        name = d.one("add", "adc", "sub", "sbb", "and", "or", "xor", "cmp", "test", "mov")
        if d.chance(0.5):
            return [f"{name} {d.operand(size)}, {d.register(size)}"]
        return [f"{name} {d.operand(size)}, {d.immediate(size)}"]
    if kind <= 6:
        return [f"{d.one('inc', 'dec', 'neg', 'not')} {d.operand(size)}"]
    if kind == 7:
        small = d.one(1, 2)
        wide = d.one(4, d.word) if small == 2 else d.wide()
        return [f"{d.one('movzx', 'movsx')} {_wide(d, wide, small)}"]
    if kind == 8:
        size = d.wide()
        index = f"{d.register(d.word)} * {d.one(1, 2, 4, 8)}"
        return [f"lea {d.register(size)}, [{d.register(d.word)} + {index} + {d.immediate(1)}]"]
    if kind == 9:
        return [f"bswap {d.register(d.one(4, d.word))}"]
    if kind == 10:
        size = d.wide()
        return [f"cmov{d.condition()} {d.register(size)}, {d.operand(size)}"]
    if kind == 11:
        return [f"set{d.condition()} {d.operand(1)}"]
    if kind == 12:
        size = d.wide()
        return [f"{d.one('bt', 'bts', 'btr', 'btc')} {d.operand(size)}, {d.number_of(0, 8 * size - 1)}", *define(d)]
    if kind == 13:
        size = d.wide()
        register = d.register(size)
        return [f"and {register}, 0x7ff", f"{d.one('bt', 'bts', 'btr', 'btc')} {d.memory(size)}, {register}", *define(d)]
    if kind == 14:
        size = d.wide()
        target, source = d.register(size), d.register(size)
        return [f"or {source}, {d.one(1, 0x40)}", f"{d.one('bsf', 'bsr')} {target}, {source}", *define(d)]
    if kind <= 16:
        name = d.one("rol", "ror", "rcl", "rcr", "shl", "shr", "sar")
        return [f"{name} {d.operand(size)}, {d.one('cl', d.number_of(0, 8 * size + 3), 1)}", *define(d)]
    if kind == 17:
        size = d.one(4, d.word)
        count = d.one("cl", d.number_of(0, 31))
        return [f"{d.one('shld', 'shrd')} {d.operand(size)}, {d.register(size)}, {count}", *define(d)]
    if kind == 18:
        size = d.wide()
        return [d.one(f"imul {d.register(size)}, {d.operand(size)}", f"mul {d.operand(size)}", f"imul {d.operand(size)}",
                      f"imul {d.register(size)}, {d.operand(size)}, {d.immediate(1)}"), *define(d)]
    if kind == 19:
        return [d.one("cdq", "cwde", "cbw", "cwd", "lahf", "sahf", "cmc", "stc", "clc", "xchg eax, edx", "nop", "pause")]
    if kind == 20:
        name = d.one("xadd", "cmpxchg", "xchg", "lock add", "lock xadd", "lock cmpxchg")
        pair = f"{d.memory(size)}, {d.register(size)}"
        if d.chance(0.2):       # at a block's start: in both translators it takes the flags from how they were last stored
            start = d.label()
            return [f"jmp {start}", f"{start}:", f"cmpxchg8b qword ptr [{d.address()}]"]
        return [d.one(f"{name} {pair}", f"{name} {pair}", f"lock dec {d.memory(size)}")]
    return [f"push {d.register(d.word)}", f"pop {d.register(d.word)}"]


def _wide(d: Draw, wide: int, small: int) -> str:
    """Operands of MOVZX: AH and its like exist beside no REX prefix."""
    source = d.memory(small) if d.bits == 64 or d.chance(0.4) else d.register(small)
    return f"{d.register(wide)}, {source}"


def define(d: Draw) -> list[str]:
    """All flags are defined after this."""
    return [d.one(f"test {d.register(4)}, {d.register(4)}", f"cmp {d.register(d.word)}, 5", f"add {d.register(1)}, 3")]


def alu(d: Draw) -> list[str]:
    return [text for _ in range(d.number_of(2, 7)) for text in statement(d)]


def divide(d: Draw) -> list[str]:
    """With and without a quotient that fits."""
    size = d.size()
    divisor = d.operand(size)
    guard = []
    if d.chance(0.5):
        divisor = {1: "bl", 2: "bx", 4: "ebx", 8: "rbx"}[size]
        guard = [f"or {divisor}, {0x41 if size == 1 else 0x141}", d.one("xor edx, edx", "and edx, 0x3f", "cdq"),
                 *(["movzx eax, al"] if size == 1 else [])]
    return [*guard, f"{d.one('div', 'idiv')} {divisor}", *define(d)]


def branch(d: Draw) -> list[str]:
    """Conditional jumps forward, over statements and over each other."""
    labels = [d.label() for _ in range(d.number_of(1, 3))]
    lines = statement(d)
    for label in labels:
        lines += [f"j{d.condition()} {label}", *statement(d)]
    d.random.shuffle(labels)
    for label in labels:
        lines += [f"{label}:", *statement(d)]
    return lines


def loop(d: Draw) -> list[str]:
    """Up to 60 rounds, counted in memory or by LOOP."""
    top, out = d.label(), d.label()
    if d.chance(0.4):
        d.fixed |= {"cx"}
        count = d.number_of(1, 40)
        body = [text for _ in range(d.number_of(1, 2)) for text in statement(d) if "cl" not in text]
        # LOOPE and LOOPNE that end because RCX is 0 leave stale flags in both translators: defined at once
        return [f"mov ecx, {count}", f"{top}:", *body, f"{d.one('loop', 'loop', 'loope', 'loopne')} {top}", *define(d)]
    cell = d.cell()
    lines = [f"mov {cell}, {d.number_of(1, 60)}", f"{top}:", *statement(d)]
    if d.chance(0.5):
        lines += [f"j{d.condition()} {out}", *statement(d), f"{out}:"]
    if d.chance(0.3):
        lines += call(d)
    return [*lines, f"dec {cell}", d.one(f"jnz {top}", f"jg {top}")]


def call(d: Draw) -> list[str]:
    """Into a routine, by name, register, table or RET."""
    here, end = d.label(), d.label()
    routine = world.ROUTINES + d.one(0, 0x20, 0x40, 0x60, 0x80, 0xA0, 0xFFD, 0x1FFE)
    if d.chance(0.3):
        routine += world.ALIAS
    way = d.number_of(0, 3)
    if way == 0:
        return [f"mov {d.r}dx, {routine:#x}", f"call {d.r}dx", *define(d)]
    if way == 1:
        at = d.address()
        return [f"mov {POINTER[d.word]} ptr [{at}], {routine:#x}", f"call {POINTER[d.word]} ptr [{at}]", *define(d)]
    if way == 2:
        return [f"call {here}", f"jmp {end}", f"{here}:", *statement(d), d.one("ret", "ret 0"), f"{end}:"]
    push = f"push {d.r}cx"
    return [f"mov ecx, {here}", push, f"mov ecx, {routine:#x}", push, "ret", f"{here}:", *define(d)]


def switch(d: Draw) -> list[str]:
    """An indirect jump through a table in memory, again and again."""
    cell, top, end = d.cell(), d.label(), d.label()
    cases = [d.label() for _ in range(4)]
    size, table = d.word, d.number_of(-0x1000, 0x1000) & -8
    lines = []
    for i, case in enumerate(cases):
        lines += [f"mov ecx, {case}", f"mov [{d.r}bp + {table + i * size}], {d.r}cx"]
    index = d.one("ax", "dx", "bx", "si", "di")
    lines += [f"mov {cell}, {d.number_of(2, 30)}", f"{top}:", f"and e{index}, 3",
              f"jmp {POINTER[size]} ptr [{d.r}bp + {d.r}{index} * {size} + {table}]"]
    for case in cases:
        lines += [f"{case}:", *statement(d), *([f"jmp {end}"] if d.chance(0.5) else [])]
    return [*lines, f"{end}:", f"inc e{index}", f"dec {cell}", f"jnz {top}"]


def stack(d: Draw) -> list[str]:
    """PUSH, POP, PUSHF, POPF, ENTER, LEAVE."""
    way = d.number_of(0, 3)
    if way == 0:
        registers = [d.register(d.word) for _ in range(d.number_of(1, 4))]
        back = [d.register(d.word) for _ in registers]
        return [*(f"push {name}" for name in registers), *statement(d), *(f"pop {name}" for name in back)]
    if way == 1:
        top, letter = f"{POINTER[d.word]} ptr [{d.r}sp]", "q" if d.bits == 64 else "d"
        bit = d.one(1, 0x40, 0x80, 0x800, 0x400, 0x10)
        return [f"pushf{letter}", f"and {top}, 0xcd5", f"xor {top}, {bit}", f"popf{letter}"]
    if way == 2:
        return [f"push {POINTER[d.word]} ptr [{d.address()}]", f"pop {POINTER[d.word]} ptr [{d.address()}]"]
    enter = f"enter {d.number_of(0, 64) & -8}, {d.number_of(0, 1)}"
    return [f"mov {d.r}bx, {d.r}bp", enter, "leave", f"mov {d.r}bp, {d.r}bx"]


Fragment = Callable[[Draw], list[str]]
FLOW: dict[str, Fragment] = {
    "alu": alu, "divide": divide, "branch": branch, "loop": loop, "call": call, "switch": switch, "stack": stack,
}
