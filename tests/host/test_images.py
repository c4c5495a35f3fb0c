"""Images by name: the cache, and the way through apt, with a fake apt-get that needs no network."""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from emu.host import manifest
from emu.host.fetch import FetchError, cache_directory, cached, fetch, listing
from emu.host.manifest import Entry, Member, Origin
from emu.host.progress import ProgressLine

KERNEL, INITRD = b"a kernel\n" * 1000, b"an initrd\n" * 2000
VERSION = "1.0+deb12u1"

needs_dpkg_deb = pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="no dpkg-deb here: no .deb can be made")

# A stand-in for apt-get: what `update` and `download` do is each test's.
APT_GET = """\
#!/bin/sh
echo "$@" >> "{log}"
conf=$2
for last; do :; done
case "$last" in
update) {update} ;;
*) {download} ;;
esac
"""
APT_CONFIG = "#!/bin/sh\necho \"A='amd64'\"\n"
PROGRESS = "echo 'dlstatus:1:12.5:Retrieving file 1 of 1'; echo 'dlstatus:1:oops'; echo 'dlstatus:1:100:Retrieving'"


def digest(data):
    return hashlib.sha256(data).hexdigest()


def entry(**changes):
    values = {
        "name": "toy",
        "what": "a toy",
        "kind": "linux",
        "licence": "none",
        "append": "console=ttyS0",
        "memory": 64 << 20,
        "minimum": 32 << 20,
        "tests": (),
        "origin": Origin("apt", "toy-images", "all", VERSION, 1234),
        "files": {
            "kernel": Member("usr/lib/toy/linux", digest(KERNEL), len(KERNEL)),
            "initrd": Member("usr/lib/toy/initrd.gz", digest(INITRD), len(INITRD)),
        },
    }
    return Entry(**{**values, **changes})


class Apt:
    """Programs in a directory that is PATH's first, and how often they were called."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.log = directory / "log"
        self.write("apt-config", APT_CONFIG)

    def write(self, name, text):
        path = self.directory / name
        path.write_text(text)
        path.chmod(0o755)

    def does(self, update="exit 0", download="exit 0"):
        self.write("apt-get", APT_GET.format(log=self.log, update=update, download=download))

    def gives(self, package, before=PROGRESS):
        self.does(update=before, download=f"{before}; cp '{package}' .")

    @property
    def calls(self):
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def apt(tmp_path, monkeypatch):
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    return Apt(directory)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("EMU_CACHE", str(tmp_path / "cache of mine"))
    return tmp_path / "cache of mine"


@pytest.fixture
def toy(monkeypatch, home):
    """A manifest with one entry; what the returned function is given changes in it."""

    def use(**changes):
        monkeypatch.setattr(manifest, "entries", lambda: {"toy": entry(**changes)})

    use()
    return use


def make_deb(directory, files, version=VERSION):
    tree = directory / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(
        f"Package: toy-images\nVersion: {version}\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\n"
        "Description: a package that only a test wants\n"
    )
    for name, data in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if data is None:
            path.symlink_to("elsewhere")
        else:
            path.write_bytes(data)
    package = directory / "toy-images_all.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, package], check=True, capture_output=True)
    return package


@pytest.fixture
def deb(tmp_path):
    files = {"usr/lib/toy/linux": KERNEL, "usr/lib/toy/initrd.gz": INITRD, "usr/share/doc/other": b"not wanted"}
    return make_deb(tmp_path, files)


def leftovers(home):
    """What is in the cache beside whole images and apt's own state."""
    return [path.name for path in (home / "images").glob(".*")] + [str(path) for path in home.rglob("*.deb")]


def failure(name="toy", **options):
    with pytest.raises(FetchError) as error:
        fetch(name, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


# the cache


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("EMU_CACHE", str(tmp_path / "a"))
    assert cache_directory() == tmp_path / "a"
    monkeypatch.delenv("EMU_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert cache_directory() == tmp_path / "b" / "emu"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_directory() == tmp_path / ".cache" / "emu"


def test_nothing_is_fetched_by_listing(toy, apt, home):
    apt.does(download="exit 1")
    (line,) = listing()
    assert line.entry.name == "toy" and line.image is None and cached("toy") is None
    assert apt.calls == [] and not home.exists()


# the way through


@needs_dpkg_deb
def test_an_image_is_fetched_once_and_then_found_without_apt(toy, apt, home, deb, tmp_path):
    apt.gives(deb)
    steps = []
    image = fetch("toy", lambda what, done: steps.append((what, done)))
    assert image.kernel.read_bytes() == KERNEL and image.initrd.read_bytes() == INITRD
    assert (image.append, image.memory, image.version) == ("console=ttyS0", 64 << 20, VERSION)
    assert image.warning is None
    assert ("fetching toy-images", 0.125) in steps and ("fetching toy-images", 1.0) in steps
    assert leftovers(home) == []
    assert sorted(path.name for path in image.kernel.parent.iterdir()) == [
        "image.json", "initrd-initrd.gz", "kernel-linux"
    ]  # fmt: skip
    calls = len(apt.calls)
    apt.does(update="exit 1", download="exit 1")
    assert fetch("toy") == image == cached("toy") == listing()[0].image
    assert len(apt.calls) == calls == 2


@needs_dpkg_deb
def test_the_package_is_asked_for_with_its_architecture(toy, apt, home, deb):
    apt.gives(deb)
    toy(origin=dataclasses.replace(entry().origin, architecture="i386"))
    fetch("toy")
    assert apt.calls[1].endswith("download toy-images:i386")
    conf = (home / "apt" / "apt.conf").read_text()
    assert 'APT::Architectures { "amd64"; "i386"; };' in conf
    for line in conf.splitlines():
        if line.startswith("Dir::") and not line.endswith('"";'):
            assert f'"{home}/apt/' in line  # nothing outside our cache


@needs_dpkg_deb
def test_another_version_is_one_warning_and_no_error(toy, apt, deb, tmp_path):
    apt.gives(make_deb(tmp_path, {"usr/lib/toy/linux": b"new", "usr/lib/toy/initrd.gz": b"er"}, "2.0"))
    image = fetch("toy")
    assert image.version == "2.0" and image.kernel.read_bytes() == b"new"
    assert image.warning == "toy is toy-images 2.0; the version last tested is 1.0+deb12u1"
    assert fetch("toy").warning == image.warning


@needs_dpkg_deb
def test_the_tested_version_with_other_contents_is_an_error(toy, apt, home, deb, tmp_path):
    apt.gives(make_deb(tmp_path, {"usr/lib/toy/linux": b"evil", "usr/lib/toy/initrd.gz": INITRD}))
    assert re.search(f"kernel of toy-images .* has sha256 {digest(b'evil')}, not {digest(KERNEL)}", failure())
    assert cached("toy") is None and leftovers(home) == []


@needs_dpkg_deb
def test_a_damaged_or_foreign_cache_is_fetched_again(toy, apt, deb):
    apt.gives(deb)
    image = fetch("toy")
    image.kernel.write_bytes(b"short")
    assert cached("toy") is None
    assert fetch("toy").kernel.read_bytes() == KERNEL
    (image.kernel.parent / "image.json").write_text("[]")
    assert fetch("toy") == image
    toy(origin=dataclasses.replace(entry().origin, package="other"))
    assert cached("toy") is None
    assert len(apt.calls) == 6


@needs_dpkg_deb
def test_refresh_fetches_again_and_keeps_the_old_one_if_that_fails(toy, apt, home, deb, tmp_path):
    apt.gives(deb)
    fetch("toy")
    apt.does(download="echo 'E: no luck' >&2; exit 100")
    assert "no luck" in failure(refresh=True)
    assert fetch("toy").kernel.read_bytes() == KERNEL
    apt.gives(make_deb(tmp_path, {"usr/lib/toy/linux": b"new", "usr/lib/toy/initrd.gz": b"er"}, "2.0"))
    assert fetch("toy", refresh=True).kernel.read_bytes() == b"new"
    assert leftovers(home) == []


@needs_dpkg_deb
def test_what_a_killed_fetch_left_is_cleared_away(toy, apt, home, deb):
    (home / "images" / ".toy.part").mkdir(parents=True)
    (home / "images" / ".toy.part" / "half.deb").write_bytes(b"half")
    apt.gives(deb)
    fetch("toy")
    assert leftovers(home) == []


@needs_dpkg_deb
def test_ctrl_c_leaves_nothing_half_done(toy, apt, home, deb):
    apt.gives(deb)

    def progress(what, done):
        if what.startswith("unpacking"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch("toy", progress)
    assert cached("toy") is None and leftovers(home) == []


@needs_dpkg_deb
def test_a_second_process_waits_and_then_finds_the_image(toy, apt, home, deb):
    apt.gives(deb)
    fetch("toy")
    (home / "images" / "toy").rename(home / "images" / "kept")
    steps, images = [], []
    with (home / "lock").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        seen = threading.Event()

        def progress(what, done):
            steps.append(what)
            seen.set()

        thread = threading.Thread(target=lambda: images.append(fetch("toy", progress)))
        thread.start()
        assert seen.wait(5)
        (home / "images" / "kept").rename(home / "images" / "toy")  # as if the other had fetched it
    thread.join(5)
    assert set(steps) == {"waiting for another process that is fetching"}
    assert images[0].kernel.read_bytes() == KERNEL and len(apt.calls) == 2


# what goes wrong


def test_an_unknown_name_lists_the_known_ones(toy):
    assert failure("tay") == "no image is called 'tay'; known: toy"


def test_a_machine_without_apt(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "this machine has no apt-get" in failure()


@pytest.mark.parametrize(
    ("update", "download", "says"),
    [
        (
            "echo 'W: Failed to fetch http://x/InRelease  Temporary failure resolving x' >&2; "
            "echo 'W: Some index files failed to download. They have been ignored, or old ones used instead.' >&2",
            "echo 'E: Unable to locate package toy-images' >&2; exit 100",
            "apt cannot get its package index: Failed to fetch http://x/InRelease Temporary failure resolving x",
        ),
        (
            "exit 0",
            "echo 'E: Unable to locate package toy-images' >&2; exit 100",
            f"this machine's apt sources have no package toy-images; last tested was {VERSION}",
        ),
        (
            "exit 0",
            "echo 'E: Failed to fetch http://x/t.deb  Connection timed out' >&2; "
            "echo 'E: Some files failed to download' >&2; exit 100",
            "apt cannot download toy-images: Failed to fetch http://x/t.deb Connection timed out",
        ),
        (
            "exit 0",
            "echo 'W: odd' >&2; echo \"E: You don't have enough free space in /x.\" >&2; exit 100",
            "apt cannot download toy-images: You don't have enough free space in /x.",
        ),
        ("exit 0", "exit 7", "apt cannot download toy-images: apt-get ended with status 7"),
        ("exit 0", "exit 0", "apt cannot download toy-images: apt-get ended with status 0"),
        ("exit 0", "kill -9 $$", "apt cannot download toy-images: apt-get ended with status -9"),
        ("exit 0", "echo '!<arch>' > x.deb", "dpkg-deb failed: "),
    ],
)
def test_what_apt_says_is_one_line(toy, apt, home, update, download, says):
    if not shutil.which("dpkg-deb"):
        apt.write("dpkg-deb", "#!/bin/sh\nexit 2\n")
    apt.does(update, download)
    assert failure().startswith(says)
    assert cached("toy") is None and leftovers(home) == []


@needs_dpkg_deb
def test_an_index_that_partly_fails_does_not_matter_when_the_package_is_there(toy, apt, deb):
    apt.does(update="echo 'E: Failed to fetch http://other' >&2; exit 100", download=f"cp '{deb}' .")
    assert fetch("toy").version == VERSION


@needs_dpkg_deb
@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"usr/lib/toy/linux": KERNEL}, "toy-images_all.deb has no usr/lib/toy/initrd.gz; its layout is not that"),
        ({"usr/lib/toy/linux": KERNEL, "usr/lib/toy/initrd.gz": None}, "initrd.gz in the package is not a plain file"),
    ],
)
def test_a_package_that_is_laid_out_differently(toy, apt, home, tmp_path, files, says):
    apt.gives(make_deb(tmp_path, files))
    assert says in failure()
    assert leftovers(home) == []


@needs_dpkg_deb
def test_a_package_that_is_cut_short(toy, apt, home, deb):
    os.truncate(deb, deb.stat().st_size - 200)
    apt.gives(deb)
    failure()
    assert cached("toy") is None and leftovers(home) == []


@needs_dpkg_deb
def test_a_full_disk(toy, apt, home, deb, monkeypatch):
    apt.gives(deb)

    def copyfileobj(source, out, length):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", copyfileobj)
    assert failure() == f"toy cannot be put into {home}: No space left on device"
    assert leftovers(home) == []


def test_a_cache_that_cannot_be_made(toy, apt, tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("EMU_CACHE", str(tmp_path / "file" / "cache"))
    assert failure() == f"toy cannot be put into {tmp_path / 'file' / 'cache'}: Not a directory"


def test_a_path_that_apt_cannot_quote(toy, apt, tmp_path, monkeypatch):
    apt.does()
    monkeypatch.setenv("EMU_CACHE", str(tmp_path / 'a"b'))
    assert "set EMU_CACHE to another directory" in failure()


# progress


class Screen(io.StringIO):
    def isatty(self):
        return True


def test_progress_elsewhere_is_one_line_for_each_step():
    stream = io.StringIO()
    with ProgressLine(stream) as progress:
        for done in (None, 0.1, 0.9):
            progress("fetching toy", done)
        progress("unpacking toy", None)
    assert stream.getvalue() == "emu: fetching toy\nemu: unpacking toy\n"


def test_progress_on_a_terminal_is_one_line_that_goes_away():
    stream = Screen()
    with ProgressLine(stream) as progress:
        progress("fetching " + "toy" * 100, 0.5)
    assert "\n" not in stream.getvalue() and stream.getvalue().endswith("\r\x1b[K")
    assert len(stream.getvalue().split("\x1b[K")[0]) <= 80


def test_progress_on_a_terminal_has_a_bar():
    stream = Screen()
    with ProgressLine(stream) as progress:
        progress("fetching toy", 0.5)
    assert f"emu: {'█' * 12}{'░' * 12}  50%  fetching toy" in stream.getvalue()


def test_progress_into_a_closed_stream_is_no_error():
    stream = io.StringIO()
    stream.close()
    with pytest.raises(ValueError):
        stream.write("x")
    progress = ProgressLine(sys.__stderr__)
    progress.stream, progress.terminal = stream, False
    progress("x")
