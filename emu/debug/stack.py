"""The call stack of a state: by frame pointers; where those lead nowhere, what on the stack looks like return addresses."""

from __future__ import annotations

from typing import Any

from emu.debug.instruction import at
from emu.debug.state import State

FRAMES = 32
SCANNED = 64                    # words, unless more are asked for


def frames(state: State, scanned: int = SCANNED) -> list[dict[str, Any]]:
    """{"address", "return", "sure"} from the innermost on: the linear address of each return address, and its value."""
    width = state.width
    out: list[dict[str, Any]] = []
    frame = state.registers["rbp"] & (1 << 8 * width) - 1
    top = state.stack
    while len(out) < FRAMES and top <= frame < top + (1 << 24):
        back, outer = state.number(frame + width, width), state.number(frame, width)
        if back is None or outer is None or not _called(state, back):
            break
        out.append({"address": frame + width, "return": back, "sure": True})
        if outer <= frame:
            break
        frame = outer
    return out or _scan(state, scanned)


def _scan(state: State, scanned: int) -> list[dict[str, Any]]:
    width = state.width
    out: list[dict[str, Any]] = []
    for i in range(scanned):
        value = state.number(state.stack + width * i, width)
        if value is None:
            break
        if value and len(out) < FRAMES and _called(state, value):
            out.append({"address": state.stack + width * i, "return": value, "sure": False})
    return out


def _called(state: State, back: int) -> bool:
    """Whether a CALL stands before this address."""
    for length in (5, 2, 3, 6, 7, 4):
        if back < length:
            continue
        code = state.peek(back - length, 1)
        if code and code[0] in (0xE8, 0xFF, 0x9A, 0x41, 0x66):
            call = at(state, back - length)
            if call.name in ("call", "lcall") and len(call.data) == length:
                return True
    return False
