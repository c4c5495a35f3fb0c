"""What a person sees from power-on to the boot sector, on QEMU's board and on ours."""

from __future__ import annotations

import struct

import pytest

from emu.assembler import assemble
from emu.firmware import build
from emu.host.disk import open_image
from tests.firmware import machines

SECTOR = """
    mov si, text
next:
    mov al, byte ptr cs:[si]
    inc si
    test al, al
    jz end
    out 0xE9, al
    jmp next
end:
    mov al, dl
    out 0xE9, al
    mov al, 0x10
    out 0xF4, al
    hlt
text: .asciz "started from "
"""


def boot_sector() -> bytes:
    """One that says on port E9h from which drive it was started, and ends the run."""
    return assemble(SECTOR, 0x7C00, 16).ljust(510, b"\0") + b"\x55\xAA"


def test_it_is_128_kib_with_the_places_of_the_pc_at():
    image = build.bios()
    assert len(image) == 128 << 10
    segment = image[0x10000:]
    assert segment[0xFFF0:0xFFF5] == b"\xEA\x5B\xE0\x00\xF0", "the reset vector jumps to F000:E05B"
    assert segment[0xFFFE] == 0xFC, "an AT"
    assert segment[0xFF53] == 0xCF, "an IRET"
    assert segment[0xE6F5:0xE6F8] == b"\x08\x00\xFC", "the system configuration table"
    for place in (0xE05B, 0xE2C3, 0xE3FE, 0xE6F2, 0xE739, 0xE82E, 0xE987, 0xEC59, 0xEF57, 0xEFD2, 0xF065, 0xF841, 0xF84D,
                  0xF859, 0xFE6E, 0xFEA5, 0xFF54):
        assert segment[place] in (0xE9, 0xEB, 0x66), hex(place)


@pytest.mark.parametrize("name", ["$PIR", "_32_"])
def test_what_systems_look_for_lies_on_16_bytes(name):
    """[PIR] 1.0 and [BIOS32] 0.4; the sums that are made at power-on are tested where a machine runs."""
    segment = build.bios()[0x10000:]
    places = [at for at in range(0, 0x10000, 16) if segment[at:at + 4] == name.encode()]
    assert len(places) == 1
    if name == "_32_":
        header = segment[places[0]:places[0] + 16]
        assert sum(header) & 0xFF == 0
        assert struct.unpack_from("<I", header, 4) == (0xE0200,)


def test_on_qemu_with_nothing_to_boot():
    run = machines.on_qemu(["-m", "48"], until="Ctrl-Alt-Del")
    for shown in run.screen, run.serial:
        assert "emu BIOS 1." in shown
        assert "Memory: 48 MiB OK" in shown
        assert "Keyboard: found" in shown
        assert "PS/2 mouse: found" in shown
        assert "Nothing could be booted:" in shown
        assert "Attach a disk, CD or floppy image" in shown


def test_on_our_board_with_nothing_to_boot():
    run = machines.on_ours(until="Ctrl-Alt-Del")
    for shown in run.screen, run.serial:
        assert "Memory: 64 MiB OK" in shown
        assert "Floppy A: there is no disk in the drive" in shown


def test_each_device_that_does_not_boot_says_why(tmp_path):
    (tmp_path / "blank").write_bytes(bytes(1 << 20))
    (tmp_path / "data").write_bytes(b"no boot sector".ljust(1 << 20, b"\0"))
    (tmp_path / "disc").write_bytes(bytes(40 * 2048))
    run = machines.on_qemu(["-m", "16", "-drive", f"file={tmp_path}/blank,format=raw,snapshot=on",
                            "-drive", f"file={tmp_path}/data,format=raw,snapshot=on",
                            "-drive", f"file={tmp_path}/disc,format=raw,media=cdrom"], until="Ctrl-Alt-Del")
    assert run.screen.count("its first sector has no boot signature (55AA)") >= 2
    assert "the disc is not bootable (it has no El Torito boot catalog)" in run.screen


@pytest.mark.parametrize(("order", "drive"), [("c", b"\x80"), ("a", b"\0"), ("ac", b"\0"), ("ca", b"\x80"), ("da", b"\0")])
def test_the_boot_order_of_the_cmos(order, drive, tmp_path):
    (tmp_path / "hd").write_bytes(boot_sector().ljust(1 << 20, b"\0"))
    (tmp_path / "fd").write_bytes(boot_sector().ljust(1474560, b"\0"))
    run = machines.on_qemu(["-m", "16", "-boot", order, "-drive", f"file={tmp_path}/hd,format=raw,snapshot=on",
                            "-drive", f"file={tmp_path}/fd,format=raw,if=floppy,snapshot=on"])
    assert run.debug == b"started from " + drive


def test_fw_cfgs_boot_order_goes_before_and_the_chosen_disk_is_80h(tmp_path):
    (tmp_path / "first").write_bytes(bytes(1 << 20))
    (tmp_path / "second").write_bytes(boot_sector().ljust(1 << 20, b"\0"))
    run = machines.on_qemu(["-m", "16",
                            "-drive", f"file={tmp_path}/first,format=raw,if=none,id=a,snapshot=on",
                            "-device", "ide-hd,drive=a,bus=ide.0,unit=0",
                            "-drive", f"file={tmp_path}/second,format=raw,if=none,id=b,snapshot=on",
                            "-device", "ide-hd,drive=b,bus=ide.1,unit=0,bootindex=1"])
    assert run.debug == b"started from \x80"
    assert "signature" not in run.serial


def test_the_menu_chooses(tmp_path):
    (tmp_path / "hd").write_bytes(boot_sector().ljust(1 << 20, b"\0"))
    (tmp_path / "fd").write_bytes(boot_sector().ljust(1474560, b"\0"))
    run = machines.on_qemu(["-m", "16", "-boot", "order=ca,menu=on,splash-time=5000",
                            "-drive", f"file={tmp_path}/hd,format=raw,snapshot=on",
                            "-drive", f"file={tmp_path}/fd,format=raw,if=floppy,snapshot=on"],
                           keys=[("for the boot menu", "f12"), ("Press a digit", "2")])
    assert "1. Hard disk QEMU HARDDISK" in run.serial
    assert "2. Floppy A" in run.serial
    assert run.debug == b"started from \0"


MTRRS = {0x250: 0x0606060606060606, 0x258: 0x0606060606060606, 0x259: 0, 0x268: 0x0505050505050505, 0x26F: 0x0505050505050505,
         0x200: 0xE0000000, 0x201: 0xFFE0000800, 0x2FF: 0xC06}


@pytest.mark.parametrize("board", ["qemu", "ours"])
def test_ram_is_write_back_and_what_lies_above_it_uncached(board, tmp_path):
    """SDM vol. 3A, 12.11: without the memory type range registers all of it would be uncached."""
    says = "mov cx, 4\n{0}:\nout 0xE9, al\nshr eax, 8\nloop {0}\n"
    sector = "".join(f"mov ecx, {number:#x}\nrdmsr\n{says.format(f'a{number}')}mov eax, edx\n{says.format(f'd{number}')}"
                     for number in MTRRS) + "mov al, 0x10\nout 0xF4, al\nhlt"
    disk = (assemble(sector, 0x7C00, 16).ljust(510, b"\0") + b"\x55\xAA").ljust(1474560, b"\0")
    (tmp_path / "fd").write_bytes(disk)
    if board == "qemu":
        run = machines.on_qemu(["-m", "16", "-cpu", "qemu64", "-boot", "a",
                                "-drive", f"file={tmp_path}/fd,format=raw,if=floppy,snapshot=on"])
    else:
        run = machines.on_ours(boot="a", floppies=[open_image(tmp_path / "fd")])
    values = dict(zip(MTRRS, struct.unpack(f"<{len(MTRRS)}Q", run.debug), strict=True))
    values[0x201] &= 0xFFFFFFFFFF
    assert values == MTRRS | ({0x201: 0xFE0000800} if values[0x201] >> 36 == 0 else {})
