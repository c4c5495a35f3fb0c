"""A Linux kernel that fw_cfg gives, entered by its real-mode part.   [LINUX] Documentation/arch/x86/boot.rst"""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from emu.assembler import assemble
from emu.boards.pc import PC
from emu.firmware import build
from tests.firmware import machines

# The set-up part, from its second sector on, at whichever segment: says its segments, its stack, the command line, and what
# lies where the kernel and the initial RAM disk should be (fetched by INT 15h AH=87h).
SETUP = """
    mov ax, ds
    call say
    mov ax, es
    call say
    mov ax, ss
    call say
    mov ax, cs
    call say
    mov ax, sp
    call say
    mov si, 0x228                   # cmd_line_ptr
    mov eax, [si]
    shr eax, 4
    mov es, ax
    mov si, 0x228
    mov bx, word ptr [si]
    and bx, 15
.line:
    mov al, byte ptr es:[bx]
    out 0xE9, al
    inc bx
    test al, al
    jnz .line
    mov eax, 0x100000
    call fetch
    mov si, 0x218                   # ramdisk_image
    mov eax, [si]
    call fetch
    mov si, 0x21C
    mov ax, word ptr [si]
    call say
    mov al, 0x10
    out 0xF4, al
    hlt
say:
    out 0xE9, al
    mov al, ah
    out 0xE9, al
    ret
# 16 bytes from EAX on, by way of 0x800 of this segment
fetch:
    mov si, table - start + 0x268
    mov word ptr [si + 0x12], ax
    shr eax, 16
    mov byte ptr [si + 0x14], al
    mov byte ptr [si + 0x17], ah
    mov ax, ds
    movzx eax, ax
    shl eax, 4
    add eax, 0x800
    mov word ptr [si + 0x1A], ax
    shr eax, 16
    mov byte ptr [si + 0x1C], al
    mov ax, ds
    mov es, ax
    mov cx, 8
    mov ah, 0x87
    int 0x15
    mov si, 0x800
    mov cx, 16
    mov dx, 0xE9
    rep outsb
    ret
table:
    .fill 16, 1, 0
    .word 0xFFFF, 0
    .byte 0, 0x93, 0, 0
    .word 0xFFFF, 0
    .byte 0, 0x93, 0, 0
    .fill 16, 1, 0
"""
PAYLOAD = b"the kernel's 32-bit part".ljust(64 << 10, b"k")


def bzimage() -> bytes:
    """One of boot protocol 2.06 with a set-up part of four sectors and one for the boot sector."""
    image = bytearray(5 * 512)
    code = assemble("start:" + SETUP, 0, 16)
    header = struct.pack("<4sHIHHBBHIIIIIHHI", b"HdrS", 0x206, 0, 0, 0, 0, 0x01, 0, 0x100000, 0, 0, 0, 0, 0, 0, 0x37FFFFFF)
    image[0x1F1] = 4
    image[0x1FE:0x200] = b"\x55\xAA"
    image[0x200:0x202] = b"\xEB\x66"                                # over the header
    image[0x202:0x202 + len(header)] = header
    image[0x1F4:0x1F8] = struct.pack("<I", len(PAYLOAD) // 16)
    image[0x238:0x23C] = struct.pack("<I", 255)
    image[0x268:0x268 + len(code)] = code
    return bytes(image) + PAYLOAD


@pytest.mark.parametrize("size", [1000, 5 << 20])
def test_on_our_board_too(size, tmp_path: Path):
    (tmp_path / "initrd").write_bytes(b"the RAM disk".ljust(size, b"i"))
    said = bytearray()
    with PC(32 << 20, firmware=build.bios(), vga_bios=build.vgabios(), debug=said.extend) as board:
        board.load(bzimage(), initrd=str(tmp_path / "initrd"), append="quiet answer=42")
        board.run_until(seconds=30)
        check(machines.Run(board.text, bytes(said), "", board.exit_code), size)


@pytest.mark.parametrize("size", [1000, 5 << 20])
def test_it_gets_its_command_line_its_kernel_and_its_ram_disk(size, tmp_path: Path):
    (tmp_path / "kernel").write_bytes(bzimage())
    (tmp_path / "initrd").write_bytes(b"the RAM disk".ljust(size, b"i"))
    done = machines.on_qemu(["-m", "32", "-kernel", str(tmp_path / "kernel"), "-initrd", str(tmp_path / "initrd"),
                             "-append", "quiet answer=42"])
    check(done, size)


def check(done: machines.Run, size: int) -> None:
    assert done.serial.rstrip().endswith("Booting the kernel given to the machine..."), "by the BIOS, not by QEMU's ROM"
    ds, es, ss, cs, sp = struct.unpack_from("<5H", done.debug)
    assert ds == es == ss == cs - 0x20
    assert sp >= 0x8000, "there is room for a stack and a heap"
    line, _, rest = done.debug[10:].partition(b"\0")
    assert line == b"quiet answer=42"
    assert rest[:16] == PAYLOAD[:16]
    assert rest[16:32] == b"the RAM disk".ljust(16, b"i")
    assert struct.unpack("<H", rest[32:34]) == (size & 0xFFFF,)
