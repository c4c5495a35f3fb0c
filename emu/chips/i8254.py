"""8254 programmable interval timer.

[I] Intel 8254 data sheet, order 231164-005, September 1993.

CLK runs since power-on, the same one for all counters; nothing ticks.  A counter is kept as it was at one CLK pulse,
and `advance` moves it on by any number of pulses.  An alarm is set only where OUT is wired to something; for the others
there is `out`.

A write or a change of GATE is seen by the next CLK pulse.  Where the data sheet says "undefined" or "illegal": before
it is programmed a counter is in mode 0 without a count; a count of 1 in modes 2 and 3 acts as 2; BCD digits above 9
carry.

Not modelled: the low clock of a strobe (modes 2, 4, 5) on the pin: OUT falls and rises at its end.
"""

from __future__ import annotations

from typing import TypedDict

from emu.device import RW, Alarm, Device, In, Out, OutPin, Reg, State, Timer, W

CLOCK_HZ = 1193182
SECOND = 10**9


def moment(pulse: int) -> int:
    """The ns at which a CLK pulse has come."""
    return -(-pulse * SECOND // CLOCK_HZ)


class Counter(TypedDict):
    """One counter at CLK pulse `tick`."""

    control: int            # the last control word, without the counter's number
    gate: int
    out: int
    cr: int                 # count register: 1 to 65536, 0 while no count has been written
    null: int               # cr has not been loaded yet
    load: int               # cr is loaded by the next CLK pulse
    running: int            # a count has been loaded
    left: int               # CLK pulses to the end of the count (mode 3: of the half-cycle); below 0 once it is over
    odd: int                # mode 3: this half-cycle has the extra clock of an odd count
    tick: int
    low: int | None         # a half-written count
    high: int               # the next read is of the high byte
    latch: int | None       # the latched count
    status: int | None      # the latched status
    edge: int               # the CLK pulse at which the alarm rings; 0: it is off
    period: int             # mode 2: the distance of the edges, until something is written


POWER_ON = Counter(
    control=0x30, gate=1, out=0, cr=0, null=1, load=0, running=0, left=0, odd=0, tick=0,
    low=None, high=0, latch=None, status=None, edge=0, period=0)

MODE = (0, 1, 2, 3, 4, 5, 2, 3)                         # of bits 3-1 of the control word: X10, X11


def mode(c: Counter) -> int:
    return MODE[c["control"] >> 1 & 7]


def modulus(c: Counter) -> int:
    return 10000 if c["control"] & 1 else 0x10000


def advance(c: Counter, tick: int) -> None:
    """Bring the counter to CLK pulse `tick`."""
    pulses = tick - c["tick"]
    if pulses <= 0:
        return
    c["tick"] = tick
    m = mode(c)
    if c["load"]:
        pulses -= 1
        c["load"] = c["null"] = 0
        c["running"] = 1
        c["out"] = int(m > 1)
        c["left"], c["odd"] = ((c["cr"] + 1) // 2, c["cr"] & 1) if m == 3 else (c["cr"], 0)
        if not pulses:
            return
    if not c["running"]:
        return
    if m >= 4:
        c["out"] = 1                                    # the strobe lasts one clock, whatever GATE is
    if not c["gate"] and m not in (1, 5):
        return
    c["left"] = left = c["left"] - pulses
    if m == 2:
        if left <= 0:
            c["null"] = 0
            c["left"] = left = (left - 1) % c["cr"] + 1
        c["out"] = int(left != 1)
    elif m == 3:
        if left <= 0:
            c["null"] = 0
            out, past = 1 - c["out"], -left % c["cr"]
            if past >= (c["cr"] + out) // 2:
                past -= (c["cr"] + out) // 2
                out = 1 - out
            c["out"], c["left"], c["odd"] = out, (c["cr"] + out) // 2 - past, c["cr"] & out
    elif m >= 4:
        c["out"] = int(left != 0)
    elif left <= 0:
        c["out"] = 1


def next_edge(c: Counter) -> int:
    """The CLK pulse of the next change of OUT (for a strobe, of its end), or 0."""
    m = mode(c)
    if c["load"]:
        first, left = c["tick"] + 1, (c["cr"] + 1) // 2 if m == 3 else c["cr"]
        if m == 1:
            return first                                # OUT falls, unless it is low already
    else:
        first, left = c["tick"], c["left"]
        if not c["running"]:
            return 0
    if m >= 4 and not c["out"]:
        return c["tick"] + 1
    if left <= 0 or not (c["gate"] or m in (1, 5)):
        return 0
    return first + left + (m >= 4)


def shown(c: Counter) -> int:
    """The counting element, as it is read."""
    value = (2 * (c["left"] - c["odd"]) if mode(c) == 3 else c["left"]) % modulus(c)
    if c["control"] & 1:
        return value // 1000 << 12 | value // 100 % 10 << 8 | value // 10 % 10 << 4 | value % 10
    return value


class I8254(Device):
    """`gates` are the counters whose GATE is wired; that of the others is tied high (the AT wires GATE2 only)."""

    COUNTER0 = Reg(0, RW, "counter 0: count or status")
    COUNTER1 = Reg(1, RW, "counter 1: count or status")
    COUNTER2 = Reg(2, RW, "counter 2: count or status")
    CONTROL = Reg(3, W, "control word", "SC1 SC0 RW1 RW0 M2 M1 M0 BCD")

    COUNTERS = State([Counter(**POWER_ON) for _ in range(3)], "see Counter")

    GATE0 = In("gate of counter 0")
    GATE1 = In("gate of counter 1")
    GATE2 = In("gate of counter 2")
    OUT0 = Out("output of counter 0")
    OUT1 = Out("output of counter 1")
    OUT2 = Out("output of counter 2")
    EDGE0 = Timer("the next change of OUT0")
    EDGE1 = Timer("the next change of OUT1")
    EDGE2 = Timer("the next change of OUT2")

    def __init__(self, gates: tuple[int, ...] = (2,)) -> None:
        self.gates = gates
        self.outs: tuple[OutPin, ...] = self.out0, self.out1, self.out2

    def reset(self) -> None:
        super().reset()
        for n, pin in enumerate((self.gate0, self.gate1, self.gate2)):
            if n in self.gates:
                self.counters[n]["gate"] = pin.level

    # Time

    def out(self, n: int) -> int:
        """The level of OUT now; asking changes nothing."""
        c: Counter = self.counters[n].copy()
        advance(c, self.clock.now * CLOCK_HZ // SECOND)
        return c["out"]

    def tone(self, n: int) -> float:
        """The frequency of OUT in Hz, while it repeats itself; otherwise 0."""
        c: Counter = self.counters[n]
        repeats = mode(c) in (2, 3) and c["gate"] and (c["running"] or c["load"])
        return CLOCK_HZ / c["cr"] if repeats else 0.0

    def current(self, n: int) -> Counter:
        """Counter `n`, brought to the present."""
        c: Counter = self.counters[n]
        tick = self.clock.now * CLOCK_HZ // SECOND
        while 0 < c["edge"] <= tick:                                    # the alarm is late
            self.ring(n)
        advance(c, tick)
        return c

    def change(self, n: int) -> Counter:
        """Counter `n`, about to be changed: the pin first, for what follows may end a strobe before its alarm."""
        c = self.current(n)
        self.outs[n](c["out"])
        return c

    def on_EDGE0(self) -> None:
        c: Counter = self.counters[0]
        if c["period"]:                                                 # the frequent case of ring()
            self.passed(1)
            self.out0(0)
            self.out0(1)
        else:
            self.ring(0)

    def pulses(self) -> tuple[int, int] | None:
        """The CLK pulse of the next edge of OUT0 and the distance of all that follow, while they repeat themselves."""
        c: Counter = self.counters[0]
        return (c["edge"], c["period"]) if c["period"] else None

    def passed(self, edges: int) -> None:
        """Let so many edges of OUT0, which repeat themselves, have passed; whoever hears of them knows."""
        c: Counter = self.counters[0]
        c["edge"] = edge = c["edge"] + edges * c["period"]
        self.edge0.at(moment(edge))

    def on_EDGE1(self) -> None:
        self.ring(1)

    def on_EDGE2(self) -> None:
        self.ring(2)

    def ring(self, n: int) -> None:
        """OUT changes: each edge at its own CLK pulse, even when the alarm is late."""
        c: Counter = self.counters[n]
        if c["edge"]:
            advance(c, c["edge"])
            if mode(c) in (2, 4, 5):
                self.outs[n](0)
        self.update(n)

    def update(self, n: int) -> None:
        c: Counter = self.counters[n]
        edge = c["edge"] = next_edge(c) if self.outs[n].sinks else 0
        c["period"] = c["cr"] if edge and mode(c) == 2 else 0
        alarm: Alarm = (self.edge0, self.edge1, self.edge2)[n]
        if edge:
            alarm.at(moment(edge))
        else:
            alarm.off()
        self.outs[n](c["out"])

    # GATE.  [I] fig. 21

    def on_GATE0(self, _: int, level: int) -> None:
        self.gate(0, level)

    def on_GATE1(self, _: int, level: int) -> None:
        self.gate(1, level)

    def on_GATE2(self, _: int, level: int) -> None:
        self.gate(2, level)

    def gate(self, n: int, level: int) -> None:
        if n not in self.gates:
            return
        c = self.change(n)
        c["gate"] = level
        m = mode(c)
        if level and m in (1, 2, 3, 5) and c["cr"]:
            c["load"] = 1
        elif not level and m in (2, 3):
            c["out"] = 1                                # at once, no CLK pulse is needed
        self.update(n)

    # Registers

    def write_CONTROL(self, value: int) -> None:
        self.control = value
        if value >= 0xC0:
            self.read_back(value)
        elif value & 0x30:
            self.program(value >> 6, value & 0x3F)
        else:
            self.latch_count(value >> 6)

    def program(self, n: int, control: int) -> None:
        c = self.change(n)
        c.update(Counter(**{**POWER_ON, "control": control, "gate": c["gate"], "tick": c["tick"]}))
        c["out"] = int(mode(c) != 0)
        self.update(n)

    def read_back(self, command: int) -> None:
        """[I] "Read-back command" """
        for n in range(3):
            if command >> n & 2:
                if not command & 0x20:
                    self.latch_count(n)
                if not command & 0x10:
                    self.latch_status(n)

    def latch_count(self, n: int) -> None:
        c = self.current(n)
        if c["latch"] is None:                          # held until it is read
            c["latch"] = shown(c)

    def latch_status(self, n: int) -> None:
        c = self.current(n)
        if c["status"] is None:
            c["status"] = c["out"] << 7 | c["null"] << 6 | c["control"]

    def read(self, n: int) -> int:
        c = self.current(n)
        if (status := c["status"]) is not None:
            c["status"] = None
            return status
        value = shown(c) if c["latch"] is None else c["latch"]
        access = c["control"] >> 4
        if access == 3:
            c["high"] ^= 1
            if c["high"]:
                return value & 0xFF
        c["latch"] = None
        return value & 0xFF if access == 1 else value >> 8

    def write(self, n: int, value: int) -> None:
        c = self.change(n)
        access, m = c["control"] >> 4, mode(c)
        if m == 0:
            c["out"] = 0                                # at once; the first of two bytes also stops the counter
        if access == 3 and c["low"] is None:
            c["low"] = value
            if m == 0:
                c["running"] = c["load"] = 0
        else:
            count = value if access == 1 else value << 8 | (c["low"] or 0)
            c["low"] = None
            self.count(c, count)
        self.update(n)

    def count(self, c: Counter, count: int) -> None:
        """A count has been written."""
        m = mode(c)
        if c["control"] & 1:
            count = ((count >> 12) * 1000 + (count >> 8 & 15) * 100 + (count >> 4 & 15) * 10 + (count & 15)) % 10000
        first = c["cr"] == 0
        c["cr"] = max(count or modulus(c), 2 if m in (2, 3) else 1)
        c["null"] = 1
        if m in (0, 4) or (first and m in (2, 3)):      # modes 1 and 5 wait for a trigger, 2 and 3 for the cycle's end
            c["load"] = 1

    def read_COUNTER0(self) -> int:
        return self.read(0)

    def read_COUNTER1(self) -> int:
        return self.read(1)

    def read_COUNTER2(self) -> int:
        return self.read(2)

    def write_COUNTER0(self, value: int) -> None:
        self.write(0, value)

    def write_COUNTER1(self, value: int) -> None:
        self.write(1, value)

    def write_COUNTER2(self, value: int) -> None:
        self.write(2, value)
