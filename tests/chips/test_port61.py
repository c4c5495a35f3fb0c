"""System control port B."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from emu.chips.i8254 import I8254
from emu.chips.port61 import Port61
from tests.chips.bench import Bench


def port(out2: int = 0) -> Bench:
    return Bench(Port61, lambda: out2)


def test_bit_0_is_the_gate_of_timer_2_and_bit_1_enables_the_speaker() -> None:
    bench = port()
    bench.write("NMISC", 0x03)
    bench.write("NMISC", 0x03)
    bench.write("NMISC", 0x01)
    assert bench.pins == [("GATE2", 1), ("SPKR", 1), ("SPKR", 0)]
    assert bench.chip.gate2.level == 1


def test_bits_0_to_3_read_as_written_and_the_others_cannot_be_written() -> None:
    bench = port()
    bench.write("NMISC", 0xFF)
    assert bench.read("NMISC") == 0x0F


def test_bit_4_toggles_with_each_refresh_request() -> None:
    bench = port()
    levels = []
    for _ in range(1000):
        levels.append(bench.read("NMISC") >> 4 & 1)
        bench.advance(1000)
    changes = sum(a != b for a, b in pairwise(levels))
    assert changes == 999_000 // 15_085                 # each 15.085 us


def test_bit_5_is_out2_at_the_time_of_the_read() -> None:
    level = 1
    bench = Bench(Port61, lambda: level)
    assert bench.read("NMISC") == 0x20
    level = 0
    assert bench.read("NMISC") == 0x00


@given(st.lists(st.integers(0, 0xFF)))
def test_restore_is_the_inverse_of_save(values: list[int]) -> None:
    bench, other = port(), port()
    for value in values:
        bench.write("NMISC", value)
        assert bench.read("NMISC") & 0xCF == value & 0x0F
    other.chip.restore(bench.chip.save())
    assert other.chip.save() == bench.chip.save()
    assert other.read("NMISC") == bench.read("NMISC")


def test_reset_is_power_on() -> None:
    bench = port()
    fresh = bench.chip.save()
    bench.write("NMISC", 0x0F)
    bench.chip.reset()
    assert bench.chip.save() == fresh


def test_the_speaker_sounds_while_its_bit_and_the_gate_let_timer_2_through() -> None:
    pit = Bench(I8254)
    port = Bench(Port61, lambda: pit.chip.out(2), lambda: pit.chip.tone(2))
    port.chip.gate2.sinks.append(pit.chip.gate2)
    pit.write("CONTROL", 0xB6)                          # counter 2, mode 3
    pit.write("COUNTER2", 0xA9, 0x04)                   # 1193
    heard = []
    for bits in 0, 1, 2, 3:
        port.write("NMISC", bits)
        pit.advance(10**6)
        heard.append(port.chip.speaker.hertz)
    assert heard == [0, 0, 0, 1193182 / 1193]


def test_the_cone_rests_where_a_program_puts_it() -> None:
    pit = Bench(I8254)
    port = Bench(Port61, lambda: pit.chip.out(2), lambda: pit.chip.tone(2))
    pit.write("CONTROL", 0xB0)                          # mode 0: OUT is low until the count is done
    levels = []
    for bits in 2, 0:
        port.write("NMISC", bits)
        pit.write("CONTROL", 0xB0)
        levels.append(port.chip.speaker)
        pit.write("CONTROL", 0xB6)                      # mode 3: high
        levels.append(port.chip.speaker)
    assert levels == [(0, 0), (0, 1), (0, 0), (0, 0)]
