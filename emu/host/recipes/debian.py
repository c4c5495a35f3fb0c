"""An installed Debian: MBR, a FAT partition with SYSLINUX and the kernel, an ext4 root with a journal and systemd.

mmdebstrap installs it from this machine's own apt sources (their release, without its updates: the base system alone is
wanted), as root in place, as a user by way of user namespaces.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ..manifest import FetchError
from . import Kitchen

MBR = Path("/usr/lib/syslinux/mbr/mbr.bin")
BOOT_MIB, ROOT_MIB = 64, 700                    # the first MiB of the boot partition's share is the MBR and its gap
INCLUDE = "systemd-sysv,udev,linux-image-686,initramfs-tools,kmod,iproute2,less,e2fsprogs"
HOOKS = ('chroot "$1" passwd -d root', 'echo deb32 > "$1/etc/hostname"',
         'echo "/dev/sda2 / ext4 rw,noatime 0 1" > "$1/etc/fstab"',
         'rm -rf "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/* "$1"/usr/share/doc/*')
CONFIG = """\
DEFAULT l
PROMPT 0
SERIAL 0 115200
LABEL l
 LINUX vmlinuz
 INITRD initrd.gz
 APPEND root=/dev/sda2 rw console=tty0 console=ttyS0
"""
MIB = 1 << 20


def source(kitchen: Kitchen) -> tuple[str, str]:
    """(release, sources.list line) of Debian itself among this machine's apt sources."""
    listed = kitchen.run("apt-get", "indextargets", "--format", "$(SITE) $(CODENAME) $(COMPONENT) $(LABEL)",
                         "Created-By: Packages")
    for line in listed.splitlines():
        site, release, component, label = line.split(" ", 3)
        if label == "Debian" and component == "main" and "-" not in release:
            keys = "/usr/share/keyrings/debian-archive-keyring.gpg"
            return release, f"deb [signed-by={keys}] {site} {release} main"
    raise FetchError("this machine's apt sources have no Debian release: apt-get update, or this is no Debian")


def disk(kitchen: Kitchen) -> None:
    """The whole disk, about 770 MiB, sparse."""
    (target,) = kitchen.wanted.values()
    release, line = source(kitchen)
    root, tree = kitchen.scratch / "root.tar", kitchen.scratch / "tree"
    hooks = [word for hook in HOOKS for word in ("--customize-hook", hook)]
    kitchen.progress("installing Debian (i386)", None)
    kitchen.run("mmdebstrap", "--quiet", "--architectures=i386", "--variant=minbase", f"--include={INCLUDE}",
                "--mode=" + ("root" if os.geteuid() == 0 else "unshare"), *hooks, release, root, line)
    kitchen.progress("making the disk", None)
    tree.mkdir()
    kitchen.run("tar", "-xf", root, "-C", tree, "--exclude=./dev/*")
    boot, files = kitchen.scratch / "boot.img", kitchen.scratch / "root.img"
    kitchen.run("mke2fs", "-q", "-t", "ext4", "-O", "^metadata_csum,^64bit", "-d", tree, "-E", "root_owner=0:0", files,
                f"{ROOT_MIB}M")
    kitchen.run("mkfs.vfat", "-F16", "--invariant", "-C", boot, str((BOOT_MIB - 1) << 10))
    for pattern, name in (("vmlinuz-*", "vmlinuz"), ("initrd.img-*", "initrd.gz")):
        (found,) = (tree / "boot").glob(pattern)
        kitchen.run("mcopy", "-i", boot, found, f"::{name}")
    kitchen.run("mcopy", "-i", boot, kitchen.text("syslinux.cfg", CONFIG), "::")
    kitchen.run("syslinux", "--install", boot)
    with target.open("wb") as file:
        file.truncate((BOOT_MIB + ROOT_MIB) * MIB)
    first, length = MIB // 512, (BOOT_MIB - 1) * MIB // 512
    table = f"start={first},size={length},type=6,bootable\nstart={first + length},type=83\n"
    kitchen.run("sfdisk", "--quiet", target, stdin=table)
    with target.open("r+b") as file:
        file.write(MBR.read_bytes()[:440])
        for part, at in ((boot, MIB), (files, BOOT_MIB * MIB)):
            copy_sparse(part, file.fileno(), at)
    shutil.rmtree(tree, ignore_errors=True)


def copy_sparse(source: Path, target: int, at: int) -> None:
    """Copy a file into an open one from offset `at`, leaving holes where there is nothing but zeros."""
    zeros = bytes(MIB)
    with source.open("rb") as file:
        while piece := file.read(MIB):
            if piece != zeros[:len(piece)]:
                os.pwrite(target, piece, at)
            at += len(piece)
