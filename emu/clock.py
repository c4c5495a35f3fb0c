"""Virtual time in integer nanoseconds since power-on, and the alarms that ring in it.

While a guest runs the engine owns the time; the clock asks it for `now` and tells it when the next alarm moves nearer.
Alarms that are due together ring in the order in which they were made, so that a run repeats and a snapshot needs no heap.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush

CROWD = 64                  # entries of the heap that may be out of date


class Alarm:
    """One deadline; `due` is None while it is off."""

    __slots__ = ("_arm", "due", "order", "ring")

    def __init__(self, ring: Callable[[], None], order: int, arm: Callable[[int, Alarm], None]) -> None:
        self.ring, self.order, self._arm = ring, order, arm
        self.due: int | None = None

    def at(self, time: int) -> None:
        """Ring at `time` (ns), instead of any earlier arrangement; a time that is past rings as soon as possible."""
        if time != self.due:
            self.due = time
            self._arm(time, self)

    def off(self) -> None:
        """Do not ring."""
        self.due = None


class Clock:
    """`read` tells the time; `nearer(t)` is called when an alarm has been set that may be the next."""

    def __init__(self, read: Callable[[], int], nearer: Callable[[int], None] = lambda time: None) -> None:
        self.read, self.nearer = read, nearer
        self.heap: list[tuple[int, int]] = []                  # time, index into alarms
        self.alarms: list[Alarm] = []

    @property
    def now(self) -> int:
        """ns since power-on."""
        return self.read()

    def alarm(self, ring: Callable[[], None]) -> Alarm:
        """A new alarm, off."""
        alarm = Alarm(ring, len(self.alarms), self._arm)
        self.alarms.append(alarm)
        return alarm

    def _arm(self, time: int, alarm: Alarm) -> None:
        if len(self.heap) < CROWD + 4 * len(self.alarms):
            heappush(self.heap, (time, alarm.order))
        else:                                   # a guest that moves a far alarm to and fro must not fill the memory
            self.heap[:] = [(alarm.due, alarm.order) for alarm in self.alarms if alarm.due is not None]
            heapify(self.heap)
        self.nearer(time)

    def next(self) -> int | None:
        """When the next alarm rings, if any is set."""
        heap = self.heap
        while heap:
            time, order = heap[0]
            if self.alarms[order].due == time:
                return time
            heappop(heap)                       # moved or turned off since
        return None

    def ring(self) -> None:
        """Ring all that are due."""
        heap, now = self.heap, self.read()
        while heap and heap[0][0] <= now:
            time, order = heappop(heap)
            alarm = self.alarms[order]
            if alarm.due == time:
                alarm.due = None
                alarm.ring()
