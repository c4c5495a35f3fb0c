"""From a file to a medium: which format it is, what lies below it, and where the guest's writes go."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Any

from emu.host.disk import vdi, vhd, vhdx, vmdk
from emu.host.disk.file import File, ImageError, becoming
from emu.host.disk.medium import Image, Raw
from emu.host.disk.qcow2 import header as qcow2_header
from emu.host.disk.qcow2.create import create
from emu.host.disk.qcow2.reader import Qcow2Reader
from emu.host.disk.qcow2.writer import Qcow2
from emu.host.disk.scratch import Scratch
from emu.host.disk.vdi import Vdi
from emu.host.disk.vhd import Vhd
from emu.host.disk.vhdx import Vhdx
from emu.host.disk.vmdk import open_vmdk

DEPTH = 16                      # images over images
_WRITABLE = ("raw", "qcow2")


def _open_qcow2(file: File, above: list[os.stat_result]) -> Image:
    header = qcow2_header.read(file)
    backing = None
    if header.backing is not None:
        backing = _chain(_below(file.path, header.backing), _backing_kind(file.path, header.backing_format), False, above)
    try:
        return (Qcow2 if file.writable else Qcow2Reader)(file, header, backing)
    except BaseException:
        if backing is not None:
            backing.close()
        raise


_OPENERS: dict[str, Callable[[File], Image]] = {"vmdk": open_vmdk, "vdi": Vdi, "vhd": Vhd, "vhdx": Vhdx}
FORMATS = ("raw", "qcow2", *_OPENERS)
_QEMUS = {"vhd": "vpc"}         # what QEMU calls it, and so what a qcow2 image over it says
_OURS = {"vpc": "vhd", "file": "raw", "host_device": "raw"}        # a protocol: QEMU takes what lies there as raw bytes


def probe(file: File) -> str:
    """The format of a file, by its content; what no other format claims is raw.  Raises OSError."""
    found = claimed(file.start())
    return "vhd" if found is None and vhd.footer(file) else found or "raw"


def claimed(first: bytes) -> str | None:
    """The format whose image begins with the sector `first`."""
    if first.startswith(qcow2_header.MAGIC):
        return "qcow2"
    if first.startswith((vmdk.SPARSE, vmdk.ESX)) or vmdk.is_descriptor(first):
        return "vmdk"
    if first.startswith(vhdx.SIGNATURE):
        return "vhdx"
    if first.startswith(vhd.COOKIE):
        return "vhd"
    return "vdi" if first[vdi.SIGNATURE_AT:].startswith(vdi.SIGNATURE) else None


def stays_raw(first: bytes) -> bool:
    """Whether a disk whose first sector this is would be taken for raw."""
    return claimed(first) is None


def open_image(path: str | os.PathLike[str], *, write: bool = False, overlay: str | os.PathLike[str] | None = None,
               kind: str | None = None) -> Image:
    """The medium in the file `path`, of the format `kind` or the one that its content tells.

    Without more, the file never changes: what is written is gone at `close()`.  `overlay`: it lives in this file, a qcow2
    image over `path`, which is made if there is none.  `write`: it goes into `path`.  Raises ImageError.
    """
    name = os.fspath(path)
    if write and overlay is not None:
        raise ImageError(f"{name}: it cannot both be written and have an overlay")
    if kind is not None and kind not in FORMATS:
        raise ImageError(f"{name}: no format {kind!r}; there are {', '.join(FORMATS)}")
    if overlay is not None:
        return _overlaid(name, os.fspath(overlay), kind)
    if write:
        return _chain(name, kind, True, [])
    base = _chain(name, kind, False, [])
    try:
        return Scratch(base)
    except BaseException:
        base.close()
        raise


def open_readonly(path: str | os.PathLike[str], kind: str | None = None) -> Image:
    """As open_image, but nothing can be written: a CD.  Raises ImageError."""
    return _chain(os.fspath(path), kind, False, [])


def _chain(path: str, kind: str | None, write: bool, above: list[os.stat_result]) -> Image:
    """An image with all that is below it; `above` are the files that lead here."""
    file = _file(path, write)
    with becoming(file, path):
        here = os.fstat(file.fd)
        if any(os.path.samestat(here, other) for other in above):
            raise ImageError(f"{path}: the image lies below itself")
        if len(above) >= DEPTH:
            raise ImageError(f"{path}: more than {DEPTH} images over each other; join some with qemu-img rebase")
        found = kind or probe(file)
        if write and found not in _WRITABLE:
            raise ImageError(f"{path}: a {found} image can only be read; leave out --write, or make a qcow2 image of it "
                             "with qemu-img convert")
        return _opened(file, found, kind is None, [*above, here])


def _file(path: str, write: bool) -> File:
    return File(path, write=write)


def _opened(file: File, kind: str, guessed: bool, above: list[os.stat_result]) -> Image:
    if not file.size:
        raise ImageError(f"{file.path}: the file is empty")
    if kind == "qcow2":
        return _open_qcow2(file, above)
    if kind in _OPENERS:
        return _OPENERS[kind](file)
    return Raw(file, guard=stays_raw if guessed else None)


def _backing_kind(path: str, kind: str | None) -> str | None:
    if kind is None or kind in FORMATS or kind in _OURS:
        return _OURS.get(kind, kind) if kind else None
    raise ImageError(f"{path}: the image below it is of format {kind!r}, and only {', '.join(FORMATS)} can be read")


def _below(path: str, name: str) -> str:
    """The file that an image at `path` calls `name`: relative names start at the image."""
    protocol, colon, rest = name.partition(":")
    if colon and "/" not in protocol:
        if protocol != "file":
            raise ImageError(f"{path}: the image below it is {name}, and only files can be opened")
        name = rest.removeprefix("//") if rest.startswith("///") else rest
    if not name or "\0" in name:
        raise ImageError(f"{path}: the name of the image below it is damaged")
    return os.path.join(os.path.dirname(os.path.realpath(path)), name)


def _overlaid(path: str, overlay: str, kind: str | None) -> Image:
    """The overlay's image, over `path` and nothing else."""
    if not os.path.lexists(overlay):
        with _chain(path, kind, False, []) as base:
            real = os.path.realpath(path)
            beside = os.path.dirname(real) == os.path.dirname(os.path.realpath(overlay))
            create(overlay, base.size, backing=os.path.basename(real) if beside else real,
                   backing_format=_QEMUS.get(base.format, base.format))
    file = _file(overlay, True)
    with becoming(file, overlay):
        found = probe(file)
        if found != "qcow2":
            raise ImageError(f"{overlay}: not an overlay but a {found} image; name a new file, or a qcow2 image over {path}")
        header = qcow2_header.read(file)
        below = header.backing and _below(overlay, header.backing)
        if not below or not _same(below, path):
            raise ImageError(f"{overlay}: an overlay of {below or 'no image'}, not of {path}")
        if kind is not None and _backing_kind(overlay, header.backing_format) not in (None, kind):
            raise ImageError(f"{overlay}: an overlay of a {header.backing_format} image, and {path} is to be {kind}")
        return _opened(file, "qcow2", False, [os.fstat(file.fd)])


def _same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def describe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What an image is, as names and values: file, format, virtual_size, file_size and disk_size in bytes, and more that
    the format says (backing, snapshots, cluster_size, extents, ...).  What lies below is not opened.  Raises ImageError.
    """
    name = os.fspath(path)
    file = File(name)
    try:
        status = os.fstat(file.fd)
        kind = probe(file)
        found: dict[str, Any] = {"file": name, "format": kind}
        if kind == "qcow2":
            found.update(_describe_qcow2(file))
        else:
            image = _opened(file, kind, True, [])
            found["virtual_size"] = image.size
            if isinstance(image, vmdk.Joined):
                found["extents"] = [extent.path for extent in image.extents]
            image.close()
        found["file_size"] = file.size
        found["disk_size"] = status.st_blocks * 512 if stat.S_ISREG(status.st_mode) else file.size
        return found
    except OSError as error:
        raise ImageError(f"{name}: cannot be read: {error.strerror or error}") from None
    finally:
        file.close()


def _describe_qcow2(file: File) -> dict[str, Any]:
    header = qcow2_header.read(file)
    found: dict[str, Any] = {"virtual_size": header.size, "version": header.version, "cluster_size": header.cluster}
    if header.backing is not None:
        found["backing"] = header.backing
        found["backing_format"] = header.backing_format
    if header.zstd:
        found["compression"] = "zstd"
    for bit, word in ((qcow2_header.DIRTY, "dirty"), (qcow2_header.CORRUPT, "corrupt"),
                      (qcow2_header.EXTENDED, "subclusters")):
        if header.incompatible & bit:
            found[word] = True
    found["snapshots"] = [
        {"id": snapshot.id, "name": snapshot.name, "seconds": snapshot.seconds, "vm_state": snapshot.vm_state,
         "size": snapshot.size} for snapshot in qcow2_header.snapshots(file, header)[0]]
    return found


