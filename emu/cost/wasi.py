"""What portable.py's functions call of their host, as WebAssembly functions: WASI, and a timer.

Source: WASI preview 1 (wasi_snapshot_preview1), whose directory 3 is the first that is opened for the program; WebAssembly
Core Specification 1.0, chapter 5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

I32, I64 = 0x7F, 0x7E
WASI = "wasi_snapshot_preview1"
IMPORTS: dict[str, tuple[str, tuple[int, ...]]] = {             # name -> module, parameters; each answers an i32
    "path_open": (WASI, (I32, I32, I32, I32, I32, I64, I64, I32, I32)), "path_unlink_file": (WASI, (I32, I32, I32)),
    "fd_write": (WASI, (I32, I32, I32, I32)), "fd_read": (WASI, (I32, I32, I32, I32)), "fd_sync": (WASI, (I32,)),
    "fd_seek": (WASI, (I32, I64, I32, I32)), "fd_close": (WASI, (I32,)), "tick": ("host", (I32,)),
}
DIRECTORY, CREATE, RIGHTS = 3, 9, 0x1FFFFFFF                    # OFLAGS_CREAT | OFLAGS_TRUNC
FILE, VECTOR, DONE, BEFORE, PATH, PIECE = 0x30000, 0x30008, 0x30010, 0x30018, 0x30020, 0x31000      # in memory
NAME = b"emu-cost-io"


def unsigned(value: int) -> bytes:
    """LEB128 (5.2.2)."""
    made = bytearray()
    while value >= 0x80:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*made, value])


def signed(value: int) -> bytes:
    """Signed LEB128."""
    made = bytearray()
    while not -0x40 <= value < 0x40:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*made, value & 0x7F])


def vector(items: list[bytes]) -> bytes:
    return unsigned(len(items)) + b"".join(items)


def text(value: str) -> bytes:
    return unsigned(len(value)) + value.encode()


def body(kinds: list[int], code: bytes) -> bytes:
    """A function: its local variables beside its parameters, its instructions."""
    whole = vector([bytes([1, kind]) for kind in kinds]) + code + b"\x0B"
    return unsigned(len(whole)) + whole


def _i32(value: int) -> bytes:
    return b"\x41" + signed(value)


def _i64(value: int) -> bytes:
    return b"\x42" + signed(value)


def _load(place: int) -> bytes:
    """The i32 there."""
    return _i32(place) + b"\x28\x02\x00"


def _load64(place: int) -> bytes:
    return _i32(place) + b"\x29\x03\x00"


def _store(place: int, value: bytes) -> bytes:
    return _i32(place) + value + b"\x36\x02\x00"


def _store64(place: int, value: bytes) -> bytes:
    return _i32(place) + value + b"\x37\x03\x00"


def _call(numbers: Mapping[str, int], name: str, *arguments: bytes) -> bytes:
    """Call it; an error is a trap."""
    return b"".join(arguments) + b"\x10" + unsigned(numbers[name]) + b"\x04\x40\x00\x0B"


def _opened(numbers: Mapping[str, int]) -> bytes:
    code = b"".join(_i32(PATH + n) + _i32(byte) + b"\x3A\x00\x00" for n, byte in enumerate(NAME))      # i32.store8
    path = _i32(PATH), _i32(len(NAME))
    code += _call(numbers, "path_open", _i32(DIRECTORY), _i32(0), *path, _i32(CREATE), _i64(RIGHTS), _i64(RIGHTS), _i32(0),
                  _i32(FILE))
    code += _call(numbers, "path_unlink_file", _i32(DIRECTORY), *path)
    return body([], code + _store(VECTOR, _i32(PIECE)) + _store(VECTOR + 4, _i32(4096)) + _i64(0))


def _whole(numbers: Mapping[str, int], name: str) -> bytes:
    """Write or read 4 KiB, no less."""
    code = _call(numbers, name, _load(FILE), _i32(VECTOR), _i32(1), _i32(DONE))
    return code + _load(DONE) + _i32(4096) + b"\x47\x04\x40\x00\x0B"                                   # i32.ne, a trap


def _put(numbers: Mapping[str, int]) -> bytes:
    return body([], _store(PIECE, b"\x20\x00\xA7") + _whole(numbers, "fd_write") + _i64(0))


def _get(numbers: Mapping[str, int]) -> bytes:
    return body([], _whole(numbers, "fd_read") + _load(PIECE) + b"\xAD")                               # i64.extend_i32_u


def _seek(numbers: Mapping[str, int], to: bytes) -> bytes:
    return _call(numbers, "fd_seek", _load(FILE), to, _i32(0), _i32(DONE))


def _flushed(numbers: Mapping[str, int]) -> bytes:
    return body([], _call(numbers, "fd_sync", _load(FILE)) + _seek(numbers, _i64(0)) + _i64(0))


def _mask(numbers: Mapping[str, int]) -> bytes:
    """The answer is that of the call before."""
    return body([], _load64(BEFORE) + _seek(numbers, b"\x20\x00") + _store64(BEFORE, _load64(DONE)))


def _closed(numbers: Mapping[str, int]) -> bytes:
    return body([], _call(numbers, "fd_close", _load(FILE)) + _i64(0))


def _timer(numbers: Mapping[str, int]) -> bytes:
    return body([], b"\x20\x00\xA7\x10" + unsigned(numbers["tick"]) + b"\xAD")


FUNCTIONS: dict[str, tuple[int, Callable[[Mapping[str, int]], bytes]]] = {             # name -> how many parameters, its body
    "opened": (0, _opened), "put": (1, _put), "flushed": (0, _flushed), "get": (0, _get), "mask": (1, _mask),
    "closed": (0, _closed), "timer": (1, _timer),
}
