"""Keystone with its traps closed: Intel syntax in, bytes out.

Keystone 0.9.2 can read decimal literals as hexadecimal in some processes (its radix option is left uninitialised), so every
assembler that is made here first proves that it counts in tens.
"""

from __future__ import annotations

import functools

import keystone

_MODES = {16: keystone.KS_MODE_16, 32: keystone.KS_MODE_32, 64: keystone.KS_MODE_64}


class AssemblyError(ValueError):
    """The source does not assemble; the message names the line."""


@functools.cache
def _assembler(bits: int) -> keystone.Ks:
    for _ in range(16):
        ks = keystone.Ks(keystone.KS_ARCH_X86, _MODES[bits])
        if bytes(ks.asm("mov al, 10")[0]) == b"\xb0\x0a":
            return ks
    raise AssemblyError("keystone reads decimal literals as hexadecimal in this process; start it again")


def assemble(source: str, address: int = 0, bits: int = 64) -> bytes:
    """Machine code of `source` (Intel syntax, `#` starts a comment), to be placed at linear `address`.

    `bits` is the size of the code segment: 16, 32 or 64.  Raises AssemblyError.
    """
    lines = [line.split("#")[0].strip() for line in source.splitlines()]
    try:
        code, _ = _assembler(bits).asm("\n".join(line for line in lines if line), address, as_bytes=True)
    except keystone.KsError as error:
        raise AssemblyError(f"{error} in:\n{source}") from None
    return code or b""
