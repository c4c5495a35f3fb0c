"""An installed Debian on a qcow2 overlay: what it wrote is there after the next start, and after the emulator was killed.

`-m boot` does a few rounds; the full numbers are `-m long tests/boot/test_debian_disk.py`.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import struct
import subprocess
import sys
import time

import pytest

from emu.host.disk import open_image
from tests.boot import APT, fetched
from tests.disk.tools import checked, needs_qemu_img, qemu_img

tools = [APT, needs_qemu_img,
         pytest.mark.skipif(not shutil.which("e2fsck") or not shutil.which("debugfs"), reason="no e2fsprogs")]
pytestmark = [*tools, pytest.mark.timeout(7200)]

LOGIN = 'expect "login: "\nsend "root\\n"\nexpect "# "\n'
WRITE = ('send "i=0; while :; do i=$((i+1)); dd if=/dev/urandom of=/root/noise bs=64k count=$((i%7+1)) conv=fsync '
         '2>/dev/null; echo $i >/root/new; sync /root/new; mv /root/new /root/count; sync; echo flu\'\'shed $i; done\\n"\n'
         "wait 1000\n")


def emu(directory, *arguments, script=None, **more):
    """emu boot, with a script."""
    if script is not None:
        (directory / "script").write_text(script)
        arguments = [*arguments, "--script", directory / "script"]
    return subprocess.Popen([sys.executable, "-m", "emu", "boot", *map(str, arguments)], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)


def ended(process, timeout=1200):
    out, err = process.communicate(timeout=timeout)
    console = out.decode(errors="replace").replace("\r", "")
    assert process.returncode == 0, err.decode() + console[-3000:]
    return console


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A directory with the overlay of a system at its login, a snapshot of that, and a copy of the overlay then."""
    directory = tmp_path_factory.mktemp("debian")
    disk = fetched("debian12-i386").files["disk"]
    ended(emu(directory, disk, "--overlay", directory / "overlay", "--save", directory / "snapshot", script=LOGIN))
    shutil.copy2(directory / "overlay", directory / "then")
    return directory


def killed(directory, chance):
    """Kill a machine at a random moment while it writes; the last number that it said was flushed."""
    overlay = directory / "overlay"
    shutil.copy2(directory / "then", overlay)
    machine = emu(directory, "--restore", directory / "snapshot", script=WRITE)
    console = b""
    while b"\nflushed 2" not in console:
        piece = os.read(machine.stdout.fileno(), 65536)
        assert piece, machine.stderr.read().decode() + console.decode(errors="replace")
        console += piece
    time.sleep(chance.uniform(0, 4))
    machine.kill()
    console += machine.communicate()[0]
    return max(int(number) for number in re.findall(rb"\nflushed (\d+)\r", console))


def count_on(overlay):
    """The number in /root/count, after the file system has repaired itself."""
    place = overlay.parent / "root"
    with open(fetched("debian12-i386").files["disk"], "rb") as disk:
        start, size = (number * 512 for number in struct.unpack_from("<II", disk.read(512), 446 + 16 + 8))   # partition 2
    qemu_img("convert", "-O", "raw", "--image-opts", f"driver=raw,offset={start},size={size},file.driver=qcow2,"
             f"file.file.driver=file,file.file.filename={overlay}", place)
    for expected in (0, 1), (0,):               # 1: the journal was replayed; then there is nothing left to mend
        done = subprocess.run(["e2fsck", "-fy", place], capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode in expected, done.stdout
    done = subprocess.run(["debugfs", "-R", "cat /root/count", place], capture_output=True, text=True, timeout=60, check=True)
    place.unlink()
    return int(done.stdout)


def kill_rounds(directory, rounds, seed):
    chance = random.Random(seed)
    overlay = directory / "overlay"
    for _ in range(rounds):
        flushed = killed(directory, chance)
        assert checked(overlay)[0] == 0
        assert count_on(overlay) >= flushed
        open_image(overlay, write=True).close()
        assert checked(overlay) == (0, 0)


@pytest.mark.boot
def test_a_kill_while_the_guest_writes_loses_nothing_that_was_flushed(installed):
    kill_rounds(installed, 3, 0)
    systems_boot_it(installed)


@pytest.mark.long
def test_50_kills(installed):
    kill_rounds(installed, 50, 1)
    systems_boot_it(installed)


def systems_boot_it(directory):
    """The overlay, as the last kill left it, boots here and in QEMU."""
    disk, overlay = fetched("debian12-i386").files["disk"], directory / "overlay"
    console = ended(emu(directory, disk, "--overlay", overlay, script=LOGIN + (
        'send "cat /root/count; systemctl --failed --no-legend --no-pager; echo do\'\'ne; sync\\n"\nexpect "done"\n')))
    assert re.search(r"2004l\d+\n", console), console[-2000:]         # bracketed paste ends before what a command shows
    if not shutil.which("qemu-system-i386"):
        return
    qemu = subprocess.Popen(["qemu-system-i386", "-m", "256", "-display", "none", "-serial", "stdio", "-drive",
                             f"file={overlay},format=qcow2"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        console = b""
        while b"login: " not in console:
            piece = os.read(qemu.stdout.fileno(), 65536)
            assert piece
            console += piece
    finally:
        qemu.kill()
        qemu.wait()


def cycles(directory, count):
    """Boot, look, write, power off."""
    disk, overlay = fetched("debian12-i386").files["disk"], directory / "cycles"
    for number in range(count):
        seen = f"echo se''en $(cat /root/number); echo {number + 1} >/root/number; poweroff" if number else \
            "echo 1 >/root/number; poweroff"
        console = ended(emu(directory, disk, "--overlay", overlay, script=LOGIN + f'send "{seen}\\n"\nwait 300\n'))
        assert "timed out" not in console.lower()
        if number:
            assert f"seen {number}\n" in console
        assert checked(overlay) == (0, 0)


@pytest.mark.boot
def test_what_was_written_is_there_after_the_next_start(installed):
    cycles(installed, 2)


@pytest.mark.long
def test_20_starts(installed):
    cycles(installed, 20)
