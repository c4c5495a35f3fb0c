"""Mouse: the PS/2 mouse, with the wheel of Microsoft's IntelliMouse and the five buttons of its Explorer.

Sources: [P] IBM PS/2 Hardware Interface Technical Reference, "Mouse"; [C] A. Chapweske, "The PS/2 Mouse Interface",
2003; [M] Microsoft's knocks: sample rates 200, 100, 80 turn the wheel on (ID 3), 200, 200, 80 the further buttons (ID
4).

The mouse holds what it would send and says so with REQUEST; what it is plugged into takes the bytes with `send`, at
the pace of the line, and delivers the host's with `receive`.  In stream mode it looks at its counters at the sample
rate, and speaks if they or the buttons have changed.  A click that is shorter than a sample is not lost: each sample
tells of one change of the buttons.

The basic assurance test takes `bat` ns, by default 1 ms instead of the 300 to 500 of [C]: a guest that polls for its
end would spend real seconds.  The test that follows power-on is over, and its AAh gone, before the firmware's first
look.

Not modelled: the resolution (kept and reported, but the host's counts are counts), the horizontal wheel.
"""

# mypy: disable-error-code="has-type"
from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from emu.device import Device, Out, State, Timer

BAT = 1_000_000             # ns
ACK, RESEND, ERROR, PASSED = 0xFA, 0xFE, 0xFC, 0xAA
LOWEST_COMMAND = 0xE6       # in the place of a parameter it is a command
RATES = 10, 20, 40, 60, 80, 100, 200
KNOCKS = {(200, 100, 80): 3, (200, 200, 80): 4}
DOUBLED = 0, 1, 1, 3, 6, 9  # [P]: scaling 2:1 of 0 to 5 counts; more are doubled
CLICKS = 16                 # kept for later packets


def clamp(value: int, low: int, high: int) -> int:
    return max(low, min(high, value))


class Mouse(Device):
    """`move(dx, dy, dz)` and `buttons(mask)` are what the hand does."""

    packet: list[int]
    reply: list[int]
    last: list[int]
    clicks: list[int]

    PACKET = State([], "bytes of a movement that wait to be sent")
    REPLY = State([], "the answer to a command")
    LAST = State([PASSED, 0], "the last packet or answer, for Resend")
    WANTS = State(0, "the command that waits for its parameter")
    REFUSED = State(0, "the last byte from the host was not understood")
    REMOTE = State(0, "speaks only when asked")
    REPORTING = State(0, "speaks by itself in stream mode")
    WRAP = State(0, "sends back what it hears")
    SCALING = State(0, "1: 2:1")
    RESOLUTION = State(2, "log2 of counts per mm")
    RATE = State(100, "samples a second")
    KNOCK = State([0, 0, 0], "the last three sample rates")
    ID = State(0, "0: three buttons; 3: and a wheel; 4: and two buttons more")
    DX = State(0, "counts to the right since the last packet")
    DY = State(0, "counts down")
    DZ = State(0, "steps of the wheel towards the hand")
    PRESSED = State(0, "the buttons as the last packet or the next has them")
    CLICKS = State([], "further states of the buttons, one for each packet")
    SAMPLED = State(0, "ns: the last sample")
    SAMPLE = Timer("the next look at the counters")
    TESTED = Timer("the basic assurance test ends")

    REQUEST = Out("a byte waits to be sent")

    def __init__(self, bat: int = BAT) -> None:
        self.bat = bat

    # The hand.

    def move(self, dx: int, dy: int, dz: int = 0) -> None:
        """Move right by `dx` and down by `dy` counts, turn the wheel by `dz` steps towards the hand."""
        # [C]: nine-bit counters, which stop at their ends; one count further, they show the overflow.
        self.dx = clamp(self.dx + dx, -257, 256)
        self.dy = clamp(self.dy + dy, -256, 257)
        self.dz = clamp(self.dz + dz, -128, 127)
        self.update()

    def buttons(self, mask: int) -> None:
        """Hold the buttons in `mask`: 1 left, 2 right, 4 middle, 8 and 16 the side ones."""
        self.clicks.append(mask & 0x1F)
        if self.clicks[-1] == (self.clicks[-2] if len(self.clicks) > 1 else self.pressed):
            self.clicks.pop()                       # no change
        elif len(self.clicks) > CLICKS:
            del self.clicks[-2]
        self.update()

    # The line.

    def send(self) -> int:
        """The next byte, which is now on its way."""
        queue = self.reply or self.packet
        byte: int = queue.pop(0) if queue else self.last[-1]
        self.update()
        return byte

    def receive(self, byte: int) -> None:
        """A byte has come from the host.  What it interrupted is not sent any more."""
        self.packet = []
        command, self.wants = self.wants, 0
        refused, self.refused = self.refused, 0
        if self.wrap and byte not in (0xEC, 0xFF):
            self.reply = [byte]
        elif byte == 0xFE:
            self.reply = list(self.last)
        elif byte in self.COMMAND:
            self.reply = [ACK]
            self.COMMAND[byte](self)
        elif byte in self.PARAMETER:
            self.reply = [ACK]
            self.wants = byte
        elif command and byte < LOWEST_COMMAND and self.PARAMETER[command](self, byte):
            self.reply = [ACK]
        elif refused:
            self.reply = [ERROR]                    # [C]: the second time in a row
        else:
            self.reply = [RESEND]
            self.refused, self.wants = 1, command
        if self.reply[0] not in (RESEND, ERROR):
            self.last = list(self.reply)
        self.update()

    # Commands and their parameters.

    def start_test(self) -> None:
        self.default()
        self.wrap = self.id = 0
        self.tested.at(self.clock.now + self.bat)

    def on_TESTED(self) -> None:
        self.reply.extend([PASSED, self.id])
        self.last = [PASSED, self.id]
        self.update()

    def default(self) -> None:
        """[P], Set Default."""
        self.rate, self.resolution, self.scaling, self.remote = 100, 2, 0, 0
        self.report(0)

    def report(self, on: int) -> None:
        self.reporting = on
        self.forget()

    def speak(self, *, remote: int) -> None:
        self.remote = remote
        self.forget()

    def echo(self, on: int) -> None:
        self.wrap = on
        self.forget()

    def forget(self) -> None:
        """[C]: the counters start again from zero."""
        self.dx = self.dy = self.dz = 0
        self.settle()

    def settle(self) -> None:
        """Take the buttons as they are now."""
        if self.clicks:
            self.pressed = self.clicks[-1]
            self.clicks = []

    def set_scaling(self, on: int) -> None:
        self.scaling = on

    def identify(self) -> None:
        self.reply.append(self.id)

    def tell_status(self) -> None:
        self.settle()
        left, right, middle = self.pressed & 1, self.pressed >> 1 & 1, self.pressed >> 2 & 1
        flags = self.remote << 6 | self.reporting << 5 | self.scaling << 4 | left << 2 | middle << 1 | right
        self.reply.extend([flags, self.resolution, self.rate])

    def tell_movement(self) -> None:
        """[P]: scaling holds in stream mode only, and there not for what is asked for."""
        self.settle()
        self.reply.extend(self.count(scaling=0))

    def set_resolution(self, value: int) -> bool:
        if value > 3:
            return False
        self.resolution = value
        self.forget()
        return True

    def set_rate(self, value: int) -> bool:
        if value not in RATES:
            return False
        self.rate = value
        self.knock = [*self.knock[1:], value]
        self.id = KNOCKS.get(tuple(self.knock), self.id)
        self.forget()
        return True

    COMMAND: ClassVar[dict[int, Callable[[Any], None]]] = {
        0xE6: lambda self: self.set_scaling(0),
        0xE7: lambda self: self.set_scaling(1),
        0xE9: tell_status,
        0xEA: lambda self: self.speak(remote=0),
        0xEB: tell_movement,
        0xEC: lambda self: self.echo(0),
        0xEE: lambda self: self.echo(1),
        0xF0: lambda self: self.speak(remote=1),
        0xF2: identify,
        0xF4: lambda self: self.report(1),
        0xF5: lambda self: self.report(0),
        0xF6: default,
        0xFF: start_test,
    }
    PARAMETER: ClassVar[dict[int, Callable[[Any, int], bool]]] = {0xE8: set_resolution, 0xF3: set_rate}

    # Movement.

    def on_SAMPLE(self) -> None:
        self.sampled = self.clock.now
        self.packet = self.count(scaling=self.scaling)
        self.last = list(self.packet)
        self.update()

    def count(self, scaling: int) -> list[int]:
        """A packet of what has happened since the last; the counters start again from zero."""
        if self.clicks:
            self.pressed = self.clicks.pop(0)
        flags, counts = 8 | self.pressed & 7, []
        for i, moved in enumerate((self.dx, -self.dy)):
            size = abs(moved)
            if scaling:
                size = DOUBLED[size] if size < len(DOUBLED) else 2 * size
            moved = -size if moved < 0 else size
            inside = clamp(moved, -256, 255)
            flags |= (0x10 if moved < 0 else 0) << i | (0x40 if moved != inside else 0) << i
            counts.append(inside & 0xFF)
        turned = clamp(self.dz, -8, 7)
        self.dx, self.dy, self.dz = 0, 0, self.dz - turned
        if self.id == 3:
            counts.append(turned & 0xFF)
        elif self.id == 4:
            counts.append(turned & 0xF | (self.pressed & 0x18) << 1)
        return [flags, *counts]

    def update(self) -> None:
        """Look again when there is something to tell, not earlier than the sample rate allows; drive the pin."""
        moved = self.dx or self.dy or self.clicks or (self.id and self.dz)
        if not moved or self.reply or self.packet or self.wants or self.remote or self.wrap or not self.reporting:
            self.sample.off()
        elif self.sample.due is None:
            self.sample.at(max(self.clock.now, self.sampled + 10**9 // self.rate))
        self.request(1 if self.reply or self.packet else 0)
