"""Our VGA BIOS on QEMU's standard VGA, call by call beside another one: registers, data area and memory are the same."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import unicorn
from unicorn import x86_const

from emu.boards.pc import PC
from emu.firmware import build
from tests.chips.drives import Medium
from tests.firmware import int10stories
from tests.firmware.int10guest import BUFFER, Script, words

OTHER = Path("/usr/share/seabios/vgabios-stdvga.bin")
STORIES = {
    "modes": int10stories.modes, "text": int10stories.text, "palette": int10stories.palette, "fonts": int10stories.fonts,
    "CGA": lambda: int10stories.graphics(0x04, 0x06), "planes": lambda: int10stories.graphics(0x0D, 0x10, 0x12),
    "256 colours": lambda: int10stories.graphics(0x13), "VESA": int10stories.vesa,
}


def run(script: Script, tmp_path: Path, rom: bytes) -> list[tuple[str, bytes]]:
    """What the guest tells on QEMU, whose VGA has `rom`."""
    program = shutil.which("qemu-system-i386")
    if not program:
        pytest.skip("qemu-system-i386 is not installed")
    floppy, expansion, told = tmp_path / "a.img", tmp_path / "vga.rom", tmp_path / "told"
    floppy.write_bytes(script.image(tmp_path / "guest.asm"))
    expansion.write_bytes(rom)
    done = subprocess.run(
        [program, "-accel", "tcg", "-m", "16", "-display", "none", "-monitor", "none", "-serial", "none", "-no-reboot",
         "-net", "none", "-vga", "none", "-device", f"VGA,romfile={expansion}", "-boot", "a",
         "-device", "isa-debug-exit,iobase=0xf4,iosize=1", "-debugcon", f"file:{told}",
         "-drive", f"if=floppy,format=raw,file={floppy}"],
        timeout=60, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    return script.decode(told.read_bytes())


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """What the guest of a story tells on QEMU with our BIOS; each is run once."""
    told: dict[str, list[tuple[str, bytes]]] = {}

    def tell(story: str) -> list[tuple[str, bytes]]:
        if story not in told:
            told[story] = run(STORIES[story](), tmp_path_factory.mktemp("ours"), build.vgabios())
        return told[story]

    return tell


def here(script: Script, tmp_path: Path) -> list[tuple[str, bytes]]:
    """What the guest tells on our PC with our VGA BIOS, booted from a floppy by our BIOS."""
    told = bytearray()
    floppy = Medium(script.image(tmp_path / "guest.asm"))
    with PC(16 << 20, debug=told.extend, firmware=build.bios(), vga_bios=build.vgabios(), floppies=(floppy,),
            boot="a") as m:
        m.run_until(seconds=60)
        assert m.exit_code == 1
    return script.decode(bytes(told))


def known(name: str, mode: int, ours: bytes, theirs: bytes) -> tuple[bytes, bytes]:
    """The two without what no standard tells, and without where SeaVGABIOS 1.16 differs from it."""
    if name == "data area 49":                  # it does not keep 40:65 and 40:66, and calls mode 0Fh a colour mode
        end = 0x1A if mode == 0x0F else 0x1C
        return ours[:end], theirs[:end]
    if name in ("font", "graphics character"):  # where fonts are; in graphics AH of function 08h is undefined
        drop = ("bp",) if name == "font" else ("ax",)
        a, b = ({k: v for k, v in words(x).items() if k not in drop} for x in (ours, theirs))
        low = bytes(words(x)["ax"] & 0xFF for x in (ours, theirs))
        return repr((a, low[0])).encode(), repr((b, low[1])).encode()
    if mode in (0x07, 0x0F) and name in ("misc", "CRTC", "graphics", "attributes"):
        return b"", b""                         # it sets mode 0Fh as in colour, and the CRTC of mode 7 not at all
    if name == "graphics":                      # colour don't care: read mode 1 only
        return ours[:7] + ours[8:], theirs[:7] + theirs[8:]
    return ours, theirs


def own(tmp_path: Path, script: Script) -> dict[str, bytes]:
    """What the guest tells with our BIOS, by the names of the script's steps."""
    return dict(run(script, tmp_path, build.vgabios()))


def test_the_image_is_an_expansion_rom():
    rom = build.vgabios()
    assert rom[:2] == b"\x55\xAA" and rom[2] * 512 == len(rom) <= 32 << 10
    assert sum(rom) & 0xFF == 0
    pcir = int.from_bytes(rom[0x18:0x1A], "little")
    assert rom[pcir:pcir + 8] == b"PCIR\x34\x12\x11\x11"
    assert int.from_bytes(rom[pcir + 0x10:pcir + 0x12], "little") * 512 == len(rom) and rom[pcir + 0x15] == 0x80


def glyphs(height: int) -> list[bytes]:
    text = (Path(build.__file__).parent / "vgabios" / f"font{height}.inc").read_text()
    rows = [line.split("#")[0].split(".byte")[1] for line in text.splitlines() if ".byte" in line]
    return [bytes(int(value, 16) for value in row.split(",")) for row in rows]


@pytest.mark.parametrize("height", [8, 14, 16])
def test_lines_of_code_page_437_join(height):
    font = glyphs(height)
    assert len(font) == 256 and {len(glyph) for glyph in font} == {height}
    assert len(set(font)) >= 250                                # all differ, but for blanks
    for code in "│║┤├┼╣║╠╬┬╦┐┌╔╗".encode("cp437"):              # what goes down reaches the last line
        assert font[code][-1]
    for code in "│║┤├┼╣║╠╬┴╩┘└╚╝".encode("cp437"):              # what goes up begins in the first
        assert font[code][0]
    for left, right in (("─┌└├┬┴┼", "─┐┘┤┬┴┼"), ("═╔╚╠╦╩╬", "═╗╝╣╦╩╬")):
        edges = {tuple(row & 1 for row in font[code]) for code in left.encode("cp437")}
        edges |= {tuple(row >> 7 for row in font[code]) for code in right.encode("cp437")}
        assert len(edges) == 1                                  # all meet in the same lines
    assert font[0xDB] == b"\xFF" * height and not any(font[0x20])


def test_state_is_saved_and_restored(tmp_path):
    s = Script()
    s.int10(0x0003)
    s.int10(0x0200, 0, 0, 0x0507)
    s.int10(0x1000, 0x2A03)
    s.int10(0x1C00, 0, 7, name="size")
    s.int10(0x1C01, 0, 7)
    s.registers()
    s.data_area()
    s.int10(0x0012)
    s.int10(0x1C02, 0, 7)
    s.registers()
    s.data_area()
    s.int10(0x4F02, 0x0112)
    s.int10(0x4F04, 0x1000, 15, 1)
    s.int10(0x0012)
    s.int10(0x4F04, 0x1000, 15, 2)
    s.int10(0x4F03, name="mode")
    s.int10(0x4F06, 1, name="line")
    told = run(s, tmp_path, build.vgabios())
    named = {name: words(data) for name, data in told if name in ("size", "mode", "line")}
    state = [data for name, data in told if not name.startswith(("int10", *named))]
    assert len(state) == 20 and state[:10] == state[10:]
    assert named["size"]["ax"] == 0x1C1C and 12 <= named["size"]["bx"] <= 16
    assert named["mode"]["bx"] == 0x112
    assert named["line"]["bx"] == 640 * 3 and named["line"]["cx"] == 640


def test_functionality_and_state_information(tmp_path):
    s = Script()
    s.int10(0x0003)
    s.int10(0x1B00, di=0x300, name="call")
    s.tell("state", BUFFER, 0x300, 64)
    told = own(tmp_path, s)
    assert words(told["call"])["ax"] & 0xFF == 0x1B
    state = told["state"]
    assert state[4] == 3 and state[5] == 80 and state[0x22] == 25 and state[0x23] == 16         # mode, columns, rows, height
    assert state[0x31] == 3                                      # 256 KiB
    assert state[0x25:0x2A] == b"\x08\0\x10\0\x08" and state[0x2A] == 2   # VGA; colours, pages; 400 lines


def test_the_display_describes_itself(tmp_path):
    s = Script()
    s.int10(0x4F15, 1, di=0x800, name="call")
    s.tell("edid", BUFFER, 0x800, 128)
    told = own(tmp_path, s)
    edid = told["edid"]
    assert words(told["call"])["ax"] == 0x4F
    assert edid[:8] == b"\0" + b"\xFF" * 6 + b"\0" and sum(edid) & 0xFF == 0 and b"emu display\n" in edid
    assert edid[54:56] == b"\x64\x19" and edid[56] | edid[58] >> 4 << 8 == 1024 and edid[59] | edid[61] >> 4 << 8 == 768


def test_the_data_area_keeps_what_was_said_of_cga_colours(tmp_path):
    """40:66, as port 3D9h: background and its intensity, the palette of mode 4."""
    s = Script()
    s.int10(0x0004)
    for number, bx in enumerate((0x001F, 0x0100, 0x000A, 0x0101)):
        s.int10(0x0B00, bx)
        s.tell(str(number), 0x40, 0x66, 1)
    told = own(tmp_path, s)
    assert [told[str(number)][0] & 0x3F for number in range(4)] == [0x3F, 0x1F, 0x0A, 0x2A]


def test_colours_and_modes_of_vbe(tmp_path):
    s = Script()
    s.poke(BUFFER, 0, b"VBE2")
    s.int10(0x4F00, di=0)
    s.tell("list", BUFFER, 34, 222)
    s.int10(0x4F02, 0x0101)
    s.poke(BUFFER, 0x600, bytes(range(64)))
    s.int10(0x4F09, 0, 8, 3, di=0x600)
    s.int10(0x4F09, 1, 10, 2, di=0x700)
    s.tell("colours", BUFFER, 0x700, 40)
    s.int10(0x4F09, 2, 1, 0, name="bad")
    s.int10(0x4F06, 3, name="longest")
    s.int10(0x4F06, 0, 0xFFF8, name="too long")
    s.int10(0x4F07, 0, 0, 0xF000, name="outside")
    s.int10(0x4F02, 0x4101)
    s.int10(0x4F05, 0, 0, 1, name="no window")
    told = own(tmp_path, s)
    modes = {int.from_bytes(told["list"][i:i + 2], "little") for i in range(0, 222, 2)}
    assert {0x100, 0x101, 0x103, 0x105, 0x107, 0x111, 0x115, 0x118, 0x144, 0x190, 0x192, 0xFFFF} <= modes
    assert told["colours"][4:36] == bytes(0 if i % 4 == 3 else i for i in range(32))
    assert words(told["bad"])["ax"] == 0x014F and words(told["no window"])["ax"] == 0x034F
    assert words(told["too long"])["ax"] == words(told["outside"])["ax"] == 0x014F
    assert words(told["longest"])["bx"] == 0x3FF8


@pytest.mark.parametrize("story", STORIES)
def test_a_guest_finds_the_same_with_our_bios_and_with_seavgabios(tmp_path, story, ours):
    if not OTHER.is_file():
        pytest.skip("SeaVGABIOS is not installed")
    theirs = run(STORIES[story](), tmp_path, OTHER.read_bytes())
    mode, call = 3, ""
    for (name, mine), (_, other) in zip(ours(story), theirs, strict=True):
        if name.startswith("int10"):
            call = name
            if call.startswith("int10 00"):
                mode = int(call[8:10], 16) & 0x7F
        a, b = known(name, mode, mine, other)
        at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), 0)
        assert a == b, f"{call}: {name} differs from byte {at:#x} on: {a[at:at + 16].hex(' ')} and {b[at:at + 16].hex(' ')}"


@pytest.mark.parametrize("story", ["text", "fonts", "CGA", "256 colours", "VESA"])
def test_a_guest_finds_the_same_on_our_pc_and_on_qemu(tmp_path, story, ours):
    call = ""
    for (name, mine), (_, other) in zip(here(STORIES[story](), tmp_path), ours(story), strict=True):
        call = name if name.startswith("int10") else call
        if name == "mask":                      # QEMU 7.2 has no PEL mask
            assert mine == b"\xFF"
        elif name.endswith("frame buffer"):     # each firmware places it itself
            assert (int.from_bytes(mine, "little") >= 0xE000_0000) == any(other)
        else:
            assert mine == other, f"{call}: {name}"


class Protected:
    """The protected-mode interface, copied to 4 GiB's middle as a program may, and the ports that it writes."""

    BASE, STACK = 0x4000_0000, 0x5000_0000

    def __init__(self, code: bytes, dispi: dict[int, int]) -> None:
        self.code, self.dispi, self.index, self.bytes = code, dispi, 0, []
        self.uc = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_32)
        self.uc.mem_map(self.BASE, 0x1000)
        self.uc.mem_write(self.BASE, code)
        self.uc.mem_map(self.STACK, 0x1000)
        self.uc.hook_add(unicorn.UC_HOOK_INSN, self.read, None, 1, 0, x86_const.UC_X86_INS_IN)
        self.uc.hook_add(unicorn.UC_HOOK_INSN, self.write, None, 1, 0, x86_const.UC_X86_INS_OUT)

    def read(self, _uc, port, _size, _data):
        assert port == 0x1CF
        return self.dispi[self.index]

    def write(self, _uc, port, _size, value, _data):
        if port == 0x1CE:
            self.index = value
        elif port == 0x1CF:
            self.dispi[self.index] = value
        else:
            self.bytes.append((port, value))

    def call(self, function: int, **registers: int) -> int:
        for name, value in {"esp": self.STACK + 0x800, **registers}.items():
            self.uc.reg_write(getattr(x86_const, "UC_X86_REG_" + name.upper()), value)
        self.uc.mem_write(self.STACK + 0x800, (self.BASE + 0xFFF).to_bytes(4, "little"))
        start = self.BASE + int.from_bytes(self.code[2 * function:2 * function + 2], "little")
        self.uc.emu_start(start, self.BASE + 0xFFF, count=10_000)
        return self.uc.reg_read(x86_const.UC_X86_REG_AX)


def test_the_protected_mode_interface_runs_wherever_it_is_copied_to(tmp_path):
    s = Script()
    s.int10(0x4F0A, 0, name="where")
    where = words(own(tmp_path, s)["where"])
    assert where["ax"] == 0x4F and where["es"] == 0xC000
    code = build.vgabios()[where["di"]:where["di"] + where["cx"]]
    pm = Protected(code, {3: 16, 6: 1024})
    assert pm.call(0, ebx=0, edx=5) == 0x4F and pm.dispi[5] == 5                    # bank 5
    start = (3 * 1024 + 8) * 2 // 4                                                 # line 3, pixel 8, in units of 4 bytes
    assert pm.call(1, ebx=0, ecx=start & 0xFFFF, edx=start >> 16) == 0x4F
    assert (pm.dispi[8], pm.dispi[9]) == (8, 3)
    pm.uc.mem_write(pm.STACK, bytes([1, 2, 3, 0, 4, 5, 6, 0]))
    assert pm.call(2, ebx=0, ecx=2, edx=7, edi=pm.STACK) == 0x4F
    assert pm.bytes == [(0x3C8, 7), *((0x3C9, v) for v in (3, 2, 1, 6, 5, 4))]
