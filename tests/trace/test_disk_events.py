"""What a drive asks of its medium is in the trace, whichever way it asks."""

from __future__ import annotations

import polars as pl
import pytest

from emu.boards.pc import PC
from emu.chips.media import read_into
from emu.firmware import build
from emu.host.disk import open_image
from emu.trace.medium import Watched, telling
from emu.trace.reader import Trace
from emu.trace.recording import Recording
from tests.chips.drives import Medium


class Direct(Medium):
    def read_into(self, offset, place):
        place[:] = self.read(offset, len(place))


@pytest.mark.parametrize("medium", [Medium, Direct])
def test_every_access_is_told_once_and_answered(medium):
    told = []
    disk = Watched(medium(bytes(range(256)) * 16), telling(lambda *what: told.append(what)))
    place = bytearray(512)
    read_into(disk, 512, memoryview(place))
    assert place == bytes(range(256)) * 2
    disk.write(1024, b"new")
    disk.flush()
    assert disk.read(1024, 3) == b"new"
    assert told == [("read", 512, 512), ("write", 1024, 3), ("flush", 0, 0), ("read", 1024, 3)]


def test_a_disk_that_a_bios_boots_leaves_its_reads_in_the_trace(tmp_path):
    image = tmp_path / "disk.img"
    image.write_bytes((b"\xF4\xEB\xFD".ljust(510, b"\0") + b"\x55\xAA").ljust(1 << 20, b"\0"))        # hlt; jmp
    with PC(32 << 20, firmware=build.bios(), vga_bios=build.vgabios(), disks=[open_image(str(image))]) as m, \
            Recording(m, tmp_path / "t"):
        m.run_until("Booting from Hard Disk", seconds=10)
        m.run_until(seconds=0.2)
    events = Trace(tmp_path / "t").events
    assert len(events.filter(pl.col("kind") == "disk read")) >= 1
