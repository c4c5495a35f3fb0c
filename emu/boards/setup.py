"""What a BIOS leaves in the chips of a PC, as far as kernels that are started directly count on it.

Sources: PCI Local Bus Specification 2.1, 6.2.5; addresses and routes are those that SeaBIOS chooses on QEMU's boards.
"""

from __future__ import annotations

from emu.boards.board import LOW_END, Board
from emu.boards.floppy import open_cascade
from emu.boards.ide import open_ide
from emu.boards.pcibus import line
from emu.boards.screen import text_mode
from emu.chips.i440fx import I440FX
from emu.chips.pci import BAR, IO, MEMORY, PCIFunction
from emu.chips.piix3 import PIIX3
from emu.chips.piix4pm import PIIX4PM

ROUTES = 10, 10, 11, 11             # the interrupts of PIRQA# to PIRQD#
IO_BASE = 0xC000
PM_BASE, SMB_BASE, SCI = 0x600, 0x700, 9


def chips(board: Board) -> None:
    """The keyboard's command byte, the DMA cascade, the PCI bus, the drives, a text mode."""
    for port, value in ((0x64, 0x60), (0x60, 0x65)):                # KBDINT, SYS, AUXDIS, XLAT
        board.ports.write[port << 4 | 1](value)
    open_cascade(board)
    host = board.chips["host"]
    assert isinstance(host, I440FX)
    _addresses(host)
    _interrupts(board, host)
    _power(board)
    open_ide(board)
    text_mode(board)


def _addresses(host: I440FX) -> None:
    """Each base address register gets an address, the largest first, and each function its enables."""
    free = {IO: IO_BASE, MEMORY: LOW_END}
    bars = [(function, bar) for function in host.functions.values() for bar in function.parts(BAR) if bar.space in free]
    for function, bar in sorted(bars, key=lambda item: -item[1].length):
        function.writer(bar)(free[bar.space])
        free[bar.space] += max(bar.length, 16)
    for function in host.functions.values():
        command = function.PCICMD
        function.writer(command)(function.pcicmd | command.IOSE | command.MSE | command.BME)


def _interrupts(board: Board, host: I440FX) -> None:
    bridge = board.chips["isa"]
    assert isinstance(bridge, PIIX3)
    for register, route in zip((PIIX3.PIRQRCA, PIIX3.PIRQRCB, PIIX3.PIRQRCC, PIIX3.PIRQRCD), ROUTES, strict=True):
        bridge.writer(register)(route)
    elcr = sum(1 << route for route in set(ROUTES))
    for port, value in ((0x4D0, elcr & 0xFF), (0x4D1, elcr >> 8)):
        board.ports.write[port << 4 | 1](value)
    for address, function in host.functions.items():
        if function.intpn:
            function.writer(PCIFunction.INTLN)(ROUTES[line(address >> 11, function.intpn)])


def _power(board: Board) -> None:
    pm = board.chips["pm"]
    assert isinstance(pm, PIIX4PM)
    for register, value in ((PIIX4PM.PMBA, PM_BASE), (PIIX4PM.PMREGMISC, 1), (PIIX4PM.SMBBA, SMB_BASE),
                            (PIIX4PM.SMBHSTCFG, 9), (PIIX4PM.INTLN, SCI)):
        pm.writer(register)(value)
