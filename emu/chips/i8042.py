"""I8042: the keyboard and auxiliary device controller of the PC/AT and PS/2, an 8042 with its mask ROM.

Sources: [P] IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device Controller"; [A] IBM PC AT
Technical Reference, 1986, section 1, "Keyboard controller"; [U] Intel UPI-41/42 User's Manual; Linux,
`drivers/input/serio/i8042.c`, for what a driver dares to expect.  DDh, DFh (A20) and A7h to A9h are as every clone has
them.

Time: one byte on a serial line takes `frame` ns, by default 11 bits at 16.7 kHz (the fastest clock in [P]): a guest
that empties the output buffer sees the next byte, and a new edge of the interrupt, one frame later.  What the
controller itself has to say comes at once, and a command is done when it is written, so IBF is 1 only while a second
byte for a device waits for the first to be sent.  One line is served at a time, the keyboard's first.

After power-on: both lines are disabled, no interrupts, no translation (the firmware sets the command byte); the output
port is all ones ([U]: ports are high after reset), so A20 is high and the CPU's first fetch finds the ROM.

Our choices where the documents are silent: a device that is written to is enabled again; IRQ1 is held back while the
keyboard is disabled, so that the answer to a command is not taken by the keyboard's interrupt handler; the answer to a
command waits while the output buffer is full, and a second one replaces it.

Not modelled: the password (A4h answers "none", A5h swallows one, A6h does nothing), the keyboard lock, the parity
error, diagnostic dump (ACh), the 8042's program memory and RAM other than its 32 bytes, a CPU that is held in reset
with D1h (it is a pulse), output port bits 2, 3, 6 and 7 other than as storage, and 4 and 5 other than to be read.
"""

# mypy: disable-error-code="has-type"
from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from emu.chips.scancodes import XLAT
from emu.device import VALUE, Device, In, Out, R, Reg, State, Timer, W

FRAME = 11 * 60_000         # ns
PATIENCE = 15_000_000       # ns; [P]: a device must begin to clock a byte in within 15 ms
PULSE = 6_000               # ns; [A]: F0h-FFh pulse the output port for about 6 us

KBDINT, AUXINT, SYS, KBDDIS, AUXDIS, TRANSLATE = 1, 2, 4, 0x10, 0x20, 0x40  # [P]: the command byte, RAM 0
P2_RC, P2_A20, P2_KBD, P2_AUX = 1, 2, 0x10, 0x20                            # [P]: the output port
DISABLE = {"kbd": KBDDIS, "aux": AUXDIS}
NO_ANSWER = 0xFE                                                            # [P]: what is read after a time-out
LOAD_PASSWORD = 0xA5


class PS2Device(Protocol):
    """What plugs into a line: `request` is an Out pin, high while it has a byte to send."""

    request: Any

    def send(self) -> int: ...
    def receive(self, byte: int) -> None: ...


class I8042(Device):
    """`keyboard` and `mouse` are what is plugged in, or None; `p1` is the input port ([P]: bit 7, not locked)."""

    answer: list[int] | None
    waits: list[Any] | None
    sends: int | None

    DBBOUT = Reg(0, R, "output buffer", native=VALUE)
    DBBIN = Reg(0, W, "input buffer: a parameter, or a byte for the keyboard")
    STATUS = Reg(4, R, "status", "PARE TIM AUXB INH CMD SYS IBF OBF", reset=0x10, native=VALUE)
    COMMAND = Reg(4, W, "input buffer: a command")

    RAM = State([KBDDIS | AUXDIS] + [0] * 31, "the controller's RAM; byte 0 is the command byte")
    P2 = State(0xCF, "output port, without its interrupt bits")
    PULSED = State(0, "bits of the output port that are pulsed low")
    WANTS = State(0, "the command that waits for its parameter")
    POLL = State("", "which half of the input port shows in the status register")
    ANSWER = State(None, "value, AUXB and TIM of an answer that waits for the output buffer")
    WAITS = State(None, "line and value of a byte that waits in the input buffer")
    LINE = State("", "the line that is in use, or nothing")
    SENDS = State(None, "the byte under way to the device; None: one comes from it")
    RELEASED = State(0, "80h: F0h has been swallowed, the next byte is of a released key")
    SHIFT = Timer("a byte has crossed the line, or no device wanted it")
    RELEASE = Timer("ends the pulse on the output port")

    KBD_REQUEST = In("the keyboard has a byte to send")
    AUX_REQUEST = In("the auxiliary device has a byte to send")
    KBD_IRQ = Out("a byte of the keyboard or of the controller is in the output buffer")
    AUX_IRQ = Out("a byte of the auxiliary device is in the output buffer")
    A20 = Out("high: address line 20 is the CPU's own", reset=1)
    RC = Out("reset the CPU: its rising edge")

    def __init__(
        self, keyboard: PS2Device | None = None, mouse: PS2Device | None = None, p1: int = 0xB0, frame: int = FRAME,
    ) -> None:
        self.devices = {"kbd": keyboard, "aux": mouse}
        self.requests = {"kbd": self.kbd_request, "aux": self.aux_request}
        self.p1, self.frame = p1, frame
        for line, device in self.devices.items():
            if device is not None:
                device.request.sinks.append(self.requests[line].wire())

    # The processor's side.

    def read_DBBOUT(self) -> int:
        value: int = self.dbbout
        if self.status & self.STATUS.OBF:
            self.status &= ~(self.STATUS.OBF | self.STATUS.AUXB)
            self.update()                           # the interrupt falls before an answer raises it again
            if self.answer is not None:
                (answer, aux, tim), self.answer = self.answer, None
                self.put(answer, aux, tim)
            self.serve()
        return value

    def holds_DBBOUT(self) -> bool:
        return not self.status & self.STATUS.OBF

    def read_STATUS(self) -> int:
        status: int = self.status
        if self.poll:
            half = self.input_port() >> (0 if self.poll == "low" else 4) & 0xF
            return status & 0xF | half << 4
        return status

    def write_DBBIN(self, value: int) -> None:
        self.status &= ~self.STATUS.CMD
        command, self.wants = self.wants, 0
        if not command:
            self.transmit("kbd", value)
        elif command < 0x80:
            self.ram[command & 0x1F] = value
            self.obey()
        elif command == LOAD_PASSWORD:
            self.wants = LOAD_PASSWORD if value else 0      # [P]: it ends with a zero
        else:
            self.PARAMETER[command](self, value)
        self.update()

    def write_COMMAND(self, value: int) -> None:
        self.status |= self.STATUS.CMD
        self.wants, self.poll = 0, ""               # [P]: polling the input port ends with the next command
        if 0x20 <= value < 0x40:
            self.say(self.ram[value & 0x1F])
        elif 0x60 <= value < 0x80 or value == LOAD_PASSWORD or value in self.PARAMETER:
            self.wants = value
        elif value >= 0xF0:
            self.pulse(~value & 0xF)
        elif value in self.ACTION:
            self.ACTION[value](self)
        self.update()

    # Commands.

    def self_test(self) -> None:
        """[A]: the controller starts anew and says 55h, whatever was in its buffers."""
        self.abort()
        self.waits = self.answer = None
        self.status &= ~(self.STATUS.IBF | self.STATUS.OBF)
        self.update()
        self.ram[0] |= SYS
        self.put(0x55, 0, 0)
        self.obey()

    def obey(self) -> None:
        """Do as the command byte says from now on."""
        self.status = self.status & ~self.STATUS.SYS | self.ram[0] & SYS     # the same bit in both
        if not self.ram[0] & TRANSLATE:
            self.released = 0
        self.serve()

    def enable(self, line: str, on: bool) -> None:
        self.ram[0] = self.ram[0] & ~DISABLE[line] | (0 if on else DISABLE[line])
        self.obey()

    def poll_input(self, half: str) -> None:
        self.poll = half

    def write_output_port(self, value: int) -> None:
        self.p2 = value & ~(P2_KBD | P2_AUX) | P2_RC
        self.pulse(~value & P2_RC)

    def gate_a20(self, on: bool) -> None:
        self.p2 = self.p2 & ~P2_A20 | (P2_A20 if on else 0)

    def pulse(self, bits: int) -> None:
        if bits:
            self.pulsed |= bits
            self.release.at(self.clock.now + PULSE)

    def on_RELEASE(self) -> None:
        self.pulsed = 0
        self.update()

    def input_port(self) -> int:
        """[P]: bits 0 and 1 are the data lines, which idle high."""
        return self.p1 | 3

    def output_port(self) -> int:
        irq = (P2_KBD if self.kbd_irq.level else 0) | (P2_AUX if self.aux_irq.level else 0)
        return self.p2 & ~self.pulsed | irq

    def test_inputs(self) -> int:
        """[P]: T0 and T1 are the clock lines; a disabled line is held low."""
        return (0 if self.ram[0] & KBDDIS else 1) | (0 if self.ram[0] & AUXDIS else 2)

    ACTION: ClassVar[dict[int, Callable[[Any], None]]] = {
        0xA4: lambda self: self.say(0xF1),                      # no password is installed
        0xA7: lambda self: self.enable("aux", False),
        0xA8: lambda self: self.enable("aux", True),
        0xA9: lambda self: self.say(0),                         # neither line is stuck
        0xAA: self_test,
        0xAB: lambda self: self.say(0),
        0xAD: lambda self: self.enable("kbd", False),
        0xAE: lambda self: self.enable("kbd", True),
        0xC0: lambda self: self.say(self.input_port()),
        0xC1: lambda self: self.poll_input("low"),
        0xC2: lambda self: self.poll_input("high"),
        0xD0: lambda self: self.say(self.output_port()),
        0xDD: lambda self: self.gate_a20(False),
        0xDF: lambda self: self.gate_a20(True),
        0xE0: lambda self: self.say(self.test_inputs()),
    }
    PARAMETER: ClassVar[dict[int, Callable[[Any, int], None]]] = {
        0xD1: write_output_port,
        0xD2: lambda self, value: self.say(value),              # as if from the keyboard, not translated
        0xD3: lambda self, value: self.say(value, 1),           # as if from the auxiliary device
        0xD4: lambda self, value: self.transmit("aux", value),
    }

    # The lines.

    def on_KBD_REQUEST(self, pin: int, level: int) -> None:
        self.request("kbd", level)

    def on_AUX_REQUEST(self, pin: int, level: int) -> None:
        self.request("aux", level)

    def request(self, line: str, level: int) -> None:
        if not level and self.line == line and self.sends is None:
            self.abort()                            # the device has thought better of it
        self.serve()

    def transmit(self, line: str, value: int) -> None:
        self.ram[0] &= ~DISABLE[line]
        if self.sends is not None:
            self.waits = [line, value]
            self.status |= self.STATUS.IBF
        else:
            self.abort()                            # the host goes first; a device that was interrupted repeats
            self.line, self.sends = line, value
            self.shift.at(self.clock.now + (self.frame if self.devices[line] is not None else PATIENCE))

    def abort(self) -> None:
        self.line, self.sends = "", None
        self.shift.off()

    def serve(self) -> None:
        """Put the lines to use: what waits for a device goes first, then the keyboard, then the auxiliary device."""
        full = self.status & self.STATUS.OBF
        if self.line and self.sends is None and (full or self.ram[0] & DISABLE[self.line]):
            self.abort()                            # the byte stays in the device
        if self.line:
            return
        if self.waits is not None:
            (line, value), self.waits = self.waits, None
            self.status &= ~self.STATUS.IBF
            self.transmit(line, value)
        elif not full:
            for line, pin in self.requests.items():
                if pin.level and not self.ram[0] & DISABLE[line]:
                    self.line = line
                    self.shift.at(self.clock.now + self.frame)
                    break

    def on_SHIFT(self) -> None:
        line, byte = self.line, self.sends
        self.abort()
        device = self.devices[line]
        if device is None:
            self.say(NO_ANSWER, 1 if line == "aux" else 0, 1)
        elif byte is not None:
            device.receive(byte)
        else:
            self.take(line, device.send())
        self.serve()

    def take(self, line: str, value: int) -> None:
        """A byte has come from a device."""
        if line == "aux":
            self.put(value, 1, 0)
        elif not self.ram[0] & TRANSLATE:
            self.put(value, 0, 0)
        elif value == 0xF0:
            self.released = 0x80
        else:
            self.put(XLAT[value] | self.released, 0, 0)
            self.released = 0

    def say(self, value: int, aux: int = 0, tim: int = 0) -> None:
        """Put a byte of the controller's own into the output buffer, as soon as that is empty."""
        if self.status & self.STATUS.OBF:
            self.answer = [value, aux, tim]
        else:
            self.put(value, aux, tim)
            self.serve()

    def put(self, value: int, aux: int, tim: int) -> None:
        status = self.STATUS
        self.dbbout = value
        self.status = self.status & ~(status.AUXB | status.TIM) | status.OBF
        self.status |= (status.AUXB if aux else 0) | (status.TIM if tim else 0)
        self.update()

    def update(self) -> None:
        """Drive the pins."""
        control, status = self.ram[0], self.status
        full, aux = status & self.STATUS.OBF, status & self.STATUS.AUXB
        self.kbd_irq(1 if full and not aux and control & KBDINT and not control & KBDDIS else 0)
        self.aux_irq(1 if full and aux and control & AUXINT else 0)
        self.a20(1 if self.p2 & ~self.pulsed & P2_A20 else 0)
        self.rc(1 if self.pulsed & P2_RC else 0)    # last: the board may reset us from here
