"""The firmware's ROM and the shadow RAM over it, and what of the memory above the RAM is left to PCI."""

from __future__ import annotations

from emu.boards.board import HIGH, LOW_END, MIB, BadBoard, Board

LOW_ROM = 0x20000           # bytes of the firmware's end that are also seen below 1 MiB
SEGMENT = 0x10000           # bytes of the largest range that the memory controller switches below 1 MiB


class Shadow:
    """`firmware` is the content of a ROM that ends at 4 GiB, or None.  Raises BadBoard."""

    def __init__(self, board: Board, firmware: bytes | None) -> None:
        if firmware is not None and (len(firmware) % 0x10000 or not 0 < len(firmware) <= 16 * MIB):
            raise BadBoard(f"a firmware of {len(firmware)} bytes: a ROM has 64 KiB to 16 MiB, in whole 64 KiB")
        self.board = board
        self.nothing = board.rom("nothing", b"\xFF" * SEGMENT)      # what a range reads of which RAM takes only writes
        self.low: memoryview | None = None
        self.first, self.end = min(board.size, LOW_END), HIGH       # what is left to PCI
        if firmware is not None:
            rom = board.rom("firmware", firmware)
            self.low = rom[-LOW_ROM:]
            self.end = HIGH - len(rom)
            board.view(self.end, len(rom), rom, "rom")

    def dram(self, address: int, length: int, reads: bool, writes: bool) -> None:
        """The memory controller takes reads, writes, both or neither of a range for RAM."""
        ram, rom, view = self.board.ram[address:address + length], self._rom(address, length), self.board.view
        if len(ram) < length:
            return                                                  # the range lies behind the RAM's end
        if reads:
            view(address, length, ram, "ram" if writes else "rom")
        elif writes:
            view(address, length, self.nothing[:length] if rom is None else rom, "rom", ram)
        else:
            view(address, length, rom, "mmio" if rom is None else "rom")

    def _rom(self, address: int, length: int) -> memoryview | None:
        if self.low is None or not MIB - len(self.low) <= address < MIB:
            return None
        inside = address - (MIB - len(self.low))
        return self.low[inside:inside + length]

    def view(self, address: int, length: int, memory: memoryview | None, kind: str, writes: memoryview | None = None) -> None:
        """A view of an adapter: as Machine.view, but that neither RAM nor the firmware's ROM gives way to it."""
        first, end = (address, address + length) if address < MIB else (
            max(address, self.first), min(address + length, self.end))
        if first < end:
            part = slice(first - address, end - address)
            self.board.view(first, end - first, None if memory is None else memory[part], kind,
                            None if writes is None else writes[part])
