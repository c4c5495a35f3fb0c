"""One run of a machine with the host around it: console, keys, script, limits, signals, the pace of an idle guest."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from emu.boards.board import Board, late
from emu.cli.monitor import FRAME, Monitor
from emu.cli.signals import Signals
from emu.debug import panic
from emu.debug.halt import reachable
from emu.host.display import Display
from emu.host.serial import Channel, Stdio
from emu.machine import SLICE as LONGEST
from emu.machine import End
from emu.script import Player, Step

LAG = 200_000_000           # ns that an idle guest catches up when the host was late; what is more is lost to it
SLICE = 100_000             # ns of guest time of the first slice
LOOK = 0.02, 0.2            # seconds of host time between two looks at the host: how many there should be, and may be
BOTH = 0.02                 # seconds of one sleep when both a serial line and a terminal may have something
LINE = 256                  # bytes in which a kernel's last line ends
TYPED = 256                 # bytes under way to the guest: a pipe is read when there are fewer

_ENDS = {End.TIME: "timeout", End.EXIT: "exit", End.POWEROFF: "poweroff", End.SHUTDOWN: "shutdown", End.HALTED: "halted"}


@dataclass(frozen=True)
class Limits:
    """When a run ends by itself; times in seconds from its start."""

    until: str | None = None
    script: list[Step] | None = None
    guest: float | None = None
    host: float | None = None


class Session:
    """`run()` runs `machine` with its console on `channel`, and returns why it stopped:

    until  script  left  exit  poweroff  shutdown  halted  panic  timeout  host-timeout, or the name of a signal.
    """

    def __init__(self, machine: Board, channel: Channel, limits: Limits, signals: Signals, realtime: bool,
                 debug: Channel | None = None, display: Display | None = None,
                 looks: Sequence[Callable[[], None]] = (), panicked: Callable[[], bool] = lambda: False) -> None:
        self.looks, self.panicked = looks, panicked
        self.debug, self.debugged = debug, bytearray()
        self.machine, self.channel, self.limits, self.signals = machine, channel, limits, signals
        self.pace = Pace() if realtime else None
        self.why: str | None = None
        self.wanted = limits.until.encode("utf-8", "surrogateescape") if limits.until is not None else None
        self.seen = machine.console.end
        self.pending = bytearray()
        self.line = machine.chips["line1"]
        self.raw = isinstance(channel, Stdio) and channel.raw is not None
        self.player = None if limits.script is None else Player(machine, limits.script, lambda: self._end("script"))
        self.monitor = None if display is None else Monitor(machine, display, self._end)
        self.looked = time.monotonic()
        self.deadline = 0.0 if limits.host is None else time.monotonic() + limits.host

    def run(self) -> str:
        machine = self.machine
        watched = self.wanted is not None or self.player is not None
        machine.on_output = self._output if watched else late(self._output)
        machine.poll, machine.idle = self._poll, self._idle
        if self.wanted is not None and machine.screen is not None:
            machine.watch.add(self._look)
        if self.debug is not None:                      # on the console's own channel, in the order in which they came
            kept = self.pending if self.debug is self.channel else self.debugged
            machine.on_debug = late(kept.extend)
        if self.player is not None:
            self.player.start()
        guest = self.limits.guest
        machine.slice = SLICE
        self.signals.wake = machine.stop
        try:
            end = machine.run(None if guest is None else machine.now + round(guest * 1e9))
        finally:
            self.signals.wake = lambda: None
            machine.slice = LONGEST
            self._flush()
            if self.monitor is not None:
                self.monitor.draw(time.monotonic())
        if self.player is not None and self.player.failure is not None:
            raise self.player.failure
        if self.why is None and self.signals.caught is not None:
            self.why = self.signals.caught.name
        return _ENDS.get(end) or self.why or "asked"

    def _end(self, why: str) -> None:
        self.why = self.why or why
        self.machine.stop()

    # -- the console

    def _output(self, data: bytes) -> None:
        """Kept until the next look at the host: the UART sends single bytes."""
        self.pending += data
        if self.wanted is not None:
            start = max(self.seen, self.machine.console.end - len(data) - len(self.wanted) + 1)
            if self.machine.console.find(self.wanted, start) >= 0:
                self._end("until")
            elif panic.END in self.machine.console.kept[-LINE:] and data.endswith(b"\n") and self.panicked():
                self._end("panic")                      # nothing will ever appear
        if self.player is not None:
            self.player.output()

    def _look(self) -> None:
        """At the screen."""
        if self.wanted is not None and self.machine.shows(self.wanted):
            self._end("until")

    def _flush(self) -> None:
        if self.pending:
            self.channel.write(bytes(self.pending))
            self.pending.clear()
        if self.debug is not None and self.debugged:
            self.debug.write(bytes(self.debugged))
            self.debugged.clear()

    # -- between slices

    def _poll(self) -> None:
        self._flush()
        for look in self.looks:
            look()
        if self.signals.caught is not None:
            self._end(self.signals.caught.name)
        now = time.monotonic()
        if self.limits.host is not None and now >= self.deadline:
            self._end("host-timeout")
        self._measure(now)
        # While a script types nobody else does, as the run is to repeat.  A person's keys are read at any rate, for
        # Ctrl-A x must always work; a pipe's bytes can wait where they are.
        if self.player is None and (self.raw or len(self.line.queue) < TYPED):
            if data := self.channel.read():
                self.machine.send(data)
                self.machine.watch.wake()
            if self.channel.left:
                self._end("left")
        if self.monitor is not None:
            self.monitor.poll(now, self.player is None)

    def _measure(self, now: float) -> None:
        """Look at the host often enough also while the guest is slow (it runs where no memory is, or rewrites its code)."""
        took, self.looked = now - self.looked, now
        if took > LOOK[1]:
            self.machine.slice = max(self.machine.slice // 8, SLICE // 10)
        elif took < LOOK[0]:
            self.machine.slice = min(self.machine.slice * 2, LONGEST)

    @property
    def attached(self) -> bool:
        """Whether input may still come."""
        monitor = self.monitor is not None and self.monitor.display.interactive
        return self.player is None and (self.channel.interactive or monitor)

    # -- a halted guest

    def _idle(self, target: int | None) -> int | None:
        machine = self.machine
        if not reachable(machine):                      # nothing will ever open the interrupt controllers again
            return None
        alarm = machine.clock.next()
        if self.pace is None and alarm is not None:
            return target                               # the next alarm, or the end of the run before it
        self._poll()
        if self.why or machine.clock.next() != alarm:   # input has come
            return machine.now
        if alarm is None and not self.attached:
            return None
        if self.pace is None and target is not None:
            return target                               # nothing but input could come before the end of the run
        if self.pace is not None:
            self.pace.rest(machine.now)
        while not self.why:
            now = machine.now if self.pace is None else max(machine.now, self.pace.now())
            if target is not None and now >= target:
                return target
            if machine.clock.next() != alarm:           # input has come
                return now
            if alarm is None and not self.attached:
                return None
            self._wait(1.0 if target is None else (target - now) / 1e9)
            self._poll()
        return machine.now

    def _wait(self, seconds: float) -> None:
        """Sleep until something may have come from the host."""
        if self.monitor is None:
            self.channel.wait(seconds)
            return
        if self.channel.interactive:
            self.channel.wait(0)
            seconds = min(seconds, BOTH)
        self.monitor.display.wait(min(seconds, FRAME[1]))


class Pace:
    """Guest time that follows the host's clock, from where the two met last."""

    def __init__(self) -> None:
        self.host, self.guest = time.monotonic_ns(), 0

    def now(self) -> int:
        """Guest time by the host's clock."""
        return self.guest + time.monotonic_ns() - self.host

    def rest(self, guest: int) -> None:
        """The guest begins to rest at its time `guest`: if it ran ahead of the host, or far behind it, they meet here."""
        if not 0 <= self.now() - guest <= LAG:
            self.host, self.guest = time.monotonic_ns(), guest
