"""Every row of the boot table, by the command line: through our own BIOS, and through SeaBIOS where it fits."""

from __future__ import annotations

import subprocess
import sys

import pytest

from emu.firmware import build
from tests.boot import APT, fetched
from tests.boot.table import ROWS, SEABIOS

pytestmark = [pytest.mark.boot, APT, pytest.mark.timeout(1200)]
CASES = [pytest.param(row, firmware, id="-".join(filter(None, [row.name, row.label, firmware])))
         for row in ROWS for firmware in row.firmware]


@pytest.mark.parametrize(("row", "firmware"), CASES)
def test_a_system_starts(row, firmware, tmp_path):
    if row.name not in build.floppies():
        fetched(row.name)
    options = list(row.options)
    if firmware == SEABIOS:
        files = fetched("seabios").files
        options = [*options, "--firmware", str(files["bios"]), "--vga-bios", str(files["vgabios"])]
    script = tmp_path / "script"
    script.write_text("\n".join(line.strip() for line in row.script.splitlines()) + f"\nscreenshot {tmp_path}/screen.png\n")
    done = subprocess.run(
        [sys.executable, "-m", "emu", "boot", row.name, *options, "--script", str(script), "--timeout", str(row.seconds),
         "-v"], capture_output=True, stdin=subprocess.DEVNULL, timeout=1100, check=False)
    said = done.stderr.decode(errors="replace") + done.stdout.decode(errors="replace")[-3000:]
    assert done.returncode == 0, said
    if row.off:
        assert "switched the power off" in said
    else:
        assert (tmp_path / "screen.png").stat().st_size > 100
