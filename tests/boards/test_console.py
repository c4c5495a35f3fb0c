"""What a guest has shown is kept in bounded memory, and told apart by a digest of all of it."""

from __future__ import annotations

import hashlib
import random

import pytest

from emu import snapshot
from emu.boards.console import LIMIT, PIECE, Console
from emu.boards.tiny import Tiny
from tests import guests


def console(data: bytes, length: int | None = None) -> Console:
    made = Console()
    for at in range(0, len(data), length or len(data) or 1):
        made.write(data[at:at + (length or len(data))])
    return made


@pytest.fixture(scope="module")
def flood() -> bytes:
    return random.Random(1).randbytes(3 * LIMIT + 12_345)


def test_the_digest_is_the_SHA_256_of_everything_while_all_is_kept():
    data = bytes(LIMIT - 1)
    made = console(data, 65_537)
    assert made.kept == data and made.first == 0 and made.end == len(data)
    assert made.sha256() == hashlib.sha256(data).hexdigest()
    assert Console().sha256() == hashlib.sha256().hexdigest()


def test_of_a_flood_the_end_is_kept(flood):
    made = console(flood, 1000)
    assert LIMIT - PIECE <= len(made.kept) < LIMIT
    assert made.end == len(flood) and flood.endswith(made.kept)


def test_the_digest_of_a_flood_does_not_depend_on_how_it_came_and_tells_every_byte(flood):
    digests = {console(flood, length).sha256() for length in (None, 999, PIECE, 2 * LIMIT + 1)}
    assert len(digests) == 1
    assert console(b"?" + flood[1:]).sha256() not in digests and console(flood[:-1]).sha256() not in digests


def test_positions_count_from_power_on(flood):
    made = console(flood)
    wanted = flood[-100:-50]
    assert made.find(wanted) == made.find(wanted, made.end - 100) == len(flood) - 100
    assert made.find(wanted, made.end - 99) == -1
    assert made.find(flood[:50]) == -1


def test_a_flood_goes_through_a_snapshot(tmp_path):
    path = tmp_path / "flood"
    with Tiny() as whole, Tiny() as first:
        for machine in (whole, first):
            machine.console.write(bytes(LIMIT - 1000))
            machine.load(guests.flat("flood"))
        whole.run(1_000_000)
        first.run(500_000)
        snapshot.save(first, path)
        with snapshot.load(path) as then:
            then.run(1_000_000)
            assert then.console.first == whole.console.first == PIECE
            assert then.console.end == whole.console.end and then.console.sha256() == whole.console.sha256()


def test_a_text_is_found_while_the_console_gives_up_its_beginning():
    with Tiny() as machine:
        machine.console.write(bytes(LIMIT - 4))
        machine.load(guests.flat("hello"))
        machine.run_until("hello, world")
        assert machine.text.endswith("hello, world")
