"""Guests that are closed when their test ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from emu.cpu.unicorn.engine import UnicornEngine
from tests.cpu.guest import PM32, RAM, Guest
from tests.cpu.shown import prepared


@pytest.fixture
def guest() -> Iterator[Callable[..., Guest]]:
    made: list[Guest] = []

    def make(*args: Any, **kwargs: Any) -> Guest:
        made.append(Guest(*args, **kwargs))
        return made[-1]

    yield make
    for one in made:
        one.engine.close()


@pytest.fixture(params=["none", "all"], scope="module")
def fast(request: pytest.FixtureRequest) -> Any:
    """The plain core, and every technique."""
    return request.param


@pytest.fixture
def machine(fast: str) -> Iterator[Callable[..., Guest]]:
    made: list[UnicornEngine] = []

    def make(mode: str = PM32, source: str = "hlt", **kwargs: Any) -> Guest:
        made.append(UnicornEngine(RAM + 0x10000, fast=fast))
        return prepared(mode, source, made[-1], **kwargs)

    yield make
    for engine in made:
        engine.close()
