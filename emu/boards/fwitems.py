"""What the firmware of a PC finds in fw_cfg.  [Q] QEMU, docs/specs/fw_cfg.rst; [S] SeaBIOS, src/fw/paravirt.c, boot.c."""

from __future__ import annotations

import struct
from collections.abc import Sequence

RAM_SIZE, NB_CPUS, BOOT_MENU, MAX_CPUS, IRQ0_OVERRIDE = 0x03, 0x05, 0x0E, 0x0F, 0x8002

STATES = bytes([                # [S] etc/system-states: of S0 to S5, bit 7 "there is such a state", and its SLP_TYP
    0x80, 0, 0, 1, 2, 0x80])
FLOPPY = "/pci@i0cf8/isa@1/fdc@03f0/floppy@{0}"
DISK = "/pci@i0cf8/ide@1,1/drive@{0}/disk@{1}"


def items(memory: int, menu: bool) -> dict[int, bytes]:
    """The items that have a key: `memory` in bytes, whether a boot menu is wanted."""
    return {
        RAM_SIZE: struct.pack("<Q", memory),
        NB_CPUS: struct.pack("<H", 1),
        BOOT_MENU: struct.pack("<H", menu),
        MAX_CPUS: struct.pack("<H", 1),
        IRQ0_OVERRIDE: struct.pack("<I", 0)}            # there is no I/O APIC that IRQ 0 would be moved on


def files(ranges: Sequence[tuple[int, int, int]], order: Sequence[str], wait: int | None) -> dict[str, bytes]:
    """The files: RAM as (address, length, E820 type), boot devices in their order, ms that the menu's prompt waits."""
    found = {
        "etc/e820": b"".join(struct.pack("<QQI", *piece) for piece in ranges),
        "etc/system-states": STATES,
        "bootorder": "\n".join(order).encode() + b"\0"}
    if wait is not None:
        found["etc/boot-menu-wait"] = struct.pack("<H", wait)
    return found
