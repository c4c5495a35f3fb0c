"""What portable.py's functions call in Java's library, and the program's main method: methods of byte code."""

from __future__ import annotations

from collections.abc import Callable

from emu.cost.classfile import Code
from emu.cost.translate import BY_TABLE

NAME, TICK = "Work", "WorkTick"
OPERATOR = "java/util/function/LongUnaryOperator"
FILE, BUFFER, POOL = "java/io/RandomAccessFile", "java/nio/ByteBuffer", "java/util/concurrent/ScheduledThreadPoolExecutor"
UNIT, SCANNER, STREAM = "java/util/concurrent/TimeUnit", "java/util/Scanner", "java/io/PrintStream"
FUTURE = "java/util/concurrent/ScheduledFuture"
TYPES = {"data": "[B", "sieve": "[B", "table": "[J", "words": "[J", "functions": f"[L{OPERATOR};", "file": f"L{FILE};",
         "piece": "[B", "buffer": f"L{BUFFER};", "pool": f"L{POOL};", "ticks": "J"}
PATH = "emu-cost-io"


def _get(code: Code, name: str) -> None:
    code.field(False, NAME, name, TYPES[name])


def _put(code: Code, name: str) -> None:
    code.field(True, NAME, name, TYPES[name])


def _nothing(code: Code) -> None:
    code.emit("lconst_0", 0x09)
    code.emit("lreturn", 0xAD)


def _array(code: Code, name: str) -> None:
    """Of so many elements as lie on the stack."""
    code.emit("newarray", 0xBC, 8 if TYPES[name] == "[B" else 11, ">B")
    _put(code, name)


def _indirect(code: Code) -> None:
    _get(code, "functions")
    code.emit("lload_0", 0x1E)
    code.emit("l2i", 0x88)
    code.emit("aaload", 0x32)
    code.emit("lload_2", 0x20)
    code.interface(OPERATOR, "applyAsLong", "(J)J", 3)
    code.emit("lreturn", 0xAD)


def _opened(code: Code) -> None:
    def arguments() -> None:
        code.string(PATH)
        code.string("rw")

    code.new(FILE, "(Ljava/lang/String;Ljava/lang/String;)V", arguments)
    _put(code, "file")
    code.new("java/io/File", "(Ljava/lang/String;)V", lambda: code.string(PATH))
    code.virtual("java/io/File", "delete", "()Z")
    code.emit("pop", 0x57)
    code.short(4096)
    _array(code, "piece")
    _get(code, "piece")
    code.static(BUFFER, "wrap", f"([B)L{BUFFER};")
    _put(code, "buffer")
    _nothing(code)


def _write(code: Code) -> None:
    _get(code, "buffer")
    code.emit("iconst_0", 3)
    code.emit("lload_0", 0x1E)
    code.emit("l2i", 0x88)
    code.virtual(BUFFER, "putInt", f"(II)L{BUFFER};")
    code.emit("pop", 0x57)
    _get(code, "file")
    _get(code, "piece")
    code.virtual(FILE, "write", "([B)V")
    _nothing(code)


def _flushed(code: Code) -> None:
    _get(code, "file")
    code.virtual(FILE, "getFD", "()Ljava/io/FileDescriptor;")
    code.virtual("java/io/FileDescriptor", "sync", "()V")
    _get(code, "file")
    code.emit("lconst_0", 0x09)
    code.virtual(FILE, "seek", "(J)V")
    _nothing(code)


def _read(code: Code) -> None:
    _get(code, "file")
    _get(code, "piece")
    code.virtual(FILE, "readFully", "([B)V")
    _get(code, "buffer")
    code.emit("iconst_0", 3)
    code.virtual(BUFFER, "getInt", "(I)I")
    code.emit("i2l", 0x85)
    code.number(0xFFFFFFFF)
    code.emit("land", 0x7F)
    code.emit("lreturn", 0xAD)


def _closed(code: Code) -> None:
    _get(code, "file")
    code.virtual(FILE, "close", "()V")
    _nothing(code)


def _mask(code: Code) -> None:
    """Java has no umask: what was set before is where the file stands, two times lseek."""
    _get(code, "file")
    code.virtual(FILE, "getFilePointer", "()J")
    _get(code, "file")
    code.emit("lload_0", 0x1E)
    code.virtual(FILE, "seek", "(J)V")
    code.emit("lreturn", 0xAD)


def _timer(code: Code) -> None:
    code.emit("lload_0", 0x1E)
    code.emit("l2i", 0x88)
    off = code.emit("ifeq", 0x99, 0)
    code.emit("lconst_0", 0x09)
    _put(code, "ticks")
    code.new(POOL, "(I)V", lambda: code.emit("iconst_1", 4))
    _put(code, "pool")
    _get(code, "pool")
    code.new(TICK)
    code.emit("lconst_1", 0x0A)
    code.emit("lconst_1", 0x0A)
    code.field(False, UNIT, "MILLISECONDS", f"L{UNIT};")
    code.virtual(POOL, "scheduleAtFixedRate", f"(Ljava/lang/Runnable;JJL{UNIT};)L{FUTURE};")
    code.emit("pop", 0x57)
    _nothing(code)
    code.jump_here(off)
    _get(code, "pool")
    code.virtual(POOL, "shutdownNow", "()Ljava/util/List;")
    code.emit("pop", 0x57)
    _get(code, "ticks")
    code.emit("lreturn", 0xAD)


def tick(code: Code) -> None:
    """Of the timer's thread."""
    _get(code, "ticks")
    code.emit("lconst_1", 0x0A)
    code.emit("ladd", 0x61)
    _put(code, "ticks")
    code.emit("return", 0xB1)


def _say(code: Code, byte: int) -> None:
    code.field(False, "java/lang/System", "out", f"L{STREAM};")
    code.emit(f"iconst_{byte}", 3 + byte)
    code.virtual(STREAM, "write", "(I)V")
    code.field(False, "java/lang/System", "out", f"L{STREAM};")
    code.virtual(STREAM, "flush", "()V")


def _main(code: Code) -> None:
    """Each line of standard input: a workload's number, rounds, rounds to warm up with, how many words.  Marks as
    portable.py writes them, and the result.
    """
    number, rounds, warm, words, result = 2, 4, 6, 8, 10

    def load(place: int) -> None:
        code.emit(f"lload {place}", 0x16, place, ">B")

    def fresh() -> None:
        load(words)
        code.emit("l2i", 0x88)
        _array(code, "words")

    for name in ("data", "sieve"):
        code.short(16384)
        _array(code, name)
    code.short(256)
    _array(code, "table")
    code.emit("iconst_4", 7)
    code.emit("anewarray", 0xBD, code.constants.class_(OPERATOR))
    for n, name in enumerate(BY_TABLE):
        code.emit("dup", 0x59)
        code.emit(f"iconst_{n}", 3 + n)
        code.new(f"{NAME}{name}")
        code.emit("aastore", 0x53)
    _put(code, "functions")
    code.static(NAME, "prepare", "()J")
    code.emit("pop2", 0x58)
    code.new(SCANNER, "(Ljava/io/InputStream;)V",
             lambda: code.field(False, "java/lang/System", "in", "Ljava/io/InputStream;"))
    code.emit("astore_1", 0x4C)
    top = len(code.out)
    code.emit("aload_1", 0x2B)
    code.virtual(SCANNER, "hasNextLong", "()Z")
    out = code.emit("ifeq", 0x99, 0)
    for place in (number, rounds, warm, words):
        code.emit("aload_1", 0x2B)
        code.virtual(SCANNER, "nextLong", "()J")
        code.emit(f"lstore {place}", 0x37, place, ">B")
    fresh()
    load(number)
    load(warm)
    code.static(NAME, "dispatch", "(JJ)J")
    code.emit("pop2", 0x58)
    fresh()
    _say(code, 1)
    load(number)
    load(rounds)
    code.static(NAME, "dispatch", "(JJ)J")
    code.emit(f"lstore {result}", 0x37, result, ">B")
    _say(code, 2)
    code.field(False, "java/lang/System", "out", f"L{STREAM};")
    load(result)
    code.virtual(STREAM, "print", "(J)V")
    _say(code, 3)
    code.emit(f"goto {top}", 0xA7, top - len(code.out), ">h")
    code.jump_here(out)
    code.emit("return", 0xB1)


METHODS: tuple[tuple[str, str, Callable[[Code], None], int], ...] = (      # name, type, code, local variables
    ("indirect", "(JJ)J", _indirect, 4), ("opened", "()J", _opened, 1), ("put", "(J)J", _write, 2),
    ("flushed", "()J", _flushed, 1), ("get", "()J", _read, 1), ("closed", "()J", _closed, 1), ("mask", "(J)J", _mask, 2),
    ("timer", "(J)J", _timer, 2), ("main", "([Ljava/lang/String;)V", _main, 12))
