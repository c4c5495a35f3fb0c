"""Zstandard frames, decompressed by the system's own libzstd (BSD), which every Debian has: its package manager needs it."""

from __future__ import annotations

import ctypes
import functools
from typing import Any


class ZstdError(ValueError):
    """Data that cannot be decompressed, or nothing here to do it with; the message says which."""


class _Buffer(ctypes.Structure):                # ZSTD_inBuffer, ZSTD_outBuffer: pointer, size, position
    _fields_ = [("data", ctypes.c_void_p), ("size", ctypes.c_size_t), ("at", ctypes.c_size_t)]


@functools.cache
def _library() -> Any:
    try:
        library = ctypes.CDLL("libzstd.so.1")
    except OSError:
        raise ZstdError("zstd data, and there is no libzstd.so.1 (Debian: libzstd1)") from None
    library.ZSTD_createDStream.restype = ctypes.c_void_p
    library.ZSTD_freeDStream.argtypes = [ctypes.c_void_p]
    library.ZSTD_DCtx_setParameter.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
    library.ZSTD_decompressStream.argtypes = [ctypes.c_void_p, ctypes.POINTER(_Buffer), ctypes.POINTER(_Buffer)]
    library.ZSTD_decompressStream.restype = ctypes.c_size_t
    return library


def decompress(data: bytes, length: int) -> bytes:
    """The first `length` bytes that `data` decompresses to; what follows in it is not looked at.  Raises ZstdError."""
    library = _library()
    target = ctypes.create_string_buffer(length)
    source = _Buffer(ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p), len(data), 0)
    sink = _Buffer(ctypes.cast(target, ctypes.c_void_p), length, 0)
    stream = library.ZSTD_createDStream()
    if not stream:
        raise ZstdError("no memory to decompress in")
    try:
        library.ZSTD_DCtx_setParameter(stream, 100, 23)         # ZSTD_d_windowLogMax: 8 MiB of memory, clusters have 2
        while sink.at < length:
            before = source.at, sink.at
            if library.ZSTD_decompressStream(stream, sink, source) > (1 << 64) - 256:      # ZSTD_isError
                raise ZstdError("damaged zstd data")
            if (source.at, sink.at) == before:
                raise ZstdError("zstd data that is cut short")
    finally:
        library.ZSTD_freeDStream(stream)
    return target.raw
