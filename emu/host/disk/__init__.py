"""Disk images: a file, in any of the formats that PCs in software use, as the bytes of a disk.

    medium = open_image("disk.qcow2")                               # read; what is written is gone at close()
    medium = open_image("disk.vmdk", overlay="changes.qcow2")       # what is written lives there
    medium = open_image("disk.img", write=True)                     # it goes into the image: raw and qcow2

Own code, because the libraries there are fit neither the licence nor the task: libqcow, libvmdk, libvhdi and libvhdx are
LGPL-3.0-or-later and dissect's readers AGPL-3.0, which cannot be joined with Unicorn and Keystone under GPL-2.0, and all of
them only read.
"""

from emu.host.disk.file import ImageError
from emu.host.disk.kinds import what
from emu.host.disk.medium import Image
from emu.host.disk.opening import describe, open_image, open_readonly

__all__ = ["Image", "ImageError", "describe", "open_image", "open_readonly", "what"]
