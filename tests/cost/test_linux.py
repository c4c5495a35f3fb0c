"""The Linux guest of `emu cost`: every workload, and a disk of ours under `io`."""

from __future__ import annotations

import pytest

from emu.cost import forms, guest
from emu.cost.forms import LinuxGuest
from emu.cost.workloads import WORKLOADS, expected
from emu.host import fetch
from tests.boot import APT, fetched
from tests.cost.test_cost import LEAST

PIECE = 4096


@pytest.mark.boot
@APT
def test_the_form_computes_every_workload_rightly(tmp_path):
    fetched("linux-amd64")
    form = LinuxGuest(tmp_path)
    try:
        form.find()
        assert not form.lacks
        for name, rounds in LEAST.items():
            assert form.run(WORKLOADS[name], rounds).result == expected(name, rounds), name
    finally:
        form.close()


@pytest.mark.boot
@APT
def test_io_is_on_our_disk_when_the_flush_has_come_back(tmp_path, capsys):
    fetched("linux-amd64")
    fetched("ata-amd64")
    linux = guest.Linux(tmp_path)
    linux.machine = machine = linux.boot()
    medium, flushed = machine.media[0], []
    flush = medium.flush

    def seen() -> None:
        flush()
        flushed.append((tmp_path / "scratch.img").read_bytes()[:300 * PIECE])

    medium.flush = seen
    for rounds in 200, 300:                     # the file is another one each time, and the disk the same
        flushed.clear()
        linux.run(WORKLOADS["io"].number, rounds)
        assert linux.marks.result() == expected("io", rounds)
        words = [int.from_bytes(flushed[0][n * PIECE:n * PIECE + 4], "little") for n in range(rounds)]
        assert words == [n * 2654435 & 0xFFFFFFFF for n in range(rounds)]
    linux.close()


def test_without_the_driver_io_is_missing_and_the_rest_is_there(tmp_path, monkeypatch):
    def fetched(name: str) -> None:
        if name == "ata-amd64":
            raise fetch.FetchError("no network")

    monkeypatch.setattr(fetch, "cached", lambda name: object())
    monkeypatch.setattr(fetch, "fetch", fetched)
    form = forms.LinuxGuest(tmp_path)
    form.find()
    assert form.lacks == {"io": "the driver of its disk is not on this machine, and cannot be fetched: no network"}
