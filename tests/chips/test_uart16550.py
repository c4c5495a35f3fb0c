"""UART16550.  [NS] National PC16550D, June 1995; [L] what Linux's 8250 driver asks of the part."""

from __future__ import annotations

import pytest

from emu.chips.uart16550 import UART16550
from tests.chips.bench import Bench

ERBFI, ETBEI, ELSI, EDSSI = 1, 2, 4, 8
DTR, RTS, OUT1, OUT2, LOOP = 1, 2, 4, 8, 0x10
DR, OE, PE, FE, BI, THRE, TEMT, ERR = 1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80
FIFO = 0x01
CHARACTER = 86_806              # 10 bits at 115200 baud


@pytest.fixture
def sent():
    return []


@pytest.fixture
def b(sent):
    """A chip at 115200 8N1 with the PC's interrupt gate open."""
    bench = Bench(UART16550, sent.append)
    bench.write("LCR", 0x83)
    bench.write("DLL", 1)
    bench.write("LCR", 0x03)
    bench.write("MCR", OUT2)
    bench.pins.clear()
    return bench


def receive(b, text):
    for byte in text:
        b.chip.receive(byte)


def fill(b, count):
    receive(b, bytes(range(count)))


# Transmitter

def test_a_byte_written_to_thr_leaves(b, sent):
    b.write("THR", 0x41)
    assert sent == [b"A"]


def test_a_guest_that_never_sets_lcr_is_heard(sent):
    bench = Bench(UART16550, sent.append)
    bench.write("THR", 0x41)
    assert sent == [b"A"]


def test_thr_and_the_shift_register_are_empty_again_at_once(b):
    b.write("THR", 0x41)
    assert b.read("LSR") == THRE | TEMT


def test_enabling_etbei_with_the_thr_empty_interrupts(b):
    b.write("IER", ETBEI)
    assert b.pins == [("INTR", 1)]
    assert b.read("IIR") == 0x02


def test_reading_iir_clears_the_thr_empty_interrupt(b):
    b.write("IER", ETBEI)
    assert [b.read("IIR"), b.read("IIR")] == [0x02, 0x01]
    assert b.chip.intr.level == 0


def test_reading_iir_keeps_the_thr_empty_interrupt_while_another_is_the_source(b):
    b.write("IER", ETBEI | ERBFI)
    b.chip.receive(0x41)
    assert b.read("IIR") == 0x04
    b.read("RBR")
    assert b.read("IIR") == 0x02


def test_every_byte_written_makes_its_thr_empty_interrupt(b):
    b.write("IER", ETBEI)
    for byte in b"abc":
        assert b.read("IIR") == 0x02
        assert b.chip.intr.level == 0
        b.write("THR", byte)
        assert b.chip.intr.level == 1


def test_etbei_written_again_without_a_change_does_not_interrupt_again(b):
    b.write("IER", ETBEI)
    b.read("IIR")
    b.write("IER", ETBEI)
    assert b.read("IIR") == 0x01


# Receiver without FIFO

def test_a_received_byte_sets_dr_until_it_is_read(b):
    b.chip.receive(0x5A)
    assert b.read("LSR") & DR
    assert b.read("RBR") == 0x5A
    assert not b.read("LSR") & DR


def test_rbr_keeps_the_last_byte(b):
    b.chip.receive(0x5A)
    assert [b.read("RBR"), b.read("RBR")] == [0x5A, 0x5A]


def test_without_fifo_an_overrun_destroys_the_byte_before(b):
    receive(b, b"ab")
    assert b.read("LSR") & (OE | DR) == OE | DR
    assert b.read("RBR") == ord("b")


def test_reading_lsr_clears_the_errors(b):
    b.chip.receive(0x41, PE | FE | BI)
    receive(b, b"x")
    assert b.read("LSR") & 0x9E == OE | PE | FE | BI
    assert b.read("LSR") & 0x9E == 0


def test_without_fifo_lsr_bit_7_is_0(b):
    b.chip.receive(0x41, PE)
    assert not b.read("LSR") & ERR


def test_the_line_status_interrupt_lasts_until_lsr_is_read(b):
    b.write("IER", ELSI)
    b.chip.receive(0, BI)
    assert [b.read("IIR"), b.read("IIR")] == [0x06, 0x06]
    b.read("LSR")
    assert b.read("IIR") == 0x01


def test_the_data_interrupt_lasts_until_rbr_is_read(b):
    b.write("IER", ERBFI)
    b.chip.receive(0x41)
    assert b.read("IIR") == 0x04
    b.read("RBR")
    assert b.pins == [("INTR", 1), ("INTR", 0)]


# Receiver with FIFO

def test_iir_shows_c0_while_the_fifos_are_enabled(b):
    b.write("FCR", FIFO)
    assert b.read("IIR") == 0xC1
    b.write("FCR", 0)
    assert b.read("IIR") == 0x01


def test_the_fifo_keeps_the_order_of_16_bytes(b):
    b.write("FCR", FIFO)
    fill(b, 16)
    assert [b.read("RBR") for _ in range(16)] == list(range(16))
    assert not b.read("LSR") & DR


def test_an_overrun_keeps_the_fifo_and_loses_the_byte_in_the_shift_register(b):
    b.write("FCR", FIFO)
    fill(b, 16)
    assert not b.read("LSR") & OE
    b.chip.receive(0x99)
    assert b.read("LSR") & OE
    assert [b.read("RBR") for _ in range(16)] == list(range(16))


@pytest.mark.parametrize("code, level", [(0, 1), (1, 4), (2, 8), (3, 14)])
def test_the_data_interrupt_comes_at_the_trigger_level_and_goes_below_it(b, code, level):
    b.write("FCR", code << 6 | FIFO)
    b.write("IER", ERBFI)
    fill(b, level - 1)
    assert b.chip.intr.level == 0
    b.chip.receive(0)
    assert b.read("IIR") == 0xC4
    b.read("RBR")
    assert b.chip.intr.level == 0


def test_four_character_times_without_a_read_or_a_byte_interrupt(b):
    b.write("FCR", 0xC0 | FIFO)
    b.write("IER", ERBFI)
    b.chip.receive(0x41)
    b.advance(4 * CHARACTER - 1)
    assert b.read("IIR") == 0xC1
    b.advance(1)
    assert b.read("IIR") == 0xCC
    assert b.read("RBR") == 0x41
    assert b.read("IIR") == 0xC1


@pytest.mark.parametrize("act", [lambda b: b.chip.receive(0), lambda b: b.read("RBR")])
def test_a_read_or_a_byte_starts_the_time_out_anew(b, act):
    b.write("FCR", 0xC0 | FIFO)
    b.write("IER", ERBFI)
    fill(b, 3)
    b.advance(3 * CHARACTER)
    act(b)
    b.advance(4 * CHARACTER - 1)
    assert b.chip.intr.level == 0
    b.advance(1)
    assert b.chip.intr.level == 1


def test_an_empty_fifo_does_not_time_out(b):
    b.write("FCR", 0xC0 | FIFO)
    b.write("IER", ERBFI)
    b.chip.receive(0x41)
    b.read("RBR")
    b.advance(10 * CHARACTER)
    assert b.pins == []


def test_rfr_clears_the_receiver_fifo_and_itself(b):
    b.write("FCR", FIFO)
    b.chip.receive(0x41, PE)
    receive(b, b"xyz")
    b.read("LSR")
    b.write("FCR", 0x02 | FIFO)
    assert b.read("LSR") == THRE | TEMT
    receive(b, b"k")
    assert b.read("RBR") == ord("k")


@pytest.mark.parametrize("first, second", [(FIFO, 0), (0, FIFO)])
def test_a_change_between_the_modes_empties_the_receiver(b, first, second):
    b.write("FCR", first)
    b.chip.receive(0x41)
    b.write("FCR", second)
    assert not b.read("LSR") & DR


def test_fcr_bits_are_not_programmed_without_fen(b):
    b.write("FCR", 0xC0)
    b.write("IER", ERBFI)
    b.write("FCR", FIFO)
    b.chip.receive(0)
    assert b.read("IIR") == 0xC4


def test_an_error_is_revealed_when_its_byte_is_on_top(b):
    b.write("FCR", FIFO)
    b.chip.receive(0x41)
    b.chip.receive(0x42, PE)
    assert b.read("LSR") & (PE | ERR) == ERR
    b.read("RBR")
    assert b.read("LSR") & (PE | ERR) == PE | ERR


def test_lsr_bit_7_stays_while_further_errors_are_in_the_fifo(b):
    b.write("FCR", FIFO)
    b.chip.receive(0x41, PE)
    b.chip.receive(0x42, FE)
    assert b.read("LSR") & 0x9E == ERR | PE
    assert b.read("LSR") & 0x9E == ERR
    b.read("RBR")
    assert b.read("LSR") & 0x9E == ERR | FE
    assert b.read("LSR") & 0x9E == 0


def test_interrupt_priority_is_line_status_data_thr_modem(b):
    b.write("IER", 0x0F)
    b.chip.cts(1)
    b.chip.receive(0x41, FE)
    found = []
    for reading in ("LSR", "RBR", "SCR", "MSR"):
        found.append(b.read("IIR"))
        b.read(reading)
    assert found == [6, 4, 2, 0]
    assert b.read("IIR") == 1


# Modem lines

def test_mcr_drives_its_pins(b):
    b.write("MCR", DTR | RTS | OUT1)
    assert b.pins == [("DTR", 1), ("RTS", 1), ("OUT1", 1), ("OUT2", 0)]


def test_msr_shows_the_lines_and_what_changed_since_it_was_read(b):
    b.chip.cts(1)
    b.chip.dcd(1)
    assert b.read("MSR") == 0x99
    assert b.read("MSR") == 0x90
    b.chip.cts(0)
    assert b.read("MSR") == 0x81


def test_teri_marks_the_trailing_edge_of_ri_only(b):
    b.chip.ri(1)
    assert b.read("MSR") == 0x40
    b.chip.ri(0)
    assert b.read("MSR") == 0x04


def test_a_modem_line_interrupts_until_msr_is_read(b):
    b.write("IER", EDSSI)
    b.chip.dsr(1)
    assert b.read("IIR") == 0x00
    b.read("MSR")
    assert b.pins == [("INTR", 1), ("INTR", 0)]


def test_lines_that_are_asserted_at_power_on_are_no_change(b):
    b.chip.cts(1)
    b.chip.reset()
    assert b.read("MSR") == 0x10


def test_out2_is_the_gate_of_intr(b):
    b.write("MCR", 0)
    b.write("IER", ETBEI)
    assert b.chip.intr.level == 0
    b.write("MCR", OUT2)
    assert b.chip.intr.level == 1


# Loop-back

def test_in_loop_back_what_is_sent_is_received(b, sent):
    b.write("MCR", LOOP)
    b.write("THR", 0x5A)
    assert sent == []
    assert b.read("LSR") & DR
    assert b.read("RBR") == 0x5A


def test_in_loop_back_the_line_is_disconnected(b):
    b.write("MCR", LOOP)
    b.chip.receive(0x41)
    assert not b.read("LSR") & DR
    assert not b.chip.ready


@pytest.mark.parametrize("mcr, msr", [(DTR, 0x20), (RTS, 0x10), (OUT1, 0x40), (OUT2, 0x80)])
def test_in_loop_back_the_outputs_are_the_inputs(b, mcr, msr):
    b.write("MCR", LOOP | mcr)
    assert b.read("MSR") & 0xF0 == msr


def test_in_loop_back_the_pins_are_parked(b):
    b.write("MCR", 0x0F)
    b.write("MCR", LOOP | 0x0F)
    assert [b.chip.dtr.level, b.chip.rts.level, b.chip.out1.level, b.chip.out2.level] == [0, 0, 0, 0]


def test_in_loop_back_a_change_leaves_its_delta(b):
    b.write("MCR", LOOP)
    b.read("MSR")
    b.write("MCR", LOOP | RTS | OUT1)
    assert b.read("MSR") == 0x51
    b.write("MCR", LOOP)
    assert b.read("MSR") == 0x05


# Baud rate, banks

def test_dlab_shows_the_divisor_in_place_of_rbr_thr_and_ier(b, sent):
    b.write("IER", 0x05)
    b.write("LCR", 0x83)
    b.write("DLL", 0x34)
    b.write("DLM", 0x12)
    assert [b.read("DLL"), b.read("DLM")] == [0x34, 0x12]
    b.write("LCR", 0x03)
    assert b.read("IER") == 0x05
    assert sent == []


def test_dlab_leaves_the_other_registers_where_they_are(b):
    b.write("LCR", 0x83)
    b.write("FCR", FIFO)
    assert b.read("IIR") == 0xC1


@pytest.mark.parametrize("lcr, divisor, ns", [
    (0x03, 1, 86_806),              # 8N1, 115200
    (0x03, 12, 1_041_667),          # 8N1, 9600
    (0x1E, 1, 95_487),              # 7E2
    (0x04, 12, 781_250),            # 5N1.5
    (0x03, 0, 5_688_888_889),       # the counter wraps at 65536
])
def test_a_character_takes_its_bits_at_the_baud_rate(b, lcr, divisor, ns):
    b.write("LCR", 0x80)
    b.write("DLL", divisor)
    b.write("LCR", lcr)
    assert b.chip.character_time == ns


def test_the_receiver_is_ready_while_it_has_room(b):
    b.chip.receive(0)
    assert not b.chip.ready
    b.write("FCR", FIFO)
    fill(b, 15)
    assert b.chip.ready
    b.chip.receive(0)
    assert not b.chip.ready


# [L] drivers/tty/serial/8250/8250_port.c, autoconfig(): in its order

def test_linux_finds_a_16550a(b):
    b.write("IER", 0)
    assert b.read("IER") & 0x0F == 0
    b.write("IER", 0x0F)
    assert b.read("IER") & 0x0F == 0x0F
    b.write("IER", 0)

    b.write("MCR", LOOP | OUT2 | RTS)                   # the loop-back test
    assert b.read("MSR") & 0xF0 == 0x90
    b.write("MCR", 0)

    b.write("LCR", 0xBF)                                # an EFR, if there were one
    b.write("FCR", 0)
    b.write("LCR", 0)
    b.write("FCR", FIFO)
    assert b.read("IIR") >> 6 == 3                      # not a 16450, 16550

    for mode in (0x80, 0xBF):
        b.write("LCR", mode)
        assert b.read("IIR") != 0                       # not a 16650, 16654, 16850
    b.write("LCR", 0xE0)
    assert not b.read("IIR") & LOOP                     # not a NS SuperI/O

    b.write("LCR", 0)
    b.write("FCR", 0x21 | FIFO)
    assert b.read("IIR") >> 5 == 6
    b.write("LCR", 0x80)
    b.write("FCR", 0x21 | FIFO)
    assert b.read("IIR") >> 5 == 6                      # not a 16750
    b.write("LCR", 0)

    b.write("IER", 0x40)
    assert not b.read("IER") & 0x40                     # not an XScale

    b.write("SCR", 0xA5)
    assert b.read("SCR") == 0xA5


def test_linux_finds_that_the_thr_empty_interrupt_comes_again(b):
    b.write("FCR", FIFO)                                # serial8250_do_startup(): UART_BUG_THRE and UART_BUG_TXEN
    b.write("IER", ETBEI)
    assert not b.read("IIR") & 1
    b.write("IER", 0)
    b.write("IER", ETBEI)
    assert not b.read("IIR") & 1
    b.write("IER", 0)
    assert b.read("IIR") & 1
