"""INT 09h and INT 16h: what keys say, key by key, on our own board.   [AT] 5 "Keyboard"; [RBIL] INT 16h"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from emu.assembler import assemble
from emu.boards.pc import PC
from emu.chips.scancodes import SET2
from emu.firmware import build
from tests.firmware import machines

# Reads keys for ever and says each, and the shift states, on port E9h; INT 05h says P, INT 1Bh says B.
READER = """
    xor ax, ax
    mov ds, ax
    mov word ptr [0x05 * 4], print
    mov word ptr [0x05 * 4 + 2], ax
    mov word ptr [0x1B * 4], break
    mov word ptr [0x1B * 4 + 2], ax
    mov al, 0x21
    out 0xE9, al
next:
    mov ah, 0x10
    int 0x16
    mov bx, ax
    mov al, bh
    out 0xE9, al
    mov al, bl
    out 0xE9, al
    mov ah, 0x02
    int 0x16
    out 0xE9, al
    jmp next
print:
    push ax
    mov al, 'P'
    out 0xE9, al
    pop ax
    iret
break:
    push ax
    mov al, 'B'
    out 0xE9, al
    pop ax
    iret
"""
SHIFTS = {"shift", "shift_r", "ctrl", "ctrl_r", "alt", "alt_r", "meta_l", "meta_r", "caps_lock", "num_lock", "scroll_lock"}
# The 102 keys; those with a loudspeaker or a Japanese legend say nothing to us, and something by accident to SeaBIOS
OTHERS = {"compose", "ro", "yen", "henkan", "muhenkan", "katakanahiragana", "power", "sleep", "wake", "kp_equals", "kp_comma",
          "mediaselect", "mail", "calculator", "computer", "find", "stop"}
KEYS = sorted(name for name in SET2
              if name not in SHIFTS | OTHERS and not name.startswith(("audio", "volume", "ac_")))


class Keyboard:
    """A board whose guest says what keys say."""

    def __init__(self, board: PC, said: bytearray) -> None:
        self.board, self.said = board, said

    def press(self, *names: str) -> bytes:
        """What comes of keys, one after the other."""
        del self.said[:]
        for name in names:
            self.board.key(name)
        self.board.run_until(seconds=0.1 * len(names))
        return bytes(self.said)


class Sector:
    """A medium with a boot sector."""

    readonly = True

    def __init__(self, source: str) -> None:
        self.data = assemble(source, 0x7C00, 16).ljust(510, b"\0") + b"\x55\xAA" + bytes(1 << 20)
        self.size = len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        return self.data[offset:offset + length]

    def write(self, offset: int, data: bytes) -> None:
        raise OSError("read-only")

    def flush(self) -> None:
        pass


def keyboard(firmware: bytes) -> Iterator[Keyboard]:
    said = bytearray()
    with PC(64 << 20, firmware=firmware, vga_bios=build.vgabios(), debug=said.extend, boot="c",
            disks=[Sector(READER)]) as board:
        board.run_until(seconds=20, when=lambda: said.endswith(b"!"))
        assert said.endswith(b"!")
        yield Keyboard(board, said)


@pytest.fixture
def keys() -> Iterator[Keyboard]:
    yield from keyboard(build.bios())


def everything(firmware: bytes) -> dict[str, str]:
    maker = keyboard(firmware)
    one = next(maker)
    return {chord: one.press(chord)[:2].hex() for shift in ("", "shift-", "ctrl-", "alt-") for chord in
            (shift + name for name in KEYS)}


def test_every_key_says_what_it_says_to_seabios():
    if not machines.SEABIOS.is_file():
        pytest.skip("the package seabios is not installed")
    ours, theirs = everything(build.bios()), everything(machines.SEABIOS.read_bytes())
    digits = {f"alt-kp_{digit}" for digit in range(10)}             # SeaBIOS has no characters by number
    assert {chord: said for chord, said in ours.items() if chord not in digits} == \
        {chord: said for chord, said in theirs.items() if chord not in digits}


@pytest.mark.parametrize(("presses", "said"), [
    ("a", "1e6100"), ("shift-a", "1e4102"), ("ctrl-a", "1e0104"), ("alt-a", "1e0008"), ("f1", "3b0000"), ("f11", "850000"),
    ("up", "48e000"), ("kp_8", "480000"), ("kp_5", "4c0000"), ("kp_enter", "e00d00"), ("ret", "1c0d00"),
    ("caps_lock a shift-a 1", "1e4140 1e6142 023140"), ("num_lock kp_7 shift-kp_7 home", "473720 470022 47e020"),
    ("insert insert", "52e080 52e000"), ("alt-kp_0 ", ""),
])
def test_a_key_says(keys, presses, said):
    assert keys.press(*presses.split()).hex() == said.replace(" ", "")


def test_alt_and_digits_on_the_keypad_are_a_character(keys):
    assert keys.press("alt-kp_6-kp_5").hex() == "004100"


def test_print_screen_calls_int_05h_and_ctrl_print_is_a_key(keys):
    assert keys.press("print") == b"P"
    assert keys.press("ctrl-print")[:2].hex() == "7200"


def test_ctrl_break_calls_int_1bh_empties_the_buffer_and_leaves_a_zero(keys):
    assert keys.press("ctrl-pause")[:3] == b"B\0\0"
    assert keys.board.read(0x471, 1) == b"\x80"


def test_pause_holds_until_another_key_which_says_nothing(keys):
    keys.press("pause")
    assert keys.board.read(0x418, 1)[0] & 0x08
    assert keys.press("a") == b""
    assert keys.press("b")[:2].hex() == "3062"


def test_locks_light_their_lamps(keys):
    keys.press("caps_lock", "scroll_lock")
    assert keys.board.read(0x417, 1)[0] & 0x70 == 0x50
    assert keys.board.read(0x497, 1)[0] & 0x47 == 0x05, "lamps told, nothing outstanding"
    assert keys.board["keyboard"].leds == 0x05


def test_the_buffer_takes_fifteen_keys():
    said = bytearray()
    with PC(64 << 20, firmware=build.bios(), vga_bios=build.vgabios(), debug=said.extend, boot="c",
            disks=[Sector("mov al, 0x21; out 0xE9, al; wait: hlt; jmp wait")]) as board:
        board.run_until(seconds=20, when=lambda: said.endswith(b"!"))
        for name in "abcdefghijklmnopq":
            board.key(name)
        board.run_until(seconds=2)
        head, tail = board.read(0x41A, 2)[0], board.read(0x41C, 2)[0]
        codes = [board.read(0x400 + 0x1E + (head - 0x1E + 2 * n) % 32, 1) for n in range(15)]
    assert (tail - head) % 32 == 30
    assert b"".join(codes) == b"abcdefghijklmno"


def test_ctrl_alt_delete_starts_the_machine_again_warm(keys):
    resets = keys.board.resets
    keys.board.key("ctrl-alt-delete")
    keys.board.run_until(seconds=20, when=lambda: keys.said.count(b"!") > 1 and keys.board.resets > resets)
    assert keys.board.resets == resets + 1
    assert keys.board.read(0x472, 2) == b"\x34\x12"
    assert keys.press("a").hex() == "1e6100"
