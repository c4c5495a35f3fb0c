"""Each technique of the fast layer alone, and all together, leave the boot of Debian the same, block for block."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys

import pytest

from emu.cpu.unicorn.fast import NAMES
from emu.host.fetch import FetchError, fetch
from tests.boot import APT

pytestmark = [pytest.mark.boot, APT]
NEEDS = {"strings": "budget,strings", "beside": "access,beside", "mmio": "ports,mmio", "ticks": "ports,ticks"}
COUNTS = ("stop", "guest_ns", "blocks", "interrupts", "exceptions", "port_reads", "port_writes", "tsc_reads", "serial_sha256",
          "state_sha256")


@functools.cache
def boot(image: str, fast: str, folder: str) -> tuple[dict, dict]:
    try:
        fetch(image)
    except FetchError as error:
        pytest.skip(f"{image} cannot be fetched: {error}")
    path = os.path.join(folder, f"{image}-{fast.replace(',', '-')}.json")
    subprocess.run([sys.executable, "-m", "emu", "boot", image, "--until", "~ #", "--report", path], timeout=280, check=True,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                   env={**os.environ, "EMU_FAST": fast})
    with open(path) as file:
        report = json.load(file)
    return {key: report[key] for key in COUNTS}, report["techniques"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(tmp_path_factory.mktemp("reports"))


@pytest.mark.parametrize("image", ["debian-amd64", "debian-i386"])
@pytest.mark.parametrize("fast", ["all", *(NEEDS.get(name, name) for name in NAMES)])
def test_a_technique_leaves_the_boot_as_the_plain_core_runs_it(image, fast, folder):
    plain, none = boot(image, "none", folder)
    assert not any(none.values())
    with_it, techniques = boot(image, fast, folder)
    assert with_it == plain
    for name in NAMES if fast == "all" else fast.split(","):
        assert techniques[name], f"{name} did not run"
        if isinstance(techniques[name], dict) and "matched" in techniques[name]:
            assert techniques[name]["matched"] > 100
