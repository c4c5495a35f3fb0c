"""Clock: alarms in virtual time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.clock import Clock


class Time:
    def __init__(self):
        self.now, self.rung, self.nearer = 0, [], []
        self.clock = Clock(lambda: self.now, self.nearer.append)

    def alarm(self, name):
        return self.clock.alarm(lambda: self.rung.append((self.now, name)))

    def run(self, end):
        while (due := self.clock.next()) is not None and due <= end:
            self.now = max(self.now, due)
            self.clock.ring(self.now)
        self.now = end


@pytest.fixture
def t():
    return Time()


def test_now_is_what_is_read(t):
    t.now = 42
    assert t.clock.now == 42


def test_an_alarm_rings_once_at_its_time(t):
    t.alarm("a").at(100)
    t.run(99)
    assert t.rung == []
    t.run(500)
    assert t.rung == [(100, "a")]
    assert t.clock.next() is None


def test_alarms_ring_in_the_order_of_their_times(t):
    a, b, c = t.alarm("a"), t.alarm("b"), t.alarm("c")
    a.at(30)
    b.at(10)
    c.at(20)
    t.run(30)
    assert t.rung == [(10, "b"), (20, "c"), (30, "a")]


def test_alarms_that_are_due_together_ring_in_the_order_in_which_they_were_made(t):
    a, b = t.alarm("a"), t.alarm("b")
    b.at(10)
    a.at(10)
    t.run(10)
    assert t.rung == [(10, "a"), (10, "b")]


def test_an_alarm_that_is_off_does_not_ring(t):
    a = t.alarm("a")
    a.at(10)
    a.off()
    assert a.due is None
    assert t.clock.next() is None
    t.run(20)
    assert t.rung == []


def test_an_alarm_may_be_moved_either_way(t):
    a = t.alarm("a")
    a.at(10)
    a.at(30)
    assert t.clock.next() == 30
    a.at(20)
    t.run(40)
    assert t.rung == [(20, "a")]


def test_an_alarm_that_is_set_off_and_on_again_rings_once(t):
    a = t.alarm("a")
    a.at(10)
    a.off()
    a.at(10)
    t.run(20)
    assert t.rung == [(10, "a")]


def test_a_time_that_is_past_rings_as_soon_as_possible(t):
    t.now = 50
    t.alarm("a").at(10)
    t.run(50)
    assert t.rung == [(50, "a")]


def test_an_alarm_may_set_itself_again(t):
    def ring():
        t.rung.append(t.now)
        alarm.at(t.now + 10)

    alarm = t.clock.alarm(ring)
    alarm.at(10)
    t.run(35)
    assert t.rung == [10, 20, 30]


def test_an_alarm_may_turn_off_one_that_is_due_with_it(t):
    def ring():
        t.rung.append((t.now, "first"))
        second.off()

    first = t.clock.alarm(ring)
    second = t.alarm("second")
    second.at(10)
    first.at(10)
    t.run(20)
    assert t.rung == [(10, "first")]


def test_the_engine_is_told_of_an_alarm_that_is_set_before_the_end_of_its_slice(t):
    a = t.alarm("a")
    a.at(10)
    t.clock.horizon = 8
    a.at(10)
    a.at(9)
    a.at(5)
    assert t.nearer == [5]


def test_an_alarm_that_is_moved_to_and_fro_fills_no_memory(t):
    a, b = t.alarm("a"), t.alarm("b")
    b.at(5000)
    for i in range(10_000):
        a.at(10_000 + i % 7)
    assert len(t.clock.heap) < 100
    t.run(20_000)
    assert t.rung == [(5000, "b"), (10_000 + 9_999 % 7, "a")]


@given(st.lists(st.tuples(st.integers(0, 4), st.one_of(st.none(), st.integers(0, 50))), max_size=60))
def test_alarms_ring_as_a_sorted_list_would(moves):
    t = Time()
    alarms = [t.alarm(i) for i in range(5)]
    wanted = {}
    for i, time in moves:
        if time is None:
            alarms[i].off()
            wanted.pop(i, None)
        else:
            alarms[i].at(time)
            wanted[i] = time
    t.run(100)
    assert t.rung == sorted((time, i) for i, time in wanted.items())
