r"""A script types for the user: one step a line, each done as soon as the one before it is.

    # boot, look, leave
    expect "# "             the console shows this text, after what the step before it has seen
    send "uname -a\n"       typed at the line's rate, from this moment of guest time on
    wait 1.5                seconds of guest time
    key ctrl-alt-delete     a key, or keys held together, of the PC's keyboard, by QEMU's names (sendkey)
    type "dir\n"            typed on that keyboard, a US one, at a person's rate of guest time
    mouse 10 -5 1           move right and down, and hold these buttons: 1 left, 2 right, 4 middle
    screenshot a.png        what the screen shows
    quit                    end here; so does the end of the file

`expect` is also met when the screen shows the text, whatever was there before; every 10 ms of guest time it is looked at.
Its rows are lines without the blanks at their ends.  Texts are in double quotes with Python's escapes: \n \r \t \e \\ \"
\xHH \uHHHH.  Everything happens at exact guest times, inside the machine's own callbacks, so a script runs the same way
every time.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass

from emu import bounded
from emu.boards.board import Board
from emu.boards.pc import PC
from emu.chips.scancodes import NAMES
from emu.host import keys

LIMIT = 1 << 20             # bytes of a script
VERBS = {"expect": 'expect "TEXT"', "send": 'send "TEXT"', "wait": "wait SECONDS", "key": "key NAME", "type": 'type "TEXT"',
         "mouse": "mouse DX DY [BUTTONS]", "screenshot": "screenshot FILE.png", "quit": "quit"}
LAST = 10                   # lines of the console in the message of a step that failed

_STEP = re.compile(r"""\s*(?P<verb>[^\s"\#]*)\s*(?P<text>"(?:[^"\\]|\\.)*"|[^\s"\#]*)\s*(?P<rest>(?:\#.*)?.*)""")
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|[0-7]{1,3}|.)", re.DOTALL)
_PLAIN = {"n": 10, "r": 13, "t": 9, "e": 27, "a": 7, "b": 8, "f": 12, "v": 11, "\\": 92, '"': 34, "'": 39}


class BadScript(ValueError):
    """A script with an error: one line, `file:line: what is wrong`."""


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a script: `verb`; `text` for expect, send and type, `ns` for wait, `words` for key, mouse, screenshot."""

    line: int
    source: str
    verb: str
    text: bytes = b""
    ns: int = 0
    words: tuple[str, ...] = ()


def read(path: str) -> list[Step]:
    """The steps of the script in the file `path`.  Raises BadScript."""
    try:
        data = bounded.read(path, LIMIT)
    except bounded.Unreadable as why:
        raise BadScript(f"{path}: cannot read the script: {why}") from None
    if len(data) > LIMIT:
        raise BadScript(f"{path}: longer than {LIMIT >> 20} MiB; it is no script")
    try:
        return parse(data.decode(), path)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadScript(f"{path}:{line}: not UTF-8; a byte can be written as \\x{data[error.start]:02x}") from None


def parse(source: str, name: str = "script") -> list[Step]:
    """The steps of a script; `name` is what messages call it.  Raises BadScript."""
    steps = []
    for number, line in enumerate(source.split("\n"), 1):
        text = line.strip()
        if text and not text.startswith("#"):
            try:
                steps.append(_step(number, text))
            except BadScript as error:
                raise BadScript(f"{name}:{number}: {error}") from None
    if not steps:
        raise BadScript(f"{name}: the script has no steps")
    return steps


def _step(number: int, line: str) -> Step:
    match = _STEP.fullmatch(line)
    if match is None:
        raise BadScript(f"a character that no step has: {line}")
    verb, text, rest = match["verb"], match["text"], match["rest"]
    if verb not in VERBS:
        raise BadScript(f"{verb or line!r} is no step; there are {', '.join(VERBS.values())}")
    if verb == "mouse":
        return _mouse(number, line)
    if rest and not rest.startswith("#"):
        if rest.startswith('"') and not text:
            raise BadScript(f"a quote is not closed: {line}")
        raise BadScript(f"{verb} is followed by more than it takes: {rest}")
    source = line[:len(line) - len(rest)].rstrip()
    if verb == "quit":
        if text:
            raise BadScript(f"quit takes nothing, not {text}")
        return Step(number, source, verb)
    if verb == "wait":
        return Step(number, source, verb, ns=_seconds(text))
    if verb == "key":
        for name in keys.chord(text):
            if name not in NAMES:
                raise BadScript(f"key takes a key's name, such as ret, f12 or ctrl-alt-delete, not {text or 'nothing'}")
        return Step(number, source, verb, words=(text,))
    if verb == "screenshot" and text and not text.startswith('"'):
        return Step(number, source, verb, words=(text,))
    if not text.startswith('"'):
        raise BadScript(f'{verb} takes a text in double quotes, not {text or "nothing"}')
    if text == '""':
        raise BadScript(f"{verb} takes a text that is not empty")
    value = _unquote(text[1:-1])
    if verb == "screenshot":
        return Step(number, source, verb, words=(os.fsdecode(value),))
    if verb == "type":
        try:
            keys.chords(value.decode("utf-8", "replace"))
        except ValueError as error:
            raise BadScript(f"type: {error}") from None
    return Step(number, source, verb, value)


def _mouse(number: int, line: str) -> Step:
    source = line.partition("#")[0].rstrip()
    words = source.split()[1:]
    try:
        values = [int(word) for word in words]
    except ValueError:
        values = []
    if not 2 <= len(values) <= 3 or any(abs(value) > 10_000 for value in values):
        raise BadScript(f"mouse takes DX DY and perhaps BUTTONS, such as mouse 10 -5 1, not {' '.join(words) or 'nothing'}")
    return Step(number, source, "mouse", words=tuple(words))


def _seconds(text: str) -> int:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= 1e9:                 # not of a NaN either
        raise BadScript(f"wait takes seconds, such as 2 or 0.5, not {text or 'nothing'}")
    return round(seconds * 1e9)


def _unquote(text: str) -> bytes:
    """\\xHH and octal are bytes; everything else is UTF-8."""
    out, at = bytearray(), 0
    for match in _ESCAPE.finditer(text):
        out += text[at:match.start()].encode()
        at = match.end()
        code = match[1]
        if code in _PLAIN:
            out.append(_PLAIN[code])
        elif code[0] in "01234567" and int(code, 8) < 256:
            out.append(int(code, 8))
        elif code[0] == "x" and len(code) == 3:
            out.append(int(code[1:], 16))
        elif code[0] in "uU" and len(code) > 1 and int(code[1:], 16) < 0x110000 and not 0xD800 <= int(code[1:], 16) < 0xE000:
            out += chr(int(code[1:], 16)).encode()
        else:
            raise BadScript(f"no escape \\{code}; there are \\n \\r \\t \\e \\\\ \\\" \\xHH \\uHHHH")
    return bytes(out + text[at:].encode())


class Player:
    """Plays `steps` on `machine`, from now on: `start()`, then run the machine; `done()` is called when all are done.

    `step` is the one that is not done yet, None at the end.  Raises BadScript for a step that the machine has no part for.
    `failure` says what the host could not do; then the script ends.
    """

    def __init__(self, machine: Board, steps: list[Step], done: Callable[[], None]) -> None:
        self.machine, self.steps, self.done = machine, steps, done
        self.at = 0
        self.seen = machine.console.end        # what lies before has been expected, or was there before us
        self.looked = self.seen                 # up to here the text of the current step is not there
        self.alarm = machine.clock.alarm(self._waited)
        self.playing = False
        self.failure: BadScript | None = None
        for step in steps:
            if step.verb in ("key", "type", "mouse", "screenshot") and not isinstance(machine, PC):
                raise BadScript(f"line {step.line}: {step.source}: this machine has no screen, keyboard and mouse")

    @property
    def step(self) -> Step | None:
        return self.steps[self.at] if self.at < len(self.steps) else None

    def start(self) -> None:
        """Do what can be done without the guest."""
        self.playing = True
        self._play()

    def output(self) -> None:
        """The console has grown."""
        if self.playing and self.at < len(self.steps) and self.steps[self.at].verb == "expect":
            self._play()

    def _waited(self) -> None:
        self.at += 1
        self._play()

    def _play(self) -> None:
        while (step := self.step) is not None:
            if step.verb == "expect":
                if not (self._find(step.text) or self.machine.shows(step.text)):
                    self._watch(True)
                    return
                self._watch(False)
            elif step.verb == "send":
                self.machine.send(step.text)
            elif step.verb == "wait":
                self.alarm.at(self.machine.now + step.ns)
                return
            elif step.verb == "quit":
                self.at = len(self.steps)
                break
            elif not self._do(step):
                break
            self.at += 1
        self.playing = False
        self.done()

    def _do(self, step: Step) -> bool:
        """What is done at the screen, the keyboard and the mouse; False if the host could not."""
        machine = self.machine
        assert isinstance(machine, PC)
        if step.verb == "key":
            machine.key(step.words[0])
        elif step.verb == "type":
            machine.type(step.text.decode("utf-8", "replace"))
        elif step.verb == "mouse":
            machine.mouse(*[int(word) for word in step.words])
        else:
            try:
                machine.screenshot(step.words[0])
            except (OSError, ValueError) as error:      # ValueError: a NUL in the name
                why = getattr(error, "strerror", None) or error
                self.failure = BadScript(f"line {step.line}: {step.words[0]} cannot be written: {why}")
                return False
        return True

    def _watch(self, on: bool) -> None:
        """Look at the screen, too, while an expect waits."""
        watch = self.machine.watch
        if on and self.output not in watch.lookers and self.machine.screen is not None:
            watch.add(self.output)
        elif not on:
            watch.remove(self.output)

    def _find(self, text: bytes) -> bool:
        console = self.machine.console
        found = console.find(text, max(self.seen, self.looked - len(text) + 1))
        if found < 0:
            self.looked = console.end
            return False
        self.seen = self.looked = found + len(text)
        return True


def last_lines(console: bytes | bytearray) -> list[str]:
    """The end of what the console shows, for a person: the last lines, without control characters."""
    text = bytes(console[-LAST * 200:]).decode("utf-8", "replace")
    text = re.sub(r"\x1b(\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])", "", text).replace("\r", "")
    lines = ["".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line.replace("\t", " "))
             for line in text.split("\n")]
    while lines and not lines[-1].strip():
        lines.pop()
    return lines[-LAST:]
