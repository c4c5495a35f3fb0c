"""The PC's screen, keyboard and mouse, from the guest's accesses to what a person sees and does."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import pytest

from emu import script, snapshot
from emu.assembler import assemble
from emu.boards.board import MIB
from emu.boards.font import font
from emu.boards.pc import PC
from emu.boards.tiny import Tiny
from emu.cli import main
from emu.machine import End
from tests.boards import vgaguest as g

SEABIOS = Path("/usr/share/seabios/bios-256k.bin"), Path("/usr/share/seabios/vgabios-stdvga.bin")

# Shows the scan codes that come, as characters from the screen's start on
ECHO = """
        mov ax, 0xB800
        mov es, ax
        xor di, di
    again:
        in al, 0x64
        test al, 1
        jz again
        in al, 0x60
        mov es:[di], al
        add di, 2
        jmp again
"""
# Types over a text screen, with a font loaded between two accesses of one block
FONT = """
        mov ax, 0xB800
        mov es, ax
        mov ax, 0xA000
        mov fs, ax
        mov word ptr es:[0], 0x0741
        mov dx, 0x3C4
        mov ax, 0x0604
        out dx, ax
        mov ax, 0x0402
        out dx, ax
        mov dl, 0xCE
        mov ax, 0x0005
        out dx, ax
        mov ax, 0x0406
        out dx, ax
        mov byte ptr fs:[0x820], 0x55
        mov al, es:[0]
        mov [0x602], al
        mov ax, 0x0E06
        out dx, ax
        mov ax, 0x1005
        out dx, ax
        mov dl, 0xC4
        mov ax, 0x0302
        out dx, ax
        mov ax, 0x0204
        out dx, ax
        mov ax, es:[0]
        mov [0x600], ax
        mov byte ptr es:[2], 0x42
        mov al, fs:[0x820]
        mov [0x603], al
        cli
        hlt
"""


@pytest.fixture
def pc():
    with PC(16 * MIB) as machine:
        yield machine


def start(machine, source):
    machine.load(assemble(source, 0x7C00, 16))
    return machine


def test_a_kernel_that_is_started_finds_a_text_screen(pc):
    start(pc, "mov ax, 0xB800; mov es, ax; mov word ptr es:[160], 0x1E48; mov word ptr es:[162], 0x1E69; cli; hlt").run()
    assert pc.screen.text == "\nHi"
    assert pc.screen.read().rows[1][:2] == [(0x48, 0x1E), (0x69, 0x1E)]
    frame = pc.screen.frame()
    assert (frame.width, frame.height) == (720, 400) and frame.rgb[3 * 720 * 16:3 * 720 * 16 + 3] == bytes([0, 0, 0xAA])
    assert bytes([0xFF, 0xFF, 0x55]) in frame.rgb               # with a font
    assert len(font()) == 256 * 16


def test_a_switch_of_the_memory_map_counts_from_the_next_access_in_the_same_block(pc):
    start(pc, FONT).run()
    assert pc.read(0x600, 4) == b"A\7\xFF\xFF"
    planes = pc["vga"].memory.planes()
    assert planes[4 * 0x820 + 2] == 0x55 and planes[0] == 0x41 and planes[8] == 0x42
    assert pc.screen.text == "AB"


def test_text_is_written_without_any_call_of_device_memory(pc):
    start(pc, "mov ax, 0xB800; mov es, ax; xor di, di; mov cx, 2000; mov ax, 0x0741; cld; rep stosw; cli; hlt").run()
    assert pc.engine.counters()["mmio_accesses"] == 0 and pc.screen.text == "\n".join(["A" * 80] * 25)


def test_the_host_reads_and_writes_what_the_guest_sees(pc):
    start(pc, "cli; hlt")
    pc.write(0xB8000, b"X\7")
    assert pc.screen.text == "X" and pc.read(0xB8000, 2) == b"X\7"


def test_the_linear_frame_buffer_is_the_dispis_screen(pc):
    start(pc, "cli; hlt")
    for index, value in ((1, 64), (2, 32), (3, 32), (4, 0x41)):
        pc.ports.write[0x1CE << 4 | 2](index)
        pc.ports.write[0x1CF << 4 | 2](value)
    base = pc["vga"].memory.frame
    pc.write(base + 64 * 4, b"\1\2\3\0")
    frame = pc.screen.frame()
    assert (frame.width, frame.height) == (64, 32) and frame.rgb[3 * 64:3 * 64 + 3] == b"\3\2\1"
    assert pc.read(0xA0000 + 256, 4) == b"\1\2\3\0"             # by the bank, too


def test_text_is_in_the_frame_buffer_too_wherever_it_was_accessed_last(pc):
    start(pc, "cli; hlt")
    base = pc["vga"].memory.frame
    source = f"""
        mov ax, 0xB800
        mov es, ax
        mov word ptr es:[0], 0x0741
        xor ax, ax
        mov ds, ax
        cli
        .byte 0x66, 0x0F, 0x01, 0x16                    # lgdt: a flat segment for FS
        .short table
        mov eax, cr0
        or al, 1
        mov cr0, eax
        mov bx, 8
        mov fs, bx
        and al, 0xFE
        mov cr0, eax
        mov edi, {base:#x}
        mov eax, fs:[edi]
        mov [0x600], eax
        mov byte ptr fs:[edi], 0x42
        mov al, es:[0]
        mov [0x604], al
        mov byte ptr es:[2], 0x43
        mov al, fs:[edi + 8]
        mov [0x605], al
        hlt
    table: .short 15
        .long gdt
    gdt: .long 0, 0
        .byte 0xFF, 0xFF, 0, 0, 0, 0x93, 0xCF, 0
    """
    start(pc, source).run()
    assert pc.read(0x600, 6) == bytes([0x41, 7, 0, 0, 0x42, 0x43])
    assert pc.screen.text == "BC" and pc.engine.counters()["mmio_accesses"] < 10


def drawn(machine, name, seed):
    steps = g.mode(name) + g.dac(0, bytes(range(256)) * 3)
    for segment in (0xA000, 0xB800):
        steps += g.noise(segment, 0, 0x4000, seed)
    machine.load(bytes.fromhex("EA00000010"))
    machine.write(0x10000, g.image([steps]))
    machine.run(machine.now + 50_000_000)


@pytest.mark.parametrize("name", ["text 80x25", "320x200, 256 colours", "640x480, 16 colours", "CGA 320x200, 4 colours"])
def test_a_snapshot_has_the_screen(pc, tmp_path, name):
    drawn(pc, name, 1)
    frame, text, digest = pc.screen.frame(), pc.screen.text, pc.state_sha256()
    snapshot.save(pc, tmp_path / "snapshot")
    with snapshot.load(tmp_path / "snapshot") as other:
        assert other.screen.frame() == frame and other.screen.text == text and other.state_sha256() == digest
        assert other.read(0xA0000, 0x20000) == pc.read(0xA0000, 0x20000)
        for machine in pc, other:
            drawn(machine, "text 80x50", 2)
        assert other.screen.text == pc.screen.text and other.state_sha256() == pc.state_sha256()


def test_to_look_changes_nothing(pc):
    drawn(pc, "text 80x25", 1)
    before = pc.state_sha256()
    pc.screen.frame()
    pc.screen.png()
    assert pc.screen.text and pc.state_sha256() == before


def test_a_reset_leaves_the_memory_and_ends_the_picture(pc):
    drawn(pc, "text 80x25", 1)
    pc.load(assemble("cli; hlt", 0x7C00, 16))
    pc.ask_reset()
    pc.run()
    assert pc.screen.text == ""                                 # the loader's text mode begins blank


# Keyboard and mouse

def test_keys_are_typed_at_a_pace_that_a_guest_bears(pc):
    start(pc, ECHO)
    pc.type("aB")
    pc.key("ctrl-alt-delete")
    pc.run(pc.now + 500_000_000)
    codes = [pc.read(0xB8000 + 2 * i, 1)[0] for i in range(20)]
    assert codes[:14] == [0x1E, 0x9E, 0x2A, 0x30, 0xB0, 0xAA, 0x1D, 0x38, 0xE0, 0x53, 0xE0, 0xD3, 0xB8, 0x9D]


@pytest.mark.parametrize("name", ["", "nokey", "shift-", "shift-nokey", "a b"])
def test_a_key_that_does_not_exist_is_a_mistake(pc, name):
    with pytest.raises(ValueError, match="no key is called"):
        pc.key(name)


def test_the_mouse_moves_and_holds_buttons(pc):
    start(pc, "cli; hlt")
    pc.mouse(5, 3, 1)
    assert [pc["mouse"].dx, pc["mouse"].dy, pc["mouse"].clicks] == [5, 3, [1]]


# Waiting for the screen, and scripts

def test_run_until_looks_at_the_screen(pc):
    start(pc, ECHO)
    pc.key("a")
    assert pc.run_until("▲", seconds=1) is End.ASKED            # 1Eh
    assert pc.now < 50_000_000
    assert pc.run_until("not there", seconds=1) is End.TIME


def test_who_waits_for_the_screen_keeps_no_guest_alive(pc):
    start(pc, "again: hlt; jmp again")                          # IF = 1, and nothing that could interrupt
    assert pc.run_until("never") is End.HALTED
    assert pc.now < 10**9


def test_a_script_presses_keys_and_looks_at_the_screen(pc, tmp_path):
    start(pc, ECHO)
    shot = tmp_path / "shot.png"
    steps = script.parse(f'key a\nexpect "▲"\ntype "b"\nmouse 1 2 4\nexpect "0"\nscreenshot {shot}\nquit')
    done = []
    player = script.Player(pc, steps, lambda: (done.append(pc.now), pc.stop()))
    pc.on_output = lambda data: player.output()
    player.start()
    pc.run(10**9)
    assert player.step is None and 30_000_000 < done[0] < 100_000_000
    assert shot.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and pc["mouse"].clicks == [4]


def test_a_script_runs_the_same_way_every_time(tmp_path):
    reports = []
    image = tmp_path / "echo"
    image.write_bytes(assemble(ECHO, 0x7C00, 16))
    steps = tmp_path / "script"
    steps.write_text(f'type "abc"\nexpect "."\nscreenshot "{tmp_path}/shot.png"\n')
    for _ in range(2):
        assert main(["boot", str(image), "--script", str(steps), "--timeout", "5",
                     "--report", str(tmp_path / "report")]) == 0
        report = json.loads((tmp_path / "report").read_text())
        reports.append((report["guest_ns"], report["state_sha256"], zlib.crc32((tmp_path / "shot.png").read_bytes())))
    assert reports[0] == reports[1]


def test_until_looks_at_the_screen(tmp_path):
    image = tmp_path / "image"
    image.write_bytes(assemble("mov ax, 0xB800; mov es, ax; mov word ptr es:[0], 0x0748; l: jmp l", 0x7C00, 16))
    assert main(["boot", str(image), "--until", "H", "--timeout", "1"]) == 0
    assert main(["boot", str(image), "--until", "I", "--timeout", "0.1"]) == 4


def test_of_a_step_that_is_not_met_the_screens_last_lines_are_shown(tmp_path, capsys):
    image, steps = tmp_path / "image", tmp_path / "script"
    image.write_bytes(assemble("mov ax, 0xB800; mov es, ax; mov word ptr es:[160], 0x0748; l: jmp l", 0x7C00, 16))
    steps.write_text('expect "I"\n')
    assert main(["boot", str(image), "--script", str(steps), "--timeout", "0.1"]) == 4
    assert "emu: on the screen:\nemu:   | \nemu:   | H\n" in capsys.readouterr().err


def test_a_picture_that_cannot_be_written_is_said_before_the_run(tmp_path, capsys):
    image, steps = tmp_path / "image", tmp_path / "script"
    image.write_bytes(assemble("l: jmp l", 0x7C00, 16))
    steps.write_text("screenshot /nowhere/at/all.png\n")
    assert main(["boot", str(image), "--script", str(steps)]) == 2
    error = capsys.readouterr().err
    assert "/nowhere/at/all.png: cannot be written" in error and error.count("\n") == 1


def test_a_machine_without_a_screen_says_so(tmp_path, capsys):
    image, steps = tmp_path / "image", tmp_path / "script"
    image.write_bytes(assemble("l: jmp l", 0x7C00, 16))
    for line in ("key a", 'type "a"', "mouse 1 1", f"screenshot {tmp_path}/a.png"):
        steps.write_text(line)
        assert main(["boot", str(image), "--machine", "tiny", "--script", str(steps), "--timeout", "0.1"]) == 2
        assert "no screen, keyboard and mouse" in capsys.readouterr().err
    assert main(["boot", str(image), "--machine", "tiny", "--display", "terminal"]) == 2
    with Tiny() as tiny:
        assert tiny.screen is None and not tiny.shows(b"x")


@pytest.mark.parametrize("given, said", [
    (["--display", "terminal", "--serial", "stdio"], "the terminal is the screen's"),
    (["--display", "terminal", "--debugcon", "stdio"], "the terminal is the screen's"),
    (["--display", "terminal"], "standard output is no terminal"),
])
def test_a_display_without_its_terminal_is_a_mistake(given, said, tmp_path, capsys):
    image = tmp_path / "image"
    image.write_bytes(assemble("l: jmp l", 0x7C00, 16))
    assert main(["boot", str(image), *given]) == 2
    assert said in capsys.readouterr().err


# The firmware of others

@pytest.mark.skipif(not all(path.exists() for path in SEABIOS), reason="seabios is not installed")
def test_seabios_and_its_vga_bios_come_up_on_the_screen():
    firmware, vga = (path.read_bytes() for path in SEABIOS)
    with PC(32 * MIB, firmware=firmware, vga_bios=vga) as m:
        m.run_until("No bootable device", seconds=30)
        assert m.screen.text.startswith("SeaBIOS (version")
        assert m.screen.read().cursor is not None
        assert len(set(m.screen.frame().rgb)) > 1               # with its font
        assert m.engine.counters()["mmio_accesses"] < 20_000
