"""Worlds on QEMU's translator: hundreds of them in one process.

Registers and flags are read through QEMU's gdb port, at a breakpoint where each program ends (rsp.py).  Memory, 256 KiB for
each, goes another way: the guest's RAM is a file that this process maps.  A small driver in the guest copies each world to
address 0, enters it, and copies it back when it goes on behind the breakpoint.

What the library's translator (QEMU 5.0) does otherwise than QEMU 7.2 is known, and left out by name:
 - SSE sets no DE in MXCSR; QEMU 7.2 keeps no C1 of the x87, and sets C2 after a bad FSQRT: masked;
 - MXCSR.FZ reaches the x87 and not SSE: Start.portable programs never set it;
 - the x87 is the host's: QEMU 7.2 rounds constants to nearest, takes no pending exceptions: portable programs load integers;
 - FRNDINT obeys the precision control in QEMU 7.2, as in no processor: portable programs have none;
 - the x87's last instruction and operand (FOP, FIP, FDP) are kept differently: masked;
 - LOOPE and LOOPNE that end because RCX is 0 leave stale flags: the flags are defined after them;
 - CMPXCHG8B, in both, takes for the flags what was last stored of them: it stands at the start of a block.
All else, with the flags that an instruction leaves undefined defined by the one after it, is equal.
"""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emu.assembler import assemble
from tests.fast import world
from tests.fast.rsp import Gdb, RSPError

QEMU = shutil.which("qemu-system-x86_64")
DRIVER, TABLE, BACK, STATE, SLOTS = 0x1000000, 0x1000800, 0x1000200, 0x1000400, 0x1100000
BATCH = 400
LONG_ALONE = [f"xmm{n}" for n in range(8, 16)]              # what only a program in long mode can set back
DRIVER_CODE = f"""
    next:
        mov esi, [{STATE}]
        cmp esi, [{STATE + 4}]
        jae end
        inc dword ptr [{STATE}]
        imul esi, esi, {world.SIZE}
        add esi, {SLOTS}
        mov [{STATE + 8}], esi
        xor edi, edi
        mov ecx, {world.SIZE // 4}
        cld
        .byte 0xF3, 0xA5                        # rep movsd
        mov eax, {world.ENTRY}
        jmp eax
    end:
        mov eax, 1
        mov edx, 0xF4
        out dx, al
        cli
        hlt
"""
BACK_CODE = f"""
        mov esp, {STATE}
        .byte 0x0F, 0x01, 0x15                  # lgdt [TABLE]
        .long {TABLE}
        mov eax, 0x10
        mov ds, eax
        mov es, eax
        mov ss, eax
        .byte 0xEA
        .long there
        .short 8
    there:
        mov edi, [{STATE + 8}]
        xor esi, esi
        mov ecx, {world.SIZE // 4}
        cld
        .byte 0xF3, 0xA5                        # rep movsd
        mov eax, {DRIVER}
        jmp eax
"""
FLAT = bytes.fromhex("0000000000000000 ffff0000009bcf00 ffff00000093cf00")
BIOS = f"""
        .code16
        .byte 0x2E, 0x66, 0x0F, 0x01, 0x16, 0x40, 0x00
        mov eax, cr0
        or al, 1
        mov cr0, eax
        .byte 0x66, 0xEA
        .long {DRIVER - 16}
        .short 8
"""


class QemuError(RuntimeError):
    """QEMU did not run all worlds."""


@dataclass(frozen=True)
class Outcome:
    """The memory after a program, and what the gdb port said of the registers at its end."""

    memory: bytes
    registers: dict[str, int]


def run_qemu(images: Sequence[bytes], timeout: float = 120) -> list[Outcome]:
    """The outcome of each program.  Raises QemuError."""
    done: list[Outcome] = []
    for first in range(0, len(images), BATCH):
        done += _batch(images[first:first + BATCH], timeout)
    return done


GENERAL = "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp"
CONTROL = "cr0", "cr2", "cr3", "cr4", "efer"


def compare_registers(ours: Mapping[str, Any], theirs: Mapping[str, int]) -> list[str]:
    """What differs between a state of ours (UnicornEngine.save) behind the HLT at HALT, and the gdb port's before it."""
    long = ours["efer"] & 0x400
    mask = (1 << 64) - 1 if long else (1 << 32) - 1
    pairs = {name: (ours[name] & mask, theirs[name] & mask) for name in GENERAL}
    if long:
        pairs |= {f"r{i}": (ours[f"r{i}"], theirs[f"r{i}"]) for i in range(8, 16)}
    pairs |= {name: (ours[name], theirs[name]) for name in CONTROL}
    pairs |= {name: (ours[name][0], theirs[name]) for name in ("cs", "ss", "ds", "es", "fs", "gs")}
    pairs |= {f"xmm{i}": (int.from_bytes(bytes.fromhex(ours["xmm"][i]), "little"), theirs[f"xmm{i}"]) for i in range(16)}
    pairs["rip"] = ours["rip"] - 2, theirs["rip"]
    pairs["flags"] = ours["rflags"] & world.SHOWN, theirs["eflags"] & world.SHOWN
    return [f"{name}: {one:#x} != {other:#x} (through the gdb port)" for name, (one, other) in pairs.items() if one != other]


def architectural(memory: bytes) -> bytes:
    """What both must agree on: without the way back to the driver, and the flags that are told above."""
    image = bytearray(memory)
    for start, length in ((world.EXIT + 16, 4), (world.LEAVE_STACK - 0x80, 0x80), (world.FX_RESULT + 6, 18)):
        image[start:start + length] = bytes(length)
    image[world.FX_RESULT + 2] = 0
    image[world.FX_RESULT + 3] &= 0x79
    image[world.FX_RESULT + 24] &= 0xFD
    return bytes(image)


def _batch(images: Sequence[bytes], timeout: float) -> list[Outcome]:
    assert QEMU
    length = SLOTS + len(images) * world.SIZE + 0xFFFFF & ~0xFFFFF
    with tempfile.TemporaryDirectory() as directory:
        memory, rom = Path(directory, "memory"), Path(directory, "rom")
        rom.write_bytes(_rom())
        with memory.open("w+b") as file:
            file.truncate(length)
            with mmap.mmap(file.fileno(), length) as ram:
                entry = assemble("mov eax, 0x10; mov ds, eax; mov es, eax; mov ss, eax; nop; nop", DRIVER - 16, 32)
                _put(ram, DRIVER - 16, entry.ljust(16, b"\x90"))
                _put(ram, DRIVER, assemble(DRIVER_CODE, DRIVER, 32))
                _put(ram, BACK, assemble(BACK_CODE, BACK, 32))
                _put(ram, TABLE, struct.pack("<HI", len(FLAT) - 1, TABLE + 16))
                _put(ram, TABLE + 16, FLAT)
                _put(ram, STATE + 4, struct.pack("<I", len(images)))
                for number, image in enumerate(images):
                    slot = SLOTS + number * world.SIZE
                    _put(ram, slot, image)
                    _put(ram, slot + world.EXIT + 16, struct.pack("<I", BACK))
                registers = _run(Path(directory), length, len(images), timeout)
                ran, = struct.unpack("<I", ram[STATE:STATE + 4])
                done = [Outcome(bytes(ram[at:at + world.SIZE]), values)
                        for at, values in zip(range(SLOTS, SLOTS + ran * world.SIZE, world.SIZE), registers)]
    if len(done) != len(images):
        raise QemuError(f"program {ran - 1} did not end")
    return done


def _put(ram: mmap.mmap, address: int, data: bytes) -> None:
    ram[address:address + len(data)] = data


def _rom() -> bytes:
    rom = bytearray(0x10000)
    code = assemble(BIOS, 0, 16)
    rom[:len(code)] = code
    rom[0x40:0x46] = struct.pack("<HI", len(FLAT) - 1, 0xFFFF0050)
    rom[0x50:0x50 + len(FLAT)] = FLAT
    rom[0xFFF0:0xFFF3] = b"\xE9\x0D\x00"                    # jmp 0
    return bytes(rom)


def _run(directory: Path, length: int, count: int, timeout: float) -> list[dict[str, int]]:
    """Run all worlds; the registers at the end of each."""
    port, errors = directory / "gdb", directory / "errors"
    command = [QEMU, "-accel", "tcg", "-cpu", "qemu64", "-display", "none", "-nodefaults", "-no-reboot",
               "-bios", str(directory / "rom"), "-m", f"{length >> 20}", "-machine", "pc,memory-backend=ram",
               "-object", f"memory-backend-file,id=ram,size={length},mem-path={directory / 'memory'},share=on",
               "-device", "isa-debug-exit,iobase=0xf4,iosize=1", "-S", "-gdb", f"unix:{port},server=on,wait=off"]
    registers: list[dict[str, int]] = []
    with errors.open("w+") as said, subprocess.Popen(command, stdout=said, stderr=said) as qemu:
        try:
            gdb = Gdb(port, timeout)
            gdb.breakpoint(world.HALT)
            while len(registers) < count and gdb.go():
                registers.append(gdb.read())
                gdb.write("rip", world.LEAVE)
                for name in LONG_ALONE if registers[-1]["efer"] & 0x400 else ():     # the next program may see them
                    gdb.write(name, 0)
            if len(registers) == count:
                gdb.go()
            gdb.close()
            if qemu.wait(timeout) not in (0, 3):
                raise QemuError(errors.read_text().strip())
        except (RSPError, OSError, subprocess.TimeoutExpired) as error:
            raise QemuError(f"{error} {errors.read_text().strip()}") from None
        finally:
            qemu.kill()
    return registers
