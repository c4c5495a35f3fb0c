"""A board's data sheet and its symbols for assembly, from the declarations of its chips."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping

from emu.bus import Bus
from emu.device import Device, In, Out, Part, Reg, State, Timer, Window

Placed = Iterable[tuple[Device, Mapping[str, int]]]     # a chip, and the base of each of its blocks that is seen

WIDTH = 100


def placements(devices: Iterable[Device], *buses: Bus) -> Placed:
    """`devices` with the bases that they have on the first of `buses` where they are."""
    where: dict[Device, dict[str, int]] = {device: {} for device in devices}
    for bus in buses:
        for (device, block), base in bus.places.items():
            where[device].setdefault(block, base)
    return list(where.items())


def render(placed: Placed) -> str:
    """Every chip of a board: registers with their bits, pins, what is kept behind them, and what is not modelled."""
    return "\n\n".join("\n".join(_chip(device, blocks)) for device, blocks in placed) + "\n"


def ports_inc(placed: Placed) -> str:
    """`.set COM1_LSR, 0x3FD` and `.set COM1_LSR_THRE, 0x20` for each register and bit, to be included in assembly.

    Raises ValueError where two parts of a board would get the same symbol.
    """
    taken: dict[str, str] = {}
    lines = ["# Made by emu.datasheet from the declarations of the chips."]
    for device, blocks in placed:
        symbols = list(_symbols(device, blocks))
        if symbols:
            lines += ["", f"# {device.name}: {type(device).__name__}"]
        width = max((len(name) for name, _ in symbols), default=0) + 1
        for name, value in symbols:
            if name in taken:
                raise ValueError(f"{device.name} and {taken[name]} both make the symbol {name}")
            taken[name] = device.name
            lines.append(f".set {name + ',':{width}} 0x{value:02X}")
    return "\n".join(lines) + "\n"


def _symbols(device: Device, blocks: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    for reg in _registers(device, blocks):
        symbol = f"{device.name}_{reg.name}".upper()
        yield symbol, blocks[reg.block] + reg.offset
        for bit, value in reg.fields.items():
            if bit.isidentifier():                          # not a bit that is drawn as 1
                yield f"{symbol}_{bit}".upper(), value


def _registers(device: Device, blocks: Mapping[str, int]) -> list[Reg]:
    order = {block: i for i, block in enumerate(blocks)}
    seen = [reg for reg in device.parts(Reg) if reg.block in blocks]
    return sorted(seen, key=lambda reg: (order[reg.block], reg.offset, reg.bank))


def _chip(device: Device, blocks: Mapping[str, int]) -> Iterator[str]:
    text = sys.modules[type(device).__module__].__doc__ or ""
    paragraphs = [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]
    yield device.name
    yield "=" * len(device.name)
    yield from textwrap.wrap(paragraphs[0], WIDTH)
    for block, base in blocks.items():
        registers = [reg for reg in _registers(device, blocks) if reg.block == block]
        banks = "; (n) is seen while bank n is selected" if any(reg.bank for reg in registers) else ""
        yield ""
        what = "registers" if registers else "window"
        yield (what if block == "at" else f"{what} of {block}") + f" at {base:#x}{banks}"
        yield from _columns(_register(reg, base) for reg in registers)
        for window in device.parts(Window):
            if window.block == block:
                first = base + window.offset
                yield f"  {first:04x} to {first + window.length - 1:04x}  {window.name}  {window.doc}"
    for title, kind in ("inputs", In), ("outputs", Out), ("timers", Timer), ("state", State):
        parts = list(device.parts(kind))
        if parts:
            yield ""
            yield title
            yield from _columns((_pin(part), part.doc) for part in parts)
    for paragraph in paragraphs:
        start = paragraph.find("Not modelled:")
        if start >= 0:
            yield ""
            yield from textwrap.wrap(paragraph[start:], WIDTH)


def _register(reg: Reg, base: int) -> tuple[str, ...]:
    digits = 2 * reg.size
    return (
        f"{base + reg.offset:04x}", reg.access, f"{reg.name}" + (f" ({reg.bank})" if reg.bank else ""),
        f"{reg.reset:0{digits}x}", reg.doc, *_drawing(reg),
    )


def _drawing(reg: Reg) -> Iterator[str]:
    """The bits, a column each; those of a wide register by number."""
    if reg.size == 1:
        yield from reg.bits
    elif reg.bits:
        yield ", ".join(f"{value.bit_length() - 1} {name}" for name, value in reg.fields.items())


def _pin(part: Part) -> str:
    last = part.width - 1 if isinstance(part, In) else 0
    return f"{part.name}0-{last}" if last > 0 else part.name


def _columns(rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    table = list(rows)
    widths: list[int] = []
    for row in table:
        widths += [0] * (len(row) - len(widths))
        for i, cell in enumerate(row[:-1]):                 # a last cell may be as long as it likes
            widths[i] = max(widths[i], len(cell))
    for row in table:
        yield "  " + "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths)).rstrip()
