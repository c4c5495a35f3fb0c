"""Names of keys: for characters on a US keyboard, and for what a terminal sends.

A chord is the keys that are held together, in the order in which they are pressed, by QEMU's names of the keys.  Sources:
QEMU, "QKeyCode" and the monitor's sendkey; ECMA-48, 5.4 (control sequences); XTerm Control Sequences, "PC-Style Function
Keys", for the keys' codes and their modifiers; console_codes(4) for the Linux console's.
"""

from __future__ import annotations

import re

Chord = tuple[str, ...]

_UNSHIFTED = "`1234567890-=qwertyuiop[]\\asdfghjkl;'zxcvbnm,./ \n\t\b\x1b"
_SHIFTED = '~!@#$%^&*()_+QWERTYUIOP{}|ASDFGHJKL:"ZXCVBNM<>?'
_NAMES = """grave_accent 1 2 3 4 5 6 7 8 9 0 minus equal q w e r t y u i o p bracket_left bracket_right backslash
    a s d f g h j k l semicolon apostrophe z x c v b n m comma dot slash spc ret tab backspace esc""".split()  # noqa: SIM905
CHARACTERS: dict[str, Chord] = {
    **{char: (name,) for char, name in zip(_UNSHIFTED, _NAMES)},
    **{char: ("shift", name) for char, name in zip(_SHIFTED, _NAMES)}, "\r": ("ret",), "\x7f": ("backspace",)}

# CSI n ~ , and the last letter of CSI or SS3
_TILDE = {1: "home", 2: "insert", 3: "delete", 4: "end", 5: "pgup", 6: "pgdn", 7: "home", 8: "end", 25: "f3", 26: "f4",
          **{code: f"f{i}" for i, code in enumerate((11, 12, 13, 14, 15, 17, 18, 19, 20, 21, 23, 24), 1)}}
_LETTER = {"A": "up", "B": "down", "C": "right", "D": "left", "H": "home", "F": "end", "P": "f1", "Q": "f2", "R": "f3",
           "S": "f4", "E": "kp_5", "M": "kp_enter", "j": "kp_multiply", "k": "kp_add", "m": "kp_subtract", "o": "kp_divide"}
_LINUX = {"A": "f1", "B": "f2", "C": "f3", "D": "f4", "E": "f5"}                    # CSI [ letter
_SEQUENCE = re.compile(r"\x1b(?:\[\[(?P<linux>[A-E])|\[(?P<csi>[0-?]*)[ -/]*(?P<final>[@-Z\\-~])|"
                       r"O(?P<digit>\d?)(?P<ss3>[A-Zj-y]))")
_BEGUN = re.compile(r"\x1b(?:\[\[?[0-?]*[ -/]*|O\d?)?\Z")


def chord(name: str) -> Chord:
    """The keys of a name as QEMU's sendkey takes it: ret, f12, shift-a, ctrl-alt-delete.  They need not exist."""
    return tuple(name.split("-"))


def chords(text: str) -> list[Chord]:
    """The keys that type `text`.  Raises ValueError for a character that a US keyboard does not have."""
    for char in text:
        if char not in CHARACTERS:
            raise ValueError(f"no key types {char!r}")
    return [CHARACTERS[char] for char in text]


def _held(modifiers: int) -> Chord:
    """XTerm: 1 and a bit for each of Shift, Alt, Ctrl."""
    return tuple(key for bit, key in ((1, "shift"), (4, "ctrl"), (2, "alt")) if max(modifiers - 1, 0) & bit)


class Decoder:
    """What a terminal sends, as chords.  A sequence may come in pieces; `flush` ends one that did not go on."""

    def __init__(self) -> None:
        self.pending = b""

    def take(self, data: bytes) -> list[Chord]:
        """The chords of `data`; what a US keyboard does not have is dropped."""
        self.pending += data
        text = self.pending.decode("utf-8", "ignore")
        missing = self._unfinished()
        self.pending = self.pending[len(self.pending) - missing:] if missing else b""
        found: list[Chord] = []
        at = 0
        while at < len(text):
            if text[at] == "\x1b" and (match := _SEQUENCE.match(text, at)):
                found += self._sequence(match)
                at = match.end()
            elif text[at] == "\x1b" and _BEGUN.match(text, at):
                self.pending = text[at:].encode() + self.pending
                break
            elif text[at] == "\x1b" and at + 1 < len(text) and text[at + 1] != "\x1b":
                found += [("alt", *keys) for keys in self._character(text[at + 1])]
                at += 2
            else:
                found += self._character(text[at])
                at += 1
        return found

    def flush(self) -> list[Chord]:
        """Nothing more came: an escape character was the key itself, and what followed it typed with Alt."""
        text, self.pending = self.pending.decode("utf-8", "ignore"), b""
        if len(text) == 2:
            return [("alt", *keys) for keys in self._character(text[1])]
        return [keys for char in text for keys in self._character(char)]

    def _unfinished(self) -> int:
        """Bytes at the end that begin a character of several (RFC 3629)."""
        for back in range(1, min(4, len(self.pending) + 1)):
            byte = self.pending[-back]
            if byte & 0xC0 != 0x80:
                length = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
                return back if length > back else 0
        return 0

    def _character(self, char: str) -> list[Chord]:
        if char in CHARACTERS:
            return [CHARACTERS[char]]
        code = ord(char)
        if code == 0:
            return [("ctrl", "spc")]
        if code < 0x20:                             # a control character: Ctrl and the letter 40h further on
            return [("ctrl", *CHARACTERS[chr(code + 0x40).lower()])]
        return []

    def _sequence(self, match: re.Match[str]) -> list[Chord]:
        if match["linux"]:
            return [(_LINUX[match["linux"]],)]
        if match["ss3"]:
            name = _LETTER.get(match["ss3"])
            return [(*_held(int(match["digit"] or 1)), name)] if name else []
        parts = [1 if not part else int(part) if part.isdecimal() and len(part) < 6 else 0
                 for part in re.split("[;:]", match["csi"])]
        modifiers = parts[1] if len(parts) > 1 else 1
        if match["final"] == "Z":
            return [("shift", "tab")]
        name = _TILDE.get(parts[0]) if match["final"] == "~" else _LETTER.get(match["final"])
        return [(*_held(modifiers), name)] if name else []
