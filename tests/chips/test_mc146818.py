"""MC146818.  [M] Motorola MC146818A; [L] what Linux's rtc-cmos asks of the part."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emu.chips.mc146818 import MC146818
from tests.chips.bench import Bench

SECOND = 10**9
SECONDS, MINUTES, HOURS, DAY, DATE, MONTH, YEAR, A, B, C, D = 0, 2, 4, 6, 7, 8, 9, 10, 11, 12, 13
ALARM = 1, 3, 5
SET, PIE, AIE, UIE, DM, H24 = 0x80, 0x40, 0x20, 0x10, 0x04, 0x02
IRQF, PF, AF, UF = 0x80, 0x40, 0x20, 0x10
UIP = 0x80


class Rtc(Bench):
    """The bench with the pair of ports: rtc[cell]."""

    def __getitem__(self, cell):
        self.write("INDEX", cell)
        return self.read("DATA")

    def __setitem__(self, cell, value):
        self.write("INDEX", cell)
        self.write("DATA", value)

    def time(self):
        return [self[i] for i in (YEAR, MONTH, DATE, HOURS, MINUTES, SECONDS)]

    def alarm(self, hours, minutes, seconds):
        self[5], self[3], self[1] = hours, minutes, seconds


@pytest.fixture
def rtc():
    return Rtc(MC146818, datetime(1999, 12, 31, 23, 59, 58, tzinfo=UTC))


# Time

def test_the_time_at_power_on_is_given(rtc):
    assert rtc.time() == [0x99, 0x12, 0x31, 0x23, 0x59, 0x58]
    assert rtc[DAY] == 6                                # a Friday


def test_the_time_at_power_on_may_be_seconds_since_1970():
    assert Rtc(MC146818, 951_782_399).time() == [0x00, 0x02, 0x28, 0x23, 0x59, 0x59]


def test_part_of_a_second_counts():
    rtc = Rtc(MC146818, datetime(2000, 1, 1, 0, 0, 0, 750_000))
    rtc.advance(SECOND // 4 - 1)
    assert rtc[SECONDS] == 0
    rtc.advance(1)
    assert rtc[SECONDS] == 1


def test_the_bytes_carry_once_a_second(rtc):
    rtc.advance(SECOND - 1)
    assert rtc[SECONDS] == 0x58
    rtc.advance(1)
    assert rtc[SECONDS] == 0x59
    rtc.advance(SECOND)
    assert rtc.time() == [0x00, 0x01, 0x01, 0, 0, 0]
    assert rtc[DAY] == 7


def test_every_fourth_year_is_a_leap_year(rtc):
    rtc.advance((31 + 28) * 86_400 * SECOND + 2 * SECOND)
    assert rtc.time()[:3] == [0x00, 0x02, 0x29]
    rtc.advance(86_400 * SECOND)
    assert rtc.time()[:3] == [0x00, 0x03, 0x01]


def test_dm_chooses_binary(rtc):
    rtc[B] = DM | H24
    rtc[SECONDS], rtc[MINUTES], rtc[HOURS] = 58, 59, 22
    rtc.advance(2 * SECOND)
    assert [rtc[HOURS], rtc[MINUTES], rtc[SECONDS]] == [23, 0, 0]


@pytest.mark.parametrize("dm, before, after", [
    (0, 0x11, 0x92), (0, 0x92, 0x81), (0, 0x91, 0x12), (0, 0x12, 0x01), (0, 0x09, 0x10),
    (DM, 0x0B, 0x8C), (DM, 0x8C, 0x81), (DM, 0x8B, 0x0C), (DM, 0x0C, 0x01),
])
def test_with_12_hours_bit_7_is_pm(rtc, dm, before, after):
    rtc[B] = dm
    rtc[MINUTES] = rtc[SECONDS] = 59 if dm else 0x59
    rtc[HOURS] = before
    rtc.advance(SECOND)
    assert rtc[HOURS] == after


def test_set_holds_the_time_for_the_program(rtc):
    rtc[B] = SET | H24
    rtc[SECONDS] = 0x11
    rtc.advance(5 * SECOND)
    assert rtc[SECONDS] == 0x11
    assert not rtc[C] & UF
    rtc[B] = H24
    rtc.advance(SECOND)
    assert rtc[SECONDS] == 0x12


def test_bit_7_of_seconds_is_read_only(rtc):
    rtc[SECONDS] = 0xA5
    assert rtc[SECONDS] == 0x25


def test_the_first_update_is_half_a_second_after_the_divider_starts(rtc):
    rtc[A] = 0x76
    rtc.advance(7 * SECOND)
    assert rtc[SECONDS] == 0x58
    assert rtc[C] & UF == 0
    rtc[A] = 0x26
    rtc.advance(SECOND // 2 - 1)
    assert not rtc[A] & UIP
    rtc.advance(1)
    assert rtc[A] & UIP
    rtc.advance(2_228_000)
    assert rtc[SECONDS] == 0x59


def test_uip_comes_244_us_before_an_update_of_1984_us(rtc):
    rtc.advance(SECOND - 2_228_001)
    assert not rtc[A] & UIP
    rtc.advance(1)
    assert rtc[A] & UIP
    rtc.advance(2_227_999)
    assert rtc[A] & UIP
    rtc.advance(1)
    assert not rtc[A] & UIP


def test_set_clears_uip(rtc):
    rtc.advance(SECOND - 1)
    rtc[B] = SET | H24
    assert not rtc[A] & UIP


def test_uip_cannot_be_written(rtc):
    rtc[A] = 0xA6
    assert rtc[A] == 0x26


@given(st.integers(0, 4_102_444_799), st.lists(st.integers(0, 10**8), max_size=5), st.sampled_from([0, 2, 4, 6]))
@settings(max_examples=200, deadline=None)
def test_the_time_does_not_depend_on_who_looks_when(start, steps, mode):
    looked, blind = (Rtc(MC146818, datetime(2000, 1, 1)) for _ in range(2))
    for rtc in looked, blind:
        rtc[B] = SET | mode
        for cell in range(10):
            rtc[cell] = start >> cell * 3 & 0xFF        # any bytes at all
        rtc[B] = mode
    for step in steps:
        looked.advance(step * SECOND)
        looked[SECONDS]
    blind.advance(sum(steps) * SECOND)
    assert looked[C] == blind[C]
    assert [looked[i] for i in range(14)] == [blind[i] for i in range(14)]


@given(st.integers(946_684_800, 4_102_444_799), st.integers(0, 3 * 10**9))
@settings(max_examples=200, deadline=None)
def test_the_calendar_is_the_calendar(start, seconds):
    rtc = Rtc(MC146818, start)
    rtc.advance(seconds * SECOND)
    date = datetime.fromtimestamp(start + seconds, UTC)
    if date < datetime(2100, 3, 1, tzinfo=UTC):         # [M] 2100 would be a leap year
        assert [int(f"{byte:x}") for byte in rtc.time()] == [
            date.year % 100, date.month, date.day, date.hour, date.minute, date.second]
        assert rtc[DAY] == date.isoweekday() % 7 + 1


# Flags and interrupts

def test_uf_is_set_at_the_end_of_an_update_and_cleared_by_reading_c(rtc):
    rtc.advance(SECOND - 1)
    assert not rtc[C] & UF
    rtc.advance(1)
    assert [rtc[C] & UF, rtc[C] & UF] == [UF, 0]


def test_uie_interrupts_at_every_update(rtc):
    rtc[B] = UIE | H24
    for _ in range(3):
        rtc.advance(SECOND)
        assert rtc.chip.intr.level == 1
        assert rtc[C] & (IRQF | UF) == IRQF | UF
        assert rtc.chip.intr.level == 0


def test_a_flag_that_is_set_interrupts_when_it_is_enabled(rtc):
    rtc.advance(SECOND)
    rtc[SECONDS]
    rtc[B] = UIE | H24
    assert rtc.chip.intr.level == 1


def test_set_clears_uie(rtc):
    rtc[B] = SET | UIE | H24
    assert rtc[B] == SET | H24


@pytest.mark.parametrize("rs, hertz", [
    (3, 8192), (4, 4096), (5, 2048), (6, 1024), (7, 512), (8, 256), (9, 128), (10, 64), (11, 32), (12, 16),
    (13, 8), (14, 4), (15, 2), (1, 256), (2, 128),
])
def test_rs_selects_the_periodic_rate(rtc, rs, hertz):
    rtc[A] = 0x20 | rs
    rtc[B] = PIE | H24
    rtc.pins.clear()
    count, end = 0, rtc.now + SECOND
    while (due := rtc.clock.next()) is not None and due <= end:
        rtc.advance(due - rtc.now)
        assert rtc[C] & (IRQF | PF) == IRQF | PF
        count += 1
    assert count == hertz


def test_rs_0_is_no_periodic_interrupt(rtc):
    rtc[A] = 0x20
    rtc[B] = PIE | H24
    rtc.advance(10 * SECOND)
    assert not rtc[C] & PF


def test_the_periodic_flag_comes_half_a_period_after_uip(rtc):
    rtc[A] = 0x2F                                       # 2 Hz
    rtc.advance(SECOND - 2_228_000)                     # UIP rises
    rtc[C]
    rtc.advance(SECOND // 4 - 1)
    assert not rtc[C] & PF
    rtc.advance(1)
    assert rtc[C] & PF


def test_pf_is_set_without_pie(rtc):
    rtc.advance(SECOND // 100)
    assert rtc[C] == PF
    assert rtc.pins == []


def test_nothing_is_waited_for_while_nothing_interrupts(rtc):
    rtc.advance(SECOND)
    assert rtc.clock.next() is None


def test_the_alarm_comes_when_all_three_bytes_match(rtc):
    rtc.alarm(0x07, 0x30, 0x15)
    rtc[B] = AIE | H24
    rtc.advance((7 * 3600 + 30 * 60 + 15 + 2) * SECOND - 1)
    assert rtc.chip.intr.level == 0
    rtc.advance(1)
    assert rtc[C] & (IRQF | AF) == IRQF | AF


def test_the_alarm_comes_again_the_next_day(rtc):
    rtc.alarm(0x00, 0x00, 0x00)
    rtc[B] = AIE | H24
    rtc.advance(2 * SECOND)
    assert rtc[C] & AF
    rtc.advance(86_400 * SECOND - 1)
    assert not rtc[C] & AF
    rtc.advance(1)
    assert rtc[C] & AF


@pytest.mark.parametrize("alarm, seconds", [
    ((0xFF, 0xC0, 0xFF), [1, 2, 3, 4]),
    ((0xFF, 0xFF, 0x10), [12, 72, 132]),
    ((0xC0, 0x05, 0x10), [2 + 310, 2 + 3910]),
    ((0xFF, 0x05, 0xFF), [302, 303]),
    ((0x01, 0xFF, 0xFF), [3602, 3603]),
    ((0x23, 0x59, 0x59), [1, 86_401]),
    ((0x23, 0x59, 0x58), [86_400]),
    ((0x24, 0x00, 0x00), []),
    ((0x00, 0xBF, 0x00), []),
])
def test_alarm_bytes_from_c0_to_ff_match_everything(rtc, alarm, seconds):
    rtc.alarm(*alarm)
    rtc[B] = AIE | H24
    for second in seconds:
        assert rtc.clock.next() == second * SECOND
        rtc.advance(second * SECOND - rtc.now)
        assert rtc[C] & AF
    if not seconds:
        assert rtc.clock.next() is None


def test_the_alarm_flag_needs_no_enable(rtc):
    rtc.alarm(0xFF, 0xFF, 0x00)
    rtc.advance(2 * SECOND)
    assert rtc[C] & AF


def test_the_alarm_understands_12_hours(rtc):
    rtc[B] = SET
    rtc[HOURS], rtc[MINUTES], rtc[SECONDS] = 0x11, 0x59, 0x58
    rtc.alarm(0x92, 0x00, 0x00)
    rtc[B] = AIE
    rtc.advance(2 * SECOND)
    assert rtc[C] & AF


def test_no_alarm_without_updates(rtc):
    rtc.alarm(0xFF, 0xFF, 0xFF)
    rtc[B] = SET | AIE | H24
    rtc.advance(5 * SECOND)
    assert not rtc[C] & AF


# Cells

def test_d_says_that_time_and_memory_are_valid(rtc):
    rtc[D] = 0x00
    assert rtc[D] == 0x80


def test_c_is_read_only(rtc):
    rtc[C] = 0xFF
    assert rtc[C] == 0


def test_cells_from_0e_on_are_memory(rtc):
    for cell in range(14, 128):
        rtc[cell] = cell ^ 0x55
    assert [rtc[cell] for cell in range(14, 128)] == [cell ^ 0x55 for cell in range(14, 128)]


def test_bit_7_of_the_index_masks_the_nmi_and_selects_nothing(rtc):
    rtc[0x90] = 0x12
    assert rtc.chip.nmimask.level == 1
    assert rtc[0x10] == 0x12
    assert rtc.chip.nmimask.level == 0


def test_the_index_cannot_be_read(rtc):
    assert rtc.bus.read[rtc.base["at"] << 4 | 1]() == 0xFF


def test_a_board_sets_cells_before_the_start(rtc):
    rtc.chip.cmos(0x32, 0x19)
    rtc.chip.cmos(B, DM | H24)
    assert [rtc[0x32], rtc[B]] == [0x19, DM | H24]


def test_a_reset_keeps_what_the_battery_keeps(rtc):
    rtc[0x0F] = 0x0A
    rtc[MINUTES] = 0x30
    rtc.alarm(0x01, 0x02, 0x03)
    rtc[B] = PIE | AIE | UIE | H24 | 0x01
    rtc.advance(1_500_000_000)
    rtc.chip.reset()
    assert [rtc[i] for i in (0x0F, MINUTES, 5, 3, 1, B, C)] == [0x0A, 0x30, 1, 2, 3, H24 | 0x01, 0]
    assert rtc.chip.intr.level == 0
    rtc.advance(SECOND // 2)
    assert rtc[SECONDS] == 0


def test_without_a_battery_a_reset_starts_anew():
    rtc = Rtc(MC146818, datetime(2000, 1, 1), battery=False)
    rtc[0x0F] = 0x0A
    rtc[YEAR] = 0x77
    rtc.advance(1_500_000_000)
    rtc.chip.reset()
    assert rtc[0x0F] == 0
    assert rtc.time() == [0, 1, 1, 0, 0, 1]
    rtc.advance(SECOND // 2)
    assert rtc[SECONDS] == 2


def test_linux_finds_a_working_clock(rtc):
    assert rtc[D] & 0x7F == 0                           # mc146818_does_rtc_work()
    assert rtc[B] & H24                                 # cmos_do_probe(): only 24 hours are supported
    save = rtc[B], rtc[A]                               # mc146818_set_time()
    rtc[B] = save[0] | SET
    rtc[A] = save[1] | 0x70
    for cell, value in zip((YEAR, MONTH, DATE, HOURS, MINUTES, SECONDS), (0x24, 0x02, 0x28, 0x23, 0x59, 0x59)):
        rtc[cell] = value
    rtc[B], rtc[A] = save
    rtc.advance(SECOND // 2 + 2_228_000)
    assert rtc.time() == [0x24, 0x02, 0x29, 0, 0, 0]
