"""An engine that stays open, and thunks that are assembled once: without them most of the time would go there."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest

from emu.cpu.unicorn import code
from emu.cpu.unicorn.engine import UnicornEngine


@pytest.fixture(scope="session", autouse=True)
def keeper() -> Iterator[None]:
    engine = UnicornEngine(1 << 20, fast="all")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(code, "assemble_plain", functools.cache(code.assemble_plain))
        yield
    engine.close()
