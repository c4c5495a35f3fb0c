"""Stock Unicorn with one Python call for each instruction, as scripting tools use it: `python -m emu.cost.hooked DIRECTORY`.

The library's public binding alone: the program's code is mapped, UC_HOOK_CODE calls a Python function that counts, and
system calls are answered by a Python hook, too.  Lines in and out as in guest.py; with a third number, instructions are not
hooked.
"""

from __future__ import annotations

import importlib
import os
import struct
import sys
import tempfile
import time
from typing import Any, BinaryIO

from emu.cost import programs
from emu.cost.guest import Marks, answer

STACK = 0x3F0000
CALLS = {0: "read", 2: "open", 8: "lseek", 74: "fsync", 87: "unlink"}          # as Linux numbers them


def run(number: int, rounds: int, disk: BinaryIO, hooked: bool) -> None:
    unicorn: Any = importlib.import_module("unicorn")           # the engine's room is not for us: another process, stock
    x86: Any = importlib.import_module("unicorn.x86_const")
    start = time.process_time_ns(), time.monotonic_ns()
    counted = mask = 0
    marks = Marks(lambda: counted)
    uc = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64)
    uc.mem_map(STACK, programs.CODE - STACK)
    uc.mem_map(programs.CODE, programs.DATA_END - programs.CODE)
    uc.mem_write(programs.CODE, programs.code())
    words = STACK + 0x8000
    uc.mem_write(words + 64, b"%d\0" % number)
    uc.mem_write(words + 96, b"%d\0" % rounds)
    uc.mem_write(words, struct.pack("<4Q", 3, words + 64, words + 64, words + 96))
    uc.reg_write(x86.UC_X86_REG_RSP, words)

    def instruction(uc: Any, address: int, size: int, data: object) -> None:
        nonlocal counted
        counted += 1

    def file(uc: Any, what: str, buffer: int, length: int) -> int:
        """One system call of `io`, on a file of the host that is gone at the end."""
        if what == "read":
            uc.mem_write(buffer, read := disk.read(length))
            return len(read)
        if what == "lseek":
            return disk.seek(0)
        if what == "fsync":
            os.fsync(disk.fileno())
        return 3 if what == "open" else 0

    def call(uc: Any, data: object) -> None:
        nonlocal mask
        which, one, two, three = (uc.reg_read(register) for register in (
            x86.UC_X86_REG_RAX, x86.UC_X86_REG_RDI, x86.UC_X86_REG_RSI, x86.UC_X86_REG_RDX))
        if which == 95:
            uc.reg_write(x86.UC_X86_REG_RAX, mask)
            mask = one & 511
        elif which == 1 and one > 1:
            uc.reg_write(x86.UC_X86_REG_RAX, disk.write(uc.mem_read(two, three)))
        elif which == 1:
            data = bytes(uc.mem_read(two, three))
            marks(data)
            if data == b"\1" and hooked:        # only the work is hooked: what comes before it would take as long
                uc.hook_add(unicorn.UC_HOOK_CODE, instruction)
                uc.ctl_flush_tb()
        elif which in CALLS:
            uc.reg_write(x86.UC_X86_REG_RAX, file(uc, CALLS[which], two, three))
        elif which == 228:
            uc.mem_write(two, bytes(16))
        else:
            uc.emu_stop()

    uc.hook_add(unicorn.UC_HOOK_INSN, call, None, 1, 0, x86.UC_X86_INS_SYSCALL)
    uc.emu_start(programs.CODE, 0)
    if hooked and not counted:
        raise ValueError("the hook was not called")
    answer(marks, start)


def main() -> None:
    for line in sys.stdin:
        number, rounds, *without = (int(text) for text in line.split())
        with tempfile.TemporaryFile(buffering=0) as disk:
            run(number, rounds, disk, not without)


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError, ImportError) as error:
        sys.exit(str(error))
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        os._exit(1)
