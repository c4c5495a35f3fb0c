"""UART16550: asynchronous receiver and transmitter with FIFOs.  [NS] National PC16550D data sheet, June 1995.

The pins carry logic levels as the registers show them: 1 is asserted (the package's pins are active low).  INTR is the
PC's: the chip's own INTR through the gate that the board opens with OUT2, so loop-back, which parks OUT2, closes it.

Not modelled: the time that a byte takes to leave (THRE and TEMT are set again at once; each write still makes its THRE
interrupt), words of less than 8 bits but for the time they take (LCR resets to 5 bits, and many small kernels never set
it), a break that is sent (LCR.SB), DMA (TXRDY, RXRDY), a receiver clock of its own.
"""

# mypy: disable-error-code="has-type"
from __future__ import annotations

from collections.abc import Callable

from emu.device import RING, RW, VALUE, Device, In, Out, R, Reg, State, Timer, W, always

CRYSTAL = 1_843_200                                 # Hz, on every PC
DEPTH = 16
TRIGGER = 1, 4, 8, 14                               # [NS] 8.4: bytes in the FIFO, by FCR.RT
BYTES = [bytes([i]) for i in range(256)]
ERRORS = 0x1E                                       # LSR: BI FE PE OE
NONE, MODEM, EMPTY, DATA, TIMED_OUT, LINE = 1, 0, 2, 4, 0xC, 6      # [NS] table IV: IIR, lowest priority first


class UART16550(Device):
    """`send` gets what is transmitted, each byte at once while `watched()`; `receive` is a character that arrives."""

    RBR = Reg(0, R, "receiver buffer")
    THR = Reg(0, W, "transmitter holding", native=RING)
    IER = Reg(1, RW, "interrupt enable", "0 0 0 0 EDSSI ELSI ETBEI ERBFI", native=VALUE)
    IIR = Reg(2, R, "interrupt identification", "FE1 FE0 0 0 ID2 ID1 ID0 IP", reset=NONE, native=VALUE)
    FCR = Reg(2, W, "FIFO control", "RT1 RT0 0 0 DMA XFR RFR FEN")
    LCR = Reg(3, RW, "line control", "DLAB SB SP EPS PEN STB WLS1 WLS0", native=VALUE)
    MCR = Reg(4, RW, "modem control", "0 0 0 LOOP OUT2 OUT1 RTS DTR", native=VALUE)
    LSR = Reg(5, R, "line status", "ERR TEMT THRE BI FE PE OE DR", reset=0x60, native=VALUE)
    MSR = Reg(6, R, "modem status", "DCD RI DSR CTS DDCD TERI DDSR DCTS", native=VALUE)
    SCR = Reg(7, RW, "scratch")
    DLL = Reg(0, RW, "divisor latch, low", reset=12, bank=1)      # undefined at reset: our choice, 9600 baud
    DLM = Reg(1, RW, "divisor latch, high", bank=1)

    RX = State([], "bytes received and not yet read; an error as LSR shows it is in bits 8 and up")
    THRI = State(0, "the THR has become empty and nobody has been told")
    CTI = State(0, "the FIFO has been left alone for four character times")
    TIMEOUT = Timer("four character times without a character or a read")

    CTS = In("clear to send")
    DSR = In("data set ready")
    RI = In("ring indicator")
    DCD = In("data carrier detect")
    DTR = Out("data terminal ready")
    RTS = Out("request to send")
    OUT1 = Out("output 1")
    OUT2 = Out("output 2: on the PC, opens the gate of INTR")
    INTR = Out("interrupt request, through the gate")

    def __init__(self, send: Callable[[bytes], None], watched: Callable[[], bool] = always) -> None:
        self.send, self.watched = send, watched

    def reset(self) -> None:
        super().reset()
        self.msr = self._lines()

    # The transmitter

    def write_THR(self, value: int) -> None:
        if self.mcr & 0x10:                         # LOOP
            self._arrive(value)
        else:
            self.send(BYTES[value])
        if not self.thri:
            self.thri = 1                           # empty again
            self.update()

    def holds_THR(self) -> bool:
        """Whether a write does no more than to send: the interrupt of the empty THR is pending or known to be off."""
        return bool(self.thri) and not self.mcr & self.MCR.LOOP and not self.watched()

    def collect_THR(self, data: bytes) -> None:
        self.send(data)

    # The receiver

    def receive(self, byte: int, error: int = 0) -> None:
        """A character has arrived; `error`: what LSR will say of it (PE, FE, BI)."""
        if not self.mcr & self.MCR.LOOP:            # [NS] 8.7: in loop-back SIN is disconnected
            self._arrive(byte & 0xFF | (error & ERRORS & ~self.LSR.OE) << 8)

    @property
    def ready(self) -> bool:
        """Whether the receiver can take a character without losing one."""
        return not self.mcr & self.MCR.LOOP and len(self.rx) < (DEPTH if self.fcr & self.FCR.FEN else 1)

    @property
    def character_time(self) -> int:
        """ns from start bit to stop bit, as the divisor and LCR set them."""
        lcr = self.lcr
        halves = 2 * (1 + 5 + (lcr & 3) + 1)        # in half bits: start, word, stop
        if lcr & self.LCR.PEN:
            halves += 2
        if lcr & self.LCR.STB:
            halves += 2 if lcr & 3 else 1           # [NS] 8.1: with a word of 5 bits, 1.5 stop bits
        divisor = self.dlm << 8 | self.dll or 1 << 16
        return -(-halves * 8 * divisor * 10**9 // CRYSTAL)

    def _arrive(self, character: int) -> None:
        fifo = self.fcr & self.FCR.FEN
        if len(self.rx) < (DEPTH if fifo else 1):
            self.rx.append(character)
        else:
            self.lsr |= self.LSR.OE
            if not fifo:
                self.rx[0] = character              # [NS] 8.3: the FIFO is kept, the single buffer is overwritten
        if fifo and character > 0xFF:
            self.lsr |= self.LSR.ERR
        self._received()

    def read_RBR(self) -> int:
        rx = self.rx
        if rx:
            self.rbr = rx.pop(0) & 0xFF
            self._received()
        value: int = self.rbr
        return value

    def _received(self) -> None:
        """A character came or went: show the one on top, start the time-out anew."""
        rx = self.rx
        self.cti = 0
        if rx:
            self.lsr |= self.LSR.DR | rx[0] >> 8    # [NS] 8.3: errors are revealed when theirs is on top
            rx[0] &= 0xFF
        else:
            self.lsr &= ~self.LSR.DR
        if rx and self.fcr & self.FCR.FEN:
            self.timeout.at(self.clock.now + 4 * self.character_time)
        else:
            self.timeout.off()
        self.update()

    def on_TIMEOUT(self) -> None:
        self.cti = 1
        self.update()

    def write_FCR(self, value: int) -> None:
        FCR = self.FCR
        if (value ^ self.fcr) & FCR.FEN or (value & FCR.RFR and value & FCR.FEN):
            self.rx.clear()                         # [NS] 8.4: a change of mode empties the FIFOs
            self.lsr &= ~self.LSR.ERR
            self._received()
        self.fcr = value & (FCR.RT1 | FCR.RT0 | FCR.DMA | FCR.FEN) if value & FCR.FEN else 0
        self.update()

    def read_LSR(self) -> int:
        value: int = self.lsr
        if value & 0x9E:                            # ERR BI FE PE OE
            self.lsr = value & 0x61 | (self.LSR.ERR if any(c > 0xFF for c in self.rx) else 0)
            self.update()
        return value

    def holds_LSR(self) -> bool:
        return not self.lsr & 0x9E

    def write_LCR(self, value: int) -> None:
        self.lcr = value
        self.select(value >> 7)                     # DLAB

    # Modem lines

    def write_MCR(self, value: int) -> None:
        MCR = self.MCR
        self.mcr = value & MCR.mask
        pins = 0 if value & MCR.LOOP else value     # [NS] 8.7: in loop-back the pins are parked
        self.dtr(1 if pins & MCR.DTR else 0)
        self.rts(1 if pins & MCR.RTS else 0)
        self.out1(1 if pins & MCR.OUT1 else 0)
        self.out2(1 if pins & MCR.OUT2 else 0)
        self._modem()

    def _lines(self) -> int:
        """The upper half of MSR: the lines, or what loop-back puts in their place."""
        mcr = self.mcr
        if mcr & self.MCR.LOOP:                     # CTS DSR RI DCD = RTS DTR OUT1 OUT2
            return (mcr & 2) << 3 | (mcr & 1) << 5 | (mcr & 0xC) << 4
        level: int = self.cts.level << 4 | self.dsr.level << 5 | self.ri.level << 6 | self.dcd.level << 7
        return level

    def _modem(self) -> None:
        lines = self._lines()
        changed = (self.msr ^ lines) & 0xF0
        if lines & self.MSR.RI:
            changed &= ~self.MSR.RI                 # TERI: only the trailing edge counts
        self.msr = lines | self.msr & 0x0F | changed >> 4
        self.update()

    def on_CTS(self, pin: int, level: int) -> None:
        self._modem()

    on_DSR = on_RI = on_DCD = on_CTS

    def read_MSR(self) -> int:
        value: int = self.msr
        if value & 0x0F:
            self.msr = value & 0xF0
            self.update()
        return value

    def holds_MSR(self) -> bool:
        return not self.msr & 0x0F

    # Interrupts

    def write_IER(self, value: int) -> None:
        if value & ~self.ier & self.IER.ETBEI:
            self.thri = 1                           # the THR is always empty
        self.ier = value & self.IER.mask
        self.update()

    def read_IIR(self) -> int:
        value: int = self.iir
        if value & 0x0F == EMPTY:
            self.thri = 0
            self.update()
        return value

    def holds_IIR(self) -> bool:
        return self.iir & 0x0F != EMPTY

    def update(self) -> None:
        """IIR and INTR follow everything else."""
        ier, IER, fifo = self.ier, self.IER, self.fcr & 1
        if ier & IER.ELSI and self.lsr & ERRORS:
            source = LINE
        elif ier & IER.ERBFI and len(self.rx) >= (TRIGGER[self.fcr >> 6] if fifo else 1):
            source = DATA
        elif ier & IER.ERBFI and self.cti:
            source = TIMED_OUT
        elif ier & IER.ETBEI and self.thri:
            source = EMPTY
        elif ier & IER.EDSSI and self.msr & 0x0F:
            source = MODEM
        else:
            source = NONE
        self.iir = source | 0xC0 if fifo else source
        self.intr(1 if source != NONE and self.out2.level else 0)
