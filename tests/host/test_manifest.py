"""The manifest of images: what it says, and what is wrong with one that says it otherwise."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from emu.host import manifest
from emu.host.fetch import FetchError
from emu.host.manifest import Origin


def test_the_manifest_names_the_debian_installers():
    entries = manifest.entries()
    for name in ("debian-i386", "debian-amd64"):
        image = entries[name]
        assert image.kind == "linux" and {"kernel", "initrd"} <= set(image.files)
        assert image.origin.package == f"debian-installer-12-netboot-{name.removeprefix('debian-')}"
        assert "console=ttyS0" in image.append


@pytest.mark.parametrize("image", manifest.entries().values(), ids=lambda image: image.name)
def test_an_entry_says_what_was_tested(image):
    assert image.what and image.licence and image.origin.version and image.tests
    made = image.origin.source == "recipe"
    assert made or image.origin.download > 0
    assert 0 < image.minimum <= image.memory <= 4 << 30
    for member in image.files.values():
        assert made or (re.fullmatch("[0-9a-f]{64}", member.sha256) and member.size > 0)
        assert not member.path.startswith(("/", "./")) and ".." not in member.path


@pytest.mark.parametrize("image", manifest.entries().values(), ids=lambda image: image.name)
def test_the_tests_that_want_an_image_exist(image):
    here = Path(__file__).resolve().parents[2]
    for test in image.tests:
        assert (here / test).exists(), f"{image.name} is wanted by {test}"


GOOD = """
[toy]
what = "a"
kind = "linux"
licence = "b"
memory = "64M"
minimum = "1G"
tests = []
[toy.origin]
from = "apt"
package = "p"
architecture = "i386"
version = "1"
download = 1
[toy.files.kernel]
member = "k"
sha256 = "0"
size = 1
"""


def test_a_manifest_is_read():
    image = manifest.parse(GOOD)["toy"]
    assert (image.memory, image.minimum, image.append) == (64 << 20, 1 << 30, "")
    assert image.origin == Origin("apt", "p", "i386", "1", 1)


def test_a_part_has_files_of_any_name_and_no_path():
    part = GOOD.replace('"linux"', '"part"')
    assert list(manifest.parse(part.replace("files.kernel", "files.ata_piix"))["toy"].files) == ["ata_piix"]
    for name in "../kernel", "a/b", "", ".":
        with pytest.raises(FetchError, match="is not one of"):
            manifest.parse(part.replace("files.kernel", f'files."{name}"'))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('what = "a"', "", "toy has no what"),
        ('what = "a"', "what = 1", "toy.what is no str"),
        ('what = "a"', 'wath = "a"\nwhat = "a"', "toy has an unknown field wath"),
        ('"linux"', '"gnu"', "toy.kind is 'gnu'"),
        ('"64M"', '"64"', "toy.memory is '64'"),
        ('"64M"', '"0M"', "toy.memory is '0M'"),
        ('"apt"', '"ftp"', "toy.origin.from is 'ftp'"),
        ("download = 1", "download = true", "toy.origin.download is no int"),
        ("files.kernel", "files.karnel", "toy.files.karnel is not one of"),
        ('member = "k"', "", "toy.files.kernel has no member"),
        ("[toy]", "[Toy]", "'Toy' is no name"),
        ("[toy]", "[toy", "at line 2"),
        ("[toy]", "x = 1\n[toy]", "x is not a table"),
    ],
)
def test_a_wrong_manifest_says_where(old, new, says):
    text = GOOD.replace(old, new, 1)
    if "[Toy]" in text:
        text = text.replace("[toy.", "[Toy.")
    with pytest.raises(FetchError, match=re.escape(says)) as error:
        manifest.parse(text)
    assert str(error.value).startswith("the image manifest: ") and "\n" not in str(error.value)
