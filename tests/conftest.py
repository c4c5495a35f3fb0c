"""What would take most of the time, were each test to do it for itself."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator

import pytest

from emu.cpu.unicorn.engine import UnicornEngine

signal.signal(signal.SIGHUP, signal.SIG_DFL)        # what nohup has us ignore, a program that we start would ignore, too


def pytest_collection_finish() -> None:
    gc.freeze()                         # thousands of tests that stay: the collector need not look at them again


@pytest.fixture(scope="session", autouse=True)
def keeper() -> Iterator[None]:
    """One engine that stays open, so that the patches of the library are made once."""
    engine = UnicornEngine(1 << 20, fast="all")
    yield
    engine.close()
