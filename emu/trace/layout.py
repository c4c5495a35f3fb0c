"""What is said between the recorder and the writer, and the columns of the files.

The writer reads messages on its standard input: HEAD (a letter, and three numbers), then as many bytes as the last number
says.  It answers on its standard output with one byte for each segment of block numbers that it has done with.
"""

from __future__ import annotations

import struct

VERSION = 2
HEAD = struct.Struct("<cxxxIqQ")        # letter, u32 segment, position, length in bytes of what follows
SEGMENT, DEFINITIONS, EVENTS, NAMES, META, CLOSE, GATE, SYMBOLS = b"B", b"D", b"E", b"N", b"M", b"Q", b"W", b"S"
ACCESSES = b"A"
DEFINITION = struct.Struct("<IIQQIIQQ")  # number, size, pc, cs_base, flags, cflags, position, bytes that follow
EVENT = struct.Struct("<8Q")
ACCESS = struct.Struct("<5Q")           # position, linear address, value, size | store << 8, the instruction's address
NUMBER = 4                              # bytes
META_FILE = "meta.json"
CF_COUNT, CF_NOCACHE = 0x7FFF, 0x10000          # of cflags, see emu/cpu/unicorn/layout.py
SINGLE = 1                              # CF_COUNT of the one instruction by which a block that changed itself goes on
LEVELS = "blocks", "insns", "memory", "events"
KINDS = {1: "exception", 2: "software interrupt", 3: "interrupt", 4: "control register", 5: "msr", 6: "port read",
         7: "port write", 8: "memory read", 9: "memory write", 10: "pin", 11: "alarm", 12: "reset", 13: "console",
         14: "disk read", 15: "disk write", 16: "disk flush", 17: "screen", 18: "stack"}
CONTROL, MSR = 4, 5
STACK = 18                      # a load of the stack pointer: what it was before, and what it is
NOTHING = 0xFFFFFF                      # the name of what nobody answers for, told by the recorder itself
TOLD = 6                                # from this kind on, Python has told the event
MSRS = {0x10: "TSC", 0x1B: "APIC_BASE", 0x174: "SYSENTER_CS", 0x175: "SYSENTER_ESP", 0x176: "SYSENTER_EIP", 0x277: "PAT",
        0xC0000080: "EFER", 0xC0000081: "STAR", 0xC0000082: "LSTAR", 0xC0000083: "CSTAR", 0xC0000084: "FMASK",
        0xC0000100: "FS_BASE", 0xC0000101: "GS_BASE", 0xC0000102: "KERNEL_GS_BASE", 0xC0000103: "TSC_AUX"}


class TraceError(OSError):
    """A trace cannot be written: one line that says why."""


class BadTrace(ValueError):
    """What is no trace, or cannot be used: one line that says which and why."""


def register(kind: int, number: int) -> str:
    """The name of a control or model-specific register."""
    return f"CR{number}" if kind == CONTROL else MSRS.get(number, f"MSR {number:#x}")
