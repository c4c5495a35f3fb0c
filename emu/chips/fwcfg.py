"""fw_cfg: how QEMU's boards tell their firmware what they are made of.  [Q] QEMU, docs/specs/fw_cfg.rst; the keys are those
of QEMU's include/standard-headers/linux/qemu_fw_cfg.h.

Not modelled: items that can be written ([Q]: a DMA write to an item that is read-only sets the error bit, and all are).
"""

# mypy: disable-error-code="has-type"
from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

from emu.device import BLOCK, RW, Device, R, Reg, State, W

SIGNATURE, ID, FILE_DIR, FILE_FIRST = 0x00, 0x01, 0x19, 0x20
FEATURES = 3                    # [Q] bit 0: the traditional interface, bit 1: the DMA interface
NAME = 55                       # [Q] characters of a file's name
KEY = 0xBFFF                    # [Q] bit 14 asks for writing
ERROR, READ, SKIP, SELECT, WRITE = 1, 2, 4, 8, 16
ZEROS = bytes(1 << 20)


class FwCfg(Device):
    """`items` by key, `files` by name in the order of the directory; `read` and `write` are physical memory."""

    SELECTOR = Reg(0, W, "selector: the key of an item, which is read from its start on", size=2, whole=True)
    DATA = Reg(1, RW, "data: the item's next byte, 0 behind its end; writes do nothing", native=BLOCK)
    DMA_SIGNATURE = Reg(4, R, "the characters QEMU CFG", size=8)
    DMA_HIGH = Reg(4, W, "high half of the address of a command, big-endian", size=4, whole=True)
    DMA_LOW = Reg(8, W, "low half, big-endian: does what the command says", size=4, whole=True)

    POSITION = State(0, "bytes of the item before the next one")

    def __init__(self, items: Mapping[int, bytes], files: Mapping[str, bytes],
                 read: Callable[[int, int], bytes], write: Callable[[int, bytes], None]) -> None:
        self.read, self.write = read, write
        keys = {name: FILE_FIRST + i for i, name in enumerate(files)}
        content = {SIGNATURE: b"QEMU", ID: FEATURES.to_bytes(4, "little"), **items, FILE_DIR: directory(files),
                   **{keys[name]: data for name, data in files.items()}}
        self.items = {key: bytearray(data) for key, data in content.items()}

    def offer(self, items: Mapping[int, bytes]) -> None:
        """Further items, which the host has only now: a kernel."""
        self.items.update({key: bytearray(data) for key, data in items.items()})

    def item(self) -> bytearray:
        """The selected item; an empty one if there is none."""
        return self.items.get(self.selector & KEY, bytearray())

    def write_SELECTOR(self, value: int) -> None:
        self.selector = value
        self.position = 0

    def read_DATA(self) -> int:
        item, position = self.item(), self.position
        if position >= len(item):
            return 0
        self.position = position + 1
        return item[position]

    def write_DATA(self, value: int) -> None:
        pass

    def block_DATA(self, access: str) -> memoryview | None:
        if access != R or self.position >= len(self.item()):
            return None
        return memoryview(self.item())[self.position:]

    def moved_DATA(self, access: str, length: int) -> None:
        self.position += length

    def read_DMA_SIGNATURE(self) -> int:
        return int.from_bytes(b"QEMU CFG", "little")

    def write_DMA_LOW(self, value: int) -> None:
        address = swapped(self.dma_high) << 32 | swapped(value)
        self.dma_high = self.dma_low = 0                        # [Q] the value is 0 after an operation
        control, length, at = struct.unpack(">IIQ", self.read(address, 16))
        if control & SELECT:
            self.write_SELECTOR(control >> 16)
        error = 0
        if control & READ:
            self._copy(at, length)
        elif control & WRITE:
            error = ERROR
        elif control & SKIP:
            self.position = min(self.position + length, len(self.item()))
        self.write(address, error.to_bytes(4, "big"))

    def _copy(self, address: int, length: int) -> None:
        """`length` bytes of the item to memory, zeros behind its end."""
        data = bytes(self.item()[self.position:self.position + length])
        self.position += len(data)
        self.write(address, data)
        for done in range(len(data), length, len(ZEROS)):
            self.write(address + done, ZEROS[:length - done])


def swapped(value: int) -> int:
    """The other order of the bytes of a double word."""
    return int.from_bytes(value.to_bytes(4, "little"), "big")


def directory(files: Mapping[str, bytes]) -> bytes:
    """The item FILE_DIR: [Q] struct FWCfgFiles."""
    entries = []
    for i, (name, data) in enumerate(files.items()):
        if len(name) > NAME or not name.isascii():
            raise ValueError(f"{name}: a file's name in fw_cfg has at most {NAME} characters of ASCII")
        entries.append(struct.pack(">IHH56s", len(data), FILE_FIRST + i, 0, name.encode()))
    return struct.pack(">I", len(entries)) + b"".join(entries)
