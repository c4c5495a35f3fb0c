"""A Linux that has panicked waits for ever in panic(), with interrupts on: it neither halts nor faults, and is dead.

kernel/panic.c: the last line is printed where no restart follows (panic=0, the default); from then on panic() never returns.
"""

from __future__ import annotations

from typing import Any

from emu.boards.board import Board
from emu.debug.state import State

SAID = b"Kernel panic - not syncing: "
END = b"---[ end " + SAID
FUNCTIONS = "panic", "vpanic"           # vpanic: from 6.16 on
STACK = 16 << 10                        # bytes of a kernel's stack


def facts(machine: Board, state: State, symbol: Any) -> dict[str, Any] | None:
    """{"message"}: with what Linux has panicked, if it has, and will not restart; `symbol` names addresses."""
    message = _message(bytes(machine.console.kept))
    if message is None and machine.screen is not None:
        message = _message(machine.screen.text.encode())
    return None if message is None or not _inside(state, symbol) else {"message": message}


def _message(shown: bytes) -> str | None:
    at = shown.rfind(END)
    if at < 0:
        return None
    line = shown[at + len(END):].split(b"\n")[0].split(b" ]---")[0]
    return line.decode("utf-8", "replace").strip()


def _inside(state: State, symbol: Any) -> bool:
    """Whether panic() is on the stack: a user can print the line, too."""
    width = state.width
    data = state.peek(state.stack, STACK - state.stack % STACK)
    words = (int.from_bytes(data[at:at + width], "little") for at in range(0, len(data), width))
    return any((symbol(word) or "").split("+")[0] in FUNCTIONS for word in words if word >> 8 * width - 1)
