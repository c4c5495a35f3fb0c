"""The thunks of fast/ports.py in Python: the tables of fast/answers.py without a processor, for the contract of the chips."""

from __future__ import annotations

import ctypes

from emu.bus import Bus
from emu.cpu.unicorn import mailbox as m
from emu.cpu.unicorn.fast import answers as at
from emu.cpu.unicorn.fast.answers import Answers
from emu.engine import Costs


def failed(error: BaseException) -> int:
    raise error


class Native:
    """Accesses of a bus as a guest makes them; `native` counts those that no function of the bus served."""

    def __init__(self, bus: Bus) -> None:
        self.box = m.Mailbox(Costs())
        self.answers = Answers(self.box, failed)
        self.turn = self.answers.turn
        self.reads, self.writes = self.answers.serve(bus, (m.PORT_READS, m.PORT_WRITES), self.place)
        self.native = 0

    @staticmethod
    def place(key: int) -> int:
        return (key >> 4 ^ key >> 20) & at.PLACES - 1

    def read(self, key: int) -> int:
        entry, fresh = self._find(m.PORT_READS, key)
        if fresh and entry[2] == at.STEADY:
            self.native += 1
            return entry[3]
        if fresh and entry[3] < entry[4]:
            return int.from_bytes(self._move(entry, key & 15), "little")
        self._python(entry, key)
        return self.reads[key]()

    def write(self, key: int, value: int) -> None:
        entry, fresh = self._find(m.PORT_WRITES, key)
        words = self.box.words
        if fresh and entry[2] == at.STEADY:
            self.native += 1
        elif fresh and entry[2] == at.RING and words[m.RING_AT >> 3] < words[m.RING_END >> 3]:
            self.native += 1
            self._keep(key, value)
        elif fresh and entry[2] == at.BLOCK and entry[3] < entry[4]:
            self._move(entry, key & 15, value.to_bytes(key & 15, "little"))
        else:
            self._python(entry, key)
            self.writes[key](value)

    def _find(self, table, key):
        entry = (ctypes.c_uint64 * 5).from_address(self.box.words[table >> 3] + at.ENTRY * self.place(key))
        return entry, entry[0] == key and entry[1] == self.box.words[m.GENERATION >> 3]

    def _python(self, entry, key):
        if entry[0] != key or entry[2] != at.STEADY:
            self.box.words[m.GENERATION >> 3] += 1
        if self.box.words[m.PENDING >> 3]:
            self.turn()

    def _move(self, entry, size, data=None):
        self.native += 1
        self.box.words[m.PENDING >> 3] = 1
        where = (ctypes.c_char * size).from_address(entry[3])
        if data is not None:
            where.raw = data
        entry[3] += size
        return where.raw

    def _keep(self, key, value):
        words = self.box.words
        if words[m.RING_KEY >> 3] != key:
            segment = (ctypes.c_uint64 * 2).from_address(words[m.SEGMENT_AT >> 3])
            segment[:] = key, words[m.RING_AT >> 3]
            words[m.SEGMENT_AT >> 3] += 16
            words[m.RING_KEY >> 3] = key
        ctypes.c_uint8.from_address(words[m.RING_AT >> 3]).value = value
        words[m.RING_AT >> 3] += 1
        words[m.PENDING >> 3] = 1
