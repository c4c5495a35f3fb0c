"""Option ROMs: started, shrunk, hooked in, booted.   [PNP] Plug and Play BIOS 1.0A, 3; [BBS] BIOS Boot Specification 1.01"""

from __future__ import annotations

from pathlib import Path

from emu.assembler import assemble
from tests.firmware import machines

ROM = """
    .byte 0x55, 0xAA, {units}, 0xE9
    .word init - 6
.org 0x1A
    .word {pnp}
.org 0x20
pnp:
    .ascii "$PnP"
    .byte 1, 2
    .word 0                         # no further header
    .byte 0, 0
    .long 0
    .word 0, name
    .byte 0, 0, 0, 0
    .word {bcv}, 0, {bev}
    .word 0, 0
name: .asciz "a ROM of a test"
init:
    mov bl, al                      # bus, device and function came in AX, a Plug and Play BIOS in ES:DI
    mov al, 0x49
    out 0xE9, al
    mov eax, dword ptr es:[di]
    cmp eax, 0x506E5024
    mov al, '+'
    je .there
    mov al, '-'
.there:
    out 0xE9, al
    {shrink}
    mov ax, 0x20
    .byte 0xCB
connect:
    mov al, 0x43
    out 0xE9, al
    .byte 0xCB
boot:
    mov al, 0x42
    out 0xE9, al
    mov ax, cs
    mov al, ah
    out 0xE9, al
    mov ax, cs
    out 0xE9, al
    {end}
"""
LEAVE = "mov al, 0x10; out 0xF4, al; hlt"


def rom(units: int = 1, pnp: str = "pnp", bcv: str = "0", bev: str = "0", shrink: str = "", end: str = LEAVE) -> bytes:
    code = assemble(ROM.format(units=units, pnp=pnp, bcv=bcv, bev=bev, shrink=shrink, end=end), 0, 16)
    image = bytearray(code.ljust(units * 512, b"\0"))
    image[-1] = -sum(image) & 0xFF
    return bytes(image)


def run(path: Path, *roms: bytes, until: str = "") -> machines.Run:
    arguments = ["-m", "16"]
    for number, image in enumerate(roms):
        (path / f"rom{number}").write_bytes(image)
        arguments += ["-option-rom", str(path / f"rom{number}")]
    return machines.on_qemu(arguments, until=until)


def segment(done: machines.Run, before: bytes) -> int:
    """Where the ROM runs that boots; `before` is what was said until then."""
    assert done.debug[:-2] == before + b"B"
    return int.from_bytes(done.debug[-2:], "big")


def test_a_rom_that_boots_is_started_shown_and_booted(tmp_path):
    done = run(tmp_path, rom(bev="boot"))
    assert 0xC800 <= segment(done, b"I+") < 0xE000
    assert "Booting from ROM..." in done.serial


def test_a_rom_that_gives_up_is_named_among_what_failed(tmp_path):
    done = run(tmp_path, rom(bev="boot", end="int 0x18"), until="Ctrl-Alt-Del")
    assert "a ROM of a test: what was started there gave up" in done.screen


def test_a_boot_connection_vector_is_called_before_anything_boots(tmp_path):
    done = run(tmp_path, rom(bcv="connect"), rom(bev="boot"))
    assert done.debug.startswith(b"I+CI+B")


def test_roms_follow_each_other_on_2_kib_and_a_smaller_rest_makes_room(tmp_path):
    first = segment(run(tmp_path, rom(bev="boot")), b"I+")
    assert first % 0x80 == 0
    shrinking = rom(16, shrink="mov byte ptr cs:[2], 1")
    assert segment(run(tmp_path, shrinking, rom(bev="boot")), b"I+I+") == first + 0x80
    assert segment(run(tmp_path, rom(15), rom(bev="boot")), b"I+I+") == first + 0x200


def test_what_is_no_rom_is_left_alone(tmp_path):
    first = segment(run(tmp_path, rom(bev="boot")), b"I+")
    assert segment(run(tmp_path, b"no ROM".ljust(512, b"\0"), rom(bev="boot")), b"I+") == first


def test_a_header_that_is_none_boots_nothing(tmp_path):
    done = run(tmp_path, rom(pnp="0x1FF", bev="boot"), until="Ctrl-Alt-Del")
    assert done.debug == b"I+"
    assert "a ROM of a test" not in done.screen
