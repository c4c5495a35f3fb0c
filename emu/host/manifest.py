"""images/manifest.toml, read strictly: what can be booted by name, where it is from, which version was last tested.

The file's own head describes its fields.  A field that is missing, unknown or of the wrong type is a FetchError that
names it: a misspelt field must not be silently ignored.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

Progress = Callable[[str, float | None], None]
"""What is being done, and how much of it (0.0 to 1.0; None: unknown)."""

KINDS = ("linux", "multiboot", "elf", "flat", "disk", "cdrom", "floppy", "bios", "part")
ROLES = ("kernel", "initrd", "disk", "cdrom", "floppy", "bios", "vgabios", "file")

_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_NAME = re.compile(r"[a-z0-9][a-z0-9.+_-]*")


class FetchError(Exception):
    """An image cannot be had; the message is one line for the user."""


@dataclass(frozen=True)
class Origin:
    """Where an image is from; `version` is the one last tested, `download` its size in bytes.

    For a recipe, `package` is its name, `inputs` are the images that it takes files of, and `tools` the programs and files
    of this machine that it needs, each with the Debian package that has it.
    """

    source: str
    package: str
    architecture: str
    version: str
    download: int
    inputs: tuple[str, ...] = ()
    tools: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Member:
    """One file of a package; `sha256` and `size` (bytes) are those of the version last tested, before it is unpacked.

    What a recipe makes has neither: its inputs have.
    """

    path: str
    sha256: str = ""
    size: int = 0
    gzip: bool = False


@dataclass(frozen=True)
class Entry:
    """One image of the manifest; `memory` and `minimum` in bytes, `files` by role (one of ROLES; of a part, any name)."""

    name: str
    what: str
    kind: str
    licence: str
    append: str
    memory: int
    minimum: int
    tests: tuple[str, ...]
    origin: Origin
    files: Mapping[str, Member]


class _Table:
    """A TOML table that is emptied field by field; what is left at the end is unknown."""

    def __init__(self, where: str, table: object):
        if not isinstance(table, dict):
            raise FetchError(f"the image manifest: {where} is not a table")
        self.where, self.fields = where, dict(table)

    def take(self, field: str, kind: type, default: Any = None) -> Any:
        value = self.fields.pop(field, default)
        if value is None:
            raise FetchError(f"the image manifest: {self.where} has no {field}")
        if not isinstance(value, kind) or isinstance(value, bool):
            raise FetchError(f"the image manifest: {self.where}.{field} is no {kind.__name__}")
        return value

    def bytes(self, field: str) -> int:
        text = self.take(field, str)
        match = re.fullmatch(r"([1-9][0-9]*)([KMG])", text)
        if not match:
            raise FetchError(f"the image manifest: {self.where}.{field} is {text!r}, not a size like 512M")
        return int(match[1]) * _UNITS[match[2]]

    def one_of(self, field: str, choices: tuple[str, ...]) -> str:
        value = self.take(field, str)
        if value not in choices:
            raise FetchError(f"the image manifest: {self.where}.{field} is {value!r}, not one of {' '.join(choices)}")
        return str(value)

    def end(self) -> None:
        if self.fields:
            raise FetchError(f"the image manifest: {self.where} has an unknown field {next(iter(self.fields))}")


def _origin(where: str, table: object) -> Origin:
    fields = _Table(where, table)
    source = fields.one_of("from", ("apt", "pypi", "recipe"))
    if source == "recipe":
        tools = _Table(f"{where}.tools", fields.take("tools", dict, {})).fields
        origin = Origin(source, fields.take("recipe", str), "", fields.take("version", str), 0,
                        tuple(str(name) for name in fields.take("inputs", list, [])),
                        {str(tool): str(package) for tool, package in tools.items()})
    else:
        origin = Origin(source, fields.take("package", str), fields.take("architecture", str, "all"),
                        fields.take("version", str), fields.take("download", int))
    fields.end()
    return origin


def _member(where: str, table: object, source: str) -> Member:
    fields = _Table(where, table)
    path = fields.take("member", str)
    if source == "recipe":
        member = Member(path)
    else:
        member = Member(path, fields.take("sha256", str), fields.take("size", int), fields.take("unpack", str, "") == "gzip")
    fields.end()
    return member


def _entry(name: str, table: object) -> Entry:
    if not _NAME.fullmatch(name):  # it becomes the name of a directory
        raise FetchError(f"the image manifest: {name!r} is no name for an image")
    fields = _Table(name, table)
    files = _Table(f"{name}.files", fields.take("files", dict)).fields
    kind = fields.one_of("kind", KINDS)
    for role in files:
        if not (_NAME.fullmatch(role) if kind == "part" else role in ROLES):       # it becomes part of a file's name
            raise FetchError(f"the image manifest: {name}.files.{role} is not one of {' '.join(ROLES)}")
    origin = _origin(f"{name}.origin", fields.take("origin", dict))
    entry = Entry(
        name=name,
        what=fields.take("what", str),
        kind=kind,
        licence=fields.take("licence", str),
        append=fields.take("append", str, ""),
        memory=fields.bytes("memory"),
        minimum=fields.bytes("minimum"),
        tests=tuple(str(test) for test in fields.take("tests", list)),
        origin=origin,
        files={role: _member(f"{name}.files.{role}", member, origin.source) for role, member in files.items()},
    )
    fields.end()
    if not entry.files:
        raise FetchError(f"the image manifest: {name} has no files")
    return entry


def parse(text: str) -> dict[str, Entry]:
    """The entries of a manifest by name, in its order.  Raises FetchError."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FetchError(f"the image manifest: {error}") from None
    return {name: _entry(name, table) for name, table in tables.items()}


def entries() -> dict[str, Entry]:
    """The entries of the manifest that came with this program.  Raises FetchError."""
    try:
        text = resources.files("emu.images").joinpath("manifest.toml").read_text(encoding="utf-8")
    except (ImportError, OSError) as error:
        raise FetchError(f"the image manifest cannot be read: {error}; is emu installed?") from None
    return parse(text)


def entry(name: str) -> Entry:
    """One entry; an unknown name is a FetchError that lists the known ones."""
    known = entries()
    if name not in known:
        raise FetchError(f"no image is called {name!r}; known: {', '.join(known)}")
    return known[name]
