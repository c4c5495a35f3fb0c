"""A machine in a file: `save(machine, path)`, and in any later process `machine = load(path)`, which goes on exactly.

The file is a zip archive: state.json (version, how the board was built, processor, chips), console (what it has shown, as
far as it is kept), start, the firmware's ROMs, and one member per memory, as records of an address, a length and so many
bytes, in which zero pages are left out.  A drive is kept as the names of its files, which must be there unchanged when the
machine goes on, and as what the guest wrote if that was to be gone with the run.

Not kept: what the host attached (channels, scripts, limits), notes, and what is under way in the host's own queues.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Container, Iterator
from datetime import datetime
from typing import IO, Any

from emu.boards.board import BadBoard, Board
from emu.boards.console import LIMIT
from emu.boards.drives import ROLES, DriveFile, Drives, absolute, fingerprint
from emu.boards.pc import BOOT, PC, START
from emu.boards.tiny import Tiny
from emu.device import In, Reg, State, Window
from emu.engine import Costs, EngineError
from emu.host.disk import ImageError
from emu.host.disk.scratch import Scratch
from emu.host.files import replacing
from emu.loaders import Start
from emu.machine import canonical

VERSION = 2
BOARDS: dict[str, type[Board]] = {"pc": PC, "tiny": Tiny}
HOST = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
PAGE = 4096
RUN = 1 << 20                       # bytes of one record at most
_HEAD = struct.Struct("<QI")        # address, length
_ROM = 16 << 20                     # bytes of a ROM at most
_STATE_LIMIT = 64 << 20             # bytes of state.json: a machine's is some ten thousand
_ZEROS = bytes(RUN)


class BadSnapshot(ValueError):
    """A file that is no snapshot, or one that cannot be used: one line that says which and why."""


@dataclasses.dataclass(frozen=True)
class Configuration:
    """How a board is built: what a snapshot needs besides its state."""

    machine: str
    memory: int
    cpu: str = "qemu64"
    costs: Costs = dataclasses.field(default_factory=Costs)
    rtc: datetime | None = None
    firmware: bytes | None = None
    vga_bios: bytes | None = None
    boot: str = BOOT
    menu: bool = False
    drives: tuple[DriveFile, ...] = ()

    def build(self) -> Board:
        """A new board, with its drives open.  Raises BadBoard, EngineError, ImageError."""
        if self.memory > HOST:
            raise BadBoard(f"a memory of {self.memory >> 20} MiB is more than this host has, {HOST >> 20} MiB")
        if self.machine == "tiny":
            return Tiny(self.memory, self.cpu, self.costs)
        drives = Drives(self.drives)
        try:
            disks, discs, diskettes = (drives.media(role) for role in ROLES)
            machine = PC(self.memory, self.cpu, self.costs, rtc=self.rtc or START, firmware=self.firmware,
                         vga_bios=self.vga_bios, boot=self.boot, menu=self.menu, disks=disks,
                         cdrom=discs[0] if discs else None, floppies=diskettes or (None,))
        except BaseException:
            with contextlib.suppress(OSError):
                drives.close()
            raise
        machine.drives = drives
        return machine


def configuration(machine: Board) -> Configuration:
    """How `machine` was built."""
    kind = next(name for name, board in BOARDS.items() if type(machine) is board)
    made = Configuration(kind, machine.size, machine.cpu, machine.costs)
    if not isinstance(machine, PC):
        return made
    if {id(medium) for medium in machine.media} != {id(image) for _, image in machine.drives.opened}:
        raise BadSnapshot("a machine whose disks are no files; Configuration(..., drives=...).build() makes one whose are")
    return dataclasses.replace(
        made, rtc=machine.rtc_start, firmware=machine.firmware, vga_bios=machine.vga_bios, boot=machine.boot,
        menu=machine.menu, drives=absolute([drive for drive, _ in machine.drives.opened]))


# -- writing

def save(machine: Board, path: str | os.PathLike[str]) -> None:
    """Write `machine` to the file `path`, whole or not at all.  Between runs only.  Raises OSError."""
    made = configuration(machine)
    start = machine.start
    state = {
        "emu": VERSION,
        "configuration": {
            "machine": made.machine, "memory": made.memory, "cpu": made.cpu, "costs": dataclasses.asdict(made.costs),
            "rtc": made.rtc.isoformat() if made.rtc else None, "boot": made.boot, "menu": made.menu,
            "drives": [{**dataclasses.asdict(drive), "size": image.size, "files": fingerprint(image)}
                       for drive, (_, image) in zip(made.drives, machine.drives.opened)],
        },
        "start": start and {
            "kind": start.kind, "mode": start.mode, "registers": dict(start.registers), "gdtr": start.gdtr,
            "code": start.code, "data": start.data,
        },
        "console": {"first": machine.console.first, "chain": machine.console.chain},
        "state": machine.save(),
    }
    with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        _member(archive, "state.json", iter([canonical(state)]))
        _member(archive, "console", iter([bytes(machine.console.kept)]))
        _member(archive, "start", _records(start.blocks if start else ()))
        for name, rom in (("firmware", made.firmware), ("vga_bios", made.vga_bios)):
            if rom is not None:
                _member(archive, name, iter([rom]))
        for number, (_, image) in enumerate(machine.drives.opened):
            if isinstance(image, Scratch):
                _member(archive, f"drive/{number}", _records(image.changes()))
        for name, memory in machine.memories.items():
            _member(archive, f"memory/{name}", _records(_used(memory)))


def _member(archive: zipfile.ZipFile, name: str, chunks: Iterator[bytes]) -> None:
    info = zipfile.ZipInfo(name)                # without the time: the same state is the same file
    info.compress_type = zipfile.ZIP_DEFLATED
    with archive.open(info, "w", force_zip64=True) as member:
        for chunk in chunks:
            member.write(chunk)


def _records(pieces: Any) -> Iterator[bytes]:
    for address, data in pieces:
        for at in range(0, len(data), RUN):
            part = data[at:at + RUN]
            yield _HEAD.pack(address + at, len(part))
            yield bytes(part)


def _used(memory: memoryview) -> Iterator[tuple[int, bytes]]:
    """(offset, bytes) of the pages that are not all zero, neighbours together."""
    for base in range(0, len(memory), RUN):
        data = bytes(memory[base:base + RUN])
        if data == _ZEROS[:len(data)]:
            continue
        first = None
        for at in range(0, len(data) + PAGE, PAGE):
            used = at < len(data) and data[at:at + PAGE] != _ZEROS[:PAGE]
            if used and first is None:
                first = at
            elif not used and first is not None:
                yield base + first, data[first:at]
                first = None


# -- reading

def load(path: str | os.PathLike[str]) -> Board:
    """A board as it was when `save` wrote the file.  Raises BadSnapshot, BadBoard, EngineError."""
    try:
        with open(path, "rb") as file:
            if not file.seekable() or file.read(4) != b"PK\3\4":
                raise BadSnapshot(f"{path}: not a snapshot of emu")
            with zipfile.ZipFile(file) as archive:
                return _load(archive)
    except BadSnapshot as error:
        raise BadSnapshot(str(error) if str(error).startswith(str(path)) else f"{path}: {error}") from None
    except (BadBoard, EngineError, ImageError) as error:
        raise BadSnapshot(f"{path}: {error}") from None
    except OSError as error:
        raise BadSnapshot(f"{path}: cannot read the snapshot: {error.strerror or error}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, MemoryError):
        raise BadSnapshot(f"{path}: the snapshot is damaged or cut short") from None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, ArithmeticError,
            struct.error, ctypes.ArgumentError) as error:
        raise BadSnapshot(f"{path}: the snapshot is damaged ({type(error).__name__}: {error})") from None


def _load(archive: zipfile.ZipFile) -> Board:
    names = {info.filename: info for info in archive.infolist()}
    if "state.json" not in names:
        raise BadSnapshot("not a snapshot of emu")
    if any(info.compress_type not in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED) for info in names.values()):
        raise BadSnapshot("not a snapshot that emu wrote")
    value = json.loads(_whole(archive, "state.json", _STATE_LIMIT), object_hook=_decoded)
    if not isinstance(value, dict) or "emu" not in value:
        raise BadSnapshot("not a snapshot of emu")
    if value["emu"] != VERSION:
        raise BadSnapshot(f"a snapshot of version {value['emu']!r}; this program reads version {VERSION}")
    made, shown = _configuration(value["configuration"], archive, names), value["console"]
    console = _whole(archive, "console", LIMIT - 1)
    blocks = tuple(_pieces(archive, "start", made.memory * 2, ordered=False))
    machine = made.build()
    try:
        _drives(machine, value["configuration"]["drives"], archive)
        if value["start"] is not None:
            start = value["start"]
            gdtr = None if start["gdtr"] is None else (int(start["gdtr"][0]), int(start["gdtr"][1]))
            machine.start = Start(start["kind"], blocks, start["mode"], start["registers"], gdtr,
                                  start["code"], start["data"])
        machine.console.kept += console
        machine.console.first, machine.console.chain = int(shown["first"]), bytes(shown["chain"])
        counters = value["state"]["processor"]["counters"]
        for name, counts in counters.items():
            if isinstance(counts, dict):        # by vector; a name in JSON is a string
                counters[name] = {int(vector): count for vector, count in counts.items()}
        _check(machine, value["state"])
        machine.restore(value["state"], {
            name: _pieces(archive, f"memory/{name}", len(memory)) for name, memory in machine.memories.items()})
    except BaseException:
        machine.close()
        raise
    return machine


def _check(machine: Board, state: dict[str, Any]) -> None:
    """Refuse what a chip would stumble over only when it runs: a register, state or pin of another kind than declared."""
    for name, chip in machine.chips.items():
        for part in chip.declared.values():
            if isinstance(part, Window):
                continue
            value, good = state["chips"][name][part.key], True
            if isinstance(part, Reg):
                good = isinstance(value, int) and 0 <= value < 1 << 8 * part.size
            elif isinstance(part, State):
                good = value is None or part.reset is None or isinstance(value, type(part.reset))
            elif isinstance(part, In):
                good = all(isinstance(wires, int) for wires in value)
            if not good:
                raise BadSnapshot(f"the snapshot is damaged ({name}: {part.name})")
    if len(state["irqs"]) != len(machine.irqs) or not all(isinstance(count, int) for count in state["irqs"]):
        raise BadSnapshot("the snapshot is damaged (irqs)")


def _drives(machine: Board, wanted: list[dict[str, Any]], archive: zipfile.ZipFile) -> None:
    """Look whether the drives' files are the same, and write on them what was to be gone with the run."""
    for number, ((drive, image), was) in enumerate(zip(machine.drives.opened, wanted)):
        if image.size != was["size"] or fingerprint(image) != was["files"]:
            raise BadSnapshot(f"{drive.overlay or drive.path} has changed since: a machine that goes on with another disk "
                              "than it knows would damage it")
        if isinstance(image, Scratch):
            for address, data in _pieces(archive, f"drive/{number}", image.size):
                image.write(address, data)


def _configuration(value: Any, archive: zipfile.ZipFile, names: Container[str]) -> Configuration:
    kind, memory = value["machine"], value["memory"]
    if kind not in BOARDS:
        raise BadSnapshot(f"a snapshot of a machine {kind!r}; there are {', '.join(BOARDS)}")
    if not isinstance(memory, int) or not isinstance(value["cpu"], str):
        raise BadSnapshot("the snapshot is damaged (its configuration)")
    rtc = value["rtc"]
    firmware, vga_bios = (_whole(archive, name, _ROM) if name in names else None for name in ("firmware", "vga_bios"))
    drives = []
    for drive in value["drives"]:
        role, path, overlay, write = (drive[name] for name in ("role", "path", "overlay", "write"))
        if role not in ROLES or not isinstance(path, str) or not isinstance(overlay, str | None):
            raise BadSnapshot("the snapshot is damaged (its drives)")
        drives.append(DriveFile(role, path, overlay, bool(write)))
    return Configuration(kind, memory, value["cpu"], Costs(**value["costs"]), rtc and datetime.fromisoformat(rtc),
                         firmware, vga_bios, str(value["boot"]), bool(value["menu"]), tuple(drives))


def _whole(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    with archive.open(name) as member:
        data = member.read(limit + 1)           # what the archive says of its sizes may be a lie
    if len(data) > limit:
        raise BadSnapshot(f"the snapshot is damaged ({name} is too long)")
    return data


def _pieces(archive: zipfile.ZipFile, name: str, limit: int, ordered: bool = True) -> Iterator[tuple[int, bytes]]:
    """The records of a member: in the order of addresses and inside of `limit`, or in any order and so much in all."""
    done = 0
    with archive.open(name) as member:
        while head := _exactly(member, _HEAD.size, True):
            address, length = _HEAD.unpack(head)
            if not 0 < length <= RUN or (address < done or address + length > limit if ordered else done + length > limit):
                raise BadSnapshot(f"the snapshot is damaged ({name})")
            yield address, _exactly(member, length)
            done = address + length if ordered else done + length


def _exactly(member: IO[bytes], length: int, end: bool = False) -> bytes:
    data = member.read(length)
    if len(data) != length and not (end and not data):
        raise EOFError
    return data


def _decoded(value: dict[str, Any]) -> Any:
    """Bytes, which JSON cannot say."""
    return bytes.fromhex(value["hex"]) if value.keys() == {"hex"} else value
