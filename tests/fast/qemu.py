"""Worlds on QEMU's translator: hundreds of them in one process.

The guest's RAM is a file that this process maps, so worlds go in and outcomes come out without a protocol.  A small driver in
the guest copies each world to address 0, enters it, and copies it back when the program has ended.

What the library's translator (QEMU 5.0) does otherwise than QEMU 7.2 is known, and left out by name:
 - SSE sets no exception flags in MXCSR, x87 not all in the status word: `architectural` masks them;
 - MXCSR.FZ reaches the x87 and not SSE: Start.portable programs never set it;
 - FLD of a signalling NaN stays signalling, FLDPI and FLDL2E know no rounding: portable programs load integers;
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
from collections.abc import Sequence
from pathlib import Path

from emu.assembler import assemble
from tests.fast import world

QEMU = shutil.which("qemu-system-x86_64")
DRIVER, TABLE, BACK, STATE, SLOTS = 0x1000000, 0x1000800, 0x1000200, 0x1000400, 0x1100000
BATCH = 400
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


def run_qemu(images: Sequence[bytes], timeout: float = 120) -> list[bytes]:
    """The memory after each program.  Images are for `leave=world.LEAVE`."""
    done: list[bytes] = []
    for first in range(0, len(images), BATCH):
        done += _batch(images[first:first + BATCH], timeout)
    return done


def architectural(memory: bytes) -> bytes:
    """What both must agree on: without the way out, which is another, and the flags that are told above."""
    image = bytearray(memory)
    for start, length in ((world.EXIT, 4), (world.EXIT + 16, 4), (world.LEAVE_STACK - 0x80, 0x80), (world.FX_RESULT + 6, 18)):
        image[start:start + length] = bytes(length)
    image[world.FX_RESULT + 2] = 0
    image[world.FX_RESULT + 3] &= 0x7F
    image[world.FX_RESULT + 24] &= 0xC0
    return bytes(image)


def _batch(images: Sequence[bytes], timeout: float) -> list[bytes]:
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
                _start(memory, rom, length, timeout)
                ran, = struct.unpack("<I", ram[STATE:STATE + 4])
                done = [bytes(ram[at:at + world.SIZE]) for at in range(SLOTS, SLOTS + ran * world.SIZE, world.SIZE)]
    if ran != len(images):
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


def _start(memory: Path, rom: Path, length: int, timeout: float) -> None:
    command = [QEMU, "-accel", "tcg", "-cpu", "qemu64", "-display", "none", "-nodefaults", "-no-reboot", "-bios", str(rom),
               "-m", f"{length >> 20}", "-machine", "pc,memory-backend=ram",
               "-object", f"memory-backend-file,id=ram,size={length},mem-path={memory},share=on",
               "-device", "isa-debug-exit,iobase=0xf4,iosize=1"]
    try:
        done = subprocess.run(command, timeout=timeout, capture_output=True, text=True)
    except subprocess.TimeoutExpired:
        return
    if done.returncode not in (0, 3):
        raise QemuError(done.stderr.strip())
