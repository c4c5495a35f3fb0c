"""Guests on an engine with the techniques that a test names; they are closed when it ends."""

from __future__ import annotations

import pytest

from emu.cpu.unicorn.engine import UnicornEngine
from tests.cpu.guest import RAM, Guest


@pytest.fixture
def guest():
    made = []

    def make(mode: str, source: str, fast: str) -> Guest:
        made.append(Guest(mode, source, engine=UnicornEngine(RAM + 0x10000, fast=fast)))
        return made[-1]

    yield make
    for one in made:
        one.engine.close()
