"""portable.py as Java class files, in bytes.  An int of portable.py is a long here.

Source: The Java Virtual Machine Specification, Java SE 17, chapter 6: the instructions.
"""

from __future__ import annotations

import ast
import functools

from emu.cost import jvmcalls
from emu.cost.classfile import PUBLIC, STATIC, VOLATILE, ClassFile, Code, Constants
from emu.cost.jvmcalls import NAME, OPERATOR, TYPES
from emu.cost.translate import ARRAYS, BY_TABLE, Function, functions
from emu.cost.walker import Walker

LONG = {"+": 0x61, "-": 0x65, "*": 0x69, "&": 0x7F, "^": 0x83, ">>": 0x7D}      # 6.5: ladd lsub lmul land lxor lushr
DOUBLE = {"+": 0x63, "-": 0x67, "*": 0x6B, "/": 0x6F}
WORDS = {"+": "add", "-": "sub", "*": "mul", "/": "div", "&": "and", "^": "xor", ">>": "ushr"}
UNLESS = {"<": 0x9C, ">": 0x9E, "==": 0x9A}                                     # ifge, ifle, ifne: jump if it does not hold


class Method(Code, Walker):
    """A function of portable.py."""

    def __init__(self, constants: Constants, function: Function) -> None:
        Code.__init__(self, constants)
        Walker.__init__(self, function)
        self.place = {name: 2 * n for n, name in enumerate(function.locals)}
        self.walk()
        self.number(0)                          # never comes here; what follows an if must be something
        self.leave()

    def leave(self) -> None:
        self.emit("lreturn", 0xAD)

    def drop(self) -> None:
        self.emit("pop2", 0x58)

    def load(self, name: str) -> None:
        real = self.function.locals[name] == "float"
        self.emit(f"{'d' if real else 'l'}load {name}", 0x18 if real else 0x16, self.place[name], ">B")

    def store(self, name: str) -> None:
        real = self.function.locals[name] == "float"
        self.emit(f"{'d' if real else 'l'}store {name}", 0x39 if real else 0x37, self.place[name], ">B")

    def address(self, array: str, index: ast.expr) -> None:
        self.field(False, NAME, array, TYPES[array])
        self.expression(index)
        self.emit("l2i", 0x88)

    def load_element(self, array: str) -> None:
        if ARRAYS[array] == 8:
            self.emit("laload", 0x2F)
        else:
            self.emit("baload", 0x33)
            self.emit("sipush 255", 0x11, 255)
            self.emit("iand", 0x7E)
            self.emit("i2l", 0x85)

    def store_element(self, array: str) -> None:
        if ARRAYS[array] == 1:
            self.emit("l2i", 0x88)
        self.emit("bastore" if ARRAYS[array] == 1 else "lastore", 0x54 if ARRAYS[array] == 1 else 0x50)

    def operate(self, operator: str, real: bool) -> None:
        if operator == ">>":
            self.emit("l2i", 0x88)
        self.emit(f"{'d' if real else 'l'}{WORDS[operator]}", (DOUBLE if real else LONG)[operator])

    def top(self, loop: bool) -> int:
        return len(self.out)

    def unless(self, operator: str, loop: bool) -> int:
        self.emit("lcmp", 0x94)
        return self.emit({"<": "ifge", ">": "ifle", "==": "ifne"}[operator], UNLESS[operator], 0)

    def bottom(self, loop: bool, top: int, out: int) -> None:
        if loop:
            self.emit(f"goto {top}", 0xA7, top - len(self.out), ">h")
        self.jump_here(out)

    def call(self, name: str, arguments: list[ast.expr]) -> None:
        for argument in arguments:
            self.expression(argument)
        if name == "sqrt":
            self.static("java/lang/Math", "sqrt", "(D)D")
        elif name == "bits":
            self.static("java/lang/Double", "doubleToRawLongBits", "(D)J")
        else:
            self.static(NAME, name, f"({'J' * len(arguments)})J")


@functools.cache
def methods() -> tuple[ClassFile, dict[str, Method]]:
    """The program's class, and its methods' code."""
    made = ClassFile(NAME)
    for name, type_ in TYPES.items():
        made.field(name, type_, STATIC | VOLATILE if name == "ticks" else STATIC)
    found = {name: Method(made.constants, function) for name, function in functions().items()}
    for name, code in found.items():
        made.method(STATIC, name, f"({'J' * len(code.function.parameters)})J", code, 2 * len(code.place) or 1)
    for name, type_, write, locals_ in jvmcalls.METHODS:
        own = Code(made.constants)
        write(own)
        made.method(STATIC | PUBLIC, name, type_, own, locals_)
    return made, found


def _object(own: ClassFile, method: str, type_: str, code: Code, locals_: int) -> bytes:
    """A class of one method, which an interface of the library asks for."""
    start = Code(own.constants)
    start.emit("aload_0", 0x2A)
    start.emit("invokespecial", 0xB7, own.constants.member(10, "java/lang/Object", "<init>", "()V"))
    start.emit("return", 0xB1)
    own.method(PUBLIC, "<init>", "()V", start, 1)
    own.method(PUBLIC, method, type_, code, locals_)
    return own.bytes()


def classes() -> dict[str, bytes]:
    """File name -> content."""
    made = {f"{NAME}.class": methods()[0].bytes()}
    for name in BY_TABLE:
        own = ClassFile(f"{NAME}{name}", (OPERATOR,))
        apply = Code(own.constants)
        apply.emit("lload_1", 0x1F)
        apply.static(NAME, name, "(J)J")
        apply.emit("lreturn", 0xAD)
        made[f"{own.name}.class"] = _object(own, "applyAsLong", "(J)J", apply, 3)
    own = ClassFile(jvmcalls.TICK, ("java/lang/Runnable",))
    tick = Code(own.constants)
    jvmcalls.tick(tick)
    made[f"{own.name}.class"] = _object(own, "run", "()V", tick, 1)
    return made
