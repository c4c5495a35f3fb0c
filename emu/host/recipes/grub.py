"""GNU GRUB's own boot sector, core image and menu, on a floppy and on a CD (El Torito)."""

from __future__ import annotations

import shutil
from pathlib import Path

from . import Kitchen

PLATFORM = Path("/usr/lib/grub/i386-pc")
FLOPPY = 1440 << 10
MENU = """\
serial --unit=0 --speed=115200
terminal_output console serial
terminal_input console serial
set timeout=30
menuentry "memtest86+" { linux16 /boot/memtest.bin }
menuentry "gnumach" { multiboot /boot/gnumach console=com0 }
menuentry "linux" { linux /boot/vmlinuz console=ttyS0 ; initrd /boot/initrd.gz }
menuentry "ipxe" { linux16 /boot/ipxe.lkrn }
"""
MODULES = ("biosdisk fat normal help ls echo cat cmp hexdump memrw lsmmap multiboot boot halt reboot serial terminal minicmd "
           "cpuid test sleep")


def cd(kitchen: Kitchen) -> None:
    """A rescue CD whose menu chain-loads four systems."""
    boot = kitchen.text("iso/boot/grub/grub.cfg", MENU).parent.parent
    for name, (image, role) in {"memtest.bin": ("memtest86plus", "kernel"), "gnumach": ("gnumach", "kernel"),
                                "vmlinuz": ("linux-i386", "kernel"), "initrd.gz": ("linux-i386", "initrd"),
                                "ipxe.lkrn": ("ipxe", "kernel")}.items():
        shutil.copyfile(kitchen.find(image, role), boot / name)
    (target,) = kitchen.wanted.values()
    kitchen.run("grub-mkrescue", "-d", PLATFORM, "-o", target, "iso", SOURCE_DATE_EPOCH="0")


def floppy(kitchen: Kitchen) -> None:
    """A floppy of boot sector and core image: GRUB's prompt, and nothing else."""
    (target,) = kitchen.wanted.values()
    core = kitchen.scratch / "core.img"
    kitchen.run("grub-mkimage", "-O", "i386-pc", "-p", "(fd0)/boot/grub", "-o", core, *MODULES.split())
    target.write_bytes(((PLATFORM / "boot.img").read_bytes() + core.read_bytes()).ljust(FLOPPY, b"\0"))
