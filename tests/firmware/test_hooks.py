"""What calls the guest: the timer, the clock's alarm, the mouse, the keyboard's intercept, the coprocessor's error.

On our own board, where it is exact.   [AT] 5; [RBIL] INT 1Ch, 4Ah, 15h AH=4Fh, AX=C207h.
"""

from __future__ import annotations

import struct
from datetime import datetime

from emu.boards.pc import PC
from emu.firmware import build
from tests.firmware.machines import START
from tests.firmware.test_keyboard import Sector


def board(source: str, said: bytearray, rtc: datetime = datetime(2026, 1, 1)) -> PC:
    return PC(32 << 20, firmware=build.bios(), vga_bios=build.vgabios(), debug=said.extend, boot="c", rtc=rtc,
              disks=[Sector(START + "sti\n" + source)])


def test_the_tick_calls_int_1ch_eighteen_times_a_second():
    said = bytearray()
    with board("""
        mov word ptr [0x1C * 4], tick
        mov word ptr [0x1C * 4 + 2], ax
        wait: hlt; jmp wait
    tick:
        push ax
        mov al, 0x54
        out 0xE9, al
        pop ax
        iret
    """, said) as pc:
        pc.run_until(seconds=20, when=lambda: b"T" in said)
        start, before = pc.now, len(said)
        ticks = struct.unpack("<I", pc.read(0x46C, 4))[0]
        pc.run_until(seconds=10)
        passed = (pc.now - start) * 1193182 / 65536 / 1e9
        assert abs(len(said) - before - passed) <= 1.1
        assert abs(struct.unpack("<I", pc.read(0x46C, 4))[0] - ticks - passed) <= 1.1


def test_midnight_is_counted_once():
    said = bytearray()
    with board("""
        mov al, 0x21
        out 0xE9, al
    wait:
        hlt
        mov ah, 0
        int 0x1A
        test al, al
        jz wait
        out 0xE9, al
        mov al, dl
        out 0xE9, al
        mov ah, 0
        int 0x1A
        out 0xE9, al
        mov al, 0x10
        out 0xF4, al
    """, said, datetime(2026, 1, 1, 23, 59, 57)) as pc:
        pc.run_until(seconds=30)
        assert pc.exit_code == 0x21
    assert said[-3:] == b"\x01\0\0", "it has passed, the ticks are 0, it was told"


def test_a_day_has_1800b0h_ticks():
    with board("wait: hlt; jmp wait", bytearray()) as pc:
        pc.run_until(seconds=10, when=lambda: pc.registers.cs.selector == 0)
        pc.write(0x46C, struct.pack("<I", 0x1800AD))
        seen = []
        for _ in range(20):
            pc.run_until(seconds=0.01)
            tick, = struct.unpack("<I", pc.read(0x46C, 4))
            seen += [tick] if tick not in seen[-1:] else []
        assert seen[1:4] == [0x1800AF, 0, 1] and pc.read(0x470, 1) == b"\1"


def test_the_alarm_calls_int_4ah():
    said = bytearray()
    with board("""
        mov word ptr [0x4A * 4], alarm
        mov word ptr [0x4A * 4 + 2], ax
        mov ax, 0x0600
        mov cx, 0x1200
        mov dx, 0x1000
        int 0x1A
        wait: hlt; jmp wait
    alarm:
        mov ah, 0x02
        int 0x1A
        mov al, cl
        out 0xE9, al
        mov al, dh
        out 0xE9, al
        mov al, 0x10
        out 0xF4, al
        iret
    """, said, datetime(2026, 1, 1, 12, 0, 0)) as pc:
        pc.run_until(seconds=20)
        assert pc.exit_code == 0x21
    assert bytes(said) == b"\x00\x10"


def test_an_event_sets_its_bit_when_its_time_has_come():
    """[AT] INT 15h AH=83h, and AH=86h.  (The test looks every 10 ms.)"""
    said = bytearray()
    with board("""
        mov byte ptr [0x600], 0
        mov bx, 0x600
        mov ax, 0x8300
        mov cx, 3
        mov dx, 0x0D40              # 200,000 microseconds
        int 0x15
        mov al, 0x21
        out 0xE9, al
    wait:
        hlt
        test byte ptr [0x600], 0x80
        jz wait
        mov al, 0x22
        out 0xE9, al
        mov ah, 0x86
        mov cx, 4
        mov dx, 0x93E0              # 300,000
        int 0x15
        mov al, 0x23
        out 0xE9, al
        mov al, 0x10
        out 0xF4, al
    """, said) as pc:
        times = []
        for mark in b"!\"#":
            pc.run_until(seconds=20, when=lambda mark=mark: mark in said)
            times.append(pc.now)
        assert 0.189e9 < times[1] - times[0] < 0.212e9
        assert 0.289e9 < times[2] - times[1] < 0.312e9


def test_the_mouse_calls_its_handler_with_packets():
    said = bytearray()
    with board("""
        mov ax, 0xC205
        mov bx, 0x0300
        int 0x15
        mov ax, 0xC207
        mov bx, handler
        int 0x15
        mov ax, 0xC200
        mov bx, 0x0100
        int 0x15
        mov al, 0x21
        out 0xE9, al
        wait: hlt; jmp wait
    handler:                        # a far procedure: status, X, Y, 0 lie above the return address
        push bp
        mov bp, sp
        mov al, byte ptr [bp + 12]
        out 0xE9, al
        mov al, byte ptr [bp + 10]
        out 0xE9, al
        mov al, byte ptr [bp + 8]
        out 0xE9, al
        pop bp
        .byte 0xCB
    """, said) as pc:
        pc.run_until(seconds=20, when=lambda: said.endswith(b"!"))
        del said[:]
        pc.mouse(5, 3)
        pc.run_until(seconds=0.2)
        pc.mouse(-2, 0, 1)
        pc.run_until(seconds=0.2)
    packets = [bytes(said[at:at + 3]) for at in range(0, len(said), 3)]
    assert sum(struct.unpack("b", packet[1:2])[0] for packet in packets) == 3
    assert packets[0][0] & 0x08
    assert packets[-1][0] & 0x01, "the left button"


def test_the_intercept_may_change_a_key_or_take_it():
    """[RBIL] INT 15h AH=4Fh: CF clear takes the code away; AL may be another."""
    said = bytearray()
    with board("""
        mov ax, word ptr [0x15 * 4]
        mov word ptr [old], ax
        mov ax, word ptr [0x15 * 4 + 2]
        mov word ptr [old + 2], ax
        mov word ptr [0x15 * 4], mine
        mov word ptr [0x15 * 4 + 2], 0
        mov al, 0x21
        out 0xE9, al
    next:
        mov ah, 0
        int 0x16
        out 0xE9, al
        jmp next
    mine:
        cmp ah, 0x4F
        je key
        ljmp word ptr cs:[old]
    key:
        push bp
        mov bp, sp
        or word ptr [bp + 6], 1
        cmp al, 0x1E                # A becomes B
        jne .not_a
        mov al, 0x30
    .not_a:
        cmp al, 0x2E                # C is taken
        jne .other
        and word ptr [bp + 6], 0xFFFE
    .other:
        pop bp
        iret
    old: .word 0, 0
    """, said) as pc:
        pc.run_until(seconds=20, when=lambda: said.endswith(b"!"))
        for name in "acd":
            pc.key(name)
            pc.run_until(seconds=0.1)
    assert said.endswith(b"!bd")


def test_an_interrupt_that_nobody_wants_is_noted_and_masked():
    """[AT] 5 "D11": INTR_FLAG at 40:6B."""
    said = bytearray()
    with board("""
        in al, 0x21
        and al, 0xEF                # COM1's line
        out 0x21, al
        mov dx, 0x3FC
        mov al, 0x0B
        out dx, al
        mov dx, 0x3F9
        mov al, 0x02                # its transmitter is empty
        out dx, al
        nop
        hlt
        in al, 0x21
        out 0xE9, al
        mov al, byte ptr [0x46B]
        out 0xE9, al
        mov al, 0x10
        out 0xF4, al
    """, said) as pc:
        pc.run_until(seconds=20)
        assert pc.exit_code == 0x21
    assert said[-2] & 0x10
    assert said[-1] == 0x10
