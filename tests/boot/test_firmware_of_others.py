"""Unmodified firmware of others on our PC: what it says of the board, and that it boots."""

from __future__ import annotations

from pathlib import Path

import pytest

from emu.boards.pc import PC
from emu.machine import End
from tests.boot import APT, fetched
from tests.chips.drives import Memory
from tests.firmware.disc import NO_EMULATION, disc

MIB = 1 << 20
SEABIOS, BOCHS = Path("/usr/share/seabios"), Path("/usr/share/bochs")
#              mov al, 'B'; out 0E9h, al;  mov dx, 604h; mov ax, 2001h; out dx, ax
SECTOR = bytes.fromhex("b042e6e9 ba0406 b80120 ef f4").ljust(510, b"\0") + b"\x55\xAA"


def medium(data):
    """A medium that holds `data`."""
    memory = Memory(len(data))
    memory.data[:] = data
    return memory


def needs(path):
    return path.read_bytes() if path.is_file() else pytest.skip(f"{path.name} is not installed")


@pytest.fixture(params=["bios-256k.bin", "bios.bin"])
def seabios(request):
    return needs(SEABIOS / request.param)


# SeaBIOS

def test_seabios_finds_the_board(seabios):
    told = bytearray()
    with PC(64 * MIB, firmware=seabios, debug=told.extend) as machine:
        machine.run_until(seconds=0.5)
    log = told.decode("latin1")
    for line in (
        "Running on QEMU (i440fx)", "Found QEMU fw_cfg", "QEMU fw_cfg DMA interface supported",
        "qemu/e820: addr 0x0000000000000000 len 0x0000000004000000 [RAM]", "Moving pm_base to 0x600",
        "Using pmtimer, ioport 0x608", "PIIX3/PIIX4 init: elcr=00 0c", "Found 5 PCI devices (max PCI bus is 00)",
        "Found 1 serial ports", "PS2 keyboard initialized", "DVD/CD [ata1-0: EMU CD-ROM",
    ):
        assert line in log, line
    assert "out of I/O address space" not in log and "WARNING" not in log


def media(kind):
    """A medium whose boot sector prints and powers off by the ports that SeaBIOS gives to power management."""
    if kind == "floppies":
        return [medium(SECTOR.ljust(1440 << 10, b"\0"))]
    if kind == "disks":
        return [medium(SECTOR.ljust(MIB, b"\0"))]
    return medium(disc(SECTOR, NO_EMULATION))


@pytest.mark.parametrize("kind, letter", [("floppies", "a"), ("disks", "c"), ("cdrom", "d")])
def test_seabios_boots_and_the_guest_powers_off(kind, letter):
    told = bytearray()
    firmware = needs(SEABIOS / "bios-256k.bin")
    with PC(64 * MIB, firmware=firmware, boot=letter, debug=told.extend, **{kind: media(kind)}) as machine:
        assert machine.run_until(seconds=5) is End.POWEROFF
    assert told.endswith(b"Booting from 0000:7c00\nB")


def test_seabios_starts_again_after_a_reset():
    told = bytearray()
    with PC(64 * MIB, firmware=needs(SEABIOS / "bios-256k.bin"), debug=told.extend) as machine:
        machine.run_until(seconds=0.5)
        first = bytes(told)
        told.clear()
        machine.ports.write[0xCF9 << 4 | 1](2)
        machine.ports.write[0xCF9 << 4 | 1](6)
        machine.run_until(seconds=0.5)
    assert told.startswith(first[:2000]) and machine.resets == 1


# The Bochs BIOS

def test_the_bochs_bios_boots_a_disk():
    told = bytearray()
    disks = [medium(SECTOR.ljust(MIB, b"\0")), *(Memory(MIB) for _ in range(3))]       # it takes a CD-ROM drive for two
    with PC(64 * MIB, firmware=needs(BOCHS / "BIOS-bochs-latest"), boot="c", disks=disks, debug=told.extend) as machine:
        machine.run_until(seconds=5)
    assert told.endswith(b"B")


# U-Boot

@pytest.mark.boot
@APT
def test_u_boot_comes_to_its_prompt_on_the_serial_line():
    image = fetched("uboot")
    with PC(128 * MIB, firmware=image.files["bios"].read_bytes()) as machine:
        assert machine.run_until("=> ", seconds=60) is End.ASKED
        assert "Model: QEMU x86 (I440FX)" in machine.text
        machine.send("pci\r")
        assert machine.run_until("01.03", seconds=5) is End.ASKED
