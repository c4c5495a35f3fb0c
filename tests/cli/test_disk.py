"""emu disk: what is said of an image."""

from __future__ import annotations

import json

from emu.cli import main
from emu.host.disk.qcow2.create import create
from tests.disk.tools import needs_qemu_img, qemu_img


def test_info_says_the_format_the_sizes_and_what_lies_below(tmp_path, capsys):
    create(str(tmp_path / "base"), 5 << 30)
    create(str(tmp_path / "top"), 5 << 30, backing="base", backing_format="qcow2")
    assert main(["disk", "info", str(tmp_path / "top")]) == 0
    said = capsys.readouterr().out
    assert "format:         qcow2\n" in said and "virtual size:   5368709120 bytes (5 GiB)\n" in said
    assert "backing:        base\n" in said
    assert main(["disk", "info", "--json", str(tmp_path / "top")]) == 0
    assert json.loads(capsys.readouterr().out)["virtual_size"] == 5 << 30


@needs_qemu_img
def test_info_lists_snapshots(tmp_path, capsys):
    create(str(tmp_path / "disk"), 1 << 20)
    qemu_img("snapshot", "-c", "before the change", tmp_path / "disk")
    assert main(["disk", "info", str(tmp_path / "disk")]) == 0
    assert "snapshot:       1 'before the change', 20" in capsys.readouterr().out


def test_what_an_image_says_does_not_reach_the_terminal_as_it_is(tmp_path, capsys):
    name = b"\x1B[2J\xFF\n".decode("utf-8", "surrogateescape")
    create(str(tmp_path / "disk"), 1 << 20, backing=name)
    assert main(["disk", "info", str(tmp_path / "disk")]) == 0
    assert "backing:        \\x1b[2J\\udcff\\n\n" in capsys.readouterr().out


def test_mistakes_are_one_line_and_status_2(tmp_path, capfd):
    (tmp_path / "bad").write_bytes(b"QFI\xFB" + bytes(600))
    for arguments in (["disk"], ["disk", "info"], *(["disk", "info", str(path)]
                                                    for path in (tmp_path / "gone", tmp_path / "bad", tmp_path))):
        assert main(arguments) == 2
        assert capfd.readouterr().err.count("\n") == 1
