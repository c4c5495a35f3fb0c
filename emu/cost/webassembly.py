"""portable.py as a WebAssembly module, in bytes.

Source: WebAssembly Core Specification 1.0; the numbers in the comments are its sections.
"""

from __future__ import annotations

import ast
import functools
import struct

from emu.cost import wasi
from emu.cost.translate import ARRAYS, BY_TABLE, Function, functions
from emu.cost.walker import Walker
from emu.cost.wasi import I64, signed, unsigned, vector

PLACES = {"data": 0, "sieve": 0x10000, "table": 0x20000, "words": 0x100000}
PAGES = (0x100000 + (64 << 20)) >> 16
F64 = 0x7C
INT = {"+": 0x7C, "-": 0x7D, "*": 0x7E, "&": 0x83, "^": 0x85, ">>": 0x88}       # 5.4.5: i64.add ... i64.shr_u
FLOAT = {"+": 0xA0, "-": 0xA1, "*": 0xA2, "/": 0xA3}
COMPARE = {"<": 0x53, ">": 0x55, "==": 0x51}                                    # i64.lt_s gt_s eq


def _section(number: int, items: list[bytes]) -> bytes:
    body = vector(items)
    return bytes([number]) + unsigned(len(body)) + body


class Writer(Walker):
    """One function's body."""

    def __init__(self, function: Function, numbers: dict[str, int]) -> None:
        super().__init__(function)
        self.numbers = numbers
        self.place = {name: n for n, name in enumerate(function.locals)}
        self.text: list[tuple[int, str]] = []            # (offset, instruction) for a reader
        self.out = bytearray()
        self.walk()
        self.emit("unreachable", 0x00)
        extra = list(function.locals.values())[len(function.parameters):]
        self.code = wasi.body([I64 if kind == "int" else F64 for kind in extra], bytes(self.out))

    def emit(self, text: str, *code: int | bytes) -> None:
        self.text.append((len(self.out), text))
        for piece in code:
            self.out += piece if isinstance(piece, bytes) else bytes([piece])

    def leave(self) -> None:
        self.emit("return", 0x0F)

    def drop(self) -> None:
        self.emit("drop", 0x1A)

    def load(self, name: str) -> None:
        self.emit(f"local.get {name}", 0x20, self.place[name])

    def store(self, name: str) -> None:
        self.emit(f"local.set {name}", 0x21, self.place[name])

    def number(self, value: int | float) -> None:
        if isinstance(value, float):
            self.emit(f"f64.const {value}", 0x44, struct.pack("<d", value))
        else:
            self.emit(f"i64.const {value}", 0x42, signed(value))

    def address(self, array: str, index: ast.expr) -> None:
        self.expression(index)
        self.emit("i32.wrap_i64", 0xA7)
        if ARRAYS[array] == 8:
            self.emit("i32.const 3", 0x41, 3)
            self.emit("i32.shl", 0x74)

    def load_element(self, array: str) -> None:
        self._access("load" if ARRAYS[array] == 8 else "load8_u", 0x29 if ARRAYS[array] == 8 else 0x31, array)

    def store_element(self, array: str) -> None:
        self._access("store" if ARRAYS[array] == 8 else "store8", 0x37 if ARRAYS[array] == 8 else 0x3C, array)

    def _access(self, name: str, code: int, array: str) -> None:
        self.emit(f"i64.{name} offset={PLACES[array]:#x} ; {array}", code, 3 if ARRAYS[array] == 8 else 0,
                  unsigned(PLACES[array]))

    def operate(self, operator: str, real: bool) -> None:
        names = {"+": "add", "-": "sub", "*": "mul", "/": "div", "&": "and", "^": "xor", ">>": "shr_u"}
        self.emit(f"{'f64' if real else 'i64'}.{names[operator]}", (FLOAT if real else INT)[operator])

    def top(self, loop: bool) -> int:
        if loop:
            self.emit("block", 0x02, 0x40)
            self.emit("loop", 0x03, 0x40)
        return 0

    def unless(self, operator: str, loop: bool) -> int:
        self.emit(f"i64.{ {'<': 'lt_s', '>': 'gt_s', '==': 'eq'}[operator]}", COMPARE[operator])
        if loop:
            self.emit("i32.eqz", 0x45)
            self.emit("br_if 1", 0x0D, 1)
        else:
            self.emit("if", 0x04, 0x40)
        return 0

    def bottom(self, loop: bool, top: int, out: int) -> None:
        if loop:
            self.emit("br 0", 0x0C, 0)
            self.emit("end", 0x0B)
        self.emit("end", 0x0B)

    def call(self, name: str, arguments: list[ast.expr]) -> None:
        if name == "indirect":
            self.expression(arguments[1])
            self.expression(arguments[0])
            self.emit("i32.wrap_i64", 0xA7)
            self.emit("call_indirect (i64) -> i64", 0x11, 1, 0)
            return
        for argument in arguments:
            self.expression(argument)
        if name == "sqrt":
            self.emit("f64.sqrt", 0x9F)
        elif name == "bits":
            self.emit("i64.reinterpret_f64", 0xBD)
        else:
            self.emit(f"call {name}", 0x10, unsigned(self.numbers[name]))


@functools.cache
def numbers() -> dict[str, int]:
    """Of all functions: what is imported, those of portable.py, those of wasi.py."""
    return {name: n for n, name in enumerate((*wasi.IMPORTS, *functions(), *wasi.FUNCTIONS))}


@functools.cache
def writers() -> dict[str, Writer]:
    """Every function's body."""
    return {name: Writer(function, numbers()) for name, function in functions().items()}


@functools.cache
def module() -> bytes:
    """5.5: types 0, 1, 2 have so many parameters, all i64; then those of what is imported."""
    all_ = numbers()
    types = [b"\x60" + vector([bytes([I64])] * n) + vector([bytes([I64])]) for n in range(3)]
    types += [b"\x60" + vector([bytes([kind]) for kind in kinds]) + vector([bytes([wasi.I32])])
              for _, kinds in wasi.IMPORTS.values()]
    imports = [wasi.text(module) + wasi.text(name) + b"\0" + unsigned(3 + n)
               for n, (name, (module, _)) in enumerate(wasi.IMPORTS.items())]
    declared = [bytes([len(function.parameters)]) for function in functions().values()]
    declared += [bytes([parameters]) for parameters, _ in wasi.FUNCTIONS.values()]
    exports = [wasi.text(name) + b"\0" + unsigned(all_[name]) for name in ("prepare", "dispatch")]
    exports.append(wasi.text("memory") + b"\2\0")
    code = [*(writer.code for writer in writers().values()), *(make(all_) for _, make in wasi.FUNCTIONS.values())]
    return (b"\0asm\1\0\0\0" + _section(1, types) + _section(2, imports) + _section(3, declared)
            + _section(4, [b"\x70\0" + unsigned(len(BY_TABLE))]) + _section(5, [b"\0" + unsigned(PAGES)])
            + _section(7, exports) + _section(9, [b"\0\x41\0\x0B" + vector([unsigned(all_[name]) for name in BY_TABLE])])
            + _section(10, code))
