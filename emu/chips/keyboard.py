"""Keyboard: the 101- and 102-key keyboard of the PS/2 (MF2).

Source: [K] IBM PS/2 Hardware Interface Technical Reference, "Keyboards (101- and 102-key)".

The keyboard holds what it would send and says so with REQUEST; what it is plugged into takes the bytes with `send`, at the
pace of the line, and delivers the host's with `receive`.  Typematic repeat runs in virtual time.

The basic assurance test takes `bat` ns, by default 1 ms instead of the 500 to 750 of [K]: a guest that polls for its end
would spend real seconds.  The test that follows power-on is over, and its AAh gone, before the firmware's first look.

Not modelled: parity errors on the line, ghost keys, the order in which LEDs flash during the test.
"""

# mypy: disable-error-code="has-type"
from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from emu.chips.scancodes import ALIASES, GREY, MAKE3, NAMES, SET2, SET3, SHIFTS3, release, set1
from emu.device import Device, Out, State, Timer

BUFFER = 16                 # [K]: bytes; the overrun code goes into a 17th place
BAT = 1_000_000             # ns
ACK, RESEND, BAT_PASSED, ECHO = 0xFA, 0xFE, 0xAA, 0xEE
IDENTITY = 0xAB, 0x83
TYPEMATIC = 0x2B            # [K]: 10.9 characters a second after 500 ms
SCROLL, NUM, CAPS = 1, 2, 4
LAST_SCAN_CODE = 0x8D       # of set 3
ALL, REPEATS, SHIFTS, MAKES = "repeat+release", "repeat", "release", "make"     # the types of keys in set 3


class Keyboard(Device):
    """`key(name, down)` presses or releases a key, by QEMU's name of it."""

    BYTES = State([], "scan codes that wait to be sent")
    REPLY = State([], "what a command has to be answered with; goes before the scan codes")
    LAST = State(BAT_PASSED, "the last byte sent, for Resend")
    WANTS = State(0, "the command that waits for its option byte")
    ENABLED = State(1, "keys are scanned")
    SCAN_SET = State(2, "scan code set")
    RATE = State(TYPEMATIC, "typematic rate and delay")
    LEDS = State(0, "what is lit: bit 0 Scroll Lock, bit 1 Num Lock, bit 2 Caps Lock")
    DOWN = State([], "the keys that are held, in the order of their presses")
    FORM = State({}, "how the held keys of a grey block were dressed when they were pressed")
    REPEATED = State("", "the key that repeats")
    TYPES = State({}, "set 3: types of single keys, by scan code")
    TYPE = State("", "set 3: the type of all other keys; nothing: as after power-on")
    REPEAT = Timer("the held key repeats")
    TESTED = Timer("the basic assurance test ends")

    REQUEST = Out("a byte waits to be sent")
    SCROLL_LED = Out("Scroll Lock is lit")
    NUM_LED = Out("Num Lock is lit")
    CAPS_LED = Out("Caps Lock is lit")

    def __init__(self, bat: int = BAT) -> None:
        self.bat = bat

    # The keys.

    def key(self, name: str, down: bool) -> None:
        """Press or release the key `name`.  Raises ValueError for a name that is not in `scancodes.NAMES`."""
        if name not in NAMES:
            raise ValueError(f"no key is called {name}")
        name = ALIASES.get(name, name)
        if down == (name in self.down):
            return                                  # the host's own repeat, or a release without a press
        if down:
            self.down.append(name)
            self.store(self.pressed(name))
            self.repeated = name if self.repeats(name) else ""
            if self.repeated and self.enabled:
                self.repeat.at(self.clock.now + (1 + (self.rate >> 5 & 3)) * 250_000_000)
            else:
                self.repeat.off()
        else:
            self.down.remove(name)
            self.store(self.let_go(name))
            if name == self.repeated:
                self.repeated = ""
                self.repeat.off()
        self.update()

    def on_REPEAT(self) -> None:
        """[K]: while nothing is taken from the buffer, only the first make stays in it."""
        if not self.bytes:
            name = self.repeated
            self.store(self.codes(b"\xe0\x7c") if name == "print" and self.scan_set != 3 and not self.form.get(name)
                       else self.pressed(name, again=True))
        period, octave = 8 + (self.rate & 7), self.rate >> 3 & 3
        self.repeat.at(self.clock.now + (period << octave) * 10**9 // 240)      # [K]: (8 + A) * 2^B * 0.00417 s
        self.update()

    def repeats(self, name: str) -> bool:
        if self.scan_set == 3:
            return name in SET3 and self.type_of(SET3[name]) in (ALL, REPEATS)
        return name != "pause"                      # [K]: all keys but Pause are typematic

    def pressed(self, name: str, again: bool = False) -> bytes:
        """The codes of a press; those of a repeat leave out the shifts around them."""
        if self.scan_set == 3:
            return bytes([SET3[name]]) if name in SET3 else b""
        if name == "pause":
            return self.codes(b"\xe0\x7e\xe0\xf0\x7e" if self.held("ctrl", "ctrl_r") else b"\xe1\x14\x77\xe1\xf0\x14\xf0\x77")
        before, code, _ = self.form[name] if again and name in self.form else self.dress(name)
        return self.codes(bytes(code if again else [*before, *code]))

    def let_go(self, name: str) -> bytes:
        if self.scan_set == 3:
            told = name in SET3 and self.type_of(SET3[name]) in (ALL, SHIFTS)
            return bytes([0xF0, SET3[name]]) if told else b""
        if name == "pause":
            return b""
        _, code, after = self.form.pop(name, None) or self.undressed(name)
        return self.codes(release(bytes(code)) + bytes(after))

    def held(self, *names: str) -> bool:
        return any(name in self.down for name in names)
