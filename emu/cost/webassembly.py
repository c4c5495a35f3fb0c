"""portable.py as a WebAssembly module, in bytes.

Source: WebAssembly Core Specification 1.0; the numbers in the comments are its sections.
"""

from __future__ import annotations

import ast
import functools
import struct

from emu.cost.translate import ARRAYS, BY_TABLE, Function, called, compared, element, functions

PLACES = {"data": 0, "sieve": 0x10000, "table": 0x20000, "words": 0x100000}
PAGES = (0x100000 + (64 << 20)) >> 16
I64, F64 = 0x7E, 0x7C
INT = {"+": 0x7C, "-": 0x7D, "*": 0x7E, "&": 0x83, "^": 0x85, ">>": 0x88}       # 5.4.5: i64.add ... i64.shr_u
FLOAT = {"+": 0xA0, "-": 0xA1, "*": 0xA2, "/": 0xA3}
COMPARE = {"<": 0x53, ">": 0x55, "==": 0x51}                                    # i64.lt_s gt_s eq


def unsigned(value: int) -> bytes:
    """LEB128 (5.2.2)."""
    made = bytearray()
    while value >= 0x80:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*made, value])


def signed(value: int) -> bytes:
    """Signed LEB128."""
    made = bytearray()
    while not -0x40 <= value < 0x40:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*made, value & 0x7F])


def _vector(items: list[bytes]) -> bytes:
    return unsigned(len(items)) + b"".join(items)


def _section(number: int, items: list[bytes]) -> bytes:
    body = _vector(items)
    return bytes([number]) + unsigned(len(body)) + body


class Writer:
    """One function's body."""

    def __init__(self, function: Function, numbers: dict[str, int]) -> None:
        self.function, self.numbers = function, numbers
        self.place = {name: n for n, name in enumerate(function.locals)}
        self.text: list[tuple[int, str]] = []            # (offset, instruction) for a reader
        self.out = bytearray()
        for statement in function.body:
            self.statement(statement)
        self.emit("unreachable", 0x00)
        self.emit("end", 0x0B)
        extra = list(function.locals.values())[len(function.parameters):]
        declared = _vector([bytes([1, I64 if kind == "int" else F64]) for kind in extra])
        body = declared + bytes(self.out)
        self.code = unsigned(len(body)) + body

    def emit(self, text: str, *code: int | bytes) -> None:
        self.text.append((len(self.out), text))
        for piece in code:
            self.out += piece if isinstance(piece, bytes) else bytes([piece])

    def statement(self, node: ast.stmt) -> None:
        if isinstance(node, ast.Return) and node.value is not None:
            self.expression(node.value)
            self.emit("return", 0x0F)
        elif isinstance(node, ast.Assign):
            target = node.targets[0]
            if isinstance(target, ast.Name):
                self.expression(node.value)
                self.emit(f"local.set {target.id}", 0x21, self.place[target.id])
            else:
                array, index = element(target)
                self.address(array, index)
                self.expression(node.value)
                self.access("store", array)
        else:
            assert isinstance(node, (ast.While, ast.If))
            loop = isinstance(node, ast.While)
            if loop:
                self.emit("block", 0x02, 0x40)
                self.emit("loop", 0x03, 0x40)
            left, operator, right = compared(node.test)
            self.expression(left)
            self.expression(right)
            self.emit(f"i64.{ {'<': 'lt_s', '>': 'gt_s', '==': 'eq'}[operator]}", COMPARE[operator])
            if loop:
                self.emit("i32.eqz", 0x45)
                self.emit("br_if 1", 0x0D, 1)
            else:
                self.emit("if", 0x04, 0x40)
            for statement in node.body:
                self.statement(statement)
            if loop:
                self.emit("br 0", 0x0C, 0)
                self.emit("end", 0x0B)
            self.emit("end", 0x0B)

    def address(self, array: str, index: ast.expr) -> None:
        self.expression(index)
        self.emit("i32.wrap_i64", 0xA7)
        if ARRAYS[array] == 8:
            self.emit("i32.const 3", 0x41, 3)
            self.emit("i32.shl", 0x74)

    def access(self, what: str, array: str) -> None:
        wide = ARRAYS[array] == 8
        code = {("load", True): 0x29, ("load", False): 0x31, ("store", True): 0x37, ("store", False): 0x3C}[what, wide]
        name = what if wide else "load8_u" if what == "load" else "store8"
        self.emit(f"i64.{name} offset={PLACES[array]:#x} ; {array}", code, 3 if wide else 0, unsigned(PLACES[array]))

    def expression(self, node: ast.expr) -> None:
        if isinstance(node, ast.Constant):
            if isinstance(node.value, float):
                self.emit(f"f64.const {node.value}", 0x44, struct.pack("<d", node.value))
            else:
                assert isinstance(node.value, int)
                self.emit(f"i64.const {node.value}", 0x42, signed(node.value))
        elif isinstance(node, ast.Name):
            self.emit(f"local.get {node.id}", 0x20, self.place[node.id])
        elif isinstance(node, ast.BinOp):
            from emu.cost.translate import OPERATORS
            operator = OPERATORS[type(node.op)]
            self.expression(node.left)
            self.expression(node.right)
            real = self.function.kind(node) == "float"
            names = {"+": "add", "-": "sub", "*": "mul", "/": "div", "&": "and", "^": "xor", ">>": "shr_u"}
            self.emit(f"{'f64' if real else 'i64'}.{names[operator]}", (FLOAT if real else INT)[operator])
        elif isinstance(node, ast.Subscript):
            array, index = element(node)
            self.address(array, index)
            self.access("load", array)
        else:
            assert isinstance(node, ast.Call)
            self.call(called(node), node.args)

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
        elif name in ("system", "io"):                            # there is no system to call
            self.emit("unreachable", 0x00)
        else:
            self.emit(f"call {name}", 0x10, unsigned(self.numbers[name]))


@functools.cache
def writers() -> dict[str, Writer]:
    """Every function's body."""
    numbers = {name: n for n, name in enumerate(functions())}
    return {name: Writer(function, numbers) for name, function in functions().items()}


@functools.cache
def module() -> bytes:
    """5.5: types 0, 1, 2 have so many parameters; all is i64."""
    all_ = functions()
    numbers = {name: n for n, name in enumerate(all_)}
    types = [b"\x60" + _vector([bytes([I64])] * n) + _vector([bytes([I64])]) for n in range(3)]
    exports = [bytes([len(name)]) + name.encode() + b"\0" + unsigned(numbers[name]) for name in ("prepare", "dispatch")]
    return (b"\0asm\1\0\0\0" + _section(1, types) + _section(3, [bytes([len(f.parameters)]) for f in all_.values()])
            + _section(4, [b"\x70\0" + unsigned(len(BY_TABLE))]) + _section(5, [b"\0" + unsigned(PAGES)])
            + _section(7, exports) + _section(9, [b"\0\x41\0\x0B" + _vector([unsigned(numbers[name]) for name in BY_TABLE])])
            + _section(10, [writer.code for writer in writers().values()]))
