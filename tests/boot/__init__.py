"""Real systems, booted whole: minutes.  `python -m pytest -m boot`."""

import shutil

import pytest

APT = pytest.mark.skipif(shutil.which("apt-get") is None, reason="no apt-get: the guests come from Debian's packages")
