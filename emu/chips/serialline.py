"""SerialLine: the cable to a UART and the transmitter at its other end, which sends no faster than we read.

Not modelled: noise, and a peer with other settings than ours.
"""

# mypy: disable-error-code="has-type"
from __future__ import annotations

from collections.abc import Callable

from emu.device import Device, State, Timer

PATIENCE = 1_000_000        # ns: how often the peer looks again at a receiver that was not ready


class SerialLine(Device):
    """`deliver` takes a character, `ready` tells whether it would be lost, `character_time` how long it takes (ns)."""

    QUEUE = State(b"", "what was typed")
    SENT = State(0, "how much of it has arrived")
    ARRIVAL = Timer("the next character has arrived")

    def __init__(
        self, deliver: Callable[[int], None], ready: Callable[[], bool], character_time: Callable[[], int],
    ) -> None:
        self.deliver, self.ready, self.character_time = deliver, ready, character_time

    def type(self, data: bytes) -> None:
        """Send `data` after what is still under way."""
        idle = not self.queue
        self.queue += data
        if idle and data:
            self.arrival.at(self.clock.now + self.character_time())

    def on_ARRIVAL(self) -> None:
        wait = self.character_time()
        if self.ready():
            byte = self.queue[self.sent]
            self.sent += 1
            if self.sent == len(self.queue):
                self.queue, self.sent = b"", 0
            self.deliver(byte)
        else:
            wait = max(wait, PATIENCE)
        if self.queue:
            self.arrival.at(self.clock.now + wait)
