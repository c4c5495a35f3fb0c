"""Diskettes of every size, a whole one through INT 13h; formatting.   [AT] 5 "INT 13h"; [RBIL] INT 13h AH=05h, 18h"""

from __future__ import annotations

import struct

import pytest

from emu.assembler import assemble
from emu.host.disk import open_image
from tests.firmware import machines

READ = """
    xor ax, ax
    mov ds, ax
    mov ss, ax
    mov sp, 0x7C00
    mov ax, 0x1000
    mov es, ax
    mov cx, 0x0001
    mov dx, 0x0000
track:
    mov bx, 0
    mov ax, 0x0200 + {count}
    mov cl, 1
    int 0x13
    jc failed
    mov eax, dword ptr es:[{count} * 512 - 512]
    out 0xE9, al
    mov al, ah
    out 0xE9, al
    xor dh, {both}
    cmp dh, 1
    je track
    inc ch
    cmp ch, 80
    jb track
    mov al, 0x10
    out 0xF4, al
    hlt
failed:
    mov al, ah
    out 0xE9, al
    mov al, 0x11
    out 0xF4, al
    hlt
"""
FORMAT = """
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov sp, 0x7C00
    mov ah, 0x18                    # 80 tracks of 18 sectors
    mov cx, 0x4F12
    mov dx, 0x0000
    int 0x13
    jc failed
    mov word ptr [0x1E * 4], di
    mov word ptr [0x1E * 4 + 2], es
    xor ax, ax
    mov es, ax
    mov di, 0x8000                  # cylinder, head, sector, size for each
    mov cl, 1
    cld
    mov bx, di
.field:
    mov ax, 0x0128                  # cylinder 40, head 1
    stosw
    mov al, cl
    mov ah, 2
    stosw
    inc cl
    cmp cl, 18
    jbe .field
    mov ax, 0x0512
    mov cx, 0x2801
    mov dx, 0x0100
    int 0x13
    jc failed
    mov bx, 0x9000
    mov ax, 0x0201
    mov cx, 0x2812
    mov dx, 0x0100
    int 0x13
    jc failed
    mov ax, word ptr [0x9000]
    out 0xE9, al
    mov al, ah
    out 0xE9, al
    mov al, 0x10
    out 0xF4, al
    hlt
failed:
    mov al, ah
    out 0xE9, al
    mov al, 0x11
    out 0xF4, al
    hlt
"""


def diskette(source: str, size: int) -> bytes:
    """One whose sectors hold their numbers, but for the first."""
    boot = assemble(source, 0x7C00, 16).ljust(510, b"\0") + b"\x55\xAA"
    return boot + b"".join(struct.pack("<I", n) * 128 for n in range(1, size // 512))


def run(image: bytes, where: str, path) -> machines.Run:
    path.write_bytes(image)
    if where == "ours":
        return machines.on_ours(boot="a", floppies=[open_image(path)])
    return machines.on_qemu(["-m", "16", "-boot", "a", "-drive", f"file={path},format=raw,if=floppy,snapshot=on"])


@pytest.mark.parametrize("where", ["qemu", "ours"])
@pytest.mark.parametrize(("kib", "sectors"), [(720, 9), (1200, 15), (1440, 18), (2880, 36)])
def test_a_whole_diskette_track_by_track(kib, sectors, where, tmp_path):
    image = diskette(READ.format(count=sectors, both=1), kib << 10)
    done = run(image, where, tmp_path / "fd")
    assert done.status == 0x21, f"status {done.debug[-1]:02X}h"
    assert done.debug == b"".join(struct.pack("<H", track * sectors + sectors - 1) for track in range(160))


@pytest.mark.parametrize("where", ["qemu", "ours"])
@pytest.mark.parametrize(("kib", "sectors"), [(720, 9), (1200, 15), (1440, 18)])
def test_a_read_goes_on_with_the_second_head(kib, sectors, where, tmp_path):
    image = diskette(READ.format(count=2 * sectors, both=0), kib << 10)
    done = run(image, where, tmp_path / "fd")
    assert done.status == 0x21, f"status {done.debug[-1]:02X}h"
    assert done.debug == b"".join(struct.pack("<H", (cylinder + 1) * 2 * sectors - 1) for cylinder in range(80))


def test_a_track_is_formatted_with_the_filler_of_the_parameters(tmp_path):
    """On our board: QEMU's controller says that it has formatted, and has not."""
    done = run(diskette(FORMAT, 1440 << 10), "ours", tmp_path / "fd")
    assert (done.status, done.debug) == (0x21, b"\xF6\xF6")
