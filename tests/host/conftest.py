"""Terminals and pipes that are closed when a test ends."""

from __future__ import annotations

import os
import pty

import pytest


@pytest.fixture
def user():
    """A terminal: (the user's side, the program's side), cooked as a shell has it."""
    far, near = pty.openpty()
    yield far, near
    for fd in (far, near):
        os.close(fd)


@pytest.fixture
def pipe():
    ends = list(os.pipe())
    yield ends
    for fd in ends:
        if fd >= 0:
            os.close(fd)
