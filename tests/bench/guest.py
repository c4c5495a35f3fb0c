"""One workload in a process of its own: `python -m tests.bench.guest BOARD IMAGE [DISK]`; prints its outcome as JSON.

The outcome is {"seconds", "result"}; DISK lies on the primary channel of a PC.
BOARD is "pc", "screen", "chip" or "block" (see catalog.Row) for our machine, or "unicorn" for the library alone (bare.py).
The time is the process's user and system time between the guest's two marks, taken in the callback of port E9h.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from emu.boards.board import MIB, Board
from emu.boards.pc import PC
from emu.boards.tiny import Tiny
from emu.device import BLOCK, RW, VALUE, Device, R, Reg, State
from emu.host.disk import open_image
from emu.machine import End
from tests.bench.marks import Marks

MEMORY = 64 * MIB
LIMIT = 600                     # s of guest time


class Register(Device):
    """A port whose every access is Python: what the least of chips costs."""

    DATA = Reg(0, RW, "the value written last")

    def write_DATA(self, value: int) -> None:
        self.data = value

    def read_DATA(self) -> int:
        return int(self.data)


class Sectors(Device):
    """A data port whose sectors never end: what remains of ATA when the words move."""

    DATA = Reg(0, R, "the next word of the sector", size=2, native=BLOCK)
    DONE = State(0, "bytes of the sector that were read")

    def __init__(self) -> None:
        self.sector = bytearray(range(256)) * 2

    def read_DATA(self) -> int:
        done: int = self.done
        self.done = (done + 2) % len(self.sector)
        return int.from_bytes(self.sector[done:done + 2], "little")

    def block_DATA(self, access: str) -> memoryview:
        """All but the last word, which ends the sector."""
        return memoryview(self.sector)[self.done:-2]

    def moved_DATA(self, access: str, length: int) -> None:
        self.done += length


class Steady(Device):
    """Device memory that holds its value."""

    VALUE = Reg(0, R, "a value", size=4, reset=0x12345678, native=VALUE)


def board(kind: str, marks: Marks, disk: Path | None = None) -> Board:
    """The machine for a row."""
    if kind == "chip":
        tiny = Tiny(MEMORY, debug=marks)
        tiny.add("register", Register, at=0x80)
        return tiny
    if kind == "block":
        tiny = Tiny(MEMORY, debug=marks)
        tiny.add("sectors", Sectors, at=0x1F0)
        steady = tiny.add("steady", Steady)
        tiny.mmio.place(steady, "at", 0xFEC00000)
        return tiny
    pc = PC(MEMORY, debug=marks, disks=[open_image(disk)] if disk else [])
    if kind == "screen":
        pc.view(0xB8000, 0x8000, pc.memory("screen", 0x8000), "ram")
    return pc


def run(kind: str, image: Path, disk: Path | None = None) -> dict[str, float | int]:
    """Run a workload on our machine."""
    marks = Marks()
    with board(kind, marks, disk) as machine:
        machine.load(image)
        end = machine.run_until(seconds=LIMIT)
        if end is not End.HALTED:
            raise ValueError(f"the guest ended with {end.value}, not halted, after writing {bytes(marks.text)!r}")
    return marks.outcome()


def main() -> None:
    kind, image = sys.argv[1], Path(sys.argv[2])
    if kind == "unicorn":
        from tests.bench import bare
        marks = Marks()
        bare.run(image, marks)
        print(json.dumps(marks.outcome()))
    else:
        print(json.dumps(run(kind, image, Path(sys.argv[3]) if len(sys.argv) > 3 else None)))


if __name__ == "__main__":
    main()
