"""A file that somebody named, as bytes: never more of it than is of use."""

from __future__ import annotations

from pathlib import Path


class Unreadable(Exception):
    """The file cannot be read; the message says why, and no name."""


def read(path: str | Path, limit: int) -> bytes:
    """A file's bytes, `limit` + 1 of them where it has more than `limit`.  Raises Unreadable."""
    try:
        with open(path, "rb") as file:
            return file.read(limit + 1)
    except (OSError, ValueError) as error:          # ValueError: a NUL in the name
        raise Unreadable(getattr(error, "strerror", None) or str(error)) from None
