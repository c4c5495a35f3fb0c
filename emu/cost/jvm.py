"""portable.py as Java class files, in bytes.

Source: The Java Virtual Machine Specification, Java SE 17; the numbers in the comments are its sections.  The class files are
of version 49, the last that needs no stack maps (4.10.2).  An int of portable.py is a long here.
"""

from __future__ import annotations

import ast
import functools
import struct
from collections.abc import Callable

from emu.cost.translate import ARRAYS, BY_TABLE, OPERATORS, Function, called, compared, element, functions

NAME = "Work"
OPERATOR = "java/util/function/LongUnaryOperator"
TYPES = {"data": "[B", "sieve": "[B", "table": "[J", "words": "[J"}
LONG = {"+": 0x61, "-": 0x65, "*": 0x69, "&": 0x7F, "^": 0x83, ">>": 0x7D}      # 6.5: ladd lsub lmul land lxor lushr
DOUBLE = {"+": 0x63, "-": 0x67, "*": 0x6B, "/": 0x6F}
WORDS = {"+": "add", "-": "sub", "*": "mul", "/": "div", "&": "and", "^": "xor", ">>": "ushr"}
UNLESS = {"<": 0x9C, ">": 0x9E, "==": 0x9A}                                     # ifge, ifle, ifne: jump if it does not hold
STATIC, PUBLIC = 8, 1
STACK = 16                      # more than any method needs


class Constants:
    """The constant pool (4.4)."""

    def __init__(self) -> None:
        self.entries: list[bytes] = []
        self.index: dict[bytes, int] = {}

    def add(self, entry: bytes, slots: int = 1) -> int:
        if entry not in self.index:
            self.index[entry] = len(self.entries) + 1
            self.entries += [entry, b""][:slots]
        return self.index[entry]

    def text(self, value: str) -> int:
        return self.add(b"\1" + struct.pack(">H", len(value)) + value.encode())

    def class_(self, name: str) -> int:
        return self.add(struct.pack(">BH", 7, self.text(name)))

    def member(self, kind: int, class_: str, name: str, type_: str) -> int:
        """`kind` 9 a field, 10 a method, 11 an interface's method."""
        both = self.add(struct.pack(">BHH", 12, self.text(name), self.text(type_)))
        return self.add(struct.pack(">BHH", kind, self.class_(class_), both))

    def long(self, value: int) -> int:
        return self.add(struct.pack(">Bq", 5, value), 2)

    def double(self, value: float) -> int:
        return self.add(struct.pack(">Bd", 6, value), 2)


class Code:
    """The instructions of one method; `text` has them for a reader, by offset."""

    def __init__(self, constants: Constants) -> None:
        self.constants = constants
        self.out = bytearray()
        self.text: list[tuple[int, str]] = []

    def emit(self, text: str, code: int, operand: int | None = None, form: str = ">H") -> int:
        """Returns where the operand lies."""
        self.text.append((len(self.out), text))
        self.out.append(code)
        at = len(self.out)
        if operand is not None:
            self.out += struct.pack(form, operand)
        return at

    def jump_here(self, at: int) -> None:
        struct.pack_into(">h", self.out, at, len(self.out) - at + 1)

    def static(self, class_: str, name: str, type_: str) -> None:
        self.emit(f"invokestatic {class_}.{name}{type_}", 0xB8, self.constants.member(10, class_, name, type_))

    def virtual(self, class_: str, name: str, type_: str) -> None:
        self.emit(f"invokevirtual {class_}.{name}{type_}", 0xB6, self.constants.member(10, class_, name, type_))

    def field(self, put: bool, class_: str, name: str, type_: str) -> None:
        self.emit(f"{'putstatic' if put else 'getstatic'} {name}", 0xB3 if put else 0xB2,
                  self.constants.member(9, class_, name, type_))

    def number(self, value: int | float) -> None:
        """A long or a double on the stack (5: `ldc2_w`)."""
        where = self.constants.double(value) if isinstance(value, float) else self.constants.long(value)
        self.emit(f"ldc2_w {value}", 0x14, where)


class Method(Code):
    """A function of portable.py."""

    def __init__(self, constants: Constants, function: Function) -> None:
        super().__init__(constants)
        self.function = function
        self.place = {name: 2 * n for n, name in enumerate(function.locals)}
        for statement in function.body:
            self.statement(statement)
        self.emit("lconst_0", 0x09)             # never comes here; what follows an if must be something
        self.emit("lreturn", 0xAD)

    def statement(self, node: ast.stmt) -> None:
        if isinstance(node, ast.Return) and node.value is not None:
            self.expression(node.value)
            self.emit("lreturn", 0xAD)
        elif isinstance(node, ast.Assign):
            target = node.targets[0]
            if isinstance(target, ast.Name):
                self.expression(node.value)
                real = self.function.locals[target.id] == "float"
                self.emit(f"{'d' if real else 'l'}store {target.id}", 0x39 if real else 0x37, self.place[target.id], ">B")
            else:
                array, index = element(target)
                self.address(array, index)
                self.expression(node.value)
                if ARRAYS[array] == 1:
                    self.emit("l2i", 0x88)
                self.emit("bastore" if ARRAYS[array] == 1 else "lastore", 0x54 if ARRAYS[array] == 1 else 0x50)
        else:
            assert isinstance(node, (ast.While, ast.If))
            top = len(self.out)
            left, operator, right = compared(node.test)
            self.expression(left)
            self.expression(right)
            self.emit("lcmp", 0x94)
            out = self.emit({"<": "ifge", ">": "ifle", "==": "ifne"}[operator], UNLESS[operator], 0)
            for statement in node.body:
                self.statement(statement)
            if isinstance(node, ast.While):
                self.emit(f"goto {top}", 0xA7, top - len(self.out), ">h")
            self.jump_here(out)

    def address(self, array: str, index: ast.expr) -> None:
        self.field(False, NAME, array, TYPES[array])
        self.expression(index)
        self.emit("l2i", 0x88)

    def expression(self, node: ast.expr) -> None:
        if isinstance(node, ast.Constant):
            assert isinstance(node.value, (int, float))
            self.number(node.value)
        elif isinstance(node, ast.Name):
            real = self.function.locals[node.id] == "float"
            self.emit(f"{'d' if real else 'l'}load {node.id}", 0x18 if real else 0x16, self.place[node.id], ">B")
        elif isinstance(node, ast.BinOp):
            operator = OPERATORS[type(node.op)]
            self.expression(node.left)
            self.expression(node.right)
            if operator == ">>":
                self.emit("l2i", 0x88)
            real = self.function.kind(node) == "float"
            self.emit(f"{'d' if real else 'l'}{WORDS[operator]}", (DOUBLE if real else LONG)[operator])
        elif isinstance(node, ast.Subscript):
            array, index = element(node)
            self.address(array, index)
            if ARRAYS[array] == 8:
                self.emit("laload", 0x2F)
            else:
                self.emit("baload", 0x33)
                self.emit("sipush 255", 0x11, 255)
                self.emit("iand", 0x7E)
                self.emit("i2l", 0x85)
        else:
            assert isinstance(node, ast.Call)
            for argument in node.args:
                self.expression(argument)
            name = called(node)
            if name == "sqrt":
                self.static("java/lang/Math", "sqrt", "(D)D")
            elif name == "bits":
                self.static("java/lang/Double", "doubleToRawLongBits", "(D)J")
            else:
                self.static(NAME, name, f"({'J' * len(node.args)})J")


def _indirect(code: Code) -> None:
    code.field(False, NAME, "functions", f"[L{OPERATOR};")
    code.emit("lload_0", 0x1E)
    code.emit("l2i", 0x88)
    code.emit("aaload", 0x32)
    code.emit("lload_2", 0x20)
    code.emit("invokeinterface applyAsLong", 0xB9,
              code.constants.member(11, OPERATOR, "applyAsLong", "(J)J") << 16 | 3 << 8, ">I")
    code.emit("lreturn", 0xAD)


def _system(code: Code) -> None:
    """What this form lacks (see languages.py) is not called."""
    code.number(-1)
    code.emit("lreturn", 0xAD)


def _array(code: Code, name: str) -> None:
    code.emit("newarray", 0xBC, 8 if TYPES[name] == "[B" else 11, ">B")
    code.field(True, NAME, name, TYPES[name])


def _write(code: Code, byte: int) -> None:
    code.field(False, "java/lang/System", "out", "Ljava/io/PrintStream;")
    code.emit(f"iconst_{byte}", 3 + byte)
    code.virtual("java/io/PrintStream", "write", "(I)V")
    code.field(False, "java/lang/System", "out", "Ljava/io/PrintStream;")
    code.virtual("java/io/PrintStream", "flush", "()V")


def _main(code: Code) -> None:
    """Arguments: the workload's number, rounds, rounds to warm up with, how many words.  Marks as portable.py writes them."""
    def argument(n: int) -> None:
        code.emit("aload_0", 0x2A)
        code.emit(f"iconst_{n}", 3 + n)
        code.emit("aaload", 0x32)
        code.static("java/lang/Long", "parseLong", "(Ljava/lang/String;)J")

    def words() -> None:
        argument(3)
        code.emit("l2i", 0x88)
        _array(code, "words")

    for name in ("data", "sieve"):
        code.emit("sipush 16384", 0x11, 16384)
        _array(code, name)
    code.emit("sipush 256", 0x11, 256)
    _array(code, "table")
    words()
    code.emit("iconst_4", 7)
    code.emit("anewarray", 0xBD, code.constants.class_(OPERATOR))
    for n, name in enumerate(BY_TABLE):
        code.emit("dup", 0x59)
        code.emit(f"iconst_{n}", 3 + n)
        code.emit("new", 0xBB, code.constants.class_(f"{NAME}{name}"))
        code.emit("dup", 0x59)
        code.emit("invokespecial", 0xB7, code.constants.member(10, f"{NAME}{name}", "<init>", "()V"))
        code.emit("aastore", 0x53)
    code.field(True, NAME, "functions", f"[L{OPERATOR};")
    code.static(NAME, "prepare", "()J")
    code.emit("pop2", 0x58)
    argument(0)
    argument(2)
    code.static(NAME, "dispatch", "(JJ)J")
    code.emit("pop2", 0x58)
    words()
    _write(code, 1)
    argument(0)
    argument(1)
    code.static(NAME, "dispatch", "(JJ)J")
    code.emit("lstore_1", 0x40)
    _write(code, 2)
    code.field(False, "java/lang/System", "out", "Ljava/io/PrintStream;")
    code.emit("lload_1", 0x1F)
    code.virtual("java/io/PrintStream", "print", "(J)V")
    _write(code, 3)
    code.emit("return", 0xB1)


class ClassFile:
    """4.1."""

    def __init__(self, name: str, interfaces: tuple[str, ...] = ()) -> None:
        self.constants = Constants()
        self.name, self.interfaces = name, interfaces
        self.fields: list[bytes] = []
        self.methods: list[bytes] = []

    def field(self, name: str, type_: str) -> None:
        self.fields.append(struct.pack(">4H", STATIC, self.constants.text(name), self.constants.text(type_), 0))

    def method(self, flags: int, name: str, type_: str, code: Code, locals_: int) -> None:
        body = struct.pack(">HHI", STACK, locals_, len(code.out)) + bytes(code.out) + bytes(4)
        self.methods.append(struct.pack(">5HI", flags, self.constants.text(name), self.constants.text(type_), 1,
                                        self.constants.text("Code"), len(body)) + body)

    def bytes(self) -> bytes:
        this, above = self.constants.class_(self.name), self.constants.class_("java/lang/Object")
        implements = [struct.pack(">H", self.constants.class_(name)) for name in self.interfaces]
        pool = self.constants.entries
        parts = (implements, self.fields, self.methods)
        head = struct.pack(">IHHH", 0xCAFEBABE, 0, 49, len(pool) + 1) + b"".join(pool)
        body = b"".join(struct.pack(">H", len(items)) + b"".join(items) for items in parts)
        return head + struct.pack(">3H", 0x21, this, above) + body + bytes(2)


@functools.cache
def methods() -> tuple[ClassFile, dict[str, Method]]:
    """The program's class, and its methods' code."""
    made = ClassFile(NAME)
    for name, type_ in (*TYPES.items(), ("functions", f"[L{OPERATOR};")):
        made.field(name, type_)
    found = {name: Method(made.constants, function) for name, function in functions().items()}
    for name, code in found.items():
        made.method(STATIC, name, f"({'J' * len(code.function.parameters)})J", code, 2 * len(code.place) or 1)
    others: tuple[tuple[str, str, Callable[[Code], None], int], ...] = (
        ("indirect", "(JJ)J", _indirect, 4), ("system", "(J)J", _system, 2), ("io", "(J)J", _system, 2),
        ("main", "([Ljava/lang/String;)V", _main, 3))
    for name, type_, write, locals_ in others:
        own = Code(made.constants)
        write(own)
        made.method(STATIC | PUBLIC, name, type_, own, locals_)
    return made, found


def classes() -> dict[str, bytes]:
    """File name -> content."""
    made = {f"{NAME}.class": methods()[0].bytes()}
    for name in BY_TABLE:
        own = ClassFile(f"{NAME}{name}", (OPERATOR,))
        start, apply = Code(own.constants), Code(own.constants)
        start.emit("aload_0", 0x2A)
        start.emit("invokespecial", 0xB7, own.constants.member(10, "java/lang/Object", "<init>", "()V"))
        start.emit("return", 0xB1)
        apply.emit("lload_1", 0x1F)
        apply.static(NAME, name, "(J)J")
        apply.emit("lreturn", 0xAD)
        own.method(PUBLIC, "<init>", "()V", start, 1)
        own.method(PUBLIC, "applyAsLong", "(J)J", apply, 3)
        made[f"{own.name}.class"] = own.bytes()
    return made
