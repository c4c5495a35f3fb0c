"""8259A programmable interrupt controller.

[I] Intel 8259A data sheet, order 231468-003, December 1988; [P] 82371SB (PIIX3), order 290550-002, for ELCR.

Eight request inputs; two chips in cascade make the AT's fifteen.  The slave's INT is wired to an IR input of the
master; its `acknowledge` is in the master's `cascade`, which stands for the CAS lines.

Not modelled: MCS-80 mode (ICW4.uPM = 0 acts as 1), buffered mode (ICW4.BUF and M/S are kept), the slave's comparison of
its identity (ICW3) with the CAS lines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from emu.device import RW, VALUE, Device, In, Out, R, Reg, State, W

# Written as plain numbers where a request passes: OCW3.SMM is a search in a dict
SMM, P, RIS = 0x20, 0x04, 0x01                  # OCW3
ROTATE, SL, EOI = 0x80, 0x40, 0x20              # OCW2
SFNM, AEOI = 0x10, 0x02                         # ICW4
NONE = 8                                        # the level of no request


def _first(lowest: int, levels: int) -> int:
    turned = (levels << 8 | levels) >> lowest + 1 & 0xFF        # the highest level as bit 0
    return ((turned & -turned).bit_length() + lowest) % 8 if turned else NONE


def _above(lowest: int, levels: int) -> int:
    turned = (levels << 8 | levels) >> lowest + 1 & 0xFF
    above = (turned & -turned) - 1 & 0xFF
    return (above << lowest + 1 | above >> 7 - lowest) & 0xFF


# Both are indexed with (the level of lowest priority) << 8 | levels
FIRST = bytes(_first(lowest, levels) for lowest in range(8) for levels in range(256))    # the highest level, or NONE
ABOVE = bytes(_above(lowest, levels) for lowest in range(8) for levels in range(256))    # all that are above that one


class I8259(Device):
    """`cascade` makes it a master: the `acknowledge` of the slave behind each IR input that has one."""

    # Offset 0 takes three words: OCW2 is decoded first, as it is the frequent one, and passes the others on.
    OCW2 = Reg(0, W, "end of interrupt, rotation", "R SL EOI 0 0 L2 L1 L0")
    OCW3 = Reg(0, W, "special mask, poll, which register is read", "0 ESMM SMM 0 1 P RR RIS")
    ICW1 = Reg(0, W, "starts the initialization", "A7 A6 A5 1 LTIM ADI SNGL IC4")
    IRR = Reg(0, R, "interrupt request register, or the poll word", native=VALUE)
    ISR = Reg(0, R, "in-service register, when OCW3.RIS = 1", native=VALUE)
    IMR = Reg(1, RW, "interrupt mask register; writing it is OCW1", native=VALUE)
    ICW2 = Reg(1, W, "vector of IR0, after ICW1", "T7 T6 T5 T4 T3 0 0 0", bank=2)
    ICW3 = Reg(1, W, "inputs with a slave, or the slave's identity; if ICW1.SNGL = 0", bank=3)
    ICW4 = Reg(1, W, "mode; if ICW1.IC4 = 1", "0 0 0 SFNM BUF MS AEOI uPM", bank=4)
    ELCR = Reg(0, RW, "edge/level control: 1 = level", block="elcr", native=VALUE)                      # [P] ELCR1, ELCR2

    LOWEST = State(7, "the level with the lowest priority")
    ROTATE = State(0, "rotate in automatic EOI mode")
    SENSE = State(0, "inputs that are level sensitive")
    SLAVES = State(0, "inputs with a slave")
    OPEN = State(0xFF, "levels that may interrupt: not masked, and above what is in service")

    IR = In("interrupt requests", width=8)
    INT = Out("to the CPU, or to an IR input of the master")

    def __init__(self, cascade: Mapping[int, Callable[[], int]] | None = None) -> None:
        self.cascade = dict(cascade or {})
        self.master = cascade is not None
        # Always edge: timer, keyboard and cascade; clock and coprocessor.  [P] ELCR1, ELCR2
        self.switchable = 0xF8 if self.master else 0xDE

    # Initialization command words: the bank says which one offset 1 takes next.  [I] fig. 6

    def write_ICW1(self, value: int) -> None:
        self.icw1 = value
        self.imr = self.isr = self.icw3 = self.icw4 = self.ocw3 = self.rotate = self.slaves = 0
        self.lowest = 7
        self.sensitivity()
        self.irr = self.lines() & self.sense    # an edge-sensitive input must fall and rise again
        self.select(2)
        self.update()

    def write_ICW2(self, value: int) -> None:
        self.icw2 = value & 0xF8
        self.select(3 if not self.icw1 & 0x02 else 4 if self.icw1 & 0x01 else 0)

    def write_ICW3(self, value: int) -> None:
        self.icw3 = value
        self.slaves = value if self.master else 0
        self.select(4 if self.icw1 & 0x01 else 0)
        self.update()

    def write_ICW4(self, value: int) -> None:
        self.icw4 = value & 0x1F
        self.select(0)
        self.update()

    # Requests

    def on_IR(self, pin: int, level: int) -> None:
        # Edge or level, the request is withdrawn with the line: [I] "Edge and level triggered modes", fig. 10
        bit = 1 << pin
        if level:
            self.irr |= bit
        elif self.irr & bit:
            self.irr &= ~bit
        else:
            return                              # it has been served: nothing to withdraw
        self.int(1 if self.irr & self.open else 0)

    def acknowledge(self) -> int:
        """The CPU takes INTA: the vector."""
        vector: int = self.icw2
        ready = self.irr & self.open
        if not ready:
            return vector | 7                   # "default IR7": the request is gone; no ISR bit is set
        level = self.serve(ready)
        if self.slaves >> level & 1:
            slave = self.cascade.get(level)
            return slave() if slave else 0xFF   # nobody drives the bus
        return vector | level

    def serve(self, ready: int) -> int:
        """Put the highest level of `ready` in service."""
        level = FIRST[self.lowest << 8 | ready]
        self.irr &= self.sense | ~(1 << level)  # the edge sense latch is used up
        if not self.icw4 & AEOI:
            self.isr |= 1 << level
        elif self.rotate:
            self.lowest = level
        self.int(0)                             # a further request is a new edge: the master's input may need one
        if self.ready():
            self.int(1)
        return level

    def update(self) -> None:
        self.int(1 if self.ready() else 0)

    def ready(self) -> int:
        """The requests that may interrupt, after a change of anything but IRR."""
        isr = self.isr & ~self.imr if self.ocw3 & SMM else self.isr     # in_service(), in the path of every interrupt
        allowed = ABOVE[self.lowest << 8 | isr]
        if self.icw4 & SFNM:                    # a slave in service may interrupt again
            allowed |= 1 << FIRST[self.lowest << 8 | isr] & self.slaves
        self.open = allowed = allowed & ~self.imr
        requests: int = self.irr & allowed
        return requests

    def in_service(self) -> int:
        """What holds off lower levels, and what a non-specific EOI sees: in special mask mode, not what is masked."""
        isr: int = self.isr
        return isr & ~self.imr if self.ocw3 & SMM else isr

    def lines(self) -> int:
        return sum(pin.level << i for i, pin in enumerate(self.ir))

    def cycle(self, level: int) -> tuple[int, int] | None:
        """(vector, OCW2): after an edge on IR`level`, INTA and this OCW2, the one that was written last, all is as it is now.

        None where it is not so, or where the request would have to wait.
        """
        bit, end, pin = 1 << level, self.ocw2, self.ir[level]
        if (self.isr or self.irr & self.open or not self.open & bit or (self.sense | self.slaves) & bit
                or self.icw4 & AEOI or self.ocw3 & SMM or not (end == EOI or end == EOI | SL | level)
                or not pin.level or pin.drivers & pin.drivers - 1):
            return None
        return self.icw2 | level, end

    # Operation command words

    def write_IMR(self, value: int) -> None:
        self.imr = value
        self.update()

    def write_OCW2(self, value: int) -> None:
        if value & 0x18:
            (self.write_ICW1 if value & 0x10 else self.write_OCW3)(value)
            return
        self.ocw2 = value
        if value & (SL | EOI):
            level = value & 7 if value & SL else FIRST[self.lowest << 8 | self.in_service()]
            if value & EOI:
                self.isr &= ~(1 << level)
            if value & ROTATE and level != NONE:
                self.lowest = level
            self.update()
        else:
            self.rotate = value >> 7

    def write_OCW3(self, value: int) -> None:
        """What is not enabled (ESMM, RR) keeps its value: `ocw3` holds the SMM, P and RIS in force."""
        kept = (0 if value & 0x40 else SMM) | (0 if value & 0x02 else RIS)
        self.ocw3 = value & ~kept | self.ocw3 & kept
        self.update()

    def read_IRR(self) -> int:
        if self.ocw3 & P:
            return self.poll()
        return int(self.isr if self.ocw3 & RIS else self.irr)

    def read_IMR(self) -> int:
        return self.poll() if self.ocw3 & P else int(self.imr)

    def holds_IMR(self) -> bool:
        return not self.ocw3 & P

    holds_IRR = holds_ISR = holds_IMR

    def poll(self) -> int:
        """The read after a poll command takes the place of INTA.  [I] "Poll command" """
        self.ocw3 &= ~P
        ready = self.irr & self.open
        return 0x80 | self.serve(ready) if ready else 0

    # Edge or level

    def write_ELCR(self, value: int) -> None:
        self.elcr = value & self.switchable
        self.sensitivity()
        self.irr |= self.lines() & self.sense
        self.update()

    def sensitivity(self) -> None:
        self.sense = 0xFF if self.icw1 & 0x08 else self.elcr        # ICW1.LTIM
