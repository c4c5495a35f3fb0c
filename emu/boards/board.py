"""What every board has in common: RAM and its map, a console on a serial line, how a kernel is put in, reset and restart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from emu import x86
from emu.boards.console import Console
from emu.boards.drives import Drives
from emu.boards.screen import Screen
from emu.boards.watch import Watch
from emu.chips.serialline import SerialLine
from emu.chips.uart16550 import UART16550
from emu.cpu.unicorn.engine import UnicornEngine
from emu.engine import Costs
from emu.loaders import Screen as TextScreen
from emu.loaders import Start, load
from emu.machine import End, Machine

MIB = 1 << 20
RAM, RESERVED = 1, 2                # E820 types
LOW_END = 0xE000_0000               # RAM below 4 GiB ends here at the latest; the rest lies from 4 GiB on
HIGH = 1 << 32


def nobody(data: bytes) -> None:
    """Nobody listens."""


def late(listener: Callable[[bytes], object]) -> Callable[[bytes], None]:
    """The same listener, content to hear of many bytes at once, at the end of a slice at the latest."""
    def hear(data: bytes) -> None:
        listener(data)

    hear.late = True                # type: ignore[attr-defined]
    return hear


def at_once(listener: Callable[[bytes], None]) -> bool:
    """Whether a listener must hear of each byte when it is written."""
    return listener is not nobody and not getattr(listener, "late", False)


class BadBoard(ValueError):
    """A board that cannot be built: one line that says what and why."""


class Board(Machine):
    """A machine with RAM, a processor and a console.

    `memory` in bytes; `cpu` a model's name.  What the guest writes to its console goes to `console` and, as it is written,
    to `on_output`; what it writes to the debug console at port E9h goes to `on_debug`.  A listener that need not hear of
    each byte when it is written is wrapped in `late`: it costs the guest nothing.
    """

    smallest = 1 * MIB
    screen: Screen | None = None

    def __init__(self, memory: int, cpu: str, costs: Costs | None) -> None:
        if memory < self.smallest or memory % MIB:
            raise BadBoard(f"a memory of {memory} bytes: it is whole MiB, from {self.smallest // MIB} MiB on")
        super().__init__(UnicornEngine(memory, cpu, costs))
        self.size, self.cpu = memory, cpu
        self.costs = costs or Costs()
        self.irqs = [0] * 16                            # how often each request was acknowledged
        self.console = Console()
        self.on_output: Callable[[bytes], None] = nobody
        self.on_debug: Callable[[bytes], None] = nobody
        self.start: Start | None = None
        self.drives = Drives()                          # files that the board's media lie in; closed with it
        self.watch = Watch(self)
        self.ram = self.memory("ram", memory)
        self.on_reset = self._restart

    def _console(self, uart: UART16550) -> SerialLine:
        """The line to the console's UART: a null modem, whose peer is there and ready."""
        for pin in (uart.cts, uart.dsr, uart.dcd):
            pin(1)
        return self.add("line1", SerialLine, uart.receive, lambda: uart.ready, lambda: uart.character_time)

    def _listened(self) -> bool:
        return at_once(self.on_output)

    def _debugged(self) -> bool:
        return at_once(self.on_debug)

    def written(self, data: bytes) -> None:
        """The console's UART sends `data`."""
        self.console.write(data)
        self.on_output(data)

    def send(self, data: str | bytes) -> None:
        """Type on the console, at the line's rate in guest time."""
        line = self.chips["line1"]
        assert isinstance(line, SerialLine)
        line.type(data.encode() if isinstance(data, str) else data)

    @property
    def text(self) -> str:
        """What the console has shown so far; of a guest that shows megabytes, the last three or four."""
        return self.console.kept.decode("utf-8", "replace")

    def shows(self, text: bytes) -> bool:
        """Whether `text` is on the screen now."""
        return self.screen is not None and text.decode("utf-8", "replace") in self.screen.text

    def counted(self, acknowledge: Callable[[], int], slave: bool = False) -> Callable[[], int]:
        """The same `acknowledge` of a PIC, counted in `irqs`: the low three bits of a vector are always the PIC's input."""
        irqs = self.irqs

        def master() -> int:
            vector = acknowledge()
            irqs[vector & 7] += 1
            return vector

        def behind() -> int:
            vector = acknowledge()
            irqs[8 | vector & 7] += 1
            irqs[vector & 7] -= 1               # the master's wrapper will count the slave's vector as its own
            return vector

        return behind if slave else master

    def save(self) -> dict[str, Any]:
        """As Machine.save, with the counts."""
        return {**super().save(), "irqs": list(self.irqs)}

    def restore(self, state: Mapping[str, Any], memories: Mapping[str, Any]) -> None:
        """The inverse of `save`."""
        super().restore(state, memories)
        self.irqs[:] = state["irqs"]
        if self.start is not None and self.start.mode == "firmware":
            self._offer(self.start)

    def close(self) -> None:
        """As Machine.close.  Raises OSError if something that the guest wrote on a drive could not be kept."""
        super().close()
        self.drives.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # -- memory

    def memory_map(self) -> list[tuple[int, int, int]]:
        """(start, length, E820 type) in the order of addresses."""
        raise NotImplementedError

    def read(self, address: int, length: int) -> bytes:
        """`length` bytes of physical memory, as the guest sees it; FFh where there is none."""
        pieces = [bytes(piece) if isinstance(piece, memoryview) else b"\xFF" * piece
                  for piece in self.engine.pieces(address, length)]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def write(self, address: int, data: bytes) -> None:
        """Write physical memory, as a DMA engine does; what would fall where there is none, or ROM, is dropped."""
        if not data:
            return
        done = 0
        for piece in self.engine.pieces(address, len(data), store=True):
            if isinstance(piece, memoryview):
                piece[:] = data[done:done + len(piece)]
                self.engine.changed(piece)
                done += len(piece)
            else:
                done += piece

    def fill(self, address: int, length: int, source: Callable[[memoryview], int]) -> int:
        """Let `source` put bytes straight into physical memory, as a DMA engine does, until it gives less than it could.

        Returns how many it gave, with those that fell where there is no memory.
        """
        done = 0
        for piece in self.engine.pieces(address, length, store=True):
            if isinstance(piece, memoryview):
                size, given = len(piece), source(piece)
                self.engine.changed(piece)
            else:
                size, given = piece, source(memoryview(bytearray(piece)))
            done += given
            if given < size:
                break
        return done

    def ram_ranges(self) -> list[tuple[int, int, int]]:
        """(physical address, offset in `ram`, length) of the RAM that the guest sees."""
        low = min(self.size, LOW_END)
        ranges = [(0, 0, low)] if low <= 0xA0000 else [(0, 0, 0xA0000), (MIB, MIB, low - MIB)]
        ranges.append((HIGH, low, self.size - low))
        return [piece for piece in ranges if piece[2] > 0]

    def _map_ram(self) -> None:
        for base, offset, length in self.ram_ranges():
            self.engine.map(base, self.ram[offset:offset + length], "ram")

    # -- starting

    def load(self, kernel: Path | bytes | str, *, initrd: str | None = None, append: str = "",
             name: str | None = None) -> Start:
        """Put a kernel in, to be started by the next `run`, and again by each reset.  Raises emu.loaders.BadImage."""
        self.start = load(Path(kernel) if isinstance(kernel, str) else kernel, memory_map=self.memory_map(),
                          initrd=initrd, append=append, screen=TextScreen() if self.screen is not None else None,
                          name=name, top=self._top())
        self._restart()
        return self.start

    def _top(self) -> int | None:
        """The end of the RAM below 4 GiB, where the board has a firmware that starts Linux kernels."""
        return None

    def _offer(self, start: Start) -> None:
        """Let the firmware find a kernel."""
        raise NotImplementedError

    def _firmware(self) -> None:
        """Leave in RAM what the board's firmware would have left there."""

    def _restart(self) -> None:
        if self.start is None:
            return
        if self.start.mode == "firmware":
            self._offer(self.start)
            return
        self._firmware()
        for address, data in self.start.blocks:
            self.write(address, data)
        registers = self.registers
        values = dict(self.start.registers)
        if self.start.mode == "protected":
            registers.cr0 = 0x11                            # PE, ET
            registers.gdtr = self.start.gdtr
            flat = x86.Segment(self.start.data, 0, 0xFFFF_FFFF, 0xC093)
            for name in ("ds", "es", "fs", "gs", "ss"):
                setattr(registers, name, flat)
            registers.cs = x86.Segment(self.start.code, 0, 0xFFFF_FFFF, 0xC09B)
        else:
            for name in ("cs", "ds", "es", "fs", "gs", "ss"):
                setattr(registers, name, x86.real_mode_segment(values.pop(name, 0)))
        for name, value in values.items():
            setattr(registers, "r" + name.removeprefix("e"), value)

    def run_until(self, text: str | bytes | None = None, *, seconds: float | None = None,
                  when: Callable[[], bool] | None = None) -> End:
        """Run until `text` appears on the console or the screen, `seconds` of guest time have passed, or `when()` holds.

        `text` counts from the end of what the console has shown before; the screen is looked at every 10 ms of guest time, as
        it is.  `when` is asked between slices, at least every 10 ms of guest time.  Returns End.ASKED for the first and the
        last, End.TIME for the second, otherwise why it ended.
        """
        wanted = text.encode() if isinstance(text, str) else text
        seen, before, poll = self.console.end, self.on_output, self.poll

        def output(data: bytes) -> None:
            before(data)
            if wanted is not None and self.console.find(wanted, max(seen, self.console.end - len(data) - len(wanted))) >= 0:
                self.stop()

        def between() -> None:
            poll()
            if when is not None and when():
                self.stop()

        def look() -> None:
            if wanted is not None and self.shows(wanted):
                self.stop()

        self.on_output, self.poll = before if wanted is None else output, between
        if wanted is not None and self.screen is not None:
            self.watch.add(look)
        try:
            return self.run(None if seconds is None else self.now + round(seconds * 1e9))
        finally:
            self.on_output, self.poll = before, poll
            self.watch.remove(look)
