"""Debian 12's own installer kernel and initrd, unmodified, by the command line: a shell that works, and does so again."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from tests.boot import APT, fetched

pytestmark = [pytest.mark.boot, APT]

MACHINE = {"debian-i386": "i686", "debian-amd64": "x86_64"}
BASE = "console=ttyS0 {} rdinit=/bin/sh"        # Linux gives init what it does not know, and nokaslr is such a word, unless
                                                # it comes before rdinit: there it forgets (init/main.c, rdinit_setup)
# Quotes inside of a word keep the echo of what was typed from being taken for the answer
SCRIPT = r"""
expect "~ # "
send "uname -a\n"
expect "GNU/Linux"
expect "~ # "
send "echo a b c | tr abc xyz | wc -w | sed s/3/pipe''line/\n"
expect "\npipeline"
expect "~ # "
send "mkdir -p /proc; mount -t proc proc /proc; echo moun''ted\n"
expect "\nmounted"
expect "~ # "
send "cat /proc/interrupts; echo fir''st\n"
expect "\nfirst"
wait 0.5
send "cat /proc/interrupts; echo seco''nd\n"
expect "\nsecond"
expect "~ # "
"""


def boot(name, append, directory):
    """The console and the report of one boot through the script."""
    fetched(name)
    script, report = directory / "script", directory / "report"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "-m", "emu", "boot", name, "--append", append, "--script", script, "--report", report,
         "--timeout", "120"],
        capture_output=True, timeout=1200, env={**os.environ}, stdin=subprocess.DEVNULL, check=False)
    console = done.stdout.decode(errors="replace").replace("\r", "")
    assert done.returncode == 0, done.stderr.decode() + console[-2000:]
    return console, json.loads(report.read_text())


def counts(console, device):
    """What /proc/interrupts said of a device, each time."""
    return [int(count) for count in re.findall(rf"^ *\d+: +(\d+) .*\b{device}\b", console, re.MULTILINE)]


@pytest.mark.parametrize("extra", ["", "acpi=off", "nokaslr", "nolapic"])
@pytest.mark.parametrize("name", MACHINE)
def test_debian_boots_to_a_shell_that_works(name, extra, tmp_path):
    console, report = boot(name, BASE.format(extra), tmp_path)
    assert re.search(rf"^Linux \S+ 6\.\S+ .* {MACHINE[name]} GNU/Linux$", console, re.MULTILINE)
    timer, serial = counts(console, "timer"), counts(console, "ttyS0")
    assert len(timer) == len(serial) == 2
    assert timer[1] > timer[0] > 0 and serial[1] > serial[0] > 0
    assert report["stop"] == "script" and report["resets"] == 0
    assert report["interrupts"]["0"] >= timer[1] and report["interrupts"]["4"] >= serial[1]


@pytest.mark.parametrize("name", MACHINE)
def test_two_boots_are_the_same_boot(name, tmp_path):
    reports = []
    for _ in range(2):
        report = boot(name, BASE.format(""), tmp_path)[1]
        report.pop("host_seconds")
        reports.append(report)
    assert reports[0] == reports[1]
