"""The forms: how each is found on this machine, and how it runs a workload."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from emu.cost import programs
from emu.cost.children import FormError, Sample, Session, die_with_parent, once
from emu.cost.workloads import WORKLOADS, Workload

EXITS = 51                      # of a guest that says when it began and ended, and its result: a byte each
BOOT_LIMIT = 300.0
LIMIT = 60.0                    # s of one run
HERE = Path(__file__).parent
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWNET, CLONE_NEWCGROUP, CLONE_NEWPID = (
    0x20000, 0x4000000, 0x8000000, 0x10000000, 0x40000000, 0x2000000, 0x20000000)

SPACES = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP
SPAWNS, BATCHES = 20, 5


class Missing(Exception):
    """A form that this machine does not offer, or a workload that a form has not: one line that says why, and the remedy."""


class Form:
    """One row.  `shares`: workload -> the divisor of the work ("": of every other); `None` excludes it, `lacks` says why."""

    name = what = ""
    shares: Mapping[str, int] = {}
    lacks: Mapping[str, str] = {}
    worth: Mapping[str, int] = {}               # workload -> how many of the process's rounds one of its own does the work of
    slow: Sequence[str] = ()                    # workloads that a quick run has once
    note = ""                                   # what a reader should know of how this row was measured

    def __init__(self, directory: Path) -> None:
        self.directory = directory              # of its own, for files that it makes

    def find(self) -> None:
        """Raises Missing."""

    def rounds(self, workload: Workload) -> int:
        """How much of a workload it runs."""
        return max(1, workload.rounds // self.shares.get(workload.name, self.shares.get("", 1)))

    def run(self, workload: Workload, rounds: int) -> Sample:
        """One run.  Raises FormError or Missing."""
        raise NotImplementedError

    def end(self) -> None:
        """No more is asked: what takes a while to end may begin."""

    def close(self) -> None:
        """Leave nothing behind."""


def need(program: str, package: str) -> str:
    """Where a program is.  Raises Missing."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if path is None:
        raise Missing(f"{program} is not here: apt-get install {package}")
    return path


class Native(Form):
    name, what = "native", "a process"

    def program(self) -> Path:
        path = self.directory / "work"
        if not path.exists():
            path.write_bytes(programs.elf())
            path.chmod(0o755)
        return path

    def run(self, workload: Workload, rounds: int) -> Sample:
        if workload.name == "spawn":
            return self.spawn(0)
        return once([str(self.program()), str(workload.number), str(rounds)], LIMIT, own=True, cwd=self.directory)

    def spawn(self, spaces: int) -> Sample:
        """The mean of SPAWNS, by clone, execve and wait4 in a program that is nothing else; the least of BATCHES.

        What is so short is many times as long where another process has its turn in it.
        """
        batches = [once([str(self.program()), "s", str(SPAWNS), str(spaces)], LIMIT, own=True) for _ in range(BATCHES)]
        for many in batches:
            if many.result != SPAWNS:
                raise FormError(f"only {many.result} of {SPAWNS} processes came to their end")
        many = min(batches, key=lambda many: many.wall)
        cpu, wall = many.whole_cpu / SPAWNS, many.wall / SPAWNS
        return Sample(0, cpu, wall, 0, 0, cpu, wall, many.peak)


class Namespaces(Native):
    name, what = "namespaces", "a process in name spaces of its own (mount, UTS, IPC, network, cgroup; without root, user)"

    @staticmethod
    def enter() -> None:
        flags = SPACES if os.geteuid() == 0 else SPACES | CLONE_NEWUSER
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(flags):
            raise OSError(ctypes.get_errno(), f"unshare: {os.strerror(ctypes.get_errno())}")

    def find(self) -> None:
        child = os.fork()
        if not child:
            try:
                self.enter()
                os._exit(0)
            except OSError as error:
                os._exit(error.errno or 1)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status:
            raise Missing(f"unshare(2): {os.strerror(status)}; root would provide it, or user name spaces")

    def run(self, workload: Workload, rounds: int) -> Sample:
        if workload.name == "spawn":
            return self.spawn(CLONE_NEWPID | (SPACES if os.geteuid() == 0 else SPACES | CLONE_NEWUSER))
        return once([str(self.program()), str(workload.number), str(rounds)], LIMIT, own=True, inside=self.enter,
                    cwd=self.directory)


class Asked(Form):
    """A process of its own that stays between runs; for `spawn`, a fresh one."""

    warm = 0                                    # the divisor of the rounds that come before the work

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.session = self.fresh()

    def fresh(self) -> Session:
        return Session(self.command())

    def command(self) -> list[str]:
        raise NotImplementedError

    def line(self, workload: Workload, rounds: int) -> str:
        return f"{workload.number} {rounds}"

    def run(self, workload: Workload, rounds: int) -> Sample:
        line = self.line(workload, rounds)
        return self.fresh().spawn(line, LIMIT) if workload.name == "spawn" else self.session.ask(line, LIMIT)

    def close(self) -> None:
        self.session.close()


class Language(Asked):
    """As portable.py: it is told how much to warm up with, and how many words the work needs."""

    def fresh(self) -> Session:
        return Session(self.command(), self.directory)

    def line(self, workload: Workload, rounds: int) -> str:
        warm = rounds // self.warm if self.warm else 0
        return f"{workload.number} {rounds} {warm} {8 << 20 if workload.name == 'memory' else 0}"


class Ours(Asked):
    """Our machine."""

    kind = "bare"

    def command(self) -> list[str]:
        return [sys.executable, "-m", "emu.cost.guest", self.kind, str(self.directory)]


class Bare(Ours):
    name, what = "emu, bare guest", "our machine; the process's machine code above a kernel of 300 instructions"
    shares = {"": 1, "io": 16}
    note = DISK = "io: the kernel's driver writes to a disk by DMA (ATA), without a file system or a cache"


class Traced(Ours):
    level = ""
    shares: Mapping[str, int] = {"": 4, "cpu": 8, "memory": 8, "float": 2, "irq": 2, "io": 64}
    slow = tuple(WORKLOADS)
    note = "its recorder is in another process, which compresses on another core and is not counted"

    def __init__(self, directory: Path) -> None:
        self.kind = self.level
        super().__init__(directory)

    def end(self) -> None:
        self.session.hang_up()

    def close(self) -> None:
        self.session.leave()                    # which ends the process that writes

    def find(self) -> None:
        from emu.trace import layout
        if self.level not in layout.LEVELS:
            raise Missing(f"emu.trace has no level named {self.level}")


class TracedBlocks(Traced):
    name, what, level = "emu, traced: blocks", "the bare guest, each basic block recorded", "blocks"


class TracedInsns(Traced):
    name, what, level = "emu, traced: insns", "the bare guest, each instruction recorded", "insns"
    shares = {"": 4, "cpu": 16, "calls": 8, "memory": 8, "io": 64}


class TracedMemory(Traced):
    name, what, level = "emu, traced: memory", "the bare guest, each access to memory recorded", "memory"
    shares = {"": 256, "cpu": 1024, "calls": 256, "memory": 32, "float": 4, "syscall": 16, "irq": 64, "io": 64}


class LinuxGuest(Ours):
    name, what, kind = "emu, Linux guest", "our machine; the same static program inside Debian", "linux"
    shares = {"": 1, "io": 2}
    slow = ("spawn",)
    note = ("started once for all its work: its own start is spawn; io: by Linux's ATA driver and its cache to a disk, "
            "without a file system")

    def run(self, workload: Workload, rounds: int) -> Sample:
        if workload.name == "spawn":            # the guest that was started stays for the other workloads
            self.session.close()
            self.session = self.fresh()
            sample = self.session.ask(f"{workload.number} {rounds}", BOOT_LIMIT)
            assert self.session.child
            cpu, wall = self.session.child.cpu(), time.monotonic() - self.session.child.began
            return Sample(sample.result, cpu, wall, 0, 0, cpu, wall, sample.peak)
        return self.session.ask(f"{workload.number} {rounds}", BOOT_LIMIT)

    def find(self) -> None:
        from emu.host import fetch
        try:
            if fetch.cached("linux-amd64") is None:
                fetch.fetch("linux-amd64")              # on first use, as `emu boot` does
        except fetch.FetchError as error:
            raise Missing(f"linux-amd64 is not on this machine, and cannot be fetched: {error}") from None
        try:
            fetch.fetch("ata-amd64")
        except fetch.FetchError as error:
            self.lacks = {"io": f"the driver of its disk is not on this machine, and cannot be fetched: {error}"}


class Hooked(Ours):
    name, what, kind = "Unicorn, Python hook", "one Python call for each instruction, as scripting tools do it", "hooked"
    shares = {"": 1024, "float": 256, "memory": 128}
    slow = "cpu", "memory"
    lacks = {"irq": "no such thing: the library alone has no timer and no interrupt controller"}
    note = "syscall, io: answered by a Python hook, from the host"

    def command(self) -> list[str]:
        return [sys.executable, "-m", "emu.cost.hooked", str(self.directory)]


class Qemu(Form):
    name, what = "QEMU TCG", "QEMU's translator; the bare guest"
    options: tuple[str, ...] = ()
    shares: Mapping[str, int] = {"": 1, "io": 16}
    note = Bare.DISK

    def find(self) -> None:
        self.path = need("qemu-system-x86_64", "qemu-system-x86")
        with (self.directory / "scratch.img").open("wb") as file:
            file.truncate(programs.DISK)

    def command(self, disk: bool = False) -> list[str]:
        """All but the kernel."""
        drive = ["-drive", f"file={self.directory / 'scratch.img'},format=raw,if=ide"] if disk else []
        return [self.path, "-accel", "tcg", *self.options, "-m", "128", "-display", "none", "-nodefaults", "-no-reboot",
                "-debugcon", "stdio", *drive]

    def whole(self, workload: Workload, rounds: int) -> list[str]:
        """With its kernel."""
        kernel = self.directory / "kernel"
        kernel.write_bytes(programs.kernel(workload.number, rounds))
        return [*self.command(workload.name == "io"), "-kernel", str(kernel)]

    def run(self, workload: Workload, rounds: int) -> Sample:
        return once(self.whole(workload, rounds), LIMIT, stays=True)


class QemuIcount(Qemu):
    name, what, options = "QEMU -icount", "the same, with instructions counted as time", ("-icount", "shift=0,sleep=off")
    shares = {"": 4, "io": 32}
    slow = "cpu", "io"


class CPython(Language):
    name, what = "CPython", "an interpreter of byte code"
    shares = {"": 16, "cpu": 128, "irq": 64, "float": 4, "syscall": 2, "io": 2}
    note = ("no warm-up: nothing is compiled while it runs; irq: a signal of setitimer(2), whose handler the "
            "interpreter calls between two of its instructions")

    def command(self) -> list[str]:
        return [sys.executable, "-S", "-E", str(HERE / "portable.py")]


class Kvm(Form):
    name, what = "KVM", "the bare guest on the host's own hypervisor; a runner in Python"
    shares: Mapping[str, int] = {"": 1}
    exit_seconds = 0.0
    PROBE = 10.0                                # s: what answers no later than this is used

    def find(self) -> None:
        if not os.path.exists("/dev/kvm"):
            raise Missing("/dev/kvm is not here: a host with VT-x or AMD-V, and its kvm module, would provide it")
        try:
            said = subprocess.run([sys.executable, "-m", "emu.cost.kvm", "probe"], capture_output=True, text=True,
                                  timeout=self.PROBE, preexec_fn=die_with_parent)
        except subprocess.TimeoutExpired:
            raise Missing(f"/dev/kvm does not answer within {self.PROBE:.0f} s") from None
        if said.returncode:
            lines = said.stderr.strip().splitlines()
            why = lines[-1] if lines else f"/dev/kvm: the probe ended with {said.returncode}"
            raise Missing(why + "; root, or the group kvm, would provide it" * ("Permission" in why)
                          + "; another hypervisor has the processor: without it, it would be here" * ("busy" in why))
        self.exit_seconds = int(said.stdout) / 1e9
        self.note = (f"an exit and back, served in Python, takes {self.exit_seconds * 1e6:.1f} us; io: to the runner's "
                     "file, an exit for each 4 KiB; irq: by the host kernel's PIT and PIC")
        if not hardware():
            self.shares = {"": 8, "syscall": 256, "io": 16, "irq": 1}
            self.note += ("; this host's KVM is emulated (no vmx or svm in /proc/cpuinfo): exits and system calls are slow, "
                          "and not those of a processor")

    def command(self, workload: Workload, rounds: int) -> list[str]:
        kernel = self.directory / "kernel"
        kernel.write_bytes(programs.kernel(workload.number, rounds, by_iret=True))
        return [sys.executable, "-m", "emu.cost.kvm", str(kernel), *(["timer"] if workload.name == "irq" else [])]

    def run(self, workload: Workload, rounds: int) -> Sample:
        return once(self.command(workload, rounds), LIMIT, own=True)


def hardware() -> bool:
    """Whether the processor has VT-x or AMD-V, as far as this kernel is told."""
    try:
        return bool({"vmx", "svm"} & set(Path("/proc/cpuinfo").read_text().split()))
    except OSError:
        return False
