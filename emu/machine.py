"""A machine: an engine, chips on two buses, wires between their pins, and the loop that runs them in virtual time."""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from emu.bus import Bus
from emu.clock import Clock
from emu.device import Alarm, Device, InPin, OutPin
from emu.engine import Engine, Registers, Stop, Ticker

SLICE = 10_000_000          # ns of guest time: Ctrl-C, keys and limits get through at least this often
PAGE = 4096
SAVE_VERSION = 1
FOREVER = 1 << 62
PLACE = 0x10000             # of memory: what a guest finds empty there is noted once
NOTES = 1000                # a guest that scans an address space must not fill the host's memory

D = TypeVar("D", bound=Device)


class End(enum.Enum):
    """Why `Machine.run` returned."""

    TIME = "time"               # the time given to `run` has come
    ASKED = "asked"             # somebody called `stop`
    EXIT = "exit"               # the guest left by its exit port: `Machine.exit_code`
    POWEROFF = "poweroff"       # the guest switched the power off
    SHUTDOWN = "shutdown"       # triple fault
    HALTED = "halted"           # HLT with interrupts disabled, or with nothing armed that could end it


class Machine:
    """`add` the parts, `wire` the nets, `run`.  A board (emu.boards) is a function or class that does the first two.

    `poll` is called between slices, at least every 10 ms of guest time, and oftener if that takes the host long: its input
    enters there.  `idle(time)` is called when the guest is halted until the alarm at `time` (None: until an input), and
    returns the time to go on at.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.clock = Clock(engine.now, self._nearer)
        self.notes: list[str] = []                      # what a person should be told
        self.ports = Bus(self._unclaimed("port", 1))
        self.mmio = Bus(self._unclaimed("memory", PLACE), PLACE)
        self.chips: dict[str, Device] = {}
        self.memories: dict[str, memoryview] = {}
        self.roms: dict[str, memoryview] = {}
        self.poll: Callable[[], None] = lambda: None
        self.idle: Callable[[int | None], int | None] = lambda time: time
        self.on_reset: Callable[[], None] = lambda: None
        self.exit_code: int | None = None
        self.resets = 0
        self.slice = SLICE                              # ns; may be changed at any time, and no run differs by it
        self._polled = self._leave = 0
        self._asked: End | None = None
        self._reset = False

    # -- building

    def add(self, name: str, cls: type[D], *args: Any, **blocks: int) -> D:
        """Make a chip, place its register blocks on the I/O ports, power it on."""
        chip = cls(*args)
        chip.attach(name, self.clock)
        for block, base in blocks.items():
            self.ports.place(chip, block, base)
        self.chips[name] = chip
        return chip

    def attach(self, acknowledge: Callable[[], int], ticker: Ticker | None = None) -> None:
        """Join the engine to the buses; `acknowledge` answers its interrupt acknowledge cycle with a vector."""
        self.engine.attach(self.ports, self.mmio, acknowledge, self._expired, ticker, self._look)

    def absent(self, name: str, at: int, length: int = 8) -> None:
        """Say that the part `name` could be at port `at` and is not there."""
        self.ports.leave(at, length, name)

    def wire(self, *nets: tuple[OutPin, InPin | Callable[[int], None]]) -> None:
        """Join output pins to inputs; a function is an input of the engine or of the board."""
        for source, sink in nets:
            drive = sink.wire() if isinstance(sink, InPin) else sink
            source.sinks.append(drive)
            if source.level:
                drive(source.level)

    def memory(self, name: str, length: int) -> memoryview:
        """Zeroed memory that a snapshot knows as `name`."""
        self.memories[name] = self.engine.memory(length)
        return self.memories[name]

    def rom(self, name: str, data: bytes) -> memoryview:
        """Memory that holds `data` and does not change: no part of a snapshot.  FFh up to a whole page."""
        memory = self.engine.memory(-(-len(data) // PAGE) * PAGE)
        memory[:] = data.ljust(len(memory), b"\xFF")
        self.roms[name] = memory
        return memory

    def view(self, address: int, length: int, memory: memoryview | None, kind: str,
             writes: memoryview | None = None) -> None:
        """Show `memory` (of `memory` or `rom`) at a physical address from the guest's next access on: see Engine.view.

        A view is derived: who asked for it asks again in its `reset` and `on_restore`.
        """
        self.engine.view(address, length, memory, kind, writes)

    def _unclaimed(self, space: str, grain: int) -> Callable[[str, int, int], None]:
        verbs = {"r": "read from", "w": "write to"}
        return lambda access, address, size: self.note(
            f"{verbs[access]} {space} {address // grain * grain:#x}, where nothing is")

    def note(self, text: str) -> None:
        """Remember something that a person should be told, once."""
        if text not in self.notes and len(self.notes) < NOTES:
            self.notes.append(text)

    def __getitem__(self, name: str) -> Device:
        return self.chips[name]

    # -- running

    def _nearer(self, time: int) -> None:
        self.clock.horizon = time
        self.engine.due(time)

    def stop(self, why: End = End.ASKED) -> None:
        """Make `run` return at the next block; legal in a callback of a chip and in a signal handler."""
        self._asked = self._asked or why
        self.engine.stop()

    def exit(self, code: int) -> None:
        """The guest leaves with `code`."""
        self.exit_code = code
        self.stop(End.EXIT)

    def power_off(self, level: int = 1) -> None:
        """The line that switches the power off rises."""
        if level:
            self.stop(End.POWEROFF)

    def ask_reset(self, level: int = 1) -> None:
        """A reset line rises: the machine resets when the current block is done."""
        if level:
            self._reset = True
            self.engine.stop()

    def reset(self) -> None:
        """As after power-on, but for RAM and time; then `on_reset`."""
        self._reset = False
        self._polled = -SLICE                   # a guest may reset faster than time passes
        self.resets += 1
        for chip in self.chips.values():
            chip.reset()
        self.engine.reset()
        self.on_reset()

    def run(self, until: int | None = None) -> End:
        """Run to the time `until` (ns since power-on), or for as long as the guest lives."""
        engine, clock = self.engine, self.clock
        limit = FOREVER if until is None else until
        now = engine.now()
        while True:
            if self._reset:
                self.reset()
            if self._asked:
                asked, self._asked = self._asked, None
                return asked
            clock.ring(now)
            if now >= self._polled + self.slice:
                self._polled = now
                self.poll()
                if self._asked:
                    continue
            if now >= limit:
                return End.TIME
            self._leave = min(now + self.slice, limit)
            self._due()
            stop = engine.run()
            clock.horizon = 0                   # an alarm that is set between slices moves nothing
            if stop is not Stop.DUE and not (self._asked or self._reset):
                if stop is Stop.SHUTDOWN:
                    return End.SHUTDOWN
                if stop is Stop.DEAD or (stop is Stop.HLT and not self._sleep(until)):
                    return End.HALTED
            now = engine.now()

    def _due(self) -> None:
        """Let the guest run to the next alarm, or until the loop must be left."""
        end, alarm = self._leave, self.clock.next()
        if alarm is not None and alarm < end:
            end = alarm
        self.clock.horizon = end
        self.engine.due(end)

    def _expired(self) -> bool:
        """The engine has come to where `_due` sent it, in the middle of its run: ring, and go on if that is all."""
        now = self.engine.now()
        self.clock.ring(now)
        if now >= self._leave or self._asked or self._reset:
            return True
        self._due()
        return False

    def _look(self) -> bool:
        """The engine says that the host has waited for long."""
        self._polled = self.engine.now()
        self.poll()
        return bool(self._asked or self._reset)

    def until(self, alarm: Alarm) -> int:
        """While the guest runs: the later time until which the machine waits for nothing but `alarm`, which is due; or 0."""
        return self.clock.until(alarm, self.engine.now(), self._leave)

    def caught_up(self) -> None:
        """Alarms have been moved on by what the engine did by itself."""
        self._due()

    def _sleep(self, until: int | None) -> bool:
        """Let a halted guest's time pass to the next alarm; False when nothing can ever wake it."""
        alarm = self.clock.next()
        target = alarm if until is None else until if alarm is None else min(alarm, until)
        time = self.idle(target)
        if time is None:
            return False
        self.engine.skip(time)
        return True

    # -- looking

    @property
    def now(self) -> int:
        """ns of guest time since power-on."""
        return self.engine.now()

    @property
    def registers(self) -> Registers:
        """The processor's registers, live."""
        return self.engine.registers()

    def save(self) -> dict[str, Any]:
        """The state of the processor and of every chip, as plain values; the memories are beside it, in `memories`."""
        return {
            "version": SAVE_VERSION,
            "processor": self.engine.save(),
            "chips": {name: chip.save() for name, chip in self.chips.items()},
            "memories": {name: len(memory) for name, memory in self.memories.items()},
            "resets": self.resets,
        }

    def restore(self, state: Mapping[str, Any], memories: Mapping[str, Any]) -> None:
        """The inverse of `save`; `memories` holds name -> (offset, bytes) pieces of what is not zero.

        Raises ValueError if the state is of another board.
        """
        if state.get("version") != SAVE_VERSION:
            raise ValueError(f"a snapshot of version {state.get('version')}; this program reads version {SAVE_VERSION}")
        for what, ours in (("chips", self.chips), ("memories", self.memories)):
            if set(state[what]) != set(ours):
                raise ValueError(f"a snapshot of another board: it has other {what}")
        for name, length in state["memories"].items():
            if length != len(self.memories[name]):
                raise ValueError(f"a snapshot with {length >> 10} KiB of {name}; this machine has "
                                 f"{len(self.memories[name]) >> 10} KiB")
        for name, memory in self.memories.items():
            self._fill(memory, memories[name])
        self.engine.restore(state["processor"])
        for name, chip in self.chips.items():
            chip.restore(state["chips"][name])
        self.resets = state["resets"]
        self._polled = self.engine.now()

    @staticmethod
    def _fill(memory: memoryview, pieces: Iterator[tuple[int, bytes]]) -> None:
        done = 0
        for offset, data in pieces:
            Machine._clear(memory, done, offset)
            memory[offset:offset + len(data)] = data
            done = offset + len(data)
        Machine._clear(memory, done, len(memory))

    @staticmethod
    def _clear(memory: memoryview, start: int, end: int) -> None:
        """Zero what is not: a page of a new machine that nobody has written costs the host nothing, and stays so."""
        zeros = bytes(1 << 16)
        for at in range(start, end, len(zeros)):
            piece = memory[at:min(at + len(zeros), end)]
            if bytes(piece) != zeros[:len(piece)]:
                piece[:] = zeros[:len(piece)]

    def state_sha256(self) -> str:
        """A digest of registers, chips and memories in canonical form; of nothing that only counts."""
        state = self.save()
        processor = {key: value for key, value in state["processor"].items() if key not in ("counters", "skipped")}
        digest = hashlib.sha256(canonical({"processor": processor, "chips": state["chips"]}))
        for name in sorted(self.memories):
            digest.update(self.memories[name])
        return digest.hexdigest()

    def close(self) -> None:
        """Give everything back."""
        self.engine.close()


def canonical(state: Any) -> bytes:
    """JSON with sorted keys; bytes as {"hex": ...}."""

    def encode(value: Any) -> Any:
        if isinstance(value, (bytes, bytearray)):
            return {"hex": value.hex()}
        raise TypeError(f"{type(value).__name__} in a saved state")

    return json.dumps(state, sort_keys=True, separators=(",", ":"), default=encode).encode()
