"""The disks, discs and diskettes of a machine as files on the host: how each is opened, and that it is the same one later."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from emu.chips.floppy import format_of
from emu.host.disk import Image, ImageError, open_image, open_readonly

Role = Literal["disk", "cdrom", "floppy"]
ROLES: tuple[Role, ...] = ("disk", "cdrom", "floppy")


@dataclass(frozen=True)
class DriveFile:
    """A file in a drive.  What is written goes into the file (`write`), into the file `overlay`, or is gone with the run."""

    role: Role
    path: str
    overlay: str | None = None
    write: bool = False

    def open(self) -> Image:
        """The medium.  Raises ImageError."""
        if self.role == "cdrom":
            return open_readonly(self.path)
        image = open_image(self.path, write=self.write, overlay=self.overlay)
        if self.role == "floppy":
            try:
                format_of(image.size)
            except ValueError as error:
                image.close()
                raise ImageError(f"{self.path}: {error}") from None
        return image


class Drives:
    """The drives of one machine with their media open; `opened` pairs them."""

    def __init__(self, drives: Iterable[DriveFile] = ()) -> None:
        self.opened: list[tuple[DriveFile, Image]] = []
        try:
            for drive in drives:
                self.opened.append((drive, drive.open()))
        except BaseException:
            with contextlib.suppress(OSError):
                self.close()
            raise

    def media(self, role: Role) -> list[Image]:
        """The media of the drives of one kind, in their order."""
        return [image for drive, image in self.opened if drive.role == role]

    def close(self) -> None:
        """Close all; idempotent.  Raises OSError if something that was written could not be kept."""
        failed = None
        for _, image in self.opened:
            try:
                image.close()
            except OSError as error:
                failed = failed or OSError(error.errno, error.strerror, image.path)
        self.opened = []
        if failed is not None:
            raise failed


def fingerprint(image: Image) -> list[list[int]]:
    """[size, time of the last change in ns] of every file that `image` is read from, after all is written.  Raises OSError.

    A file that was only copied counts as another one; a device, whose time says nothing, as it is.
    """
    image.settle()
    found = []
    for file in image.files():
        status = os.fstat(file.fd)
        found.append([file.size, status.st_mtime_ns if stat.S_ISREG(status.st_mode) else 0])
    return found


def absolute(drives: Sequence[DriveFile]) -> tuple[DriveFile, ...]:
    """The same drives for a process that runs in another directory."""
    return tuple(replace(drive, path=os.path.abspath(drive.path), overlay=drive.overlay and os.path.abspath(drive.overlay))
                 for drive in drives)
