"""Virtual time in integer nanoseconds since power-on, and the alarms that ring in it.

While a guest runs the engine owns the time; the clock asks it for `now` and tells it when the next alarm moves nearer.
Alarms that are due together ring in the order in which they were made, so that a run repeats and a snapshot needs no heap.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any

CROWD = 64                  # entries of the heap that may be out of date


class Alarm:
    """One deadline; `due` is None while it is off."""

    __slots__ = ("_clock", "_heap", "_order", "due", "ring")

    def __init__(self, clock: Clock, ring: Callable[[], None]) -> None:
        self.ring, self._clock, self._heap, self._order = ring, clock, clock.heap, len(clock.alarms)
        self.due: int | None = None

    def at(self, time: int) -> None:
        """Ring at `time` (ns), instead of any earlier arrangement; a time that is past rings as soon as possible."""
        if time != self.due:
            self.due = time
            clock = self._clock
            heappush(self._heap, (time, self._order))
            if time < clock.horizon:
                clock.nearer(time)
            elif len(self._heap) > clock.crowd:
                clock.tidy()

    def off(self) -> None:
        """Do not ring."""
        self.due = None


class Clock:
    """`read` tells the time; `nearer(t)` is called when an alarm is set before `horizon`, where the guest's slice ends."""

    def __init__(self, read: Callable[[], int], nearer: Callable[[int], None] = lambda time: None) -> None:
        self.read, self.nearer = read, nearer
        self.horizon = 0
        self.heap: list[tuple[int, int]] = []                  # time, index into alarms
        self.alarms: list[Alarm] = []
        self.crowd = CROWD

    @property
    def now(self) -> int:
        """ns since power-on."""
        return self.read()

    def alarm(self, ring: Callable[[], None]) -> Alarm:
        """A new alarm, off."""
        alarm = Alarm(self, ring)
        self.alarms.append(alarm)
        self.crowd += 4
        return alarm

    def tidy(self) -> None:
        """Drop what is stale: a guest that moves a far alarm to and fro must not fill the memory."""
        self.heap[:] = [(alarm.due, order) for order, alarm in enumerate(self.alarms) if alarm.due is not None]
        heapify(self.heap)

    def next(self) -> int | None:
        """When the next alarm rings, if any is set."""
        heap = self.heap
        while heap:
            time, order = heap[0]
            if self.alarms[order].due == time:
                return time
            heappop(heap)                       # moved or turned off since
        return None

    def until(self, alarm: Any, now: int, end: int) -> int:
        """`end`, or earlier: from `now`, at which `alarm` is due, no other alarm rings before that; 0 if it is not so."""
        heap = self.heap
        if not heap or self.alarms[heap[0][1]] is not alarm or alarm.due != heap[0][0] or alarm.due > now:
            return 0
        for time, _ in heap[1:3]:               # what is out of date only makes it earlier
            end = min(end, time)
        return end if end > now else 0

    def ring(self, now: int) -> None:
        """Ring all that are due at `now`."""
        heap = self.heap
        while heap and heap[0][0] <= now:
            time, order = heappop(heap)
            alarm = self.alarms[order]
            if alarm.due == time:
                alarm.due = None
                alarm.ring()
