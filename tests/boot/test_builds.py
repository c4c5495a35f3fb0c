"""Wheels of other versions: the plain core runs the same there, or refuses with one line."""

from __future__ import annotations

import json

import pytest

from emu.host.fetch import FetchError, fetch
from tests.boot import APT
from tests.boot.test_fast import COUNTS, boot
from tests.cpu import builds

pytestmark = [pytest.mark.boot, APT]
HELLO = "-m", "emu", "boot", "hello", "-v"


def other(version, folder):
    library = builds.wheel(version, folder)
    if isinstance(library, str):
        pytest.skip(library)
    return library


@pytest.mark.parametrize("version", ["2.1.2", "2.1.3"])
def test_an_older_version_boots_debian_block_for_block_as_the_plain_core_of_this_one(version, tmp_path):
    library = other(version, tmp_path)
    hello = builds.run(library, *HELLO)
    assert hello.returncode == 33 and hello.stderr.count("the plain core runs") == 1
    assert f"this is unicorn {version}" in hello.stderr
    try:
        fetch("debian-i386")
    except FetchError as error:
        pytest.skip(f"debian-i386 cannot be fetched: {error}")
    report = tmp_path / "report.json"
    done = builds.run(library, "-m", "emu", "boot", "debian-i386", "--until", "~ #", "--report", str(report), timeout=280)
    assert done.returncode == 0, done.stderr
    theirs = json.loads(report.read_text())
    ours, _ = boot("debian-i386", "none", str(tmp_path))
    assert {key: theirs[key] for key in COUNTS} == ours


def test_a_version_whose_processor_differs_is_refused_with_one_line(tmp_path):
    done = builds.run(other("2.1.1", tmp_path), *HELLO)
    assert done.returncode == 2 and done.stdout == ""
    assert "not where they were" in done.stderr and "this needs unicorn 2.1.4" in done.stderr
    assert done.stderr.count("\n") == 1
