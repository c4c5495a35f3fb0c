"""Starting from a CD: with no emulation, and from images that stand in for a floppy and for a hard disk.

[ELTORITO] "El Torito" Bootable CD-ROM Format Specification 1.0.
"""

from __future__ import annotations

import struct

import pytest

from emu.assembler import assemble
from tests.firmware import machines
from tests.firmware.disc import DISK, FLOPPY_12, FLOPPY_144, FLOPPY_288, IMAGE, NO_EMULATION, disc

# Says all it can on port E9h: its drive, and for each call of `calls` AH and the carry; ends the run.
COMMON = """
start:
    cli
    xor ax, ax
    mov ss, ax
    mov sp, 0x7000
    mov ds, ax
    sti
    cld
    mov byte ptr [0x600], dl
    mov es, ax
    mov al, dl
    out 0xE9, al
    jmp program
# AH and the carry of the call before; keeps the registers
tell:
    pushf
    pusha
    mov al, ah
    out 0xE9, al
    mov al, 0
    adc al, 0
    out 0xE9, al
    popa
    popf
    ret
# CX bytes at ES:BX
dump:
    pusha
    mov si, bx
    mov dx, 0xE9
.byte:
    mov al, byte ptr es:[si]
    out dx, al
    inc si
    loop .byte
    popa
    ret
done:
    mov al, 0x10
    out 0xF4, al
    hlt
program:
"""
FLOPPY = """
    mov bx, 0x8000          # two sectors from the second head on
    mov ax, 0x0202
    mov cx, 0x0101
    mov dx, 0x0100
    int 0x13
    call tell
    mov cx, 4
    call dump
    mov bx, 0x8200
    call dump
    mov ah, 0x08            # geometry
    mov dl, 0
    int 0x13
    mov word ptr [0x8000], cx
    mov word ptr [0x8002], dx
    mov byte ptr [0x8004], bl
    xor ax, ax
    mov es, ax
    mov bx, 0x8000
    mov cx, 5
    call dump
    mov ax, 0x0301          # it cannot be written
    mov cx, 0x0001
    mov dx, 0
    int 0x13
    call tell
    mov ax, 0x0201          # the drive that is there is drive 1 now
    mov bx, 0x8000
    mov cx, 0x0002
    mov dx, 1
    int 0x13
    call tell
    mov cx, 4
    call dump
    int 0x11
    mov byte ptr [0x8000], al
    mov cx, 1
    call dump
    mov ax, 0x4B01          # the specification packet
    mov si, 0x8000
    mov dl, 0x7F
    int 0x13
    call tell
    mov cx, 19
    call dump
    mov ax, 0x4B00          # and the end of it
    mov dl, 0
    int 0x13
    call tell
    mov ax, 0x0201          # drive 0 is the one that is there again
    mov bx, 0x8000
    mov cx, 0x0002
    mov dx, 0
    int 0x13
    call tell
    mov cx, 4
    call dump
    jmp done
"""


def program(source: str, size: int = 512) -> bytes:
    code = assemble(COMMON + source, 0x7C00, 16)
    assert len(code) <= size - 2
    return code.ljust(size - 2, b"\0") + b"\x55\xAA"


def numbered(first: bytes, sectors: int, mark: int) -> bytes:
    """A disk whose sectors hold their numbers, but for what `first` takes."""
    return first + b"".join(struct.pack("<I", n | mark) * 128 for n in range(len(first) // 512, sectors))


@pytest.mark.parametrize(("media", "sectors", "kind"), [(FLOPPY_12, 15, 2), (FLOPPY_144, 18, 4), (FLOPPY_288, 36, 5)])
def test_a_floppys_image_is_drive_0_until_it_is_ended(media, sectors, kind, tmp_path):
    (tmp_path / "cd").write_bytes(disc(numbered(program(FLOPPY), 160 * sectors, 0xA0000), media))
    (tmp_path / "fd").write_bytes(numbered(b"", 2880, 0xF0000))
    run = machines.on_qemu(["-m", "16", "-boot", "d", "-drive", f"file={tmp_path}/cd,format=raw,media=cdrom,index=2",
                            "-drive", f"file={tmp_path}/fd,format=raw,if=floppy,snapshot=on"])
    good = bytes(2)
    packet = struct.pack("<BBBBIHHHHBBB", 19, media, 0, 1, IMAGE, 0, 0, 0x07C0, 1, 79, sectors, 1)
    assert run.debug == b"".join([
        b"\0", good, struct.pack("<II", 3 * sectors | 0xA0000, 3 * sectors + 1 | 0xA0000),
        struct.pack("<BBBBB", sectors, 79, 2, 1, kind), b"\x03\x01", good, struct.pack("<I", 1 | 0xF0000), b"\x67",
        good, packet, good, good, struct.pack("<I", 1 | 0xF0000)])


DISK_IMAGE = """
    mov bx, 0x8000
    mov ax, 0x0203
    mov cx, 0x0005
    mov dx, 0x0180
    int 0x13
    call tell
    mov cx, 4
    call dump
    mov ax, 0x4200          # a packet
    mov si, packet
    mov dl, 0x80
    int 0x13
    call tell
    call dump
    mov ah, 0x08
    mov dl, 0x80
    int 0x13
    mov word ptr [0x8000], cx
    mov word ptr [0x8002], dx
    mov bx, 0x8000
    mov cx, 4
    call dump
    mov ax, 0x0201          # the disk that is there is 81h
    mov cx, 0x0003
    mov dx, 0x0081
    int 0x13
    call tell
    mov cx, 4
    call dump
    jmp done
packet: .byte 16, 0
    .word 1, 0x8000, 0
    .long 1001, 0
"""


def test_a_disks_image_is_drive_80h_with_the_geometry_of_its_partition(tmp_path):
    image = bytearray(numbered(program(DISK_IMAGE), 4096, 0xA0000))
    image[0x1BE:0x1CE] = bytes([0x80, 1, 1, 0, 6, 7, 32, 15]) + struct.pack("<II", 32, 4096 - 32)    # to 15/7/32
    (tmp_path / "cd").write_bytes(disc(bytes(image), DISK))
    (tmp_path / "hd").write_bytes(numbered(b"", 2880, 0xD0000))
    run = machines.on_qemu(["-m", "16", "-boot", "d", "-drive", f"file={tmp_path}/cd,format=raw,media=cdrom,index=2",
                            "-drive", f"file={tmp_path}/hd,format=raw,snapshot=on"])
    good = bytes(2)
    assert run.debug == b"".join([
        b"\x80", good, struct.pack("<I", 32 + 4 | 0xA0000), good, struct.pack("<I", 1001 | 0xA0000),
        struct.pack("<BBBB", 32, 15, 2, 7), good, struct.pack("<I", 2 | 0xD0000)])


PLAIN = """
    push cs
    pop ax
    mov al, ah
    out 0xE9, al
    push ds
    pop es
    mov ax, 0x4B01
    mov si, 0x8000
    mov dl, byte ptr [0x600]
    int 0x13
    call tell
    mov bx, si
    mov cx, 19
    call dump
    mov ax, 0x4D00          # the catalog
    mov word ptr [0x8000], 0x0108
    mov word ptr [0x8002], 0x9000
    mov word ptr [0x8004], 0
    mov word ptr [0x8006], 0
    int 0x13
    call tell
    mov bx, 0x9000
    mov cx, 2
    call dump
    jmp done
"""


@pytest.mark.parametrize("segment", [0, 0x1000])
def test_no_emulation_loads_as_many_sectors_as_it_says_where_it_says(segment, tmp_path):
    code = assemble(COMMON + PLAIN, 0, 16)                      # at whichever segment, offset 0
    (tmp_path / "cd").write_bytes(disc(code.ljust(4 * 512, b"\0"), NO_EMULATION, segment=segment, sectors=4))
    run = machines.on_qemu(["-m", "16", "-boot", "d", "-drive", f"file={tmp_path}/cd,format=raw,media=cdrom,index=2"])
    where = segment or 0x07C0
    packet = struct.pack("<BBBBIHHHHBBB", 19, 0, 0xE0, 1, IMAGE, 0, 0, where, 4, 0, 0, 0)
    assert run.debug == b"\xE0" + bytes([where >> 8]) + bytes(2) + packet + bytes(2) + b"\x01\0"


@pytest.mark.parametrize("wrong", [{"spoil": 1}, {"bootable": 0}, {"media": 5}])
def test_a_catalog_that_is_not_right_is_no_catalog(wrong, tmp_path):
    arguments = {"media": NO_EMULATION, "sectors": 4} | wrong
    (tmp_path / "cd").write_bytes(disc(program(PLAIN), **arguments))
    run = machines.on_qemu(["-m", "16", "-boot", "d", "-drive", f"file={tmp_path}/cd,format=raw,media=cdrom,index=2"],
                           until="Ctrl-Alt-Del")
    assert "the disc is not bootable" in run.screen
