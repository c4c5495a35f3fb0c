"""Keystone with its traps closed: Intel syntax in, bytes out.

The language is that of GNU as in Intel syntax: `#` starts a comment, `;` separates statements, directives start with a
dot, and .macro, .rept, .irp and .if work.  A plain symbol is its value and `[symbol]` is memory: there is no `offset`.
Added here: `.include`, and labels that are local to the label before them (`.loop:`).

Keystone 0.9.2 is LLVM's assembler with its error messages cut off.  It gives no line numbers, ignores some bad
directives, hangs on others, and encodes a few instructions as something else than what they say.  What it would get
wrong in silence is refused here, by line.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import keystone

_MODES = {16: keystone.KS_MODE_16, 32: keystone.KS_MODE_32, 64: keystone.KS_MODE_64}


class AssemblyError(ValueError):
    """The source does not assemble; the message names the line."""


def assemble(source: str, address: int = 0, bits: int = 64) -> bytes:
    """Machine code of `source`, to be placed at linear `address`.

    `bits` is the size of the code segment at the start: 16, 32 or 64.  Raises AssemblyError.
    """
    return _encode(list(_statements(source, "line")), address, bits)


def assemble_plain(source: str, address: int) -> bytes:
    """As `assemble`, in 64-bit mode, for code of labels, literals and registers only: nothing is checked or put right."""
    code, error = _try([], address, 64, source)
    if error:
        return assemble(source, address)     # which says where the error is
    return code


def assemble_file(path: Path, defines: Mapping[str, int] | None = None, bits: int = 32) -> bytes:
    """A flat binary from one .asm file, its includes, and the symbols in `defines`.

    An `.org` with a literal address before the first byte is the load address; a later one pads up to an address.
    Raises AssemblyError, as `file:line: message: source line`.
    """
    lines = [_Line("defines", 0, f".set {name}, {value}") for name, value in (defines or {}).items()]
    address = 0
    for line in _read(path):
        if line.word == ".org" and not address and all(before.word in _NO_BYTES for before in lines):
            try:
                address = int(line.operands, 0)
            except ValueError:
                raise line.error("the load address must be a literal") from None
        else:
            lines.append(line)
    return _encode(lines, address, bits)


# Reading ------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class _Line:
    """One statement and where it stands."""

    file: str
    number: int
    text: str
    source: str = ""                         # what stands there, where `text` is made of it

    @functools.cached_property
    def parts(self) -> tuple[str, str, str]:
        """Label with its colon, first word, operands: each may be empty."""
        match = re.match(r"((?:[\w.$@\\()]+:\s*)?)(\S*)\s*(.*)", self.text)
        assert match
        return match[1].strip(), match[2].lower(), match[3]

    @property
    def word(self) -> str:
        return self.parts[1]

    @property
    def operands(self) -> str:
        return self.parts[2]

    def error(self, message: str) -> AssemblyError:
        where = f"line {self.number}" if self.file == "line" else f"{self.file}:{self.number}"
        return AssemblyError(f"{where}: {message}: {self.source or self.text}")


_TOKEN = re.compile(r"""(?:"(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)' | [^"';#] )""", re.VERBOSE)


def _statements(source: str, file: str) -> Iterator[_Line]:
    """The statements of `source`, without comments; strings and characters keep their `#` and `;`."""
    for number, text in enumerate(source.splitlines(), 1):
        start = at = 0
        while at < len(text) and text[at] != "#":
            token = _TOKEN.match(text, at)
            if token:
                at = token.end()
            elif text[at] == ";":
                if text[start:at].strip():
                    yield _Line(file, number, text[start:at].strip())
                start = at = at + 1
            else:
                raise _Line(file, number, text.strip()).error("a quote is not closed")
        if text[start:at].strip():
            yield _Line(file, number, text[start:at].strip())


def _read(path: Path, depth: int = 0) -> Iterator[_Line]:
    try:
        source = path.read_text(encoding="utf-8")
    except OSError as error:
        raise AssemblyError(f"{path.name}: {error.strerror}") from None
    for line in _statements(source, path.name):
        if line.word != ".include":
            yield line
            continue
        name = re.fullmatch(r'"([^"]+)"', line.operands)
        if not name or not (path.parent / name[1]).is_file() or depth > 8:
            raise line.error("cannot include")
        yield from _read(path.parent / name[1], depth + 1)


# Traps --------------------------------------------------------------------------------------------

_ALONE = (".code16", ".code32", ".code64", ".else", ".endif", ".endm", ".endr", ".exitm", ".text")     # no operand
_NO_BYTES = (".set", ".equ", ".code16", ".code32", ".code64", ".if", ".ifdef", ".ifndef", ".else", ".endif")
_OPENS = (".macro", ".rept", ".irp")
_CLOSES = (".endm", ".endr")
_COUNTS = (".fill", ".space", ".skip", ".zero", ".rept", ".align", ".balign", ".p2align", ".if")
_DIRECTIVES = {                              # keystone drops the others in silence: .section .incbin .error .comm ...
    *_ALONE, *_NO_BYTES, *_OPENS, *_COUNTS, ".org", ".ascii", ".asciz", ".byte", ".word", ".short", ".long", ".int",
    ".quad", ".elseif", ".global", ".globl",
}
_NAME = re.compile(r"(?<![\w.$@\\])[A-Za-z_.$][\w.$]*")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)\'')
_REGISTER = re.compile(
    r"[er]?[abcd]x|[abcd][lh]|[er]?[sd]il?|[er]?[sb]pl?|[er]ip|r\d+[dwb]?|[cdefgs]s|[cd]r\d+|st", re.IGNORECASE)

# Per code size: what keystone encodes as another instruction, and what to write instead.
_LIES = {bits: [(re.compile(pattern, re.IGNORECASE), hint) for pattern, hint in rows] for bits, rows in {
    16: [(r"push\s+-?\d", "pushes 32 bits; push a register"),
         (r"retf", "is a 32-bit far return; write .byte 0xCB"),
         (r"call\s+([abcd]x\b|[sd]i\b|bp\b|.*\[)", "pushes 16 bits but `ret` pops 32; call a label"),
         (r".*\bds:\[bp", "drops the prefix and reads the stack segment; use another register")],
    32: [(r"iret$", "is a 16-bit IRET; write iretd"),
         (r"(push|pop)\s+[cdes]s$", "moves 16 bits; go through a register"),
         (r"push\s+(dword|word)(?!.*\[)", "pushes 16 bits; write a plain number, or push a register"),
         (r"[ls][gi]dt\b", "has a 16-bit operand, which drops the base's top byte; write its bytes"),
         (r"l?(jmp|call)\s+\w+\s*:", "has a 16-bit operand; push selector and offset, then retf")],
    64: [(r"iret$", "is a 16-bit IRET; write iretq"),
         (r"retf$", "pops 32-bit values; write retfq")],
}.items()}


def _check(lines: list[_Line], bits: int) -> None:
    """Refuse what keystone would hang on or assemble into something else."""
    constants: set[str] = set()
    for line in lines:
        word, bare = line.word, _QUOTED.sub("0", line.operands)
        names = [name for name in _NAME.findall(bare) if not _REGISTER.fullmatch(name)]
        if not line.text.isascii():
            raise line.error("only ASCII outside comments")
        if word.startswith(".") and word not in _DIRECTIVES:
            raise line.error("unknown directive")
        if word in (".ascii", ".asciz") and not re.fullmatch(r'"[^"\\]*(?:\\[0-7bfnrt"\\][^"\\]*)*"', line.operands):
            raise line.error("needs one string, with octal escapes")
        if word in _DIRECTIVES and (not line.operands) != (word in _ALONE):
            raise line.error("takes no operand" if line.operands else "needs an operand")
        if word in (".set", ".equ"):
            name, _, value = (part.strip() for part in bare.partition(","))
            if set(_NAME.findall(value)) <= constants:
                constants.add(name)
        elif word in _COUNTS and "\\" not in bare and not set(names) <= constants:
            raise line.error("must be a constant that is known here (pad to a label with .org)")
        elif word == ".fill" and re.search(r",\s*(9|\d\d+)\s*(,|$)", bare):
            raise line.error("the size is at most 8")
        elif word in (".code16", ".code32", ".code64"):
            bits = int(word[5:])
        elif not word.startswith("."):
            for pattern, hint in _LIES[bits]:
                if pattern.match(f"{word} {line.operands}".strip()):
                    raise line.error(f"keystone's `{word}` here {hint}")
            load = re.fullmatch(r"r(?!ax\b)\w+\s*,\s*(?:qword\s+ptr\s*)?(?:ds:)?\[([^\]]*)\]", bare, re.IGNORECASE)
            if word == "mov" and bits == 64 and load and set(_NAME.findall(load[1])) <= constants:
                raise line.error("keystone takes this constant for a distance from RIP; load it into a register")
            if word == "push" and bits == 32 and names and "[" not in bare:
                raise line.error("keystone pushes only the symbol's low byte, as 16 bits; push a register")


def _localise(lines: list[_Line]) -> list[_Line]:
    """`.loop:` belongs to the last label without a dot: rename it, and its uses, to `that.loop`."""
    scope, scopes, out = "", [], []
    for line in lines:
        label = line.parts[0]
        if label and not label.startswith(".") and "\\" not in label:
            scope = label[:-1]
        scopes.append(scope)
    local = {(scope, line.parts[0][:-1]) for scope, line in zip(scopes, lines) if line.parts[0].startswith(".")}
    for scope, line in zip(scopes, lines):
        names = {re.escape(name) for owner, name in local if owner == scope}
        out.append(_Line(line.file, line.number, _prefix(line.text, names, scope) if names else line.text, line.text))
    return out


def _prefix(text: str, names: set[str], scope: str) -> str:
    use = rf"{_QUOTED.pattern}|(?<![\w.\\])(?:{'|'.join(names)})(?![\w.])"
    return re.sub(use, lambda match: scope + match[0] if match[0].startswith(".") else match[0], text)


_PLAIN = re.compile(r"""([\w.$]+(\s*[-+]\s*\d\w*)*)?""")     # what keystone reads as it stands


def _name_sums(lines: list[_Line]) -> list[_Line]:
    """Name sums of symbols by .set, where keystone would take the last symbol for the sum: `[a + b * 4]`, `5 - a`."""
    out: list[_Line] = []
    depth = 0
    for line in lines:
        depth += (line.word in _OPENS) - (line.word in _CLOSES)
        label, word, operands = line.parts
        if word.startswith(".") or '"' in operands or not _NAME.search(operands):    # a string is for a macro
            out.append(line)
            continue
        sums: list[str] = []
        text = re.sub(r"\[([^\]]*)\]", lambda match: f"[{_address(match[1], len(out), sums)}]", operands)  # noqa: B023
        fields = re.split(r",(?![^\[]*\])(?=(?:[^']*'[^']*')*[^']*$)", text)
        text = ",".join(field if "[" in field else _value(field, len(out), sums) for field in fields)
        if sums and depth:
            raise line.error("too much for keystone within a block; .set the sum outside")
        out += [_Line(line.file, line.number, text, line.source) for text in sums]
        out.append(_Line(line.file, line.number, f"{label} {word} {text}" if sums else line.text, line.source))
    return out


def _symbols(expression: str) -> list[str]:
    return [name for name in _NAME.findall(_QUOTED.sub("0", expression)) if not _REGISTER.fullmatch(name)]


def _named(expression: str, line: int, sums: list[str]) -> str:
    name = f"sum.{line}.{len(sums)}"
    sums.append(f".set {name}, {expression}")
    return name


def _address(expression: str, line: int, sums: list[str]) -> str:
    """What stands in brackets: the registers as they are, and the rest as one symbol."""
    terms = re.findall(r"[-+]?(?:\([^()]*\)|[^-+()])+", expression)
    rest = "".join(term for term in terms if len(_symbols(term)) or not _NAME.search(term)).strip()
    if not _symbols(rest) or _PLAIN.fullmatch(rest.removeprefix("+").strip()):
        return expression
    registers = "".join(term for term in terms if not _symbols(term) and _NAME.search(term)).strip(" +")
    return f"{registers} + {_named(rest, line, sums)}" if registers else _named(rest, line, sums)


def _value(expression: str, line: int, sums: list[str]) -> str:
    """An operand without brackets."""
    expression = expression.strip()
    if not _symbols(expression) or _PLAIN.fullmatch(expression) or re.search(r"[\\:]|\w\s+\w", expression):
        return expression
    return _named(expression, line, sums)


# Encoding -----------------------------------------------------------------------------------------

@functools.cache
def _assembler(bits: int) -> keystone.Ks:
    for _ in range(16):                      # its radix option is left uninitialised: in some processes 10 is sixteen
        ks = keystone.Ks(keystone.KS_ARCH_X86, _MODES[bits])
        if bytes(ks.asm("mov al, 10")[0]) == b"\xb0\x0a":
            return ks
    raise AssemblyError("keystone reads decimal literals as hexadecimal in this process; start it again")


def _encode(lines: list[_Line], address: int, bits: int) -> bytes:
    _check(lines, bits)
    lines = _name_sums(_localise(lines))
    code, error = _try(lines, address, bits)
    if error:
        raise _blame(lines, error, address, bits)
    return code


def _try(lines: list[_Line], address: int, bits: int, text: str = "") -> tuple[bytes, keystone.KsError | None]:
    try:
        code, _ = _assembler(bits).asm(text or "\n".join(line.text for line in lines), address, as_bytes=True)
    except keystone.KsError as error:
        return b"", error
    return code or b"", None


def _blame(lines: list[_Line], error: keystone.KsError, address: int, bits: int) -> AssemblyError:
    """The first line that, with of the lines after it only the labels, gives the same error."""
    message = re.sub(r" \(KS_ERR\w*\)", "", str(error))
    ends: list[int] = []                     # where the source may be cut ...
    open_ifs: list[int] = []                 # ... and how many .endif that takes
    depth = 0
    linked = error.errno in (keystone.KS_ERR_ASM_SYMBOL_MISSING, keystone.KS_ERR_ASM_FIXUP_INVALID)
    for index, line in enumerate(lines):
        depth += (line.word in _OPENS) - (line.word in _CLOSES)
        open_ifs.append((open_ifs[-1] if open_ifs else 0) + line.word.startswith(".if") - (line.word == ".endif"))
        if depth == 0:
            ends.append(index + 1)
    low, high = 0, len(ends) - 1             # the first cut that fails in the same way
    while low < high:
        middle = (low + high) // 2
        end = ends[middle]
        tail = [_Line("", 0, ".endif")] * open_ifs[end - 1]
        for line in lines[end:] if linked else ():
            if "\\" not in line.text and (line.parts[0] or line.word in (".set", ".equ")):
                tail.append(_Line("", 0, line.parts[0] or line.text))
        _, now = _try(lines[:end] + tail, address, bits)
        if now and now.errno == error.errno:
            high = middle
        else:
            low = middle + 1
    if not ends:
        return AssemblyError(f"{lines[0].file}: {message}: a block is not closed")
    return lines[ends[low - 1] if low else 0].error(message[0].lower() + message[1:])
