"""The parts of a Java class file.

Source: The Java Virtual Machine Specification, Java SE 17; the numbers in the comments are its sections.  The class files are
of version 49, the last that needs no stack maps (4.10.2).
"""

from __future__ import annotations

import struct
from collections.abc import Callable

STATIC, PUBLIC, VOLATILE = 8, 1, 0x40
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

    def interface(self, class_: str, name: str, type_: str, slots: int) -> None:
        """`slots`: of the arguments and of the object."""
        self.emit(f"invokeinterface {name}", 0xB9, self.constants.member(11, class_, name, type_) << 16 | slots << 8, ">I")

    def new(self, class_: str, type_: str = "()V", before: Callable[[], object] = lambda: None) -> None:
        """A new object on the stack; `before` puts the arguments of its constructor there."""
        self.emit(f"new {class_}", 0xBB, self.constants.class_(class_))
        self.emit("dup", 0x59)
        before()
        self.emit(f"invokespecial {class_}", 0xB7, self.constants.member(10, class_, "<init>", type_))

    def string(self, value: str) -> None:
        self.emit(f'ldc_w "{value}"', 0x13, self.constants.add(struct.pack(">BH", 8, self.constants.text(value))))

    def short(self, value: int) -> None:
        """An int on the stack."""
        self.emit(f"sipush {value}", 0x11, value, ">h")

    def number(self, value: int | float) -> None:
        """A long or a double on the stack (5: `ldc2_w`)."""
        where = self.constants.double(value) if isinstance(value, float) else self.constants.long(value)
        self.emit(f"ldc2_w {value}", 0x14, where)


class ClassFile:
    """4.1."""

    def __init__(self, name: str, interfaces: tuple[str, ...] = ()) -> None:
        self.constants = Constants()
        self.name, self.interfaces = name, interfaces
        self.fields: list[bytes] = []
        self.methods: list[bytes] = []

    def field(self, name: str, type_: str, flags: int = STATIC) -> None:
        self.fields.append(struct.pack(">4H", flags, self.constants.text(name), self.constants.text(type_), 0))

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
