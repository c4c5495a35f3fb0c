"""What the guest of tests/firmware/int10guest.py does: scripts, each of which two VGA BIOSes answer in the same way."""

from __future__ import annotations

from tests.firmware.int10guest import BUFFER, Script

# A font that no BIOS has, 16 bytes a character, so that what is drawn does not depend on whose font it is
FONT = bytes(c * 7 + line * 13 + (c >> 3) * line & 0xFF | 1 << line % 8 for c in range(256) for line in range(16))
MODES = (0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0D, 0x0E, 0x10, 0x11, 0x12, 0x13, 0x83, 0x0F, 0x07)
WINDOWS = ((0x0602, 0x1700, 0x0203, 0x0A20), (0x0703, 0x2F00, 0x0000, 0x0B4F), (0x0600, 0x3000, 0x0A0A, 0x0C0C),
           (0x0605, 0x4000, 0x1414, 0xFFFF), (0x06FF, 0x5500, 0x0000, 0x0101), (0x0701, 0x6600, 0x0510, 0x0510),
           (0x0601, 0x7700, 0x1005, 0x0F04))


def modes() -> Script:
    """Every standard mode: registers and data area."""
    s = Script()
    for mode in MODES:
        s.int10(mode)
        s.int10(0x0F00)
        s.data_area()
        s.registers()
    return s


def text() -> Script:
    """Characters, strings, windows, pages and cursors of mode 3."""
    s = Script()

    def screen(name: str) -> None:
        s.tell(name, 0xB800, 0, 4000)

    s.int10(0x0003)
    for i in range(30):
        for c in b"line %d\r\n" % i:
            s.int10(0x0E00 | c, 7)
    screen("teletype")
    s.data_area()
    for c in b"ab\bc":
        s.int10(0x0E00 | c)
    s.int10(0x0200, 0, 0, 0x184F)
    s.int10(0x0E41)
    s.int10(0x0300)
    screen("scrolled by the last cell")
    s.int10(0x0200, 0, 0, 0x0505)
    s.int10(0x0958, 0x001E, 5)
    s.int10(0x0A59, 0x004F, 3)
    s.int10(0x0800)
    s.int10(0x0200, 0x0100, 0, 0x0102)
    s.int10(0x095A, 0x0121, 2000)
    s.int10(0x0800, 0x0100)
    s.int10(0x0300, 0x0100)
    s.tell("page 1", 0xB800, 0x1000, 4000)
    s.int10(0x0501)
    s.data_area()
    s.int10(0x0F00)
    s.registers()
    s.int10(0x0500)
    for window in WINDOWS:
        s.int10(*window)
        screen("window")
    s.poke(BUFFER, 0x100, b"hello\r\nworld\x08!")
    s.poke(BUFFER, 0x200, bytes(x for i, c in enumerate(b"colour\r\nx") for x in (c, i + 1)))
    for kind, length, at, where in ((0, 14, 0x100, 0x0A4D), (1, 14, 0x100, 0x1848),
                                    (2, 9, 0x200, 0x0C10), (3, 9, 0x200, 0x0C10)):
        s.int10(0x1300 | kind, 0x001F, length, where, bp=at)
        s.int10(0x0300)
        screen("string")
    for shape in (0x0607, 0x0007, 0x0407, 0x0507, 0x0D0E, 0x2000, 0x0307, 0x0206, 0x0707, 0x0006, 0x0706, 0x0F0F, 0x000F):
        s.int10(0x0100, 0, shape)
        s.int10(0x0300)
        s.registers()
    s.int10(0x1201, 0x34)
    s.int10(0x0100, 0, 0x0607)
    s.registers()
    return s


def palette() -> Script:
    """AH = 10h and 0Bh."""
    s = Script()
    s.int10(0x0003)
    for call in ((0x1000, 0x2A03), (0x1007, 0x0003), (0x1001, 0x0500), (0x1008,)):
        s.int10(*call)
    s.poke(BUFFER, 0, bytes(range(16, 33)))
    s.int10(0x1002, dx=0)
    s.int10(0x1009, dx=0x40)
    s.tell("palette", BUFFER, 0x40, 17)
    for blink in 0, 1:
        s.int10(0x1003, blink)
        s.registers()
    s.int10(0x1010, 5, 0x1122, 0x3300)
    s.int10(0x1015, 5)
    s.poke(BUFFER, 0x100, bytes(range(30)))
    s.int10(0x1012, 0x20, 10, 0x100)
    s.int10(0x1017, 0x1F, 12, 0x200)
    s.tell("colours", BUFFER, 0x200, 36)
    for call in ((0x101A,), (0x1013, 0x0100), (0x101A,), (0x1013, 0x0201), (0x101A,), (0x1013, 0), (0x1013, 1), (0x101A,),
                 (0x1018, 0x3F), (0x1019,), (0x1018, 0xFF), (0x101B, 0, 64)):
        s.int10(*call)
    s.registers()
    s.int10(0x0004)
    for bx in 0x0005, 0x0100, 0x0101, 0x001A:
        s.int10(0x0B00, bx)
        s.registers()
    return s


def fonts() -> Script:
    """AH = 11h, 12h, 1Ah."""
    s = Script()
    s.int10(0x0003)
    for ax in 0x1112, 0x1114, 0x1102, 0x1104:
        s.int10(ax)
        s.data_area()
        s.registers()
        s.int10(0x0300)
    s.int10(0x0003)
    s.poke(BUFFER, 0, FONT)
    s.int10(0x1110, 0x0A00, 256, 0, bp=0)
    s.data_area()
    s.registers()
    s.int10(0x0003)
    for bh in range(8):
        s.int10(0x1130, bh << 8, name="font")
    s.int10(0x1103, 5)
    s.registers()
    s.int10(0x1103, 0)
    for bl in 0x10, 0x30, 0x32, 0x33, 0x34, 0x36:
        s.int10(0x1200, bl)
        s.data_area()
    for al in 1, 0, 2:
        s.int10(0x1200 | al, 0x30)
        s.data_area()
    s.int10(0x1201, 0x33)
    s.data_area()
    for al in 1, 0:
        s.int10(0x1200 | al, 0x32)
        s.registers()
    for call in ((0x1A00,), (0x1A01, 7), (0x1A00,), (0x1A01, 8)):
        s.int10(*call)
    return s


def graphics(*modes: int) -> Script:
    """Pixels, characters and windows, all in a font of our own."""
    s = Script()
    s.poke(BUFFER, 0, FONT)
    for mode in modes:
        height = 14 if mode in (0x0F, 0x10) else 16 if mode in (0x11, 0x12) else 8
        segment = 0xB800 if mode < 7 else 0xA000
        s.int10(mode)
        s.int10(0x1121, 2, height, 25, bp=0)
        s.int10(0x1120, bp=0x400)
        s.data_area()
        for c, (x, y) in enumerate(((0, 0), (1, 1), (7, 3), (8, 4), (100, 50), (319, 199), (13, 77), (200, 100))):
            s.int10(0x0C00 | c * 3 + 1 & 0x0F, 0, x, y)
            s.int10(0x0D00, 0, x, y)
            if mode != 0x13:
                s.int10(0x0C83, 0, x, y)
            s.int10(0x0D00, 0, x, y)
            s.int10(0x0D00, 0, min(x + 1, 319), y)
        s.tell("pixels", segment, 0, 0x2000)
        for i, c in enumerate(b"AB\xC3\x90z"):
            s.int10(0x0200, 0, 0, 0x0302 + i)
            s.int10(0x0900 | c, i * 5 + 1 & 0x0F, 1)
            s.int10(0x0800, name="graphics character")
        s.int10(0x0200, 0, 0, 0x0405)
        s.int10(0x0951, 0x0003, 4)
        if mode != 0x13:
            s.int10(0x0951, 0x0083, 4)
            s.int10(0x0951, 0x0081, 2)
        s.tell("characters", segment, 0, 0x3000)
        s.int10(0x0200, 0, 0, 0x1702)
        for c in b"go\r\nto\nx\r\nend\n":
            s.int10(0x0E00 | c, 0x0002)
        s.int10(0x0300)
        s.tell("teletype", segment, 0, 0x4000)
        if segment == 0xA000:
            s.tell("teletype", segment, 0x4000, 0x6000)
        for ax, _, cx, dx in WINDOWS[:3]:
            s.int10(ax, 0, cx, dx)
        s.tell("windows", segment, 0, 0x3000)
        s.registers()
    return s


def vesa() -> Script:
    """VBE: what is the same with every BIOS for DISPI."""
    s = Script()
    s.int10(0x0003)
    s.poke(BUFFER, 0, b"VBE2")
    s.int10(0x4F00, di=0)
    s.tell("controller", BUFFER, 0, 6)
    s.tell("controller memory", BUFFER, 18, 2)
    for mode in (0x100, 0x101, 0x103, 0x105, 0x107, 0x10D, 0x10E, 0x10F, 0x111, 0x112, 0x115, 0x118, 0x11B, 0x11C, 0x140,
                 0x143, 0x144, 0x146, 0x14C, 0x190, 0x192, 0x1FF):
        s.poke(BUFFER, 0x400, bytes(256))
        s.int10(0x4F01, 0, mode, di=0x400)
        for name, offset, length in (("window", 0, 12), ("size", 16, 12), ("masks", 31, 8), ("frame buffer", 40, 4),
                                     ("line", 50, 2), ("linear masks", 54, 8)):
            s.tell(f"mode {mode:x} {name}", BUFFER, 0x400 + offset, length)
    for mode in 0x101, 0x111, 0x8118, 0x4144:
        s.int10(0x4F02, mode)
        s.int10(0x4F03)
        s.tell("memory", 0xA000, 0, 64)
        if mode < 0x4000:
            for call in ((0x4F05, 0, 0, 1), (0x4F05, 0x0100), (0x4F05, 0, 0, 0x1000), (0x4F05, 0)):
                s.int10(*call)
            s.poke(0xA000, 100, b"hello")
            s.tell("memory", 0xA000, 90, 20)
        for call in ((0x4F06, 1), (0x4F06, 0, 100), (0x4F06, 0, 1280), (0x4F06, 1), (0x4F07, 0, 8, 16), (0x4F07, 1),
                     (0x4F07, 0x80, 0, 0), (0x4F07, 1), (0x4F08, 1), (0x4F08, 0x0800), (0x4F08, 1), (0x4F08, 0x0600)):
            s.int10(*call)
    s.int10(0x4F02, 0x0003)
    s.int10(0x4F03)
    s.data_area()
    s.registers()
    s.tell("text", 0xB800, 0, 16)
    s.int10(0x4F15, 0)
    s.int10(0x4F02, 0x01FE)
    s.int10(0x4F1F)
    return s
