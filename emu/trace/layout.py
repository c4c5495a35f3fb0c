"""What is said between the recorder and the writer, and the columns of the files.

The writer reads messages on its standard input: HEAD (a letter, and three numbers), then as many bytes as the last number
says.  It answers on its standard output with one byte for each segment of block numbers that it has done with.
"""

from __future__ import annotations

import struct

VERSION = 1
HEAD = struct.Struct("<cxxxIqQ")        # letter, u32 segment, position, length in bytes of what follows
SEGMENT, DEFINITIONS, EVENTS, NAMES, META, CLOSE = b"B", b"D", b"E", b"N", b"M", b"Q"
DEFINITION = struct.Struct("<IIQQIIQQ")  # number, size, pc, cs_base, flags, cflags, position, bytes that follow
EVENT = struct.Struct("<8Q")
NUMBER = 4                              # bytes
META_FILE = "meta.json"
CF_COUNT, CF_NOCACHE = 0x7FFF, 0x10000          # of cflags, see emu/cpu/unicorn/layout.py
SINGLE = 1                              # CF_COUNT of the one instruction by which a block that changed itself goes on
KINDS = {1: "exception", 2: "software interrupt", 3: "interrupt", 4: "control register", 5: "msr", 6: "port read",
         7: "port write", 8: "memory read", 9: "memory write", 10: "pin", 11: "alarm", 12: "reset", 13: "console"}
ACCESSES = 6                            # from this kind on, Python has told the event
