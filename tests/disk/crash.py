"""A host that loses power: every write and sync of an image is recorded, and the file made as a crash would leave it.

Between two syncs the disk may have got any of the writes, in any order, and each sector by itself: so each sector is what
it was at the last sync, or what any write since then made of it.
"""

from __future__ import annotations

import random

import pytest

from emu.host.disk.file import File

SECTOR = 512


class Recorder:
    """Wraps File: `log` holds ("write", offset, bytes), ("truncate", size), ("sync",) and what `mark` adds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.log: list[tuple] = []
        write, truncate, sync = File.write, File.truncate, File.sync

        def recorded_write(file, offset, data):
            write(file, offset, data)
            self.log.append(("write", offset, bytes(data)))

        def recorded_truncate(file, size):
            truncate(file, size)
            self.log.append(("truncate", size))

        def recorded_sync(file):
            sync(file)
            self.log.append(("sync",))

        monkeypatch.setattr(File, "write", recorded_write)
        monkeypatch.setattr(File, "truncate", recorded_truncate)
        monkeypatch.setattr(File, "sync", recorded_sync)

    def mark(self, *what):
        self.log.append(what)


class Disk:
    """The file while the log is played: what is safe, and what each sector may be besides."""

    def __init__(self, start: bytes):
        self.safe = bytearray(start)
        self.now = bytearray(start)
        self.versions: dict[int, list[bytes]] = {}

    def play(self, event: tuple) -> None:
        if event[0] == "write":
            _, offset, data = event
            self._reach(offset + len(data))
            self.now[offset:offset + len(data)] = data
            for sector in range(offset // SECTOR, -(-(offset + len(data)) // SECTOR)):
                self.versions.setdefault(sector, []).append(bytes(self.now[sector * SECTOR:(sector + 1) * SECTOR]))
        elif event[0] == "truncate":
            assert event[1] >= len(self.now), "an image never gets shorter"
            self._reach(event[1])
        elif event[0] == "sync":
            self.safe = bytearray(self.now)
            self.versions.clear()

    def crashed(self, chance: random.Random) -> bytes:
        """One of the files that a crash may leave now."""
        likely = chance.choice((0.0, 0.1, 0.5, 0.9, 1.0))
        kept = {sector: chance.choice(versions) if chance.random() < 0.3 else versions[-1]
                for sector, versions in self.versions.items() if chance.random() < likely}
        size = len(self.now) if likely == 1.0 else max(
            [len(self.safe), *((sector * SECTOR + len(data)) for sector, data in kept.items())])
        left = bytearray(self.safe[:size].ljust(size, b"\0"))
        for sector, data in kept.items():
            left[sector * SECTOR:sector * SECTOR + len(data)] = data
        return bytes(left)

    def _reach(self, size: int) -> None:
        if size > len(self.now):
            self.now.extend(bytes(size - len(self.now)))


class Model:
    """The disk as the guest knows it: what each sector may read as after a crash."""

    def __init__(self, start: bytes):
        self.flushed = bytearray(start)
        self.now = bytearray(start)
        self.later: dict[int, set[bytes]] = {}

    def write(self, offset: int, data: bytes) -> None:
        self.now[offset:offset + len(data)] = data
        for at in range(offset, offset + len(data), SECTOR):
            self.later.setdefault(at, set()).add(bytes(self.now[at:at + SECTOR]))

    def flush(self) -> None:
        self.flushed = bytearray(self.now)
        self.later.clear()

    def wrong(self, found: bytes) -> int | None:
        """The first sector that is neither what was flushed nor what was written later."""
        if found == self.flushed:
            return None
        for at in range(0, len(found), SECTOR):
            sector = found[at:at + SECTOR]
            if sector != self.flushed[at:at + SECTOR] and sector not in self.later.get(at, ()):
                return at
        return None
