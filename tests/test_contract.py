"""What every chip owes, found by introspection: reset, save and restore, and calm whatever the guest does."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import random
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

import pytest

import emu.chips
from emu.bus import Bus
from emu.chips.dispi import Dispi
from emu.clock import Clock
from emu.device import BLOCK, RING, VALUE, Device, In, Out, R, Reg, W, out_pin
from tests.fast.native import Native

ACCESSES = 20_000
RINGS = 300                     # alarms in one step, at most: a chip may be set to ring at every tick of its crystal


class Case(NamedTuple):
    """How to build a chip, and what its host may do to it besides driving its pins."""

    args: Callable[[], tuple[Any, ...]] = tuple
    stir: Callable[[Any, random.Random], Any] = lambda chip, rng: None


class Plug:
    """A device on a line of the I8042."""

    def __init__(self) -> None:
        self.request = out_pin(0)

    def send(self) -> int:
        return 0x1C

    def receive(self, byte: int) -> None:
        pass


def nothing(*args: Any) -> int:
    return 0


class Diskette:
    """1.44 MB that show the same whatever is written."""

    size, readonly = 1440 << 10, False

    def read(self, offset: int, length: int) -> bytes:
        if offset % 7 == 0:
            raise OSError("a bad sector")
        return bytes([offset // 512 & 0xFF]) * length

    def write(self, offset: int, data: bytes) -> None:
        pass

    def flush(self) -> None:
        pass


class DMA:
    """A channel whose terminal count never comes."""

    def put(self, data: bytes) -> tuple[int, bool]:
        return len(data), False

    def get(self, length: int) -> tuple[bytes, bool]:
        return bytes(length), False


def command(chip: Any, rng: random.Random) -> None:
    """A whole command of a floppy controller, for random bytes seldom are one."""
    for port in 0x0C, 0x1C:
        chip.write_DOR(port | rng.randrange(2))
    for byte in rng.choice([[3, 0, rng.randrange(2)], [8], [0x4A, 0], [0x13, 0, 0x40, 0], [0xE6, 0, 0, 0, 1, 2, 18, 0, 0],
                            [0x45, 0, 0, 0, 1, 2, 18, 0, 0], [0x4D, 0, 2, 9, 0, 0], [0x0F, 0, rng.randrange(90)]]):
        chip.write_FIFO(byte)


class Cabled:
    """A device on an ATA cable that has nothing to say."""

    error, status, pending, phase, wanted = 1, 0x50, 0, "", 0

    def block_DATA(self, access: str) -> None:
        return None

    block_DATA32 = block_DATA

    def __getattr__(self, name: str) -> Callable[..., int]:
        return nothing


class Streams:
    """A channel with a device that always has data, or wants some."""

    wanted = 512

    def send(self, place: memoryview) -> int:
        return min(len(place), 700)

    def receive(self, data: bytes) -> None:
        pass


def ata(chip: Any, rng: random.Random) -> None:
    """A whole ATA or packet command, for random bytes seldom are one; some of them are not waited for."""
    command = rng.choice((0x20, 0x24, 0x25, 0x29, 0x30, 0x34, 0x35, 0x39, 0x3D, 0x42, 0xC4, 0xC5, 0xC8, 0xCA, 0xEC, 0xA1,
                          0xEF, 0xC6, 0x90, 0xE5, 0xE7, 0x08, 0xA0, 0xA0, 0xA0, 0xA0))
    for write in chip.write_COUNT, chip.write_LBAL, chip.write_LBAM, chip.write_LBAH:
        write(0)
        write(rng.choice((0, 1, 2, 9, 16, rng.randrange(256))))
    chip.write_DEVICE(rng.choice((0x00, 0x40)))
    chip.write_FEATURES(rng.choice((0, 1, 3)))
    chip.write_COMMAND(command)
    if command == 0xA0 and chip.phase == "out":
        operation = rng.choice((0x00, 0x03, 0x12, 0x1A, 0x1B, 0x1E, 0x25, 0x28, 0x28, 0x43, 0x46, 0x4A, 0x51, 0x5A,
                                0xA8, 0xBE))
        tail = [0, 0, 0, rng.randrange(4), rng.randrange(64), 0, 0, rng.randrange(4), rng.choice((0, 0x10)), 0, 0]
        for low, high in zip([operation, *tail][::2], [operation, *tail][1::2]):
            chip.write_DATA(low | high << 8)
    if chip.phase == "dma in":
        chip.send(memoryview(bytearray(rng.choice((1, 2, 512, 1 << 16)))))
    while chip.wanted and rng.random() < 0.8:
        chip.receive(bytes(min(chip.wanted, rng.choice((2, 512, 1 << 16)))))


def ones(address: int, length: int) -> bytes:
    return b"\xFF" * length


def never() -> bool:
    return False


def screen() -> tuple[Any, ...]:
    """What a VGA is made with: a powered-on Dispi, and memories."""
    dispi = Dispi(1 << 22)
    dispi.attach("dispi", Clock(lambda: 0))
    return dispi, memoryview(bytearray(1 << 22)), memoryview(bytearray(1 << 16))


# A chip that can be made without arguments, and that its host cannot stir, needs no line
CASES: dict[str, Case] = {
    "ATAChannel": Case(lambda: (Cabled(), None)),
    "ATADisk": Case(lambda: (Diskette(),), ata),
    "ATAPICDROM": Case(lambda: (Diskette(),), ata),
    "Dispi": Case(lambda: (1 << 24,)),
    "DebugCon": Case(lambda: (nothing, never)),
    "DebugExit": Case(lambda: (nothing,)),
    "FDC82077": Case(lambda: (DMA(), (4, 2, 0, 5), (Diskette(), Diskette())),
                     lambda chip, rng: rng.choice([
                         lambda: chip.insert(0, chip.units[0].medium), lambda: command(chip, rng)])()),
    "FwCfg": Case(lambda: ({3: b"RAM"}, {"etc/file": bytes(range(100))}, lambda address, length: bytes(length), nothing)),
    "I8042": Case(lambda: (Plug(), Plug())),
    "I8237": Case(lambda: (ones, nothing, lambda n: n << 16, lambda: True), lambda chip, rng: rng.choice([
        lambda: chip.channel(rng.randrange(4)).put(rng.randbytes(5)),
        lambda: chip.channel(rng.randrange(4)).get(3)])()),
    "I8237Word": Case(lambda: (ones, nothing, lambda n: n << 16, lambda: True), lambda chip, rng: rng.choice([
        lambda: chip.channel(rng.randrange(4)).put(rng.randbytes(5)),
        lambda: chip.channel(rng.randrange(4)).get(3)])()),
    "I8254": Case(lambda: ((0, 1, 2),)),
    "I8259": Case(lambda: ({2: lambda: 0x70},), lambda chip, rng: chip.acknowledge()),
    "Keyboard": Case(stir=lambda chip, rng: rng.choice([
        chip.send, lambda: chip.receive(rng.randrange(256)),
        lambda: chip.key(rng.choice(["a", "shift", "ctrl", "up", "pause", "print", "ret"]), rng.random() < 0.5)])()),
    "MC146818": Case(lambda: (datetime(1999, 12, 31, 23, 59, 59, 500_000), False),
                     lambda chip, rng: chip.cmos(rng.randrange(128), rng.randrange(256))),
    "Mouse": Case(stir=lambda chip, rng: rng.choice([chip.send, lambda: chip.receive(rng.randrange(256))])()),
    "PIIX3IDE": Case(lambda: ((Streams(), Streams()), lambda address, length: b"\x80" * length,
                              lambda address, length, source: source(memoryview(bytearray(length))), nothing)),
    "Port61": Case(lambda: (nothing,)),
    "SerialLine": Case(lambda: (nothing, lambda: True, lambda: 86_806), lambda chip, rng: chip.type(rng.randbytes(3))),
    "Typist": Case(lambda: (nothing, lambda: True), lambda chip, rng: chip.type([["shift", "a"], ["b"]][:rng.randrange(3)])),
    "VGA": Case(screen),
    "UART16550": Case(lambda: (nothing, never), lambda chip, rng: chip.receive(rng.randrange(256), rng.randrange(256))),
}


def chips() -> list[type[Device]]:
    for module in pkgutil.walk_packages(emu.chips.__path__, "emu.chips."):
        importlib.import_module(module.name)
    found, new = set(), [Device]
    while new:
        new = [sub for cls in new for sub in cls.__subclasses__() if sub.__module__.startswith("emu.chips.")]
        found |= set(new)
    return sorted((cls for cls in found if not inspect.isabstract(cls)), key=lambda cls: cls.__name__)


CHIPS = pytest.mark.parametrize("cls", chips(), ids=lambda cls: cls.__name__)


class Subject:
    """One chip, powered on at the time `now`, with all its blocks on a bus; `native`: the engine answers what it may."""

    def __init__(self, cls: type[Device], now: int = 0, native: bool = False) -> None:
        self.now = now
        self.clock = Clock(lambda: self.now)
        case = CASES.get(cls.__name__, Case())
        self.stir = case.stir
        try:
            self.chip: Any = cls(*case.args())
        except TypeError as why:
            pytest.fail(f"{cls.__name__} is new here: give it a line in CASES of {__file__} ({why})")
        self.log: list[Any] = []
        for out in cls.parts(Out):
            pin = getattr(self.chip, out.key)
            pin.sinks.append(lambda level, name=out.name: self.log.append((self.now, name, level)))
        self.chip.attach(cls.__name__, self.clock)
        self.bus = Bus()
        self.addresses = []
        for i, block in enumerate(sorted(self.chip.banks)):
            base = (i + 1) << 24
            self.bus.place(self.chip, block, base)
            self.addresses += [a for a in (*self.bus.claims, *(key >> 4 for key in self.bus.whole)) if a >= base]
        self.native = Native(self.bus) if native else None
        self.inputs = [pin for part in cls.parts(In) for pin in pins(self.chip, part)]

    def advance(self, ns: int) -> None:
        end = self.now + ns
        for _ in range(RINGS):
            due = self.clock.next()
            if due is None or due > end:
                self.now = end
                return
            self.now = max(self.now, due)
            self.clock.ring(self.now)

    def read(self, entry: int) -> int:
        return self.native.read(entry) if self.native else self.bus.read[entry]()

    def write(self, entry: int, value: int) -> None:
        self.native.write(entry, value) if self.native else self.bus.write[entry](value)

    def run(self, seed: str, accesses: int, again: bool = False) -> None:
        """Do everything that can be done to a chip, at random; the log gets all that it answers."""
        rng = random.Random(seed)
        for _ in range(accesses):
            what = rng.random()
            if self.addresses:
                size = rng.choice((1, 2, 4))
                entry = rng.choice(self.addresses) << 4 | size
                if what < 0.5:
                    self.log.append(self.read(entry))
                else:
                    full = (1 << 8 * size) - 1
                    self.write(entry, rng.choice((rng.randint(0, full), rng.getrandbits(4), 0, full)))
                if again and rng.random() < 0.7:                # as guests do: the same port, many times
                    for _ in range(rng.randrange(1, 8)):
                        self.log.append(self.read(entry)) if what < 0.5 else self.write(entry, rng.randrange(256))
                    continue
            if self.native:
                self.native.turn()
            if what < 0.1 and self.inputs:
                rng.choice(self.inputs)(rng.randrange(2))
            if 0.1 < what < 0.2:
                self.stir(self.chip, rng)
            if 0.2 < what < 0.5:
                self.advance(rng.choice((1, 100, 2_000, 50_000)) if what > 0.22 else rng.randrange(10**9))


def pins(chip: Any, part: In) -> list[Any]:
    return getattr(chip, part.key) if part.width else [getattr(chip, part.key)]


def undeclared(chip: Device) -> dict[str, int]:
    return {key: id(value) for key, value in vars(chip).items() if key.upper() not in type(chip).declared}


def plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and plain(item) for key, item in value.items())
    if isinstance(value, list):
        return all(plain(item) for item in value)
    return value is None or type(value) in (int, bool, str, bytes)


def twin(subject: Subject, saved: dict[str, Any]) -> Subject:
    """A fresh chip at the same time, with the saved state."""
    other = Subject(type(subject.chip), subject.now)
    other.chip.restore(saved)
    other.log.clear()
    return other


@CHIPS
def test_the_module_says_what_is_not_modelled(cls):
    assert "Not modelled:" in (importlib.import_module(cls.__module__).__doc__ or "")


@CHIPS
def test_registers_that_share_an_access_are_told_apart_by_a_method(cls):
    taken: dict[tuple[str, int, str, int, int], str] = {}
    for reg in cls.parts(Reg):
        for access in "" if reg.whole else reg.access:              # those are told apart by the access's size
            for i in range(reg.size):
                whole = reg.size if reg.whole else 0
                first = taken.setdefault((reg.block, reg.bank, access, reg.offset + i * (not whole), whole), reg.name)
                method = ("read_" if access == "r" else "write_") + first
                assert first == reg.name or hasattr(cls, method), f"{reg.name} lies on {first}, which has no {method}"


@CHIPS
def test_every_method_is_of_a_declared_part(cls):
    for name in dir(cls):
        for prefix in "read_", "write_", "on_":
            part = name.removeprefix(prefix)
            if part != name and part.isupper():
                assert part in cls.declared, name


@CHIPS
def test_whatever_the_guest_does_a_chip_keeps_its_contract(cls):
    subject = Subject(cls)
    chip, name = subject.chip, cls.__name__
    made = undeclared(chip)
    subject.run(name, ACCESSES // 2)
    assert undeclared(chip) == made, "a chip keeps no state that it does not declare"

    saved = chip.save()
    assert plain(saved), "a saved state is plain values"
    assert json.loads(json.dumps(saved, default=bytes.hex))
    chip.restore(saved)
    assert chip.save() == saved, "restore(save) is the identity"

    other, before = twin(subject, saved), len(subject.log)
    assert other.chip.save() == saved
    subject.run("on", ACCESSES // 2)
    other.run("on", ACCESSES // 2)
    assert other.log == subject.log[before:], "a restored chip answers as the one that was saved"
    assert other.chip.save() == chip.save()
    assert undeclared(chip) == made

    for i in range(10):                         # a register may happen to hold its reset value, but not each time
        for pin in subject.inputs:
            pin(0)
        chip.reset()
        assert chip.save() == Subject(cls, subject.now).chip.save(), "reset equals fresh"
        subject.run(str(i), ACCESSES // 100)
    assert undeclared(chip) == made


@CHIPS
def test_what_is_declared_native_has_its_methods(cls):
    registers = {reg.name: reg.native for reg in cls.parts(Reg)}
    wanted = {VALUE: ("holds_",), RING: ("holds_", "collect_"), BLOCK: ("block_", "moved_"), "": ()}
    for name in dir(cls):
        for prefix in "holds_", "collect_", "block_", "moved_":
            part = name.removeprefix(prefix)
            if part != name and part.isupper():
                assert prefix in wanted[registers[part]], name


@CHIPS
def test_a_chip_answered_natively_is_the_chip_answered_by_itself(cls):
    plain, fast = Subject(cls), Subject(cls, native=True)
    declared = any(reg.native for reg in cls.parts(Reg))
    for subject in plain, fast:
        subject.run("native", ACCESSES // (2 if declared else 20), again=True)
    assert fast.native
    fast.native.turn()
    assert fast.log == plain.log
    assert fast.chip.save() == plain.chip.save()
    if declared:
        assert fast.native.native > 100


@CHIPS
def test_what_holds_still_is_read_without_effect_and_what_is_collected_is_written_one_by_one(cls):
    subject = Subject(cls)
    rng = random.Random("still")
    for i in range(200 if any(reg.native for reg in cls.parts(Reg)) else 20):
        subject.run(f"still {i}", 10)
        chip, log, saved = subject.chip, list(subject.log), subject.chip.save()
        for reg in cls.parts(Reg):
            read, write = chip.native(reg, R), chip.native(reg, W)
            if read and read.kind == VALUE and read.holds():
                reader = chip.reader(reg)
                assert reader() == reader(), reg.name
            if write and write.kind == RING and write.holds():
                data = rng.randbytes(rng.randrange(1, 20))
                one, all_ = twin(subject, saved), twin(subject, saved)
                for byte in data:
                    one.chip.writer(reg)(byte)
                getattr(all_.chip, "collect_" + reg.name)(data)
                assert one.chip.save() == all_.chip.save(), reg.name
                assert one.log == all_.log == []
        assert chip.save() == saved and subject.log == log, "to look is to change nothing"


@CHIPS
def test_the_same_run_gives_the_same_state(cls):
    first, second = Subject(cls), Subject(cls)
    for subject in first, second:
        subject.run("same", ACCESSES // 10)
    assert first.log == second.log
    assert first.chip.save() == second.chip.save()
