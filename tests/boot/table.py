"""The boot table: what each system shows, and which keys it gets before.

A row is a name of `emu images` or of our own floppies, the options that it needs, a script (emu/script.py), and the firmware
that it is booted by: ours, SeaBIOS with its VGA BIOS, or the one that it is itself.  The seconds are of guest time.
"""

from __future__ import annotations

from dataclasses import dataclass

OURS, SEABIOS = "emu", "seabios"
BOTH = (OURS, SEABIOS)


@dataclass(frozen=True)
class Row:
    """`name`: what is booted; `script`: what it must show, and what is typed."""

    name: str
    script: str
    options: tuple[str, ...] = ()
    firmware: tuple[str, ...] = BOTH
    seconds: int = 120
    label: str = ""
    off: bool = False           # it turns the machine off at the end


SHELL = r"""
expect "GUEST-INIT-OK Linux 6.1"
expect "SUM e071f707df7bbeee2a6a1eb48011ddd0"
send "echo $((6*7))x\n"
expect "42x"
"""

RESCUE = r"""
expect "GNU/Hurd"
key c
expect "grub>"
type "ls\n"
"""

ROWS = [
    Row("grub-floppy", r"""
        expect "grub>"
        type "lsmmap\n"
        expect "available RAM"
    """),
    Row("grub-cd", r"""
        expect "gnumach"
        key ret
        expect "Memtest86+ v6.10"
    """, label="memtest"),
    Row("grub-cd", r"""
        expect "gnumach"
        key down
        key ret
        expect "GNU Mach 1.8+git20221224-486"
        expect "vm_page: DMA: min"
        expect "No bootstrap code loaded with the kernel!"
    """, label="gnumach"),
    Row("grub-cd", "expect \"gnumach\"\nkey down\nkey down\nkey ret\n" + SHELL, label="linux"),
    Row("grub-cd", r"""
        expect "gnumach"
        key end
        key ret
        expect "iPXE 1.0.0+"
    """, label="ipxe"),
    Row("grub-rescue-cd", RESCUE + 'expect "(cd,msdos1)"', seconds=30),
    Row("grub-rescue-floppy", RESCUE + 'expect "(fd0,msdos1)"', seconds=30),
    Row("syslinux-floppy", r"""
        expect "syslinux guest"
        key ret
        expect "About"
    """, label="hdt"),
    Row("syslinux-floppy", r"""
        expect "syslinux guest"
        key down
        key ret
        expect "Memtest86+ v6.10"
    """, label="memtest"),
    Row("isolinux-cd", "expect \"isolinux guest\"\nkey ret\n" + SHELL, label="linux"),
    Row("isolinux-cd", r"""
        expect "isolinux guest"
        key down
        key ret
        expect "syslinux guest"
    """, label="memdisk"),
    Row("debian12-i386", 'expect "deb32 login: "', seconds=180),
    Row("ipxe-cd", 'expect "iPXE 1.0.0+"'),
    Row("ipxe", 'expect "iPXE 1.0.0+"\nexpect "Open Source Network Boot Firmware"', ("--firmware", "emu"), firmware=(OURS,)),
    Row("memtest86plus", r"""
        expect "Memtest86+ v6.10"
        expect "Test #10"
        expect "Errors: 0"
    """, ("--firmware", "emu", "--memory", "32M"), firmware=(OURS,), seconds=200),
    Row("alpine", r"""
        expect "# "
        send "mount -t proc p /proc; cat /proc/mounts; apk --version\n"
        expect "/dev/sda / ext4"
        expect "apk-tools 3"
    """, ("--append", "console=ttyS0 root=/dev/sda rw init=/bin/sh rootfstype=ext4 modules=ata_piix,sd_mod,ext4"),
        firmware=("none",)),
    Row("gnumach", r"""
        expect "GNU Mach 1.8+git20221224-486"
        expect "No bootstrap code loaded with the kernel!"
    """, firmware=("none",)),
    Row("linux-i386", SHELL, ("--firmware", "emu"), firmware=(OURS,), label="by its real-mode setup"),
    Row("linux-amd64", SHELL, ("--firmware", "emu"), firmware=(OURS,), label="by its real-mode setup"),
    Row("snake", r"""
        expect "snake: arrows, Esc"
        key up
        expect "the end: a key"
    """, seconds=30),
    Row("shell", r"""
        expect "A> "
        type "dir\n"
        expect "2 files"
        type "hello\n"
        expect "hello from a .COM program"
        type "off\n"
        wait 30
    """, seconds=60, off=True),
    Row("uboot", 'expect "U-Boot 2023.01"\nexpect "=> "\nsend "version\\n"\nexpect "U-Boot 2023.01"', firmware=("itself",)),
    Row("seabios", 'expect "SeaBIOS (version"\nexpect "No bootable device"', firmware=("itself",)),
]
