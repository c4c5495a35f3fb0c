"""A guest that does to a VGA what a list says, for our PC and for QEMU, and the register sets of the standard modes.

A picture is a list of steps.  The guest takes them one after the other; after each `mark` it writes a byte to port E9h, and
waits for a byte on COM1.
"""

from __future__ import annotations

import struct

from emu.assembler import assemble

CODE = """
        cld
        mov ax, cs
        mov ds, ax
        mov si, table
    next:
        lodsb
        xor ah, ah
        shl ax, 1
        mov bx, ax
        jmp [bx + jumps]
    done:
        hlt
        jmp done
    byte_out:
        lodsw
        mov dx, ax
        lodsb
        out dx, al
        jmp next
    word_out:
        lodsw
        mov dx, ax
        lodsw
        out dx, ax
        jmp next
    byte_in:
        lodsw
        mov dx, ax
        in al, dx
        jmp next
    place:
        lodsw
        mov es, ax
        lodsw
        mov di, ax
        lodsw
        mov cx, ax
        ret
    copy:
        call place
        rep movsb
        jmp next
    fill:
        call place
        lodsw
    .again:
        mov es:[di], al
        inc di
        add al, ah
        loop .again
        jmp next
    noise:
        call place
        lodsw
        mov bp, ax
    .again:
        mov ax, 25173
        mul bp
        add ax, 13849
        mov bp, ax
        mov es:[di], ah
        inc di
        loop .again
        jmp next
    move:
        call place
        lodsw
        push ds
        push si
        mov si, ax
        mov ax, es
        mov ds, ax
        rep movsb
        pop si
        pop ds
        jmp next
    mix:
        call place
        lodsw
    .again:
        mov bl, es:[di]
        mov es:[di], al
        inc di
        loop .again
        jmp next
    mark:
        lodsb
        out 0xE9, al
    .wait:
        mov dx, 0x3FD
        in al, dx
        test al, 1
        jz .wait
        mov dx, 0x3F8
        in al, dx
        jmp next
    jumps: .short done, byte_out, word_out, byte_in, copy, fill, noise, move, mark, mix
    table:
"""


def image(steps: list[bytes]) -> bytes:
    """The guest, to be entered at its first byte, which is offset 0 of CS."""
    return assemble(CODE, 0, 16) + b"".join(steps) + b"\0"


def out(port: int, *values: int) -> bytes:
    return b"".join(struct.pack("<BHB", 1, port, value) for value in values)


def out16(port: int, value: int) -> bytes:
    return struct.pack("<BHH", 2, port, value)


def read(port: int) -> bytes:
    return struct.pack("<BH", 3, port)


def copy(segment: int, offset: int, data: bytes) -> bytes:
    return struct.pack("<BHHH", 4, segment, offset, len(data)) + data


def fill(segment: int, offset: int, length: int, first: int, step: int = 0) -> bytes:
    return struct.pack("<BHHHBB", 5, segment, offset, length, first, step)


def noise(segment: int, offset: int, length: int, seed: int) -> bytes:
    return struct.pack("<BHHHH", 6, segment, offset, length, seed)


def move(segment: int, source: int, offset: int, length: int) -> bytes:
    """By the latches, or byte by byte."""
    return struct.pack("<BHHHH", 7, segment, offset, length, source)


def mix(segment: int, offset: int, length: int, value: int) -> bytes:
    """Read, and then write the same address."""
    return struct.pack("<BHHHBB", 9, segment, offset, length, value, 0)


def mark(number: int) -> bytes:
    return struct.pack("<BB", 8, number)


def indexed(port: int, values: bytes, first: int = 0) -> bytes:
    return b"".join(out16(port, first + i | value << 8) for i, value in enumerate(values))


def attributes(values: bytes) -> bytes:
    steps = b"".join(out(0x3C0, i, value) for i, value in enumerate(values))
    return read(0x3DA) + steps + out(0x3C0, 0x20)


def dac(first: int, values: bytes) -> bytes:
    return out(0x3C8, first) + out(0x3C9, *values)


CGA = bytes.fromhex("0013151702040607101112131415161701000300")
EGA = bytes.fromhex("000102030405140738393A3B3C3D3E3F")
LOW = bytes.fromhex("00010203040506071011121314151617")
# MISC, SR0-4, CR00-18, GR0-8, AR00-14; from the IBM parameter tables
MODES: dict[str, tuple[int, str, str, str, bytes]] = {
    "text 80x25": (0x67, "0300030002", "5F4F50825581BF1F004F2D0E000000009C8E8F281F96B9A3FF", "0000000000100E00FF",
                   EGA + bytes.fromhex("0C000F0800")),
    "text 80x25, 8 dots": (0x63, "0301030002", "5F4F50825581BF1F004F2D0E000000009C8E8F281F96B9A3FF", "0000000000100E00FF",
                           EGA + bytes.fromhex("08000F0000")),
    "text 40x25": (0x63, "0309030002", "2D2728902BA0BF1F004F2D0E000000009C8E8F141F96B9A3FF", "0000000000100E00FF",
                   EGA + bytes.fromhex("08000F0000")),
    "text 80x50": (0x67, "0300030002", "5F4F50825581BF1F00472607000000009C8E8F281F96B9A3FF", "0000000000100E00FF",
                   EGA + bytes.fromhex("0C000F0800")),
    "CGA 320x200, 4 colours": (0x63, "0309030002", "2D2728902B80BF1F00C10000000000009C8E8F140096B9A2FF",
                               "0000000000300F00FF", CGA + b"\0"),
    "CGA 640x200, 2 colours": (0x63, "0301010006", "5F4F50825480BF1F00C10000000000009C8E8F280096B9C2FF",
                               "0000000000000D00FF", b"\0" + bytes([0x17]) * 15 + bytes.fromhex("0100010000")),
    "320x200, 16 colours": (0x63, "03090F0006", "2D2728902B80BF1F00C00000000000009C8E8F140096B9E3FF",
                            "000000000000050FFF", LOW + bytes.fromhex("01000F0000")),
    "640x200, 16 colours": (0x63, "03010F0006", "5F4F50825480BF1F00C00000000000009C8E8F280096B9E3FF",
                            "000000000000050FFF", LOW + bytes.fromhex("01000F0000")),
    "640x350, 16 colours": (0xA3, "03010F0006", "5F4F50825480BF1F004000000000000083855D280F63BAE3FF",
                            "000000000000050FFF", EGA + bytes.fromhex("01000F0000")),
    "640x480, 16 colours": (0xE3, "03010F0006", "5F4F508254800B3E0040000000000000EA8CDF2800E704E3FF",
                            "000000000000050FFF", EGA + bytes.fromhex("01000F0000")),
    "320x200, 256 colours": (0x63, "03010F000E", "5F4F50825480BF1F00410000000000009C8E8F284096B9A3FF",
                             "000000000040050FFF", bytes(range(16)) + bytes.fromhex("41000F0000")),
    "320x240, 256 colours, unchained": (0xE3, "03010F0006", "5F4F508254800D3E0041000000000000EAACDF2800E706E3FF",
                                        "000000000040050FFF", bytes(range(16)) + bytes.fromhex("41000F0000")),
}


def mode(name: str) -> bytes:
    """Set a standard mode by its registers; its colours are the guest's business."""
    misc, sr, cr, gr, ar = MODES[name]
    sequencer, crtc, graphics = (bytes.fromhex(text) for text in (sr, cr, gr))
    return (out(0x3C2, misc) + indexed(0x3C4, sequencer) + out16(0x3D4, 0x0011) + indexed(0x3D4, crtc)
            + indexed(0x3CE, graphics) + attributes(ar))
