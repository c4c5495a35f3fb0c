"""Our machine as a form, in a process of its own: `python -m emu.cost.guest KIND DIRECTORY`.

KIND: bare, linux, or the level of a trace (its recordings go to DIRECTORY).  Each line of standard input is a workload's
number and its rounds; the answer is 1, 2, "result cpu wall start_cpu start_wall" in ns and how many exits the work had, 3.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from emu.boards.board import MIB, Board
from emu.boards.pc import PC
from emu.boards.tiny import Tiny
from emu.cost import programs
from emu.cost.workloads import WORKLOADS
from emu.host import fetch
from emu.host.disk import open_image
from emu.host.recipes import initrd
from emu.loaders import BadImage
from emu.machine import End

MEMORY, LINUX_MEMORY = 128 * MIB, 256 * MIB
LIMIT = 3600                    # s of guest time
PROBES = 5000                   # exits by which a ledger's own time is measured
ACCESSES = "port_reads", "port_writes", "mmio_accesses"
LINUX, MODULES, PROMPT = "linux-amd64", "ata-amd64", "/ # "
FILE, DEVICE = "/emu-cost-io", "/dev/sda"       # what `io` opens, as system.asm has it, and what that is in Linux
ATTACH = "dmesg -n 1; {}; for n in 1 2 3 4 5 6 7 8 9; do [ -b {} ] || sleep 1; done; [ -b {} ] && echo dis''k"
ATTACHED = "disk"


class Marks:
    """Bytes from the guest; the times when its work begins and ends, and the machine's exits until then.

    `stop` is called when it begins, and after its last word.
    """

    def __init__(self, exits: Callable[[], int] = lambda: 0) -> None:
        self.exits = exits
        self.stop: Callable[[], None] = lambda: None
        self.times: list[tuple[int, int, int]] = []
        self.text = bytearray()
        self.done = False

    def __call__(self, data: bytes) -> None:
        for byte in data:
            if byte in (1, 2):
                self.times.append((time.process_time_ns(), time.monotonic_ns(), self.exits()))
                self.text.clear()
                if byte == 1:
                    self.stop()
            elif byte == 3:
                self.done = True
                self.stop()
            else:
                self.text.append(byte)

    def result(self) -> int:
        if not self.done or len(self.times) != 2:
            raise ValueError(f"the guest ended after it wrote {bytes(self.text[-80:])!r}")
        return int("".join("%x" % (letter - ord("a")) for letter in self.text[:16]), 16)


def settle() -> None:
    """Python's collector looks at all that was loaded now, not in the work: it takes as long as a small one."""
    gc.unfreeze()                       # a machine that is no more is garbage, whatever it was then
    gc.collect()
    gc.freeze()


def exits(machine: Board) -> int:
    """How often the guest's code was left for its machine: accesses to device registers, and interrupts of devices."""
    counters = machine.engine.counters()
    return int(sum(counters[name] for name in ACCESSES) + sum(counters["interrupts"].values()))


def answer(marks: Marks, start: tuple[int, int]) -> None:
    """Tell what a run came to."""
    first, last = marks.times
    numbers = (marks.result(), last[0] - first[0], last[1] - first[1], first[0] - start[0], first[1] - start[1],
               last[2] - first[2])
    sys.stdout.write("\1\2" + " ".join(map(str, numbers)) + "\3")
    sys.stdout.flush()


class Bare:
    """The machine of the bare guest, or the two: `io` needs a disk; traced if `level` is one of a trace's.

    A machine that is traced stays between runs, and so does its recording, which is thrown away: each run starts with a
    reset.
    """

    def __init__(self, level: str, directory: Path) -> None:
        self.level, self.directory = level, directory
        self.marks = Marks()
        self.machines: dict[bool, Board] = {}
        self.recordings: list[Any] = []
        self.last: dict[bool, int] = {}             # the workload that a machine had before

    def machine(self, disk: bool) -> Board:
        if disk not in self.machines:
            self.machines[disk] = made = board(disk, self.directory, lambda data: self.marks(data))
            if self.level != "bare":
                from emu.trace.recording import Recording
                recording = Recording(made, self.directory / f"trace-{os.getpid()}-{disk:d}", self.level)
                made.poll = recording.poll
                self.recordings.append(recording)
        return self.machines[disk]

    def run(self, number: int, rounds: int) -> None:
        disk = number == WORKLOADS["io"].number
        if disk in self.last and self.level == "bare":
            self.close()
        settle()
        start = time.process_time_ns(), time.monotonic_ns()
        machine = self.machine(disk)
        if disk in self.last:                       # its memory is as it was at first
            words = self.last[disk] == WORKLOADS["memory"].number
            machine.write(programs.DATA, bytes((programs.DATA_END if words else programs.WORDS) - programs.DATA))
        self.last[disk] = number
        marks = self.marks = Marks(lambda: exits(machine))
        kernel = self.directory / "kernel"
        kernel.write_bytes(programs.kernel(number, rounds))
        machine.load(kernel)
        machine.reset()
        end = machine.run_until(seconds=LIMIT)
        if end is not End.HALTED:
            raise ValueError(f"the guest ended with {end}, not halted")
        answer(marks, start)

    def close(self) -> None:
        for recording in self.recordings:
            recording.stop()
            shutil.rmtree(recording.path, ignore_errors=True)
        for machine in self.machines.values():
            close(machine)
        self.machines.clear()
        self.recordings.clear()
        self.last.clear()
        self.marks = Marks()                        # the old ones hold their machine


def close(machine: Board) -> None:
    """End a machine, and its disks."""
    machine.close()
    for medium in machine.media if isinstance(machine, PC) else ():
        medium.close()                              # type: ignore[attr-defined]


def board(disk: bool, directory: Path, debug: Callable[[bytes], None]) -> Board:
    """A board for the bare guest."""
    if not disk:
        return Tiny(MEMORY, debug=debug)
    path = scratch(directory)
    return PC(MEMORY, debug=debug, disks=(open_image(str(path), write=True),))


def scratch(directory: Path) -> Path:
    """A disk of zeros."""
    path = directory / "scratch.img"
    with path.open("wb") as file:
        file.truncate(programs.DISK)
    return path


class Linux:
    """Debian's kernel with its busybox and our program; where its modules are here, with a disk of ours for `io`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.machine: PC | None = None
        self.marks = Marks()
        self.modules: list[str] = []
        self.attached = False

    def boot(self) -> PC:
        image = fetch.cached(LINUX)
        if image is None:
            raise BadImage(f"{LINUX} is not on this machine: emu images fetch {LINUX}")
        disk = self.directory / "initrd"
        # Linux unpacks archives that follow one another: Documentation/driver-api/early-userspace/buffer-format.rst
        theirs = Path(str(image.initrd)).read_bytes()
        ours = [("work", initrd.FILE, programs.elf(), (0, 0))]
        disks = []
        if modules := fetch.cached(MODULES):
            ours += [(f"{name}.ko", initrd.FILE, path.read_bytes(), (0, 0)) for name, path in modules.files.items()]
            self.modules = list(modules.files)
            disks.append(open_image(str(scratch(self.directory)), write=True))
        disk.write_bytes(theirs + bytes(-len(theirs) % 4) + initrd.archive(iter(ours)))
        machine = PC(LINUX_MEMORY, disks=tuple(disks))
        machine.load(Path(str(image.kernel)), initrd=str(disk), append=image.append)
        end = machine.run_until(PROMPT, seconds=600)
        if PROMPT not in machine.text:
            raise ValueError(f"the guest did not get to its prompt: {end.value}; {machine.text[-200:]!r}")
        machine.on_output = lambda data: self.marks(data)
        return machine

    def ask(self, machine: PC, number: int, rounds: int) -> None:
        """Type what starts the work; before the first `io`, what brings its disk.  Raises ValueError where none comes."""
        if number == WORKLOADS["io"].number:
            if not self.attached:
                inserted = "; ".join(f"insmod /{name}.ko" for name in self.modules)
                machine.send(ATTACH.format(inserted or ":", DEVICE, DEVICE) + "\n")
                end = machine.run_until(ATTACHED, seconds=60)
                machine.run_until(PROMPT, seconds=10)
                if end is not End.ASKED:
                    raise ValueError(f"Linux has no disk; {machine.text[-200:]!r}")
                self.attached = True
            machine.send(f"ln -s {DEVICE} {FILE}\n")               # the work takes its file's name away
            machine.run_until(PROMPT, seconds=10)
        machine.send(f"/work {number} {rounds}\n")

    def close(self) -> None:
        if self.machine is not None:
            close(self.machine)

    def show(self, paths: list[str]) -> str:
        """What the files hold, by the guest's own kernel."""
        self.machine = machine = self.boot()
        shown = bytearray()
        machine.on_output = shown.extend
        for path in paths:
            machine.send(f"/work c {path}\n")
            machine.run_until(PROMPT, seconds=10)
        return shown.decode("utf-8", "replace")

    def run(self, number: int, rounds: int) -> None:
        settle()
        start = time.process_time_ns(), time.monotonic_ns()
        if self.machine is None:
            self.machine = self.boot()
        machine = self.machine
        marks = self.marks = Marks(lambda: exits(machine))
        self.ask(machine, number, rounds)
        self.machine.run_until(when=lambda: marks.done, seconds=LIMIT)
        answer(marks, start)
        self.machine.run_until(seconds=0.2)                 # to the prompt


def ledger(kind: str, number: int, rounds: int, directory: Path) -> dict[str, Any]:
    """One run of the work alone on emu's ledger of exits: its facts, and what the work came to."""
    from emu.debug.ledger import Ledger
    marks = Marks()
    with contextlib.ExitStack() as stack:
        machine: Board
        if kind == "linux":
            linux = Linux(directory)
            machine = stack.enter_context(linux.boot())
            machine.on_output = marks
            linux.ask(machine, number, rounds)
        else:
            kernel = directory / "kernel"
            kernel.write_bytes(programs.kernel(number, rounds))
            machine = stack.enter_context(board(number == WORKLOADS["io"].number, directory, marks))
            machine.load(kernel)
        marks.stop = machine.stop
        machine.run_until(seconds=LIMIT)
        with Ledger(machine) as book:
            start = time.process_time_ns()
            machine.run_until(seconds=LIMIT)
            cpu = time.process_time_ns() - start
            facts = book.facts()
            inside, beside = itself(book)
    return {**facts, "cpu_ns": cpu, "result": marks.result(), "inside_ns": inside, "beside_ns": beside}


def itself(book: Any) -> tuple[float, float]:
    """What a ledger takes of an exit, in ns of CPU time: what it counts as the exit's own, and what as the guest's."""
    measured = book.timed("ledger", "itself", lambda: None)
    start = time.process_time_ns()
    for _ in range(PROBES):
        measured()
    took = (time.process_time_ns() - start) / PROBES
    inside = book.row("ledger", "itself")[1] / PROBES
    return inside, took - inside


def main() -> None:
    kind, directory = sys.argv[1], Path(sys.argv[2])
    if kind == "ledger":
        print(json.dumps(ledger(sys.argv[3], int(sys.argv[4]), int(sys.argv[5]), directory)))
        return
    linux = Linux(directory)
    bare = Bare(kind, directory)
    if kind == "show":
        print(linux.show(sys.argv[3:]))
        return
    for line in sys.stdin:
        number, rounds = (int(text) for text in line.split())
        if kind == "linux":
            linux.run(number, rounds)
        else:
            bare.run(number, rounds)
    bare.close()
    linux.close()


if __name__ == "__main__":
    try:
        main()
    except (BadImage, fetch.FetchError, ValueError, OSError, ImportError) as error:
        sys.exit(str(error))
