"""What a chip is made of: Reg Window State Out In Timer Device.

A chip is a class whose body is its data sheet: an UPPER-case name is the declaration, the same name in lower case on the
instance is the value now.  One declaration yields decoding, reset, strict save and restore, the printed register map and
the contract tests.

    class Latch(Device):
        DATA = Reg(0, RW, "what was latched")
        FULL = Out("high while DATA holds something")

        def write_DATA(self, value):
            self.data = value
            self.full(value != 0)

What an engine may do at a register without calling Python is said in the register's row, `native=`, and by two methods:

    VALUE   a read has no effect and repeats itself, as long as `holds_X()` (always, without that method)
    RING    a written byte is only collected, as long as `holds_X()`: many come at once, later, to `collect_X(data)`
    BLOCK   reads or writes move through `block_X(access)`, a writable memoryview (or None) of what can be read or filled
            without any other effect; how many bytes did is told to `moved_X(access, length)`

The questions are asked after an access that Python has served, and the answer counts only until Python runs again for this
machine, whatever the cause: an alarm, a pin, another port.  So nothing goes stale, and a chip tells nobody of its changes.

A register without a `read_X` or `write_X` method is plain storage.  Whatever a constructor sets is configuration: it does
not change afterwards, and is neither reset nor saved.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, cast

R, W, RW = "r", "w", "rw"
VALUE, RING, BLOCK = "value", "ring", "block"


def always() -> bool:
    """A condition that holds."""
    return True


@dataclass(frozen=True, slots=True)
class Native:
    """What an engine may do by itself at one place of an address space; see the module's text."""

    kind: str
    holds: Callable[[], bool] = always
    collect: Callable[[bytes], None] = lambda data: None
    buffer: Callable[[], memoryview | None] = lambda: None
    moved: Callable[[int], None] = lambda length: None


class Alarm(Protocol):
    """A deadline in virtual time (ns since power-on)."""

    due: int | None

    def at(self, time: int) -> None: ...
    def off(self) -> None: ...


class Clock(Protocol):
    """What a chip may know of time."""

    @property
    def now(self) -> int: ...
    def alarm(self, ring: Callable[[], None]) -> Alarm: ...


class Part:
    """One declaration in the body of a Device."""

    name = ""
    key = ""

    def __init__(self, doc: str) -> None:
        self.doc = doc

    def __set_name__(self, owner: type, name: str) -> None:
        self.name, self.key = name, name.lower()


class Reg(Part):
    """A register at `offset` bytes from the base of `block`, `size` bytes wide.

    `bits` draws it as the data sheet does: names from high to low, "0" where a bit is reserved.  `REG.NAME` is then that
    bit's value, `mask` the bits that a write can change (all that are drawn, unless it is given; the others then stay as
    they are).  Where the selected bank (Device.select) declares nothing at an offset, bank 0 shows through.

    `w1c`: of the bits of `mask`, a write clears those where it has a 1.  `whole`: it answers only accesses of exactly its
    size at its address; all others meet what lies beneath, which may be another chip's.
    """

    def __init__(
        self, offset: int, access: str, doc: str, bits: str = "", *,
        reset: int = 0, size: int = 1, bank: int = 0, block: str = "at", native: str = "", mask: int | None = None,
        w1c: bool = False, whole: bool = False,
    ) -> None:
        super().__init__(doc)
        self.w1c, self.whole, self.hard = w1c, whole, mask is not None
        self.offset, self.access, self.reset, self.size, self.bank, self.block = offset, access, reset, size, bank, block
        if access not in (R, W, RW):                # a register named R or W hides the constant in its class body
            raise ValueError(f"{doc}: access {access!r} is not r, w or rw")
        if native not in ("", VALUE, RING, BLOCK) or (native == RING and size != 1):
            raise ValueError(f"{doc}: a register of {size} bytes cannot be native={native!r}")
        if whole and bank:
            raise ValueError(f"{doc}: a register that only answers whole is in bank 0")
        self.native = native
        drawn = bits.split()
        if drawn and len(drawn) != 8 * size:
            raise ValueError(f"{doc}: {len(drawn)} bits drawn, {8 * size} wanted")
        self.bits = drawn
        self.fields = {bit: 1 << (8 * size - 1 - i) for i, bit in enumerate(drawn) if bit != "0"}
        self.mask = mask if mask is not None else sum(self.fields.values()) if drawn else (1 << 8 * size) - 1
        vars(self).update(self.fields)              # plain attributes: chips ask for them at every access

    if TYPE_CHECKING:
        def __getattr__(self, bit: str) -> int: ...
    else:
        def __getattr__(self, bit):
            raise AttributeError(f"register {self.__dict__.get('name')} has no bit {bit}")


class Window(Part):
    """`length` bytes from `offset` on that answer as one: `read_X(at, size)` and `write_X(at, size, value)` take the place
    inside, for any access that lies in the window whole; what lies across its end comes byte by byte.
    """

    def __init__(self, offset: int, length: int, doc: str, *, block: str = "at") -> None:
        super().__init__(doc)
        self.offset, self.length, self.block = offset, length, block


class State(Part):
    """What no register shows: a FIFO, a flip-flop.  int, str, bytes, None, or lists and string-keyed dicts of them."""

    def __init__(self, reset: Any, doc: str) -> None:
        super().__init__(doc)
        self.reset = reset


class Out(Part):
    """An output pin: `self.intr(level)` drives it; only a change travels along its wires."""

    def __init__(self, doc: str, *, reset: int = 0) -> None:
        super().__init__(doc)
        self.reset = reset


class In(Part):
    """Input pins: a change calls `on_<NAME>(pin, level)`.  With a width, the instance holds a list of pins."""

    def __init__(self, doc: str, *, width: int = 0) -> None:
        super().__init__(doc)
        self.width = width


class Timer(Part):
    """A deadline in virtual time: `self.tick.at(ns)`, `self.tick.off()`; calls `on_<NAME>()` when it is reached."""


class OutPin(Protocol):
    """One output pin of one chip: call it with its new level."""

    level: int
    sinks: list[Callable[[int], None]]

    def __call__(self, level: int) -> None: ...


def out_pin(level: int) -> OutPin:
    """A new output pin.  A function with attributes: Python calls it twice as fast as an object with __call__."""
    sinks: list[Callable[[int], None]] = []

    def drive(level: int) -> None:
        if level != pin.level:
            pin.level = level
            for sink in sinks:
                sink(level)

    pin: Any = drive
    pin.level, pin.sinks = level, sinks
    return cast(OutPin, pin)


class InPin:
    """One input pin of one chip: high while any of the wires that drive it is high."""

    __slots__ = ("changed", "drivers", "level", "number", "wires")

    def __init__(self, changed: Callable[[int, int], None], number: int) -> None:
        self.changed, self.number = changed, number
        self.level = self.drivers = 0
        self.wires = 1                      # wire 0 is the pin called by hand: a test, or the host

    def __call__(self, level: int) -> None:
        self._drive(1)(level)

    def wire(self) -> Callable[[int], None]:
        """A further wire to this pin, as the function that sets its level."""
        self.wires += 1
        return self._drive(1 << self.wires - 1)

    def _drive(self, bit: int) -> Callable[[int], None]:
        changed, number = self.changed, self.number

        def drive(level: int) -> None:
            self.drivers = drivers = self.drivers | bit if level else self.drivers & ~bit
            now = 1 if drivers else 0
            if now != self.level:
                self.level = now
                changed(number, now)

        return drive


P = TypeVar("P", bound=Part)


def copied(value: Any) -> Any:
    """A deep copy of what a chip saves; of plain values without copy's memo, which takes most of a reset's time."""
    kind = type(value)
    if kind is list:
        return [item if type(item) is int else copied(item) for item in value]
    if kind is dict:
        return {key: copied(item) for key, item in value.items()}
    return value if kind in _ATOMS else copy.deepcopy(value)


_ATOMS = frozenset((int, bool, str, bytes, type(None)))


class Device:
    """The base of every chip; see the module's text.

    `Machine.add` (or a test) makes a chip, then calls `attach`, which resets it.  `blank` is what a byte reads as that
    belongs to the chip (Bus.place, `length`) and to none of its registers.
    """

    declared: ClassVar[dict[str, Part]] = {}
    _kinds: ClassVar[dict[type[Part], tuple[Any, ...]]] = {}
    blank: ClassVar[int] = 0xFF
    name = ""
    clock: Clock
    banks: dict[str, int]
    on_rewire: list[Callable[[], None]]

    if TYPE_CHECKING:
        def __getattr__(self, key: str) -> Any: ...
        def __setattr__(self, key: str, value: Any) -> None: ...

    def __init_subclass__(cls) -> None:
        cls.declared = {**cls.declared, **{k: v for k, v in vars(cls).items() if isinstance(v, Part)}}
        cls._kinds = {}

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Device:
        self = super().__new__(cls)
        self.banks = {part.block: 0 for part in cls.declared.values() if isinstance(part, (Reg, Window))}
        self.on_rewire = []
        for out in cls.parts(Out):
            setattr(self, out.key, out_pin(out.reset))
        for pin in cls.parts(In):
            changed = getattr(self, "on_" + pin.name)
            pins = [InPin(changed, i) for i in range(pin.width or 1)]
            setattr(self, pin.key, pins if pin.width else pins[0])
        return self

    @classmethod
    def parts(cls, kind: type[P]) -> Iterator[P]:
        """The declarations of one kind, in the order of the class body."""
        if kind not in cls._kinds:
            cls._kinds[kind] = tuple(part for part in cls.declared.values() if isinstance(part, kind))
        return iter(cls._kinds[kind])

    def attach(self, name: str, clock: Clock) -> None:
        """Give the chip its name and its clock, and power it on."""
        self.name, self.clock = name, clock
        for timer in self.parts(Timer):
            setattr(self, timer.key, clock.alarm(getattr(self, "on_" + timer.name)))
        self.reset()

    def reset(self) -> None:
        """The state after power-on.  Input pins keep the level that their wires have."""
        for part in self.declared.values():
            if isinstance(part, Reg):
                setattr(self, part.key, part.reset)
            elif isinstance(part, State):
                setattr(self, part.key, copied(part.reset))
            elif isinstance(part, Timer):
                getattr(self, part.key).off()
        for block in self.banks:
            self.select(0, block)
        for out in self.parts(Out):
            getattr(self, out.key)(out.reset)

    def select(self, bank: int, block: str = "at") -> None:
        """Show `bank` of the registers of `block` from the next access on."""
        if self.banks[block] != bank:
            self.banks[block] = bank
            for rewire in self.on_rewire:
                rewire()

    def register(self, block: str, offset: int, access: str) -> Reg | None:
        """The register that an access of kind `access` ("r" or "w") at `offset` meets, if any."""
        found = None
        for reg in self.parts(Reg):
            if (reg.block == block and reg.offset <= offset < reg.offset + reg.size and access in reg.access
                    and not reg.whole):
                if reg.bank == self.banks[block]:
                    return reg
                if reg.bank == 0:
                    found = reg
        return found

    def reader(self, reg: Reg) -> Callable[[], int]:
        """The function that reads `reg`."""
        method: Callable[[], int] | None = getattr(self, "read_" + reg.name, None)
        if method is not None:
            return method
        values, key = vars(self), reg.key
        return lambda: values[key]

    def writer(self, reg: Reg) -> Callable[[int], None]:
        """The function that writes `reg`."""
        method: Callable[[int], None] | None = getattr(self, "write_" + reg.name, None)
        if method is not None:
            return method
        values, key, mask = vars(self), reg.key, reg.mask

        def store(value: int) -> None:
            values[key] = value & mask

        def replace(value: int) -> None:
            values[key] = values[key] & ~mask | value & mask

        def clear(value: int) -> None:
            values[key] &= ~(value & mask)

        return clear if reg.w1c else replace if reg.hard else store

    def native(self, reg: Reg, access: str) -> Native | None:
        """What an engine may do by itself when `reg` is read ("r") or written ("w")."""
        kind, name = reg.native, reg.name
        if kind == BLOCK:
            block, moved = getattr(self, "block_" + name), getattr(self, "moved_" + name)
            return Native(BLOCK, buffer=lambda: block(access), moved=lambda length: moved(access, length))
        holds = getattr(self, "holds_" + name, always)
        if kind == VALUE and access == R:
            return Native(VALUE, holds)
        if kind == RING and access == W:
            return Native(RING, holds, getattr(self, "collect_" + name))
        return None

    def save(self) -> dict[str, Any]:
        """Everything that a reset would reset, and the levels of the pins, as plain values."""
        state: dict[str, Any] = {"banks": dict(self.banks)}
        for key, part in self._saved():
            value = getattr(self, key)
            if isinstance(part, Timer):
                value = value.due
            elif isinstance(part, Out):
                value = int(value.level)
            elif isinstance(part, In):
                value = [pin.drivers for pin in (value if part.width else [value])]
            state[key] = copied(value)
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of `save`; restoring a level is no edge.  Raises ValueError unless the names are exactly ours."""
        wanted = {"banks", *(key for key, _ in self._saved())}
        if set(state) != wanted:
            raise ValueError(f"{self.name}: a saved state with other parts: {', '.join(sorted(wanted ^ set(state)))}")
        for key, part in self._saved():
            value = copied(state[key])
            if isinstance(part, Timer):
                alarm: Alarm = getattr(self, key)
                alarm.off() if value is None else alarm.at(value)
            elif isinstance(part, Out):
                getattr(self, key).level = value
            elif isinstance(part, In):
                pins = getattr(self, key)
                for pin, drivers in zip(pins if part.width else [pins], value, strict=True):
                    pin.drivers, pin.level = drivers, 1 if drivers else 0
            else:
                setattr(self, key, value)
        self.banks.update(state["banks"])
        for rewire in self.on_rewire:
            rewire()
        self.on_restore()

    def on_restore(self) -> None:
        """Recompute what is derived from the declared state."""

    def _saved(self) -> Iterator[tuple[str, Part]]:
        return ((part.key, part) for part in self.declared.values() if not isinstance(part, Window))
