"""An address space as two flat tables of functions: `bus.read[address << 4 | size]()`, `bus.write[...](value)`.

An entry is made at its first touch and is the chip's own method; a bank switch or a moved device drops the tables, so
nothing asks a flag at each access.  Little-endian; an access that is wider than a register becomes one access per register
from the lowest address on, as the ISA bridge splits it; a narrower one reads or replaces its part of the register.  What
nobody claims reads all ones, is dropped on write, and is told to `unclaimed` once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from emu.device import VALUE, Device, Native, Reg, Window

Reader = Callable[[], int]
Writer = Callable[[int], None]
Observer = Callable[[str, int, int, str], Callable[[int], None]]


class Meter(Protocol):
    """Who measures what accesses cost: see emu.debug.ledger."""

    def function(self, access: str, name: str, function: Callable[..., Any]) -> Callable[..., Any]: ...
    def native(self, size: int, name: str, native: Native) -> Native: ...


CACHED = 1 << 16            # entries; a guest that scans an address space must not fill the host's memory


class Table(dict[int, Any]):
    """A dict that decodes what it does not hold yet."""

    def __init__(self, decode: Callable[[int, int], Any]) -> None:
        super().__init__()
        self.decode = decode

    def __missing__(self, key: int) -> Any:
        if len(self) >= CACHED:
            self.clear()
        entry = self[key] = self.decode(key >> 4, key & 15)
        return entry


def drop(value: int) -> None:
    """A write that nobody takes."""


ONES: dict[int, Reader] = {1: lambda: 0xFF, 2: lambda: 0xFFFF, 4: lambda: 0xFFFFFFFF, 8: lambda: 0xFFFFFFFFFFFFFFFF}


class Bus:
    """One address space: I/O ports, physical memory-mapped registers, or the inside of an index/data pair."""

    def __init__(self, unclaimed: Callable[[str, int, int], None] | None = None, grain: int = 1) -> None:
        """`unclaimed(access, address, size)` is told what nobody claims, once for every `grain` addresses."""
        self.claims: dict[int, tuple[Device, str, int]] = {}
        self.whole: dict[int, tuple[Device, str, Reg]] = {}         # by entry: registers that answer only whole
        self.windows: list[tuple[int, Device, Window]] = []         # by their first addresses
        self.spans: list[tuple[int, int, tuple[Device, str, int]]] = []     # first, length, who has what is left there
        self.places: dict[tuple[Device, str], int] = {}
        self.absent: dict[int, str] = {}
        self.read = Table(self._read)
        self.write = Table(self._write)
        self.pieces = Table(self._writer)           # of writes that meet several registers
        self.unclaimed = unclaimed or (lambda access, address, size: None)
        self.grain = grain
        self.told: set[tuple[str, int]] = set()
        self.on_rewire: list[Callable[[], None]] = []
        self.observer: Observer | None = None
        self._empty = False                             # the engine tells the observer of accesses to nothing
        self.meter: Meter | None = None

    def observe(self, observer: Observer | None, empty: bool = False) -> None:
        """Ask `observer(access, address, size, name)` for a function that is told the value of each such access, from the
        next one on.  While there is one, all accesses are served here; but for those where nothing is, if `empty`: whoever
        observes hears of them from the engine.
        """
        self.observer, self._empty = observer, empty
        self.rewire()

    def measure(self, meter: Meter | None) -> None:
        """Let `meter` wrap every function that serves an access, from the next one on; what is native stays so."""
        self.meter = meter
        self.rewire()

    def named(self, address: int, size: int, access: str) -> str:
        """What an access meets, as chip.REGISTER, or nothing."""
        if (whole := self._whole(address, size, access)) is not None:
            return f"{whole[0].name}.{whole[1].name}"
        if (window := self._window(address, size)) is not None:
            return f"{window[0].name}.{window[1].name}"
        if (claim := self._claim(address)) is None:
            return self.absent.get(address, "")
        reg = claim[0].register(claim[1], address - claim[2], access)
        return f"{claim[0].name}.{reg.name}" if reg else claim[0].name

    def place(self, device: Device, block: str, base: int, length: int = 0, yields: bool = False) -> None:
        """Let `device` answer for the registers of `block` from `base` on, and for all of `length` bytes.

        Raises ValueError on an overlap; one that `yields` leaves what is taken to who has it, and so does every window.
        """
        registers = [reg for reg in device.parts(Reg) if reg.block == block]
        windows = [(base + window.offset, device, window) for window in device.parts(Window) if window.block == block]
        if not registers and not windows:
            raise ValueError(f"{device.name}: no registers in a block named {block}")
        claimed = {base + reg.offset + i for reg in registers for i in range(reg.size) if not reg.whole}
        for address in sorted(claimed):
            if address not in self.claims:
                self.claims[address] = device, block, base
            elif not yields:
                raise ValueError(f"{device.name} and {self.claims[address][0].name} both claim {address:#x}")
        for reg in registers:
            entry, claim = base + reg.offset << 4 | reg.size, (device, block, reg)
            taken = any(self.claims.get((entry >> 4) + i, claim)[0] is not device for i in range(reg.size))
            if not reg.whole or (yields and taken):
                continue
            if self.whole.setdefault(entry, claim) != claim and not yields:
                raise ValueError(f"{device.name} and {self.whole[entry][0].name} both claim {entry >> 4:#x}")
        self.windows += windows
        if length:
            self.spans.append((base, length, (device, block, base)))
        self.places[device, block] = base
        if self.rewire not in device.on_rewire:
            device.on_rewire.append(self.rewire)
        self.rewire()

    def remove(self, device: Device, block: str) -> None:
        """Let `device` no longer answer for `block`, which may be placed anew."""
        del self.places[device, block]
        for claims in self.claims, self.whole:
            for key in [key for key, claim in claims.items() if claim[0] is device and claim[1] == block]:
                del claims[key]
        self.windows = [window for window in self.windows if window[1] is not device or window[2].block != block]
        self.spans = [span for span in self.spans if span[2][:2] != (device, block)]
        self.rewire()

    def leave(self, first: int, length: int, name: str) -> None:
        """Say that the part `name`, which would answer here, is absent."""
        self.absent.update(dict.fromkeys(range(first, first + length), name))

    def rewire(self) -> None:
        """Decode anew from the next access on."""
        self.read.clear()
        self.write.clear()
        self.pieces.clear()
        for rewire in self.on_rewire:
            rewire()

    def native(self, address: int, size: int, access: str) -> Native | None:
        """What an engine may do by itself at an access, from its first one on until `on_rewire`."""
        native = self._native(address, size, access)
        if native is None or self.meter is None:
            return native
        return self.meter.native(size, self.named(address, size, access), native)

    def _native(self, address: int, size: int, access: str) -> Native | None:
        if self.observer is not None:
            return None
        whole = self._whole(address, size, access)
        if whole is not None:
            return whole[0].native(whole[1], access)
        claims = [self._claim(address + i) for i in range(size)]
        if not any(claims) and not any(self._window(address + i, 1) for i in range(size)):
            return Native(VALUE)                    # all ones; nothing happens
        if claims[0] is None:
            return None
        device, block, base = claims[0]
        reg = device.register(block, address - base, access)
        if reg is None or reg.size != size or base + reg.offset != address:
            return None
        return device.native(reg, access)

    def _whole(self, address: int, size: int, access: str) -> tuple[Device, Reg] | None:
        claim = self.whole.get(address << 4 | size)
        return (claim[0], claim[2]) if claim is not None and access in claim[2].access else None

    def empty(self, address: int, length: int) -> bool:
        """Whether nobody claims any of these addresses: reads give all ones there, until `on_rewire`."""
        end = address + length
        return ((self.observer is None or self._empty)
                and not any(first < end and address < first + window.length for first, _, window in self.windows)
                and not any(first < end and address < first + length for first, length, _ in self.spans)
                and self.claims.keys().isdisjoint(range(address, end))
                and not any(address <= entry >> 4 < end for entry in self.whole))

    def _claim(self, address: int) -> tuple[Device, str, int] | None:
        claim = self.claims.get(address)
        if claim is None:
            for first, length, owner in self.spans:
                if first <= address < first + length:
                    return owner
        return claim

    def _window(self, address: int, size: int) -> tuple[Device, Window, int] | None:
        """The window in which an access lies whole, unless a register has its first byte, and the place inside."""
        if address not in self.claims:
            for first, device, window in self.windows:
                if first <= address <= first + window.length - size:
                    return device, window, address - first
        return None

    def _find(self, address: int, access: str) -> tuple[Device, Reg | None, int] | None:
        claim = self._claim(address)
        if claim is None:
            place = access, address // self.grain
            if place not in self.told and address not in self.absent and len(self.told) < CACHED:
                self.told.add(place)
                self.unclaimed(access, address, 1)
            return None
        device, block, base = claim
        reg = device.register(block, address - base, access)
        return device, reg, address - base - (reg.offset if reg else 0)

    def _read(self, address: int, size: int) -> Reader:
        reader = self._reader(address, size)
        if self.meter is not None:
            reader = self.meter.function("r", self.named(address, size, "r"), reader)
        if self.observer is None:
            return reader
        tell = self.observer("r", address, size, self.named(address, size, "r"))

        def read() -> int:
            value = reader()
            tell(value)
            return value

        return read

    def _write(self, address: int, size: int) -> Writer:
        writer = self._writer(address, size)
        if self.meter is not None:
            writer = self.meter.function("w", self.named(address, size, "w"), writer)
        if self.observer is None:
            return writer
        tell = self.observer("w", address, size, self.named(address, size, "w"))

        def write(value: int) -> None:
            tell(value)
            writer(value)

        return write

    def _reader(self, address: int, size: int) -> Reader:
        if (whole := self._whole(address, size, "r")) is not None:
            return whole[0].reader(whole[1])
        if (window := self._window(address, size)) is not None:
            return partial(getattr(window[0], "read_" + window[1].name), window[2], size)
        pieces: list[tuple[Reader, int, int, int]] = []           # reader, shift right, mask, shift left
        done, claimed = 0, False
        while done < size:
            if self._window(address + done, 1) is not None:
                pieces.append((self._reader(address + done, 1), 0, 0xFF, 8 * done))
                done, claimed = done + 1, True
                continue
            found = self._find(address + done, "r")
            claimed |= found is not None
            if found is None or found[1] is None:
                width = 1
                blank = 0xFF if found is None or address + done in self.claims else found[0].blank
                pieces.append((ONES[1], 0, blank, 8 * done))
            else:
                device, reg, inside = found
                assert reg is not None
                width = min(reg.size - inside, size - done)
                pieces.append((device.reader(reg), 8 * inside, (1 << 8 * width) - 1, 8 * done))
                if width == size and inside == 0 and reg.size == size:
                    return pieces[0][0]
            done += width
        if not claimed:
            return ONES[size]

        def read() -> int:
            value = 0
            for reader, right, mask, left in pieces:
                value |= (reader() >> right & mask) << left
            return value

        return read

    def _writer(self, address: int, size: int) -> Writer:
        if (whole := self._whole(address, size, "w")) is not None:
            return whole[0].writer(whole[1])
        if (window := self._window(address, size)) is not None:
            return partial(getattr(window[0], "write_" + window[1].name), window[2], size)
        pieces: list[tuple[int, int, int]] = []                   # entry, shift right, mask
        done, claimed = 0, False
        while done < size:
            width = 1
            if self._window(address + done, 1) is not None:
                pieces.append((address + done << 4 | 1, 8 * done, 0xFF))
                done, claimed = done + 1, True
                continue
            found = self._find(address + done, "w")
            if found is not None and found[1] is not None:
                device, reg, inside = found
                assert reg is not None
                width = min(reg.size - inside, size - done)
                if width == size:
                    return device.writer(reg) if width == reg.size else self._part(device, reg, inside, width)
                claimed = True
            pieces.append((address + done << 4 | width, 8 * done, (1 << 8 * width) - 1))
            done += width
        if not claimed:
            return drop
        table = self.pieces

        def write(value: int) -> None:
            for entry, right, mask in pieces:
                table[entry](value >> right & mask)               # now: the piece before may have switched the bank

        return write

    @staticmethod
    def _part(device: Device, reg: Reg, inside: int, width: int) -> Writer:
        """Writes `width` bytes of a wider register, keeping the others as they are stored."""
        writer, values, key = device.writer(reg), vars(device), reg.key
        shift, mask = 8 * inside, (1 << 8 * width) - 1

        def write(value: int) -> None:
            writer(values[key] & ~(mask << shift) | value << shift)

        return (lambda value: writer(value << shift)) if reg.w1c else write
