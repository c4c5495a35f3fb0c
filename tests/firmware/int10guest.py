"""A real-mode guest that calls INT 10h as a table says, and tells port E9h what comes of it; it boots from a floppy."""

from __future__ import annotations

import struct
from pathlib import Path

from emu.assembler import assemble_file
from tests.firmware.machines import START

END, CALL, TELL, POKE, REGISTERS = range(5)
MARK = b"<int10_at>"
BUFFER = 0x2000                 # segment: 64 KiB for what functions return
RETURNED = ["ax", "bx", "cx", "dx", "si", "di", "bp", "es"]

SOURCE = r"""
.org 0x7C00
.code16
boot:""" + START + r"""    sti
    cld
    mov  bx, 0x7E00
    mov  bp, SECTORS
    mov  cx, 0x0002             # cylinder 0, sector 2
    mov  dx, 0x0000
.next:
    mov  ax, 0x0201
    int  0x13
    jc   .failed
    add  bx, 512
    inc  cl
    cmp  cl, 18
    jbe  .more
    mov  cl, 1
    xor  dh, 1
    jnz  .more
    inc  ch
.more:
    dec  bp
    jnz  .next
    jmp  guest
.failed:
    mov  al, 1
    out  0xF4, al
    hlt
    .org 0x7DFE
    .word 0xAA55

guest:
    mov  si, mark
    mov  cx, 10
    mov  dx, 0xE9
    rep  outsb
    mov  si, script
step:
    cld
    xor  ax, ax
    mov  ds, ax
    lodsb
    cmp  al, 1
    je   call_it
    cmp  al, 2
    je   tell
    cmp  al, 3
    je   poke
    cmp  al, 4
    je   registers
    mov  al, 0
    out  0xF4, al
    cli
    hlt

call_it:                        # AX BX CX DX SI DI BP ES
    mov  ax, [si]
    mov  bx, [si + 2]
    mov  cx, [si + 4]
    mov  dx, [si + 6]
    mov  di, [si + 10]
    mov  bp, [si + 12]
    mov  es, [si + 14]
    push si
    mov  si, [si + 8]
    int  0x10
    push es
    push bp
    push di
    push si
    push dx
    push cx
    push bx
    push ax
    mov  si, sp
    mov  cx, 16
    mov  dx, 0xE9
    mov  ax, ss
    mov  ds, ax
    cld
    rep  outsb
    mov  ax, cs
    mov  ds, ax
    add  sp, 16
    pop  si
    add  si, 16
    jmp  step

tell:                           # offset, segment, length
    mov  cx, [si + 4]
    mov  dx, 0xE9
    push si
    lds  si, [si]
    rep  outsb
    pop  si
    add  si, 6
    jmp  step

poke:                           # offset, segment, length, bytes
    les  di, [si]
    mov  cx, [si + 4]
    add  si, 6
    rep  movsb
    jmp  step

registers:                      # sequencer, miscellaneous, CRTC, graphics, attributes, mask, DAC
    mov  dx, 0x3C4
    mov  cx, 5
    call pair
    mov  dx, 0x3CC
    in   al, dx
    out  0xE9, al
    mov  dx, 0x3B4
    test al, 1
    jz   .mono
    mov  dx, 0x3D4
.mono:
    mov  cx, 25
    call pair
    push dx
    mov  dx, 0x3CE
    mov  cx, 9
    call pair
    pop  dx
    add  dx, 6
    mov  cx, 21
    mov  ah, 0
.attribute:
    push dx
    in   al, dx
    mov  dx, 0x3C0
    mov  al, ah
    out  dx, al
    inc  dx
    in   al, dx
    out  0xE9, al
    pop  dx
    inc  ah
    loop .attribute
    in   al, dx
    mov  dx, 0x3C0
    mov  al, 0x20
    out  dx, al
    mov  dx, 0x3C6
    in   al, dx
    out  0xE9, al
    inc  dx
    mov  al, 0
    out  dx, al
    add  dx, 2
    mov  cx, 768
.dac:
    in   al, dx
    out  0xE9, al
    loop .dac
    jmp  step

pair:
    mov  ah, 0
.next:
    mov  al, ah
    out  dx, al
    inc  dx
    in   al, dx
    dec  dx
    out  0xE9, al
    inc  ah
    loop .next
    ret

mark: .ascii "<int10_at>"
script:
"""


class Script:
    """Steps of the guest, and the names of what it will tell."""

    def __init__(self) -> None:
        self.code = bytearray()
        self.tells: list[tuple[str, int]] = []

    def int10(self, ax: int, bx: int = 0, cx: int = 0, dx: int = 0, *, di: int = 0, bp: int = 0, es: int = BUFFER,
              name: str = "") -> None:
        self.code += struct.pack("<B8H", CALL, ax, bx, cx, dx, 0, di, bp, es)
        self.tells.append((name or f"int10 {ax:04x} {bx:04x} {cx:04x} {dx:04x}", 16))

    def tell(self, name: str, segment: int, offset: int, length: int) -> None:
        self.code += struct.pack("<B3H", TELL, offset, segment, length)
        self.tells.append((name, length))

    def data_area(self) -> None:
        """Equipment, 40:49 to 40:66, 40:84 to 40:8A."""
        self.tell("equipment", 0x40, 0x10, 1)
        self.tell("data area 49", 0x40, 0x49, 0x1E)
        self.tell("data area 84", 0x40, 0x84, 7)

    def poke(self, segment: int, offset: int, data: bytes) -> None:
        self.code += struct.pack("<B3H", POKE, offset, segment, len(data)) + data

    def registers(self) -> None:
        self.code.append(REGISTERS)
        for name, length in (("sequencer", 5), ("misc", 1), ("CRTC", 25), ("graphics", 9), ("attributes", 21),
                             ("mask", 1), ("DAC", 768)):
            self.tells.append((name, length))

    def image(self, path: Path) -> bytes:
        """The floppy; its sectors from 0 on are also what lies in memory from 7C00h on."""
        body = SOURCE + "".join(f".byte {', '.join(map(hex, self.code[i:i + 64]))}\n" for i in range(0, len(self.code), 64))
        path.write_text(body + ".byte 0\n")
        length = len(assemble_file(path, {"SECTORS": 1}, bits=16))
        sectors = -(-length // 512) - 1
        assert sectors <= 64
        return assemble_file(path, {"SECTORS": sectors}, bits=16).ljust(1440 << 10, b"\0")

    def decode(self, told: bytes) -> list[tuple[str, bytes]]:
        at = told.index(MARK) + len(MARK)
        pieces = []
        for name, length in self.tells:
            pieces.append((name, told[at:at + length]))
            at += length
        assert at == len(told), f"{len(told)} bytes told, {at} expected"
        return pieces


def words(data: bytes) -> dict[str, int]:
    """What a call returned."""
    return dict(zip(RETURNED, struct.unpack("<8H", data)))
