"""SYSLINUX on a FAT floppy, ISOLINUX on a CD, with menus that lead to HDT, memtest, MEMDISK and a Debian kernel."""

from __future__ import annotations

import shutil
from pathlib import Path

from . import Kitchen

MODULES, MEMDISK = Path("/usr/lib/syslinux/modules/bios"), Path("/usr/lib/syslinux/memdisk")
ISOLINUX = Path("/usr/lib/ISOLINUX/isolinux.bin")
FLOPPY_MENU = """\
DEFAULT menu.c32
PROMPT 0
TIMEOUT 0
SERIAL 0 115200
MENU TITLE syslinux guest
LABEL hdt
 KERNEL hdt.c32
LABEL memtest
 LINUX memtest.bin
LABEL ls
 KERNEL ls.c32
LABEL meminfo
 KERNEL meminfo.c32
LABEL reboot
 KERNEL reboot.c32
"""
CD_MENU = """\
DEFAULT menu.c32
SERIAL 0 115200
MENU TITLE isolinux guest
LABEL lin
 LINUX vmlinuz
 INITRD initrd.gz
 APPEND console=ttyS0
LABEL md
 LINUX memdisk
 INITRD fd.img
"""


def _modules(names: str) -> list[Path]:
    return [MODULES / f"{name}.c32" for name in names.split()]


def floppy(kitchen: Kitchen) -> None:
    """1.44 MB, FAT12, made bootable by syslinux(1), which needs no mount."""
    (target,) = kitchen.wanted.values()
    kitchen.run("mkfs.vfat", "-C", "--invariant", target, "1440")
    modules = _modules("menu libutil libcom32 hdt libmenu libgpl ls meminfo reboot cpuid pci")
    kitchen.run("syslinux", "--install", target)
    kitchen.run("mcopy", "-i", target, kitchen.text("syslinux.cfg", FLOPPY_MENU), *modules, "::")
    kitchen.run("mcopy", "-i", target, kitchen.find("memtest86plus", "kernel"), "::memtest.bin")


def cd(kitchen: Kitchen) -> None:
    """El Torito without emulation."""
    (target,) = kitchen.wanted.values()
    root = kitchen.text("cd/isolinux.cfg", CD_MENU).parent
    for path in (ISOLINUX, MEMDISK, *_modules("ldlinux menu libutil libcom32 cat ls")):
        shutil.copy(path, root)
    shutil.copyfile(kitchen.find("linux-i386", "kernel"), root / "vmlinuz")
    shutil.copyfile(kitchen.find("linux-i386", "initrd"), root / "initrd.gz")
    shutil.copyfile(kitchen.find("syslinux-floppy", "floppy"), root / "fd.img")
    kitchen.run("xorriso", "-as", "mkisofs", "-quiet", "-o", target, "-b", "isolinux.bin", "-c", "boot.cat", "-no-emul-boot",
                "-boot-load-size", "4", "-boot-info-table", "cd", SOURCE_DATE_EPOCH="0")
