"""Keyboard: the 101- and 102-key keyboard of the PS/2 (MF2).

Source: [K] IBM PS/2 Hardware Interface Technical Reference, "Keyboards (101- and 102-key)".

The keyboard holds what it would send and says so with REQUEST; what it is plugged into takes the bytes with `send`, at
the pace of the line, and delivers the host's with `receive`.  Typematic repeat runs in virtual time.

The basic assurance test takes `bat` ns, by default 1 ms instead of the 500 to 750 of [K]: a guest that polls for its
end would spend real seconds.  The test that follows power-on is over, and its AAh gone, before the firmware's first
look.

Not modelled: parity errors on the line, ghost keys, the order in which LEDs flash during the test.
"""

# mypy: disable-error-code="has-type"
from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from emu.chips.scancodes import ALIASES, GREY, MAKES3, NAMES, SET2, SET3, SHIFTS3, set1
from emu.device import Device, Out, State, Timer

BUFFER = 16                 # [K]: bytes; the overrun code goes into a 17th place
BAT = 1_000_000             # ns
ACK, RESEND, PASSED, ECHO = 0xFA, 0xFE, 0xAA, 0xEE
LOWEST_COMMAND = 0xED       # [K]: in the place of an option byte it is a command
IDENTITY = 0xAB, 0x83
TYPEMATIC = 0x2B            # [K]: 10.9 characters a second after 500 ms
SCROLL, NUM, CAPS = 1, 2, 4
CODES3 = frozenset(SET3.values())
BOTH, REPEATS, TELLS, MAKES = "repeat and release", "repeat", "release", "make"     # the types of keys in set 3
SHIFT, UNSHIFT = [0xE0, 0x12], [0xE0, 0xF0, 0x12]                                # what surrounds other codes
SHIFT_R, UNSHIFT_R = [0xE0, 0x59], [0xE0, 0xF0, 0x59]
PRINT, SYSRQ = [0xE0, 0x7C], [0x84]
PAUSE, BREAK = [0xE1, 0x14, 0x77, 0xE1, 0xF0, 0x14, 0xF0, 0x77], [0xE0, 0x7E, 0xE0, 0xF0, 0x7E]


class Keyboard(Device):
    """`key(name, down)` presses or releases a key, by QEMU's name of it; `leds` tells what is lit."""

    codes: list[int]
    reply: list[int]
    types: dict[str, str]

    CODES = State([], "scan codes that wait to be sent")
    REPLY = State([], "the answer to a command; goes before the scan codes")
    LAST = State(PASSED, "the last byte sent, for Resend")
    WANTS = State(0, "the command that waits for its option byte")
    ENABLED = State(1, "keys are scanned")
    SET = State(2, "scan code set")
    RATE = State(TYPEMATIC, "typematic rate and delay")
    LEDS = State(0, "bit 0 Scroll Lock, bit 1 Num Lock, bit 2 Caps Lock")
    FORMS = State({}, "the keys that are held, each with its codes as they were when it was pressed: see `form`")
    REPEATED = State("", "the key that repeats")
    TYPE = State("", "set 3: the type of all keys; nothing: as after power-on")
    TYPES = State({}, "set 3: types of single keys, by scan code")
    REPEAT = Timer("the held key repeats")
    TESTED = Timer("the basic assurance test ends")

    REQUEST = Out("a byte waits to be sent")
    SCROLL_LED = Out("Scroll Lock is lit")
    NUM_LED = Out("Num Lock is lit")
    CAPS_LED = Out("Caps Lock is lit")

    def __init__(self, bat: int = BAT) -> None:
        self.bat = bat

    # The line.

    def send(self) -> int:
        """The next byte, which is now on its way."""
        queue = self.reply or self.codes
        byte: int = queue.pop(0) if queue else self.last
        if byte != RESEND:
            self.last = byte                        # [K]: what is sent again is never a Resend
        self.update()
        return byte

    def receive(self, byte: int) -> None:
        """A byte has come from the host.  What it interrupted is not sent any more."""
        command, self.wants = self.wants, 0
        if command and byte < LOWEST_COMMAND:
            self.reply = [ACK if self.OPTION[command](self, byte) else RESEND]
            if command == 0xF0 and byte == 0:
                self.reply.append(self.set)
        elif byte == ECHO:
            self.reply = [ECHO]
        elif byte == RESEND:
            self.reply = [self.last]
        elif byte in self.COMMAND:
            self.reply = [ACK]
            self.COMMAND[byte](self)
        elif byte in self.OPTION:
            self.reply = [ACK]
            self.wants = byte
            if byte != 0xED and byte != 0xF3:
                self.codes = []                     # [K]
        else:
            self.reply = [RESEND]
        self.update()

    # Commands and their option bytes.

    def start_test(self) -> None:
        self.codes, self.enabled = [], 0
        self.tested.at(self.clock.now + self.bat)

    def on_TESTED(self) -> None:
        self.default()
        self.set, self.leds, self.enabled = 2, 0, 1
        self.reply.append(PASSED)
        self.update()

    def default(self) -> None:
        """[K], Set Default: neither the scan code set nor the indicators change."""
        self.rate, self.type, self.types = TYPEMATIC, "", {}
        self.clear()

    def clear(self) -> None:
        self.codes, self.repeated = [], ""
        self.repeat.off()

    def disable(self) -> None:
        self.default()
        self.enabled = 0

    def enable(self) -> None:
        self.clear()
        self.enabled = 1

    def identify(self) -> None:
        self.reply.extend(IDENTITY)

    def type_all(self, kind: str) -> None:
        self.type, self.types = kind, {}
        self.clear()

    def type_one(self, kind: str, code: int) -> bool:
        if code in CODES3:
            self.types[f"{code:02x}"] = kind
        return code in CODES3

    def set_leds(self, value: int) -> bool:
        self.leds = value & 7
        return True

    def set_rate(self, value: int) -> bool:
        if value < 0x80:
            self.rate = value
        return value < 0x80

    def choose_set(self, value: int) -> bool:
        if 1 <= value <= 3:
            self.set = value
            self.clear()
        return value <= 3

    COMMAND: ClassVar[dict[int, Callable[[Any], None]]] = {
        0xF2: identify,
        0xF4: enable,
        0xF5: disable,
        0xF6: default,
        0xF7: lambda self: self.type_all(REPEATS),
        0xF8: lambda self: self.type_all(TELLS),
        0xF9: lambda self: self.type_all(MAKES),
        0xFA: lambda self: self.type_all(BOTH),
        0xFF: start_test,
    }
    OPTION: ClassVar[dict[int, Callable[[Any, int], bool]]] = {
        0xED: set_leds,
        0xF0: choose_set,
        0xF3: set_rate,
        0xFB: lambda self, code: self.type_one(REPEATS, code),
        0xFC: lambda self, code: self.type_one(TELLS, code),
        0xFD: lambda self, code: self.type_one(MAKES, code),
    }

    # The keys.

    def key(self, name: str, down: bool) -> None:
        """Press or release the key `name`.  Raises ValueError for a name that is not in `scancodes.NAMES`."""
        if name not in NAMES:
            raise ValueError(f"no key is called {name}")
        name = ALIASES.get(name, name)
        if down == (name in self.forms):
            return                                  # the host's own repeat, or a release without a press
        if down:
            self.forms[name] = before, code, _ = self.form(name)
            self.store(name, before + code)
            self.repeated = name if self.enabled and self.kind(name) in (BOTH, REPEATS) else ""
            self.repeat.at(self.clock.now + (1 + (self.rate >> 5 & 3)) * 250_000_000)
        else:
            _, code, after = self.forms.pop(name)
            if self.kind(name) in (BOTH, TELLS):
                self.store(name, [*code[:-1], 0xF0, code[-1], *after])
            if name == self.repeated:
                self.repeated = ""
        if not self.repeated:
            self.repeat.off()
        self.update()

    def on_REPEAT(self) -> None:
        if not self.codes:                          # [K]: nothing is taken: only the first make stays in the buffer
            self.store(self.repeated, self.forms[self.repeated][1])
        period, octave = 8 + (self.rate & 7), self.rate >> 3 & 3
        self.repeat.at(self.clock.now + (period << octave) * 10**9 // 240)      # [K]: (8 + A) * 2^B * 0.00417 s
        self.update()

    def form(self, name: str) -> list[list[int]]:
        """[K], sets 1 and 2: what goes before the codes of a key, the codes, and what follows its release; in set 2."""
        held, num = self.forms, self.leds & NUM
        shift, shift_r = "shift" in held, "shift_r" in held
        alt, ctrl = "alt" in held or "alt_r" in held, "ctrl" in held or "ctrl_r" in held
        if name == "pause":
            return [[], BREAK if ctrl else PAUSE, []]
        if name == "print":
            if alt:
                return [[], SYSRQ, []]
            return [[], PRINT, []] if ctrl or shift or shift_r else [SHIFT, PRINT, UNSHIFT]
        code = list(SET2[name])
        if (name in GREY and not num) or name == "kp_divide":
            before = (UNSHIFT if shift else []) + (UNSHIFT_R if shift_r else [])
            return [before, code, (SHIFT_R if shift_r else []) + (SHIFT if shift else [])]
        if name in GREY and not shift and not shift_r:
            return [SHIFT, code, UNSHIFT]
        return [[], code, []]

    def kind(self, name: str) -> str:
        """What a key tells of: its presses only, its release, that it is held."""
        if self.set != 3:
            return MAKES if name == "pause" else BOTH
        code = SET3.get(name, 0)
        kind: str = self.types.get(f"{code:02x}") or self.type
        return kind or (TELLS if code in SHIFTS3 else MAKES if code in MAKES3 else REPEATS)

    def store(self, name: str, codes: list[int]) -> None:
        """Put what a key says, given in set 2, into the buffer; all of it, or the overrun code."""
        if self.set == 3:
            if name not in SET3:
                return
            codes = [0xF0, SET3[name]] if name not in self.forms else [SET3[name]]
        elif self.set == 1:
            codes = list(set1(bytes(codes)))
        if not self.enabled or len(self.codes) > BUFFER:
            return
        fits = len(self.codes) + len(codes) <= BUFFER
        self.codes.extend(codes if fits else [0xFF if self.set == 1 else 0])

    def update(self) -> None:
        """Drive the pins.  [K]: between a command and its option byte no scan code is sent."""
        self.scroll_led(1 if self.leds & SCROLL else 0)
        self.num_led(1 if self.leds & NUM else 0)
        self.caps_led(1 if self.leds & CAPS else 0)
        self.request(1 if self.reply or (self.codes and not self.wants) else 0)
