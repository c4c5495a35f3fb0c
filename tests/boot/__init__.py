"""Real systems, booted whole: minutes.  `python -m pytest -m boot`."""

import os
import shutil

import pytest

from emu.host.fetch import FetchError, Image, fetch

APT = pytest.mark.skipif(shutil.which("apt-get") is None, reason="no apt-get: the guests come from Debian's packages")


def fetched(name: str) -> Image:
    """The image, or the test is skipped where it cannot be fetched; CI skips nothing."""
    try:
        return fetch(name)
    except FetchError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"{name} cannot be fetched: {error}")
