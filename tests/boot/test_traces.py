"""Traces of a Linux that ships no symbols: where its time went, function by function, and why it died."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from tests.boot import APT, fetched

pytestmark = [pytest.mark.boot, APT]
ROOTS = (r"ret_from_fork|start_kernel|x86_64_start|i386_start_kernel|startup_32|secondary_startup|\[user\]|\[unknown\]|"
         r"[0-9a-f]+$")


def emu(*words, status=0):
    """What the command line says on both outputs."""
    done = subprocess.run([sys.executable, "-m", "emu", *map(str, words)], capture_output=True, timeout=600,
                          stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == status, done.stderr.decode()
    return done.stdout.decode(errors="replace"), done.stderr.decode()


@pytest.fixture(scope="module", params=["linux-i386", "linux-amd64"])
def trace(request, tmp_path_factory):
    fetched(request.param)
    path = tmp_path_factory.mktemp("traces") / request.param
    emu("boot", request.param, "--until", "/ # ", "--timeout", 120, "--trace", path)
    return path


def paths(folded):
    """Path of names -> blocks."""
    return {tuple(line.rsplit(" ", 1)[0].split(";")): int(line.rsplit(" ", 1)[1]) for line in folded.splitlines()}


def test_the_flame_graph_of_a_boot_names_start_kernel_and_its_children(trace, tmp_path):
    emu("profile", trace, "-o", tmp_path / "p.txt")
    found = paths((tmp_path / "p.txt").read_text())
    below = {path[path.index("start_kernel") + 1] for path in found if "start_kernel" in path[:-1]}
    assert {"setup_arch", "sched_init", "console_init", "vfs_caches_init"} <= below, below
    names = {name for path in found for name in path}
    assert {"kernel_init_freeable", "do_one_initcall", "do_execveat_common"} <= {name.split(".")[0] for name in names}
    # Where stacks begin: the entries, new tasks, programs; what else there is has lost its callers
    lost = sum(blocks for path, blocks in found.items() if not re.match(ROOTS, path[0]))
    assert lost < 10_000, sorted({path[0] for path in found if not re.match(ROOTS, path[0])})


def test_the_flame_graph_is_a_page_by_itself_and_a_picture(trace, tmp_path):
    emu("profile", trace, "-o", tmp_path / "p.html")
    page = (tmp_path / "p.html").read_text()
    root = json.loads(re.search(r"const root=(.*),graph=", page)[1])

    def find(node, name):
        return node if node[0] == name else next((hit for child in node[2] if (hit := find(child, name))), None)

    assert {child[0] for child in find(root, "start_kernel")[2]} >= {"setup_arch", "sched_init"}
    assert not re.search(r"https?://|src=|href=", page)
    emu("profile", trace, "-o", tmp_path / "p.png")
    from PIL import Image
    picture = Image.open(tmp_path / "p.png")
    assert picture.size[0] >= 1000 and len(picture.convert("RGB").getcolors(1 << 24)) > 20


def test_a_panic_is_an_end_and_is_explained(tmp_path):
    fetched("linux-i386")
    report = tmp_path / "report"
    _, err = emu("boot", "linux-i386", "--append", "console=ttyS0 rdinit=/nope", "--until", "/ # ", "--timeout", 300,
                 "--report", report, "--flight", 100_000, "--trace", tmp_path / "t", status=3)
    assert "the guest died: its kernel has panicked" in err
    assert "Linux has panicked: VFS: Unable to mount root fs" in err
    facts = json.loads(report.read_text())["explanation"]
    assert facts["problem"] == "panic" and any("mount_root" in (frame["symbol"] or "") for frame in facts["stack"])
    out, _ = emu("explain", tmp_path / "t")
    assert "<panic>   (call at" in out and "The last 20 instructions" in out
    assert [frame["symbol"] for frame in facts["calls"] if frame["symbol"] == "panic"]


def test_a_panic_that_restarts_is_no_end(tmp_path):
    fetched("linux-i386")
    report = tmp_path / "report"
    emu("boot", "linux-i386", "--append", "console=ttyS0 rdinit=/nope panic=1", "--until", "/ # ", "--timeout", 12,
        "--report", report, status=4)
    assert json.loads(report.read_text())["resets"] >= 1
