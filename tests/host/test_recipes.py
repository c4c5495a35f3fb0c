"""Images that are made here: the archive of an initrd, the wheel's members, tools that are missing."""

from __future__ import annotations

import dataclasses
import gzip
import os
import shutil
import subprocess
import sys
import zipfile

import pytest

from emu.host import manifest, pypi, recipes
from emu.host.fetch import FetchError, fetch
from emu.host.manifest import Entry, Member, Origin
from emu.host.recipes import debian, initrd

RECIPES = [entry for entry in manifest.entries().values()
           if entry.origin.source == "recipe" and entry.origin.package != "debian-disk"]       # which takes minutes


def silent(what, done):
    pass


def entry(name, kind, origin, files, sha=""):
    return Entry(name, "a toy", kind, "none", "", 1 << 25, 1 << 25, (), origin, {
        role: Member(path, sha) for role, path in files.items()})


@pytest.mark.skipif(shutil.which("cpio") is None, reason="no cpio here to read the archive with")
def test_the_initrd_is_an_archive_that_cpio_reads(tmp_path):
    path = tmp_path / "archive"
    path.write_bytes(gzip.decompress(initrd.with_busybox(b"busybox!" * 100 + b"odd")))
    listed = subprocess.run(["cpio", "-itv", "--quiet"], input=path.read_bytes(), capture_output=True,
                            check=True).stdout.decode()
    kinds = {line.split()[-1 if "->" not in line else -3]: line[0] for line in listed.splitlines()}
    assert kinds == {"bin": "d", "dev": "d", "proc": "d", "sys": "d", "tmp": "d", "dev/console": "c", "bin/busybox": "-",
                     "bin/sh": "l", "init": "-"}
    taken = subprocess.run(["cpio", "-i", "--quiet", "--to-stdout", "bin/busybox"], input=path.read_bytes(),
                           capture_output=True, check=True).stdout
    assert taken == b"busybox!" * 100 + b"odd"


def test_the_same_busybox_gives_the_same_initrd():
    assert initrd.with_busybox(b"b") == initrd.with_busybox(b"b")


@pytest.mark.parametrize("image", RECIPES, ids=lambda image: image.name)
def test_what_a_recipe_takes_is_named_in_the_manifest(image, tmp_path):
    """It asks for files of its inputs only, and for all of them (a recipe whose tools are missing is refused first)."""
    known, asked = manifest.entries(), set()

    def find(name, role):
        assert role in known[name].files
        asked.add(name)
        path = tmp_path / f"{name}-{role}"
        path.write_bytes(b"x" * 100)
        return path

    tools = {tool: package for tool, package in image.origin.tools.items() if not recipes._has(tool)}
    if tools:
        pytest.skip(f"no {', '.join(tools)} here")
    wanted = {member.path: tmp_path / member.path for member in image.files.values()}
    assert recipes.obtain(image.origin, wanted, tmp_path, find, silent) == image.origin.version
    assert asked == set(image.origin.inputs)
    assert all(path.stat().st_size > 1000 or image.kind == "linux" for path in wanted.values())
    assert not (tmp_path / "work").exists()


def test_tools_that_are_missing_are_named_by_their_packages(tmp_path):
    origin = Origin("recipe", "grub-cd", "", "1", 0, (), {"no-such-tool": "package-b", "/no/such/file": "package-a"})
    with pytest.raises(FetchError, match="made here, with tools that are missing: apt-get install package-a package-b"):
        recipes.obtain(origin, {}, tmp_path, None, silent)


def test_a_recipe_that_fails_says_the_tools_last_word_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("EMU_CACHE", str(tmp_path / "cache"))
    made = entry("toy", "floppy", Origin("recipe", "grub-floppy", "", "1", 0), {"floppy": "toy.img"})
    tool = tmp_path / "grub-mkimage"
    tool.write_text("#!/bin/sh\necho first >&2; echo the last word >&2; exit 3\n")
    tool.chmod(0o755)
    monkeypatch.setattr(recipes, "PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(manifest, "entries", lambda: {"toy": made})
    with pytest.raises(FetchError, match="grub-mkimage failed: the last word"):
        fetch("toy")
    assert list((tmp_path / "cache" / "images").iterdir()) == []


def test_an_unknown_recipe_is_an_error(tmp_path):
    with pytest.raises(FetchError, match="no recipe is called 'no-such'"):
        recipes.obtain(Origin("recipe", "no-such", "", "1", 0), {}, tmp_path, None, silent)


def test_a_newer_recipe_makes_the_image_again(tmp_path, monkeypatch):
    monkeypatch.setenv("EMU_CACHE", str(tmp_path / "cache"))
    made = []

    def obtain(origin, wanted, scratch, find, progress):
        made.append(origin.version)
        for path in wanted.values():
            path.write_bytes(origin.version.encode())
        return origin.version

    monkeypatch.setattr(recipes, "obtain", obtain)
    toy = entry("toy", "disk", Origin("recipe", "debian-disk", "", "1", 0), {"disk": "disk.img"})
    monkeypatch.setattr(manifest, "entries", lambda: {"toy": toy})
    fetch("toy")
    fetch("toy")
    toy = dataclasses.replace(toy, origin=dataclasses.replace(toy.origin, version="2"))
    assert fetch("toy").files["disk"].read_bytes() == b"2"
    assert made == ["1", "2"]


def test_holes_stay_holes(tmp_path):
    source, target = tmp_path / "a", tmp_path / "b"
    with source.open("wb") as file:
        file.truncate(8 << 20)
        file.seek(5 << 20)
        file.write(b"x")
    with target.open("wb") as file:
        file.truncate(10 << 20)
        debian.copy_sparse(source, file.fileno(), 1 << 20)
    data = target.read_bytes()
    assert data[6 << 20] == ord("x") and not any(data[:6 << 20])
    assert target.stat().st_blocks * 512 <= 2 << 20


def test_a_gzip_member_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setenv("EMU_CACHE", str(tmp_path / "cache"))
    packed = gzip.compress(b"kernel" * 100)
    toy = Entry("toy", "a toy", "multiboot", "none", "", 1 << 25, 1 << 25, (), Origin("pypi", "toy", "all", "1", 1),
                {"kernel": Member("kernel.gz", gzip=True)})
    monkeypatch.setattr(manifest, "entries", lambda: {"toy": toy})

    def obtain(origin, wanted, root, scratch, progress):
        wanted["kernel.gz"].write_bytes(packed)
        return "1"

    monkeypatch.setattr("emu.host.pypi.obtain", obtain)
    assert fetch("toy").kernel.read_bytes() == b"kernel" * 100


@pytest.fixture
def pip(tmp_path, monkeypatch):
    """A stand-in for this Python, whose `-m pip download` copies a wheel, if there is one."""
    wheel = tmp_path / "toy-1-py3-none-any.whl"

    def use(files):
        if files is not None:
            with zipfile.ZipFile(wheel, "w") as archive:
                for name, data in files.items():
                    archive.writestr(name, data)
        program = tmp_path / "python"
        program.write_text(f"#!/bin/sh\n[ -e '{wheel}' ] || {{ echo 'ERROR: No matching distribution' >&2; exit 1; }}\n"
                           f"while [ \"$1\" != --dest ]; do shift; done\ncp '{wheel}' \"$2\"\n")
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))

    return use


def test_a_wheels_members_are_taken_and_the_wheel_goes(pip, tmp_path):
    pip({"toy/a": b"a" * 10, "toy/b": b"b"})
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    assert pypi.obtain(Origin("pypi", "toy", "all", "1", 1), {"toy/a": tmp_path / "out"}, tmp_path, scratch, silent) == "1"
    assert (tmp_path / "out").read_bytes() == b"a" * 10
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(("files", "says"), [
    (None, "pip cannot download toy 1: ERROR: No matching distribution"),
    ({"other": b""}, "cannot be unpacked"),
])
def test_a_wheel_that_cannot_be_had_is_one_line(pip, tmp_path, files, says):
    pip(files)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with pytest.raises(FetchError, match=says):
        pypi.obtain(Origin("pypi", "toy", "all", "1", 1), {"toy/a": tmp_path / "out"}, tmp_path, scratch, silent)
