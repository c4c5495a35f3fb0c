"""What is measured, on which engines, and what must come out: one row each, in the order of the table."""

from __future__ import annotations

import shutil
import struct
import subprocess
import zlib
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("workloads.asm")
OURS, QEMU, UNICORN, ALONE = "emu", "qemu", "unicorn", "alone"
MIB = 1 << 20
BOOT_MEMORY = 512 * MIB
ALLOWANCE = 150 * MIB       # issue 2: peak memory is at most guest RAM and this


class BenchError(Exception):
    """The measurement cannot be made: one line that says what is missing or went wrong."""


@dataclass(frozen=True)
class Row:
    """`engines` beside ours.  `result`: what the guest must print (None: anything but zero).

    `board` of ours: "pc"; "screen": a PC with RAM where the text screen is; "chip": the tiny board with a chip at port 80h
    whose reads and writes are Python; "block": with one at 1F0h that moves sectors, and device memory that holds its value.
    `workload`: the name in workloads.asm, if it is another.  `interrupts`: how many are taken, where that is what counts.
    `disk`: MiB of the disk on the primary channel.
    `bound`: the highest ratio to QEMU that is allowed (issues 3, 4); 0: there is none.
    """

    name: str
    what: str
    engines: tuple[str, ...] = (QEMU,)
    result: int | None = 0
    board: str = "pc"
    workload: str = ""
    interrupts: int = 0
    disk: int = 0
    image: str = ""             # a boot: the name of a system in images/manifest.toml
    system: str = ""            # and QEMU's program for it
    prompt: bytes = b"~ #"      # what it shows when it is up
    bound: float = 0

    @property
    def source(self) -> str:
        return self.workload or self.name


BOTH = (QEMU, UNICORN)
COPIED = 0x485A0000           # the sum of the words that are copied
DISK_SUMS = [512 * command + 255 for command in range(2048)]            # the first and the last sector of each command
ROWS = (
    Row("boot_amd64", "Debian 12 amd64 to the shell", image="debian-amd64", system="qemu-system-x86_64", bound=0.9),
    Row("boot_i386", "Debian 12 i386 to the shell", image="debian-i386", system="qemu-system-i386", bound=0.9),
    Row("boot_disk", "Debian 12 i386 from its disk to the login", image="debian12-i386", system="qemu-system-i386",
        prompt=b"login: ", bound=1.5),
    Row("crc", "CRC-32 by table, 64 MiB", BOTH, zlib.crc32(bytes(MIB)) ^ 0xFFFFFFFF, bound=0.95),
    Row("sieve", "sieve of 8 Mi, three times, paging on", BOTH, 564165, bound=0.4),      # the primes, and 0 and 1
    Row("rep_movsd", "rep movsd, 256 MiB", BOTH, COPIED, bound=0.1),
    Row("mov_copy", "copy by mov, 128 MiB", BOTH, COPIED, bound=0.75),
    Row("calls", "20 M indirect calls", BOTH, 0x5812F8A3, bound=0.85),
    Row("x87", "x87, 16 M operations", BOTH, 0x3E0EF8A9, bound=0.6),
    Row("sse", "SSE, 12 M operations", BOTH, 0xBDE38E38, bound=0.7),
    Row("cold", "8,000 blocks, once each", BOTH, 0xEF83C8C8, bound=0.85),
    Row("tight", "loop of five instructions, 80 M rounds", BOTH, 0xAB69EC50, bound=1.0),
    Row("text", "20 M stores to a text screen", BOTH, 0x07410741, "screen", bound=0.05),
    Row("packed", "integers by SSE2, 27 M operations", BOTH, 0xE7B413FC, bound=1.1),
    Row("across", "3 M loads and stores across two pages", result=3_000_000, bound=0.45),
    Row("segments", "1 M far calls, 2 M segment registers", result=1_000_000, bound=0.4),
    Row("real", "real mode, 200,000 INTs, the stack beside the code", result=200_000, bound=0.4),
    Row("beside_code", "3 M stores beside the code that runs", result=500_000_500_000 & 0xFFFFFFFF, bound=0.25),
    Row("smc_block", "the next instruction patched, 20,000 times", result=200_010_000, bound=0.75),
    Row("smc", "a function patched before each of 10,000 calls", BOTH, 49_995_000, bound=0.6),
    Row("smc_alias", "the same through another page", BOTH, 49_995_000, bound=0.6),
    Row("out", "1 M OUT to port 80h", bound=0.15),
    Row("in", "1 M IN from port 60h", bound=0.15),
    Row("outsb", "rep outsb, 1 MiB to port 80h", result=0x400000 + (256 << 10), bound=0.15),
    Row("insw", "rep insw, 2 MiB from port 1F0h", result=0x400000 + (256 << 10), board="block", bound=0.6),
    Row("mmio_write", "1 M stores to device memory", bound=0.8),
    Row("mmio_read", "1 M loads from device memory", board="block", bound=0.8),
    Row("port_python_write", "1 M OUT to a chip's Python method", board="chip", workload="out", bound=4),
    Row("port_python_read", "1 M IN from a chip's Python method", board="chip", workload="port_read", bound=4),
    Row("disk_dma", "disk read by DMA, 256 MB", result=sum(DISK_SUMS), disk=256, bound=1.2),
    Row("disk_multiple", "disk read by PIO, 256 MB, 16 sectors an interrupt", result=sum(DISK_SUMS), disk=256, bound=1.2),
    Row("disk_pio", "disk read by PIO, 32 MB, a sector an interrupt", result=sum(DISK_SUMS[:256]), disk=256, bound=1.2),
    Row("int80", "200,000 INT 80h and IRET", result=200_000, bound=0.4),
    Row("page_fault", "100,000 page faults, repaired", result=100_000, bound=0.55),
    Row("timer", "the loop with timer interrupts at 1 kHz", (QEMU, ALONE), None),
    Row("irq_rate", "100,000 timer interrupts, spinning in between", (), None, interrupts=100_000),
    Row("irq_halt", "100,000 timer interrupts, halted in between", (), None, interrupts=100_000),
)
NAMES = {row.name: row for row in ROWS}


def disk(path: Path, size: int) -> Path:
    """Make a disk image of `size` MiB whose sectors are full of their own numbers."""
    with path.open("wb") as file:
        for first in range(0, size << 11, 2048):
            file.write(b"".join(struct.pack("<I", number) * 128 for number in range(first, first + 2048)))
    return path


def build(workload: str, path: Path, defines: dict[str, int] | None = None) -> Path:
    """Assemble a workload to `path`.  Raises BenchError."""
    nasm = shutil.which("nasm")
    if nasm is None:
        raise BenchError("the workloads are assembled by nasm: apt-get install nasm")
    options = ["-I", f"{SOURCE.parent}/", f"-DWL={workload}",
               *(f"-D{name}={value}" for name, value in (defines or {}).items())]
    done = subprocess.run([nasm, "-f", "bin", *options, "-o", str(path), str(SOURCE)], capture_output=True, text=True,
                          timeout=60, check=False)
    if done.returncode:
        raise BenchError(f"nasm, workload {workload}: {done.stderr.strip().splitlines()[0]}")
    return path
