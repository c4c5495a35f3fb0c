"""The other side of a channel, with patience."""

from __future__ import annotations

import os
import select
import time

LIMIT = 5.0  # seconds: what should happen at once and does not by then has failed


def read_until(channel, enough, limit=LIMIT):
    """What arrives on a channel until `enough(data)`."""
    data, deadline = b"", time.monotonic() + limit
    while not enough(data):
        assert time.monotonic() < deadline, f"only {data!r} arrived"
        channel.wait(0.1)
        data += channel.read()
    return data


def read_fd(fd, count, limit=LIMIT):
    """`count` bytes of a descriptor."""
    data, deadline = b"", time.monotonic() + limit
    while len(data) < count:
        ready = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0]
        assert ready, f"only {data!r} arrived"
        piece = os.read(fd, count - len(data))
        if not piece:
            break
        data += piece
    return data


def shut(ends, index):
    os.close(ends[index])
    ends[index] = -1
