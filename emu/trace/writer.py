"""The process that writes a trace: `python -m emu.trace.writer DIRECTORY FD BYTES`, with messages on standard input.

A kill of this process loses what has come since it last told of its parts, PERIOD seconds of the host's time; a kill of the
recorder loses what that has not sent (sink.py): together less than a second.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import IO, Any

import numpy as np
import polars as pl

from emu.trace import layout
from emu.trace.code import FAULTS, Block, Code, Faults
from emu.trace.columns import CODE, SYMBOLS, accesses_frame, events_frame
from emu.trace.parts import ROWS, Parts
from emu.trace.stream import Stream
from emu.trace.symbols import find_kallsyms
from emu.trace.window import Kept, Numbers

PERIOD = 0.4                    # seconds
MANY = 1 << 18                  # events and accesses that are written before it is time: the memory is bounded
CHUNK = 1 << 17                 # blocks that are expanded at once: what the host's cache holds
INSTRUCTIONS = 1 << 24          # of a part
MOST = (1 << 32) - 1
FAULT_KINDS = [kind for kind, name in layout.KINDS.items() if name in FAULTS]


class Writer:
    """One trace."""

    def __init__(self, directory: Path, numbers: Numbers, length: int) -> None:
        self.numbers, self.length = numbers, length
        self.parts = Parts(directory)
        self.kept = Kept()
        self.level = "blocks"
        self.instructions: Code | None = None
        self.known: dict[bytes, int] = {}           # a definition -> its number
        self.same = np.arange(1 << 16, dtype=np.uint32)     # number -> the first that is the same
        self.again = False                          # whether any block was made again
        self.single = np.zeros(1 << 16, bool)
        self.code: list[tuple[Any, ...]] = []
        self.happened, self.touched = Stream(8), Stream(5)          # events, accesses
        self.gathered = np.empty(0, np.uint32)      # of these rows the first `many` have come
        self.many = 0
        self.held = np.empty(0, np.uint32)          # the last block: only what comes next tells how far it ran
        self.end = 0
        self.begun = -1                             # the last position of which instructions were told
        self.names: list[str] = []
        self.looked = time.monotonic()

    def begin(self, meta: dict[str, Any]) -> None:
        """What the trace is of."""
        self.parts.meta.update(meta)
        self.level = meta.get("level", "blocks")
        self.kept = Kept(meta.get("window", {}).get("ranges", ()), meta.get("window", {}).get("cpl"))
        if meta.get("gated"):
            self.kept.gated()
        self.end = meta.get("first", 0)
        if self.level == "insns":
            self.instructions = Code()
        self.parts.tell()

    @property
    def holding(self) -> bool:
        """Whether a block is looked at only when the next one is there."""
        return self.instructions is not None or self.kept.by_block

    def definitions(self, data: bytes, base: int) -> None:
        """Blocks that were made; one that is made again stands for the first."""
        at = 0
        while at < len(data):
            number, size, pc, cs_base, flags, cflags, raw, length = layout.DEFINITION.unpack_from(data, at)
            at += layout.DEFINITION.size
            code = data[at:at + length]
            at += length + -length % 8
            single = cflags & layout.CF_COUNT == layout.SINGLE and not cflags & layout.CF_NOCACHE
            key = layout.DEFINITION.pack(0, size, pc, cs_base, flags, single, 0, length) + code
            while number >= len(self.same):
                self.same = np.concatenate([self.same, np.arange(len(self.same), 2 * len(self.same), dtype=np.uint32)])
                self.single = np.concatenate([self.single, np.zeros_like(self.single)])
            first = self.known.setdefault(key, number)
            if first != number:
                self.same[number] = first
                self.again = True
                continue
            self.single[number] = single
            self.kept.define(number, pc, size, flags)
            row = (number, pc, cs_base, flags, size, single, (raw + base) // layout.NUMBER, code)
            self.code.append(row)
            if self.instructions is not None:
                self.instructions.add([Block(*row)])

    def segment(self, index: int, position: int, length: int) -> None:
        """Block numbers."""
        first = index * self.length // layout.NUMBER
        numbers = self.numbers[first:first + length // layout.NUMBER]
        if position != self.end + self.many:        # those between were not wanted
            self.gather()
            self.rest()
            self.end = position
        if self.many + len(numbers) > len(self.gathered):
            self.gather()
            self.gathered = np.empty(max(ROWS, len(numbers)), np.uint32)
        place = self.gathered[self.many:self.many + len(numbers)]
        if not self.again:
            place[:] = numbers
        else:
            for at in range(0, len(numbers), CHUNK):                # "wrap": without a check of each
                np.take(self.same, numbers[at:at + CHUNK], out=place[at:at + CHUNK], mode="wrap")
        self.many += len(numbers)

    def gather(self) -> None:
        """Let the block numbers that have come go their way."""
        if not self.many:
            return
        numbers, self.many, self.gathered = self.gathered[:self.many], 0, self.held[:0]
        self.end += len(numbers)
        if self.holding:
            numbers = np.concatenate([self.held, numbers])
            numbers, self.held = numbers[:-1], numbers[-1:]
        self.row(self.end - len(self.held) - len(numbers), numbers)

    def rest(self) -> None:
        """Nothing comes behind the block that was held."""
        self.gather()
        numbers, self.held = self.held, self.held[:0]
        if len(numbers):
            self.row(self.end - 1, numbers)

    def row(self, position: int, numbers: Numbers) -> None:
        """Blocks that ran, from a position on."""
        ready = self._ready(position, numbers)
        for first, last, mask in self.kept.blocks(position, numbers, self.single):
            piece, places = numbers[first:last], None
            if mask is not None:
                piece, places = piece[mask], np.flatnonzero(mask).astype(np.uint64) + np.uint64(position + first)
            if not len(piece):
                continue
            columns = {"block": piece} if places is None else {"position": places, "block": piece}
            self.parts.add("blocks", pl.DataFrame(columns), position + first if places is None else int(places[0]))
            if self.instructions is not None:
                self._expand(self.instructions, position + first, piece, places, ready)
        self.parts.meta["blocks"] = position + len(numbers)

    def _ready(self, position: int, numbers: Numbers) -> Faults:
        """Let what belongs to a row go its way; the events that cut its blocks."""
        self.touched.ready(position, numbers, self.kept)
        ready = self.happened.ready(position, numbers, self.kept)
        cuts = ready[np.isin(ready[:, 2] & np.uint64(0xFF), FAULT_KINDS)]
        return Faults(cuts[:, 0].astype(np.int64), cuts[:, 2] >> np.uint64(8), cuts[:, 5] + cuts[:, 7])

    def _expand(self, code: Code, position: int, numbers: Numbers, places: Numbers | None, faults: Faults) -> None:
        """The rows of the instruction level."""
        done: list[pl.DataFrame] = []
        first: int | None = None                        # the position of the part's first row
        places = np.arange(position, position + len(numbers)) if places is None else places.astype(np.int64)
        lengths = code.lengths(places, numbers, faults)
        for at in range(0, len(numbers), CHUNK):
            part = slice(at, at + CHUNK)
            addresses = code.expand(numbers[part], lengths[part])
            if self.kept.by_block:
                inside = self.kept.inside(addresses)
                columns = {"position": np.repeat(places[part].astype(np.uint64), lengths[part])[inside],
                           "address": addresses[inside]}
            else:                                       # positions would take 25 times the room
                columns = {"begun": self._begun(places[part], lengths[part]), "address": addresses}
            first = first if first is not None or not len(addresses) else int(places[part][lengths[part] > 0][0])
            done.append(pl.DataFrame(columns))
            if sum(map(len, done)) >= INSTRUCTIONS or at + CHUNK >= len(numbers):
                if first is not None and any(map(len, done)):
                    self.parts.add("insns", pl.concat(done), first)
                done, first = [], None

    def _begun(self, places: Numbers, lengths: Numbers) -> Numbers:
        """How many blocks have begun with each instruction; the sum up to it is the position of its block's events."""
        some = lengths > 0
        begun = np.zeros(int(lengths.sum()), np.uint32)
        begun[(np.cumsum(lengths) - lengths)[some]] = np.minimum(np.diff(places[some], prepend=self.begun), MOST)
        self.begun = int(places[some][-1]) if some.any() else self.begun
        return begun

    def settle(self) -> None:
        """What has come until now can be read."""
        self.looked = time.monotonic()
        self.gather()
        self.flush()
        self.parts.tell()

    def flush(self) -> None:
        """Write what has gathered beside the block numbers."""
        if self.code and self.level != "events":
            columns = zip(*self.code, strict=True)
            self.parts.add("code", pl.DataFrame([pl.Series(name, column, dtype=kind) for (name, kind), column
                                                 in zip(CODE.items(), columns, strict=True)]), self.code[0][6])
        self.code.clear()
        gated = self.kept if self.parts.meta.get("gated") else None
        if (words := self.happened.take(gated)) is not None:
            self.parts.add("events", events_frame(words, self.names), int(words[0, 0]))
            if self.level == "events":                  # nobody else tells of blocks
                self.parts.meta["blocks"] = int(words[-1, 0])
        if (words := self.touched.take(gated)) is not None:
            self.parts.add("accesses", accesses_frame(words), int(words[0, 0]))

    def serve(self, source: IO[bytes]) -> None:
        """Until the recorder says that it is done, or is gone."""
        while head := source.read(layout.HEAD.size):
            if len(head) < layout.HEAD.size:
                break
            letter, segment, position, length = layout.HEAD.unpack(head)
            if letter == layout.SEGMENT:
                self.segment(segment, position, length)
                with contextlib.suppress(BrokenPipeError):      # the recorder is gone: what it said is written all the same
                    os.write(1, bytes([segment]))
            else:
                data = source.read(length)
                if len(data) < length:
                    break
                self._message(letter, segment, position, data)
            if time.monotonic() - self.looked > PERIOD:
                self.settle()
            elif self.happened.rows + self.touched.rows > MANY:
                self.flush()
        self.rest()
        if self.happened.waits or self.touched.waits:
            self.row(self.end, np.empty(0, np.uint32))
        self.settle()

    def _message(self, letter: bytes, segment: int, position: int, data: bytes) -> None:
        if letter == layout.DEFINITIONS:
            self.definitions(data, position)
        elif letter in (layout.EVENTS, layout.ACCESSES):
            stream = self.happened if letter == layout.EVENTS else self.touched
            stream.add(data, position, self.holding and self.level != "events")
        elif letter == layout.NAMES:
            self.names.append(data.decode())
        elif letter == layout.GATE:
            self.kept.turn(position, bool(segment))
        elif letter == layout.SYMBOLS:
            if (found := find_kallsyms(data)) is not None:
                self.parts.add("symbols", pl.DataFrame([found.addresses, found.names], schema=SYMBOLS), 0)
        elif letter == layout.META:
            self.begin(json.loads(data))
        elif letter == layout.CLOSE:
            self.parts.meta.update(json.loads(data), complete=True)


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)        # the recorder tells when it ends
    directory, fd, length = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    memory = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
    try:
        Writer(directory, np.frombuffer(memory, dtype=np.uint32), length).serve(sys.stdin.buffer)
    except (OSError, pl.exceptions.PolarsError) as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        print(os.strerror(int(number[1])) if number else getattr(error, "strerror", None) or str(error).splitlines()[0],
              file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
