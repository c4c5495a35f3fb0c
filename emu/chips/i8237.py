"""8237A programmable DMA controller; the PC has two.

[I] Intel 8237A data sheet, order 231466-005, September 1993; [AT] IBM PC AT Technical Reference, "Direct memory access";
[P] 82371SB (PIIX3), order 290550-002, section 2.3.1, for reading the mask.

A device comes with all the bytes that it has: `channel(n).put(data)` or `channel(n).get(length)` does in one step what
DREQ, DACK, address and EOP do for each byte, so single, demand and block mode look alike.  The answer says how many bytes
were moved, and whether the terminal count was among them.  A channel that is masked, in cascade mode, or behind a cascade
channel that is not open, moves nothing: the device keeps its DREQ, and decides itself what an overrun is.

The second controller is `I8237Word`: its address lines are wired one up, so it counts words, and its registers lie at even
ports.  The page registers give the address bits that the chip has not ([AT]): a block never leaves its 64 KiB (128 KiB).

Not modelled: time (a transfer takes none, so priorities, fixed or rotating, decide nothing, nor do compressed timing and
extended write); the sense of DREQ and DACK; the ports at which a PIIX3 shows the registers once more.
"""

# mypy: disable-error-code="has-type"
from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypedDict

from emu.device import RW, Device, In, Out, R, Reg, State, W

VERIFY, WRITE, READ = 0, 1, 2                   # bits 3-2 of the mode register; 3 is illegal
DECREMENT, AUTO, CASCADE = 0x20, 0x10, 3
BLOCK = 2                                       # bits 7-6


class Count(TypedDict):
    """One channel."""

    base_address: int
    base_count: int
    address: int
    count: int              # one less than the transfers that are left
    mode: int


class Moved(NamedTuple):
    """What a device's turn came to."""

    length: int             # bytes
    tc: bool                # the last of them was the terminal count: EOP


class I8237(Device):
    """`read(address, length)` and `write(address, data)` are the memory's; `page(n)` gives channel n's high address bits.

    `granted()` tells whether HLDA answers HRQ: the controller above may have its cascade channel masked.
    """

    STEP = 1                # distance of the registers; and bytes in a transfer
    width = 1

    ADDRESS0 = Reg(0, RW, "channel 0 address; low byte, then high byte")
    COUNT0 = Reg(1, RW, "channel 0 word count")
    ADDRESS1 = Reg(2, RW, "channel 1 address")
    COUNT1 = Reg(3, RW, "channel 1 word count")
    ADDRESS2 = Reg(4, RW, "channel 2 address")
    COUNT2 = Reg(5, RW, "channel 2 word count")
    ADDRESS3 = Reg(6, RW, "channel 3 address")
    COUNT3 = Reg(7, RW, "channel 3 word count")
    STATUS = Reg(8, R, "requests and terminal counts; a read clears the latter", "RQ3 RQ2 RQ1 RQ0 TC3 TC2 TC1 TC0")
    COMMAND = Reg(8, W, "command", "DACK DREQ EXTENDED ROTATE COMPRESSED DISABLE HOLD0 MEMORY")
    REQUEST = Reg(9, W, "software request", "0 0 0 0 0 SET CHANNEL1 CHANNEL0")
    SINGLE_MASK = Reg(10, W, "mask one channel", "0 0 0 0 0 SET CHANNEL1 CHANNEL0")
    MODE = Reg(11, W, "mode of a channel", "MODE1 MODE0 DECREMENT AUTO TYPE1 TYPE0 CHANNEL1 CHANNEL0")
    CLEAR_FF = Reg(12, W, "clear the byte pointer flip-flop")
    TEMPORARY = Reg(13, R, "the last byte that went from memory to memory")
    MASTER_CLEAR = Reg(13, W, "as the RESET pin")
    CLEAR_MASK = Reg(14, W, "unmask all")
    MASK = Reg(15, RW, "mask all at once", "0 0 0 0 M3 M2 M1 M0", reset=0x0F)

    CHANNELS = State([Count(base_address=0, base_count=0, address=0, count=0, mode=0) for _ in range(4)], "the channels")
    FLIPFLOP = State(0, "the next byte of an address or count is its high one")

    DREQ = In("a device asks", width=4)
    HRQ = Out("hold request: some channel that is not masked asks")

    def __init__(self, read: Callable[[int, int], bytes], write: Callable[[int, bytes], None],
                 page: Callable[[int], int], granted: Callable[[], bool] = lambda: True) -> None:
        self.memory_read, self.memory_write, self.page, self.granted = read, write, page, granted

    # Registers

    def reader(self, reg: Reg) -> Callable[[], int]:
        """Address and count registers are read by one method."""
        n, what = divmod(reg.offset // self.STEP, 2)
        return super().reader(reg) if n > 3 else lambda: self._read(n, ("address", "count")[what])

    def writer(self, reg: Reg) -> Callable[[int], None]:
        """Address and count registers are written by one method."""
        n, what = divmod(reg.offset // self.STEP, 2)
        return super().writer(reg) if n > 3 else lambda value: self._write(n, ("address", "count")[what], value)

    def _read(self, n: int, what: str) -> int:
        value: int = self.channels[n][what] >> 8 * self.flipflop & 0xFF
        self.flipflop ^= 1
        return value

    def _write(self, n: int, what: str, value: int) -> None:
        c, shift = self.channels[n], 8 * self.flipflop
        for key in what, "base_" + what:                                    # [I] written simultaneously
            c[key] = c[key] & 0xFF << 8 - shift | value << shift
        self.flipflop ^= 1

    def read_STATUS(self) -> int:
        value: int = self.status | self.request << 4 | sum(pin.level << 4 + n for n, pin in enumerate(self.dreq))
        self.status = 0
        return value

    def write_COMMAND(self, value: int) -> None:
        self.command = value
        self.update()

    def write_REQUEST(self, value: int) -> None:
        bit = 1 << (value & 3)
        self.request = self.request | bit if value & self.REQUEST.SET else self.request & ~bit
        self.update()

    def write_SINGLE_MASK(self, value: int) -> None:
        bit = 1 << (value & 3)
        self.mask = self.mask | bit if value & self.SINGLE_MASK.SET else self.mask & ~bit
        self.update()

    def write_MODE(self, value: int) -> None:
        self.channels[value & 3]["mode"] = value & 0xFC
        self.update()

    def write_CLEAR_FF(self, _: int) -> None:
        self.flipflop = 0

    def write_MASTER_CLEAR(self, _: int) -> None:
        self.command = self.status = self.request = self.temporary = self.flipflop = 0      # [I] and sets the mask
        self.mask = 0x0F
        self.update()

    def write_CLEAR_MASK(self, _: int) -> None:
        self.mask = 0
        self.update()

    def write_MASK(self, value: int) -> None:
        self.mask = value & 0x0F
        self.update()

    def on_DREQ(self, _pin: int, _level: int) -> None:
        self.update()

    # Transfers

    def opens(self, n: int) -> bool:
        """Whether channel n serves: the controller is enabled and granted the bus, the channel is not masked."""
        return not (self.command & self.COMMAND.DISABLE or self.mask >> n & 1) and self.granted()

    def cascades(self, n: int) -> bool:
        """Whether channel n passes on the requests of a controller below."""
        return self.channels[n]["mode"] >> 6 == CASCADE and self.opens(n)

    def channel(self, n: int) -> Channel:
        """What the device at DREQ n talks to."""
        return Channel(self, n)

    def update(self) -> None:
        """Serve the software requests, then drive HRQ."""
        if self.request and not self.command & self.COMMAND.DISABLE and self.granted():
            if self.command & self.COMMAND.MEMORY and self.request & 1:
                self.request &= ~1
                self._memory_to_memory()
            for n in range(4):
                # [I] not maskable, and only of a channel in block mode
                if self.request >> n & 1 and self.channels[n]["mode"] >> 6 == BLOCK:
                    self._move(n, b"\xFF" * (self.channels[n]["count"] + 1) * self.width)
        waiting = sum(pin.level << n for n, pin in enumerate(self.dreq)) & ~self.mask
        self.hrq(1 if waiting and not self.command & self.COMMAND.DISABLE else 0)

    def _base(self, n: int) -> int:
        """Where the block of channel n begins; [AT] for words A16 comes from the controller, not from the page."""
        return self.page(n) & -0x10000 * self.width

    def _pieces(self, n: int, units: int) -> list[tuple[int, int]]:
        """(address, bytes) of the next `units` transfers of channel n, in ascending pieces; the channel moves on."""
        c, page, pieces = self.channels[n], self._base(n), []
        down = c["mode"] & DECREMENT
        c["count"] = c["count"] - units & 0xFFFF
        while units:
            at = c["address"]
            now = min(units, at + 1 if down else 0x10000 - at)
            pieces.append((page + (at - now + 1 if down else at) * self.width, now * self.width))
            c["address"] = at - now & 0xFFFF if down else at + now & 0xFFFF
            units -= now
        return pieces

    def _turned(self, data: bytes) -> bytes:
        """The units of `data` from last to first: as a channel that counts down meets them."""
        if self.width == 1:
            return data[::-1]
        return b"".join(data[i:i + 2] for i in range(len(data) - 2, -1, -2))

    def _move(self, n: int, data: bytes | None, length: int = 0) -> tuple[Moved, bytes]:
        """Serve the device at channel n, which has `data`, or wants `length` bytes."""
        c = self.channels[n]
        kind, down = c["mode"] >> 2 & 3, c["mode"] & DECREMENT
        units = min((length if data is None else len(data)) // self.width, c["count"] + 1)
        tc, out, done = units > c["count"], [], 0
        for address, size in self._pieces(n, units):
            if data is not None and kind == WRITE:
                piece = data[done:done + size]
                self.memory_write(address, self._turned(piece) if down else piece)
            elif data is None:
                piece = self.memory_read(address, size) if kind == READ else b"\xFF" * size
                out.append(self._turned(piece) if down else piece)
            done += size
        if tc:
            self._terminal(n)
        return Moved(units * self.width, tc), b"".join(out)

    def _terminal(self, n: int) -> None:
        """[I] EOP: the TC bit; the request is reset; auto-initialize, or else mask."""
        c = self.channels[n]
        self.status |= 1 << n
        self.request &= ~(1 << n)
        if c["mode"] & AUTO:
            c["address"], c["count"] = c["base_address"], c["base_count"]
        else:
            self.mask |= 1 << n

    def _memory_to_memory(self) -> None:
        """[I] "Memory-to-Memory": channel 0 is the source, channel 1 the destination, whose count ends it.

        A byte is written before the next is read: where the blocks overlap, that is seen.
        """
        source, target, width, whole = self.channels[0], self.channels[1], self.width, 0x10000 * self.width
        origin, goal, units = self._base(0), self._base(1), target["count"] + 1
        taken = bytearray(self.memory_read(origin, whole))
        given = taken if origin == goal else bytearray(whole)
        step = 0 if self.command & self.COMMAND.HOLD0 else -1 if source["mode"] & DECREMENT else 1
        down = -1 if target["mode"] & DECREMENT else 1
        at, to, left = source["address"], target["address"], source["count"]
        for _ in range(units):
            given[to * width:to * width + width] = taken[at * width:at * width + width]
            at, to, left = at + step & 0xFFFF, to + down & 0xFFFF, left - 1 & 0xFFFF
            if left == 0xFFFF and source["mode"] & AUTO:                    # [I] no EOP, no TC from channel 0
                at, left = source["base_address"], source["base_count"]
        source["address"], source["count"] = at, left
        self.temporary = given[(to - down & 0xFFFF) * width]
        for address, size in self._pieces(1, units):
            self.memory_write(address, bytes(given[address - goal:address - goal + size]))
        self._terminal(1)


class Channel:
    """One channel, seen from its device."""

    def __init__(self, controller: I8237, number: int) -> None:
        self.controller, self.number = controller, number

    def put(self, data: bytes) -> Moved:
        """The device has `data` for the memory.  Less is taken at a terminal count, none while the channel is closed."""
        if not self._serves():
            return Moved(0, False)
        moved = self.controller._move(self.number, data)[0]
        self.controller.update()
        return moved

    def get(self, length: int) -> tuple[bytes, bool]:
        """The next bytes from the memory, at most `length`, and whether their last was the terminal count."""
        if not self._serves():
            return b"", False
        moved, data = self.controller._move(self.number, None, length)
        self.controller.update()
        return data, moved.tc

    def _serves(self) -> bool:
        controller, n = self.controller, self.number
        return controller.channels[n]["mode"] >> 6 != CASCADE and controller.opens(n)


def wide(reg: Reg) -> Reg:
    """The same register at twice the distance."""
    return Reg(2 * reg.offset, reg.access, reg.doc, " ".join(reg.bits), reset=reg.reset)


class I8237Word(I8237):
    """The AT's second controller: word addresses, registers at even ports."""

    STEP = 2
    width = 2
    locals().update({reg.name: wide(reg) for reg in I8237.parts(Reg)})
