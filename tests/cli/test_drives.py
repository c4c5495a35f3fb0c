"""emu boot with disks: what a guest writes is where it should be, and nowhere else; drives in snapshots; mistakes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from emu.assembler import assemble
from emu.cli import choose, main
from emu.cli.options import parser
from emu.firmware import build
from emu.host.disk import describe, open_image
from emu.host.disk.qcow2.create import create
from tests.disk.tools import checked, needs_qemu_img, qemu_img

MIB = 1 << 20

# A guest in real mode: shows the first 16 bytes of sector 1 of the primary master, writes 16 of its own there, and again:
# shows, flushes, waits for a byte on the serial line, shows, leaves.
GUEST = """
    .equ CMD, 0x1F7
    cli                             # the drive's interrupt has no handler
    call show
    mov dx, 0x3F8
    mov bx, 0
    mov al, 0x30
    call command
    call drq
    mov si, words
    mov cx, 256
    mov dx, 0x1F0
    cld
    rep outsw
    call ready
    mov al, 0xE7
    mov dx, CMD
    out dx, al
    call ready
    test al, 1
    jnz failed
    call show
wait: mov dx, 0x3FD
    in al, dx
    test al, 1
    jz wait
    call show
    mov al, 3
    out 0xF4, al
hang: jmp hang
failed: mov al, 'F'
    mov dx, 0x3F8
    out dx, al
    mov al, 5
    out 0xF4, al
    jmp hang

command:                        # AL, for sector 1
    push ax
    call ready
    mov dx, 0x1F2
    mov al, 1
    out dx, al
    inc dx
    out dx, al
    inc dx
    mov al, 0
    out dx, al
    inc dx
    out dx, al
    inc dx
    mov al, 0xE0
    out dx, al
    inc dx
    pop ax
    out dx, al
    ret
ready: mov dx, CMD
again: in al, dx
    test al, 0x80
    jnz again
    ret
drq: call ready
    test al, 1
    jnz failed
    test al, 8
    jz drq
    ret
show: mov al, 0x20
    call command
    call drq
    mov di, 0x8000
    mov cx, 256
    mov dx, 0x1F0
    rep insw
    mov si, 0x8000
    mov cx, 16
    mov dx, 0x3F8
next: lodsb
    out dx, al
    loop next
    mov al, '\\n'
    out dx, al
    ret
words: .ascii "written by guest"
"""
BEFORE, AFTER = b"before the guest", b"written by guest"


@pytest.fixture
def guest(tmp_path):
    path = tmp_path / "guest"
    path.write_bytes(assemble(GUEST, 0x7C00, 16))
    return path


@pytest.fixture
def disk(tmp_path):
    path = tmp_path / "disk.raw"
    path.write_bytes(bytes(512) + BEFORE + bytes(4 * MIB - 528))
    return path


def boot(guest, *arguments):
    """Run the guest to its end; what the serial line showed."""
    done = subprocess.run([sys.executable, "-m", "emu", "boot", "--kernel", guest, *map(str, arguments)], input=b"x",
                          capture_output=True, timeout=60, check=False)
    return done.returncode, done.stdout.split(b"\n")[:-1], done.stderr.decode()


WRITTEN = (7, [BEFORE, AFTER, AFTER])
AGAIN = (7, [AFTER, AFTER, AFTER])


def test_by_default_the_image_does_not_change(guest, disk):
    before = disk.read_bytes()
    for arguments in (["--disk", disk], [disk]):
        assert boot(guest, *arguments)[:2] == WRITTEN
        assert disk.read_bytes() == before


def test_with_write_the_image_changes(guest, disk):
    assert boot(guest, "--disk", disk, "--write")[:2] == WRITTEN
    assert disk.read_bytes()[512:528] == AFTER
    assert boot(guest, "--disk", disk, "--write")[:2] == AGAIN


@needs_qemu_img
def test_an_overlay_keeps_what_was_written(guest, disk, tmp_path):
    before = disk.read_bytes()
    overlay = tmp_path / "overlay.qcow2"
    assert boot(guest, "--disk", disk, "--overlay", overlay)[:2] == WRITTEN
    assert boot(guest, "--disk", disk, "--overlay", overlay)[:2] == AGAIN
    assert boot(guest, "--disk", overlay)[:2] == AGAIN
    assert boot(guest, "--disk", disk)[:2] == WRITTEN
    assert disk.read_bytes() == before and checked(overlay) == (0, 0)


@needs_qemu_img
@pytest.mark.parametrize("kind", ["qcow2", "vmdk", "vdi", "vpc", "vhdx"])
def test_a_disk_of_any_format_boots_and_the_read_only_ones_refuse_to_be_written(kind, guest, disk, tmp_path):
    image = tmp_path / "image"
    qemu_img("convert", "-O", kind, disk, image)
    assert boot(guest, image)[:2] == WRITTEN
    status, shown, said = boot(guest, image, "--write")
    if kind == "qcow2":
        assert (status, shown) == WRITTEN
    else:
        assert status == 2 and shown == [] and "can only be read" in said and said.count("\n") == 1


def test_the_second_overlay_is_the_second_disks(guest, disk, tmp_path):
    other = tmp_path / "other.raw"
    other.write_bytes(bytes(MIB))
    assert boot(guest, disk, "--disk", other, "--overlay", tmp_path / "a", "--overlay", tmp_path / "b")[:2] == WRITTEN
    assert describe(tmp_path / "a")["backing"] == "disk.raw" and describe(tmp_path / "b")["backing"] == "other.raw"


def test_a_disk_that_gets_full_is_an_error_for_the_guest(guest, tmp_path):
    create(str(tmp_path / "disk"), 4 * MIB)
    limited = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); from emu.cli import main; " \
              "sys.exit(main(sys.argv[1:]))"
    done = subprocess.run([sys.executable, "-c", limited, "boot", "--kernel", guest, "--disk", tmp_path / "disk", "--write"],
                          input=b"x", capture_output=True, timeout=60, check=False)
    assert done.returncode == 11 and done.stdout == bytes(16) + b"\nF"
    with open_image(tmp_path / "disk", write=True) as medium:
        assert medium.read(0, 4 * MIB) == bytes(4 * MIB)


# -- snapshots

def restored(*arguments):
    done = subprocess.run([sys.executable, "-m", "emu", "boot", *map(str, arguments)], input=b"x", capture_output=True,
                          timeout=60, check=False)
    return done.returncode, done.stdout.split(b"\n")[:-1], done.stderr.decode()


@pytest.mark.parametrize("how", [[], ["--write"], ["--overlay", "overlay"]])
def test_a_restored_machine_sees_its_disk_exactly(how, guest, disk, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = disk.read_bytes()
    assert main(["boot", "--serial", "none", "--kernel", "guest", "--disk", "disk.raw", *how, "--until", AFTER.decode(),
                 "--save", "snapshot"]) == 0
    if "--write" not in how:
        assert disk.read_bytes() == before
    monkeypatch.chdir("/")                                      # the disk's name holds from anywhere
    status, shown, said = restored("--restore", tmp_path / "snapshot")
    assert (status, shown[-1]) == (7, AFTER), said
    if "--write" not in how:
        assert disk.read_bytes() == before


def test_a_restored_machine_refuses_a_disk_that_has_changed(guest, disk, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    save = ["boot", "--serial", "none", "--kernel", "guest", "--disk", "disk.raw", "--until", AFTER.decode(),
            "--save", "snapshot"]
    assert main(save) == 0
    with open(disk, "r+b") as file:
        file.write(b"x")
    for change in (lambda: None, disk.unlink):
        change()
        capfd.readouterr()
        assert main(["boot", "--serial", "none", "--restore", "snapshot"]) == 2
        said = capfd.readouterr().err
        assert said.count("\n") == 1 and str(disk) in said


def test_the_firmware_is_in_the_snapshot(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rom = bytearray(b"\xF4" * 65536)
    rom[-16:-11] = b"\xEA" + (0).to_bytes(2, "little") + (0xF000).to_bytes(2, "little")
    rom[:4] = b"\xFA\xE6\x80\xF4"                               # cli; out 80h, al; hlt
    (tmp_path / "rom").write_bytes(rom)
    assert main(["boot", "--serial", "none", "--firmware", "rom", "--vga-bios", "none", "--save", "snapshot"]) == 3
    os.unlink("rom")
    assert main(["boot", "--serial", "none", "--restore", "snapshot", "--timeout", "1"]) == 3


# -- mistakes

@pytest.mark.parametrize("arguments, what", [
    (["--disk", "gone"], "gone: cannot be opened: No such file"), (["--disk", "."], ".: "),
    (["--disk", ""], "the text is empty"),
    (["--cdrom", "disk.raw", "--cdrom", "disk.raw"], "--cdrom: 2 of them"), (["--floppy", "disk.raw"], "are no diskette"),
    (["--disk", "disk.raw", "--disk", "disk.raw", "--write"], "another program"),
    (["--disk", "disk.raw"] * 5, "--disk: 5 of them"),
    (["--disk", "disk.raw"] * 4 + ["--cdrom", "disk.raw"], "room for 4"), (["--overlay", "o"], "there is no --disk for it"),
    (["--disk", "disk.raw", "--overlay", "o", "--write"], "--overlay and --write"),
    (["--disk", "disk.raw", "--overlay", "guest"], "not an overlay but a raw image"),
    (["--disk", "disk.raw", "--overlay", "no/such"], "cannot be made"),
    (["--machine", "tiny", "--disk", "disk.raw"], "has no drives"), (["--machine", "tiny", "--firmware", "emu"], "no place"),
    (["--boot", "order=x"], "no order"), (["--boot", "menu=perhaps"], "no order"), (["--boot", ""], "no order"),
    (["--firmware", "gone"], "--firmware gone: cannot be read"), (["--firmware", "guest"], "64 KiB to 16 MiB"),
    (["--vga-bios", "/dev/null"], "are no ROM"), (["--disk", "evil"], "lies below itself"),
])
def test_a_mistake_is_one_line_and_status_2(arguments, what, guest, disk, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    create("evil", MIB, backing="evil")
    assert main(["boot", "--serial", "none", "--kernel", "guest", *arguments]) == 2
    said = capfd.readouterr().err
    assert what in said and said.count("\n") == 1


def test_without_firmware_there_must_be_a_kernel(disk, capfd):
    assert main(["boot", str(disk), "--firmware", "none"]) == 2
    assert "only a kernel can be started" in capfd.readouterr().err


# -- what is booted

def plan(*arguments):
    options = parser().parse_args(["boot", *map(str, arguments)])
    return options, choose.chosen(options)


@pytest.mark.parametrize("kind, order", [("disk.raw", "cad"), ("disc.iso", "dac"), ("floppy.img", "acd")])
def test_the_image_is_booted_before_the_other_drives(kind, order, disk, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "disc.iso").write_bytes(bytes(32768) + b"\1CD001\1" + bytes(2041))
    (tmp_path / "floppy.img").write_bytes(bytes(1474560))
    options, boot = plan(kind, "--disk", "disk.raw")
    assert boot.kernel is None and boot.drives[0].path == kind
    assert choose.order(boot, options) == order
    options, boot = plan(kind, "--boot", "order=dn,menu=on")
    assert choose.order(boot, options) == "dn" and options.boot[1]


def test_a_kernel_is_started_directly_unless_it_has_only_the_entry_that_calls_a_bios(guest, tmp_path, monkeypatch):
    setup = bytearray(1024)
    setup[0x1FE:0x200], setup[0x202:0x206], setup[0x214:0x218] = b"\x55\xAA", b"HdrS", b"\0\0\x10\0"
    for entry, wanted in ((b"\0\0\x10\0", None), (bytes(4), build.bios())):
        setup[0x214:0x218] = entry
        (tmp_path / "kernel").write_bytes(setup)
        options, boot = plan(tmp_path / "kernel")
        assert choose.firmware(boot, options)[0] == wanted
        options, boot = plan("--kernel", guest, "--firmware", "none")
        assert choose.firmware(boot, options) == (None, None)


def test_drives_beside_a_kernel_leave_it_the_kernel(guest, disk):
    _, boot = plan("--kernel", guest, disk)
    assert boot.kernel == guest and [drive.role for drive in boot.drives] == ["disk"]
    _, boot = plan()
    assert boot.name == "default" and not boot.drives
