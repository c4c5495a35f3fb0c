"""The same guest on our PC and on QEMU's: after each picture, the two screens are the same, pixel by pixel.

Left out is what QEMU 7.2 does otherwise than the data sheets: it joins the lines of B0h-BFh, too, shows 16 dots for the 9
of 40 columns, does not blink, knows no PEL mask, lets CMS0 add to the address, and drops stores in the DISPI's planar mode.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import time

import pytest

from emu.boards.board import MIB
from emu.boards.pc import PC
from tests.boards import vgaguest as g

QEMU = shutil.which("qemu-system-i386")
TEXT, A000 = 0xB800, 0xA000
COLOURS = random.Random("colours").randbytes(768)


def font(seed: int) -> bytes:
    """Glyphs into plane 2, as a BIOS loads them, and back to text."""
    return (g.out16(0x3C4, 0x0402) + g.out16(0x3C4, 0x0604) + g.out16(0x3CE, 0x0204) + g.out16(0x3CE, 0x0005)
            + g.out16(0x3CE, 0x0406) + g.noise(A000, 0, 0x2000, seed) + g.noise(A000, 0x4000, 0x2000, seed + 1)
            + g.out16(0x3C4, 0x0302) + g.out16(0x3C4, 0x0204) + g.out16(0x3CE, 0x0004) + g.out16(0x3CE, 0x1005)
            + g.out16(0x3CE, 0x0E06))


def text(cells: int, seed: int) -> bytes:
    """Characters with attributes below 80h, since QEMU does not blink, and without B0h-BFh, which it takes for lines."""
    data = bytearray(random.Random(seed).randbytes(2 * cells))
    for i in range(0, len(data), 2):
        data[i] ^= 0x40 if data[i] & 0xF0 == 0xB0 else 0
        data[i + 1] &= 0x7F
    return g.copy(TEXT, 0, bytes(data))


def colours() -> bytes:
    return g.dac(0, COLOURS)


def planar_drawing() -> bytes:
    """Each write mode, with set/reset, functions, rotation and masks; the latches loaded by reads."""
    steps = [g.noise(A000, 0, 0x2000, 5)]
    for i, (plane, register) in enumerate([(1, 0x00), (2, 0x03), (4, 0x09), (8, 0x12), (15, 0x1D)]):
        steps += [g.out16(0x3C4, 2 | plane << 8), g.out16(0x3CE, 3 | register << 8), g.noise(A000, 1000 * i, 1500, i),
                  g.mix(A000, 1000 * i + 700, 300, 0xA5 + i)]
    steps += [g.out16(0x3C4, 0x0F02), g.out16(0x3CE, 0x0003), g.out16(0x3CE, 0x0600), g.out16(0x3CE, 0x0B01),
              g.mix(A000, 6000, 500, 0x3C), g.out16(0x3CE, 0x5A08), g.mix(A000, 6200, 500, 0xC3), g.out16(0x3CE, 0x0001)]
    for function in range(4):
        steps += [g.out16(0x3CE, 3 | function << 11), g.out16(0x3CE, 0x0205), g.mix(A000, 7000 + 300 * function, 200, 9),
                  g.out16(0x3CE, 0x0305), g.mix(A000, 7100 + 300 * function, 200, 0x77)]
    steps += [g.out16(0x3CE, 0xFF08), g.out16(0x3CE, 0x0003), g.out16(0x3CE, 0x0105), g.move(A000, 0, 9000, 3000),
              g.out16(0x3CE, 0x0805), g.out16(0x3CE, 0x0302), g.out16(0x3CE, 0x0707), g.out16(0x3CE, 0x0005)]
    return b"".join(steps)


def dispi(width: int, height: int, bits: int, flags: int = 0x41, *more: tuple[int, int]) -> bytes:
    settings = [(4, 0), (1, width), (2, height), (3, bits), (4, flags), *more]
    return b"".join(g.out16(0x1CE, index) + g.out16(0x1CF, value) for index, value in settings)


def cleared() -> bytes:
    """All planes, as the DISPI clears them: what is left in them from before lies elsewhere in QEMU, which packs pairs."""
    return dispi(1024, 256, 8, 1) + dispi(1024, 256, 8, 0)


def banked(banks: int) -> bytes:
    steps = []
    for bank in range(banks):
        steps += [g.out16(0x1CE, 5), g.out16(0x1CF, bank), g.noise(A000, 0, 0xFFFF, bank), g.noise(A000, 0xFFFF, 1, 1)]
    return b"".join(steps)


PICTURES: dict[str, bytes] = {
    "text": g.mode("text 80x25") + colours() + font(1) + text(2000, 1),
    "text, 8 dots": g.mode("text 80x25, 8 dots") + font(3) + text(2000, 2),
    "text, two fonts": g.out16(0x3C4, 0x0403) + text(2000, 3),
    "text, started further on": g.out16(0x3C4, 0x0003) + g.copy(TEXT, 4000, bytes(range(128)) * 8) + g.out16(0x3D4, 0x010C),
    "text 40x25": g.mode("text 40x25") + text(1000, 4),
    "text 80x50": g.mode("text 80x50") + text(4000, 5),
    "CGA, 4 colours": g.mode("CGA 320x200, 4 colours") + g.noise(TEXT, 0, 0x4000, 6),
    "CGA, 2 colours": g.mode("CGA 640x200, 2 colours") + g.noise(TEXT, 0, 0x4000, 7),
    "320x200": cleared() + g.mode("320x200, 16 colours") + planar_drawing(),
    "640x200": cleared() + g.mode("640x200, 16 colours") + planar_drawing(),
    "640x350": cleared() + g.mode("640x350, 16 colours") + planar_drawing(),
    "640x480": cleared() + g.mode("640x480, 16 colours") + planar_drawing() + g.noise(A000, 12000, 26400, 9),
    "640x480, some planes": g.read(0x3DA) + g.out(0x3C0, 0x12, 0x05, 0x20) + g.dac(0, b"abc"),
    "640x480, palette banks": g.read(0x3DA) + g.out(0x3C0, 0x12, 0x0F, 0x10, 0x81, 0x14, 0x06, 0x20),
    "640x480, split": g.read(0x3DA) + g.out(0x3C0, 0x10, 1, 0x14, 0, 0x20) + g.out16(0x3D4, 0x100D) + g.out16(0x3D4, 0x2E07)
    + g.out16(0x3D4, 0x0009) + g.out16(0x3D4, 0x8018),
    "256 colours": g.mode("320x200, 256 colours") + g.noise(A000, 0, 64000, 10),
    "unchained": g.mode("320x240, 256 colours, unchained") + g.out16(0x3C4, 0x0102)
    + g.noise(A000, 0, 19200, 11) + g.out16(0x3C4, 0x0602) + g.noise(A000, 0, 19200, 12) + g.out16(0x3C4, 0x0802)
    + g.noise(A000, 0, 19200, 13),
    "DISPI 8": dispi(640, 400, 8) + banked(4),
    "DISPI 8, 8-bit DAC": dispi(640, 400, 8, 0xE1) + g.dac(0, COLOURS[::-1]),
    "DISPI 15": dispi(320, 200, 15) + banked(2),
    "DISPI 16": dispi(400, 300, 16) + banked(4),
    "DISPI 24": dispi(320, 240, 24) + banked(4),
    "DISPI 32": dispi(320, 240, 32, 0x41) + banked(5),
    "DISPI 32, panned": dispi(320, 240, 32, 0xC1, (6, 400), (8, 13), (9, 7)),
    "text again": dispi(640, 400, 8, 0) + g.mode("text 80x25") + g.dac(0, bytes(768)) + colours() + font(8) + text(2000, 15),
}


def image() -> bytes:
    return g.image([steps + g.out16(0x3D4, 0x200A) + g.mark(0x21 + i) for i, steps in enumerate(PICTURES.values())])


def ppm(data: bytes) -> tuple[int, int, bytes]:
    kind, width, height, most, pixels = data.split(maxsplit=3)[:3] + data.split(maxsplit=3)[3].split(b"\n", 1)
    assert kind == b"P6" and most == b"255"
    return int(width), int(height), pixels


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """What QEMU shows after each picture."""
    if QEMU is None:
        pytest.skip("qemu-system-i386 is not installed")
    where = tmp_path_factory.mktemp("qemu")
    size = 0x20000
    rom = bytearray(b"\xFF" * size)
    guest = image()
    assert len(guest) < 0xFFF0
    rom[size - 0x10000:size - 0x10000 + len(guest)] = guest
    rom[-16:-11] = bytes.fromhex("EA000000F0")                  # jmp F000:0000
    (where / "bios").write_bytes(rom)
    done = subprocess.Popen(
        [QEMU, "-machine", "pc", "-accel", "tcg", "-m", "16", "-bios", where / "bios", "-vga", "std", "-display", "none",
         "-nodefaults", "-debugcon", "stdio", "-serial", f"unix:{where}/serial,server=on,wait=on",
         "-qmp", f"unix:{where}/qmp,server=on,wait=off"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        serial, qmp = _connect(where / "serial"), _connect(where / "qmp")
        talk = qmp.makefile("rw")
        _ask(talk, "qmp_capabilities")
        screens = {}
        for name in PICTURES:
            assert done.stdout is not None and done.stdout.read(1)
            for _ in range(2):                                  # the first may be of before the last change of mode
                _ask(talk, "screendump", filename=str(where / "shot"))
            screens[name] = ppm((where / "shot").read_bytes())
            serial.sendall(b"x")
        return screens
    finally:
        done.kill()
        done.wait()


def _connect(path: os.PathLike[str]) -> socket.socket:
    for _ in range(200):
        try:
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(20)
            connection.connect(str(path))
            return connection
        except OSError:
            time.sleep(0.05)
    raise TimeoutError(path)


def _ask(talk, command: str, **arguments: str) -> None:
    talk.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
    talk.flush()
    while "return" not in (answer := json.loads(talk.readline())):
        assert "error" not in answer, answer


@pytest.fixture(scope="module")
def ours():
    """What our PC shows after each picture."""
    screens = {}
    shown = bytearray()
    with PC(16 * MIB, debug=shown.extend) as m:
        m.load(bytes.fromhex("EA00000010"))                     # jmp 1000:0000
        m.write(0x10000, image())
        for i, name in enumerate(PICTURES):
            m.run_until(seconds=20, when=lambda i=i: len(shown) > i)
            assert len(shown) == i + 1, name
            frame = m.screen.frame()
            screens[name] = frame.width, frame.height, frame.rgb
            m.send("x")
    return screens


def coarse(pixels: bytes, bits: int) -> bytes:
    """Only so many bits of each colour: what is added to make eight of them, QEMU makes otherwise."""
    return pixels.translate(bytes(v >> 8 - bits for v in range(256)))


@pytest.mark.parametrize("name", PICTURES)
def test_the_screen_is_qemus(name, ours, theirs):
    width, height, pixels = ours[name]
    assert (width, height) == theirs[name][:2]
    bits = 5 if name == "DISPI 15" else 6
    same = coarse(pixels, bits) == coarse(theirs[name][2], bits)
    assert same
