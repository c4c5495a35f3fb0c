"""The bare guest on /dev/kvm, by ioctl and mmap: `python -m emu.cost.kvm KERNEL [timer] [unserved]`,
`probe`, or `alone PIECES`.

Source: Linux, Documentation/virt/kvm/api.rst; structures of include/uapi/linux/kvm.h and arch/x86/include/uapi/asm/kvm.h.
The guest starts in long mode, with the page tables that kernel.asm would make; its exits (marks at port E9h, commands to its
disk at 510h, HLT at the end) are answered here; with `timer` the host's kernel has a PIC and a PIT; `unserved`: its disk's
commands are exits that do nothing.  Marks as portable.py writes them.  `probe` prints what one exit costs, `alone` what the
disk's commands take without a guest, in ns.

What a processor asks for, and an emulated KVM may not: the TSS's pages of a VT-x without unrestricted guest are set, and its
identity map lies at its default, FFFBC000h, beside all memory; PIC and PIT are there before the processor is, whose LINT0
takes the PIC's INTR at reset (it is number 0, the boot processor); every segment has its access rights, and TR, from reset,
is a busy TSS.  With a PIC, HLT waits in the host's kernel: a guest that has failed is ended by its parent's time limit.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import struct
import sys
import tempfile
import time
from pathlib import Path

from emu.cost import programs

MEMORY = 128 << 20
CREATE_VM, CREATE_VCPU, RUN, VCPU_MMAP_SIZE, SET_TSS = 0xAE01, 0xAE41, 0xAE80, 0xAE04, 0xAE47
CREATE_IRQCHIP, CREATE_PIT2 = 0xAE60, 0x4040AE77
GET_SUPPORTED_CPUID, SET_CPUID2, SET_MEMORY = 0xC008AE05, 0x4008AE90, 0x4020AE46
SET_REGS, GET_SREGS, SET_SREGS = 0x4090AE82, 0x8138AE83, 0x4138AE84
EXIT_IO, EXIT_HLT, EXIT_MMIO, EXIT_SHUTDOWN, EXIT_FAIL, EXIT_INTERNAL = 2, 5, 6, 8, 9, 17
NAMES = {EXIT_SHUTDOWN: "triple fault", EXIT_HLT: "its kernel gave up (HLT)", EXIT_MMIO: "an access to where nothing is",
         EXIT_FAIL: "entry failed, reason", EXIT_INTERNAL: "internal error"}
MOST_IDS = 256                                  # leaves of CPUID: KVM_MAX_CPUID_ENTRIES; fewer are E2BIG on some processors
RUNNER, PRD, POSITION, PIECE = 0x510, 0x3FD400, 0x3FF040, 4096       # as disk.asm has it
READ_DMA, WRITE_DMA, FLUSH_CACHE = 0xC8, 0xCA, 0xE7
CR0, CR4, EFER = 0x80000033, 0x620, 0x501       # PG NE ET MP PE; PAE OSFXSR OSXMMEXCPT; LMA LME SCE


def tables() -> bytes:
    """Page map of level 4, directory pointers, directory: as kernel.asm, the first GiB by pages of 2 MiB."""
    made = bytearray(0x3000)
    struct.pack_into("<Q", made, 0, programs.TABLES + 0x1007)
    struct.pack_into("<Q", made, 0x1000, programs.TABLES + 0x2007)
    struct.pack_into("<512Q", made, 0x2000, *(n << 21 | 0x87 for n in range(512)))
    return bytes(made)


def ioctl(file: int, request: int, argument: int | bytearray = 0) -> int:
    """As ioctl(2), again after a signal: KVM_CREATE_VM, too, is broken off by one.  Raises OSError."""
    while True:
        try:
            return fcntl.ioctl(file, request, argument)
        except InterruptedError:
            continue


class VM:
    """One processor and its memory, with a timer if there are to be interrupts."""

    def __init__(self, timer: bool = False) -> None:
        self.kvm = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
        self.vm = ioctl(self.kvm, CREATE_VM)
        self.memory = mmap.mmap(-1, MEMORY, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.base = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        ioctl(self.vm, SET_TSS, 0x7FFBD000)
        ioctl(self.vm, SET_MEMORY, bytearray(struct.pack("<IIQQQ", 0, 0, 0, MEMORY, self.base)))
        if timer:
            try:
                ioctl(self.vm, CREATE_IRQCHIP)
                ioctl(self.vm, CREATE_PIT2, bytearray(64))
            except OSError as error:            # Linux from 6.16 on can be built without (CONFIG_KVM_IOAPIC)
                sys.exit(f"the host's KVM has no PIC and PIT: {error.strerror}")
        self.cpu = ioctl(self.vm, CREATE_VCPU)
        self.run_ = mmap.mmap(self.cpu, ioctl(self.kvm, VCPU_MMAP_SIZE, 0))
        ids = bytearray(struct.pack("<II", MOST_IDS, 0) + bytes(MOST_IDS * 40))
        ioctl(self.kvm, GET_SUPPORTED_CPUID, ids)
        ioctl(self.cpu, SET_CPUID2, ids)
        self.exits: dict[int, int] = {}

    def start(self, kernel: bytes, entry: int) -> None:
        """In long mode at `entry`, with interrupts off."""
        self.memory[programs.KERNEL:programs.KERNEL + len(kernel)] = kernel
        self.memory[programs.TABLES:programs.TABLES + 0x3000] = tables()
        sregs = bytearray(312)
        ioctl(self.cpu, GET_SREGS, sregs)
        code = struct.pack("<QIH8B2x", 0, 0xFFFFFFFF, 8, 11, 1, 0, 0, 1, 1, 1, 0)       # type present dpl db s l g avl
        data = struct.pack("<QIH8B2x", 0, 0xFFFFFFFF, 16, 3, 1, 0, 1, 1, 0, 1, 0)
        sregs[0:24] = code
        for n in range(1, 6):
            sregs[24 * n:24 * n + 24] = data
        struct.pack_into("<QH", sregs, 8 * 24, programs.GDT, 55)
        cr = 8 * 24 + 2 * 16                                                             # after eight segments, two tables
        struct.pack_into("<4Q", sregs, cr, CR0, 0, programs.TABLES, CR4)
        struct.pack_into("<Q", sregs, cr + 40, EFER)
        ioctl(self.cpu, SET_SREGS, sregs)
        ioctl(self.cpu, SET_REGS, bytearray(struct.pack("<18Q", *[0] * 16, entry, 2)))

    def run(self) -> tuple[int, int, bytes]:
        """(exit reason, port, what was written to it)."""
        ioctl(self.cpu, RUN)
        reason, = struct.unpack_from("<I", self.run_, 8)
        self.exits[reason] = self.exits.get(reason, 0) + 1
        if reason != EXIT_IO:
            return reason, 0, b""
        _, size, port, count, offset = struct.unpack_from("<BBHIQ", self.run_, 32)
        return reason, port, bytes(self.run_[offset:offset + size * count])


    def told(self, reason: int) -> str:
        """An exit that nobody wants, in words: of what failed, the number that KVM gives."""
        number, = struct.unpack_from("<Q" if reason == EXIT_FAIL else "<I", self.run_, 32)
        return NAMES.get(reason, f"exit {reason}") + f" {number:#x}" * (reason in (EXIT_FAIL, EXIT_INTERNAL))


def run(kernel: bytes, timer: bool, unserved: bool) -> None:
    """One workload.  The kernel goes back to its program by IRETQ.

    An emulated KVM (kvm_pvm) was seen to leave the CPL at 3 when its guest's SYSCALL goes to LSTAR: SYSRET, HLT, LTR and LIDT
    raise #GP from then on, and port I/O asks the TSS's bitmap.  So the kernel of `by_iret` loads these tables before.
    """
    vm = VM(timer)
    vm.start(kernel, programs.ENTRY64)
    with tempfile.TemporaryFile() as disk:
        _run(vm, -1 if unserved else disk.fileno())


def _run(vm: VM, disk: int) -> None:
    times: list[tuple[int, int]] = []
    exits = 0
    text = ""
    while True:                                         # to its last word: HLT needs ring 0
        reason, port, data = vm.run()
        if reason != EXIT_IO:
            sys.exit(f"KVM: {vm.told(reason)}")
        if port == 0xE9 and data in (b"\1", b"\2"):
            times.append((time.process_time_ns(), time.monotonic_ns()))
            if data == b"\1":
                os.write(1, data)
                exits = -sum(vm.exits.values())
            else:
                exits += sum(vm.exits.values())
        elif port == 0xE9 and data == b"\3":
            break
        elif port == RUNNER and disk >= 0:
            try:
                served(vm.memory, disk, data[0])
            except OSError as error:
                sys.exit(f"its disk: {error.strerror}")
        elif port == 0xE9:
            text += "%x" % (data[0] - ord("a"))
    (cpu, wall), (cpu_end, wall_end) = times
    os.write(1, b"\2%d %d %d %d\3" % (int(text[:16], 16), cpu_end - cpu, wall_end - wall, exits))


def served(memory: mmap.mmap, disk: int, command: int) -> None:
    """One command to the disk of disk.asm.  Raises OSError."""
    address, = struct.unpack_from("<I", memory, PRD)
    at = struct.unpack_from("<I", memory, POSITION)[0] * 512
    if command == FLUSH_CACHE:
        os.fsync(disk)
    elif command == WRITE_DMA:
        if os.pwrite(disk, memoryview(memory)[address:address + PIECE], at) != PIECE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    else:
        if os.preadv(disk, [memoryview(memory)[address:address + PIECE]], at) != PIECE:
            raise OSError(errno.EIO, os.strerror(errno.EIO))


def alone(pieces: int) -> None:
    """What the commands of `io` take without a guest."""
    memory = mmap.mmap(-1, MEMORY, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    struct.pack_into("<I", memory, PRD, 0x600000)
    with tempfile.TemporaryFile() as disk:
        start = time.process_time_ns()
        for command in (WRITE_DMA, READ_DMA):
            for piece in range(pieces):
                struct.pack_into("<I", memory, POSITION, piece * 8)
                served(memory, disk.fileno(), command)
            if command == WRITE_DMA:
                served(memory, disk.fileno(), FLUSH_CACHE)
        print(time.process_time_ns() - start)


def probe(exits: int = 200) -> None:
    """What one exit costs, by a guest that does nothing but OUT."""
    vm = VM()
    code = b"\x31\xD2\xB2\xE9" + b"\xEE" * exits + b"\xF4"         # xor edx, edx; mov dl, E9h; out dx, al ...; hlt
    vm.start(bytes(0x400) + code, programs.KERNEL + 0x400)
    vm.run()
    start = time.monotonic_ns()
    while vm.run()[0] == EXIT_IO:
        pass
    print(max(1, (time.monotonic_ns() - start) // (exits - 1)))


if __name__ == "__main__":
    try:
        if sys.argv[1] == "probe":
            probe()
        elif sys.argv[1] == "alone":
            alone(int(sys.argv[2]))
        else:
            run(Path(sys.argv[1]).read_bytes(), "timer" in sys.argv[2:], "unserved" in sys.argv[2:])
    except OSError as error:
        sys.exit(f"/dev/kvm: {error.strerror}")
