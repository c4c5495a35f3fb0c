"""8259A: two in cascade, the priorities against a slow resolver, and snapshots in the middle of anything."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from emu.chips.i8259 import I8259
from tests.chips.bench import Bench
from tests.chips.test_i8259 import EOI, ISR, Pic


class Pair:
    def __init__(self, master_icw4: int = 1, slave_icw4: int = 1) -> None:
        self.slave = Pic(None, 0x11, 2, slave_icw4)
        self.master = Pic({2: self.slave.chip.acknowledge}, 0x11, 4, master_icw4)
        self.slave.initialize(0x11, 0x70, 2, slave_icw4)
        self.slave.chip.int.sinks.append(self.master.chip.ir[2].wire())

    def isrs(self) -> tuple[int, int]:
        return self.master.get(ISR), self.slave.get(ISR)


def test_the_slave_gives_the_vector_and_both_need_an_eoi() -> None:
    pair = Pair()
    pair.slave.raise_ir(4)
    assert pair.master.intr == 1
    assert pair.master.chip.acknowledge() == 0x74
    assert pair.isrs() == (0x04, 0x10)
    pair.slave.raise_ir(6)
    pair.slave.write("OCW2", EOI)
    assert pair.master.intr == 0
    pair.master.write("OCW2", EOI)
    assert pair.master.chip.acknowledge() == 0x76


def test_slave_requests_are_above_ir3_and_below_ir1() -> None:
    pair = Pair()
    pair.master.raise_ir(3, 1)
    pair.slave.raise_ir(7)
    vectors = []
    while pair.master.intr:
        vectors.append(pair.master.chip.acknowledge())
        pair.slave.write("OCW2", EOI)
        pair.master.write("OCW2", EOI)
    assert vectors == [0x09, 0x77, 0x0B]


def test_a_second_request_of_the_slave_is_a_new_edge_for_the_master() -> None:
    pair = Pair(master_icw4=3, slave_icw4=3)
    pair.slave.raise_ir(4, 5)
    assert [pair.master.chip.acknowledge() for _ in range(2)] == [0x74, 0x75]
    assert pair.master.intr == 0


def test_a_slave_request_that_drops_is_a_default_ir7_of_the_master() -> None:
    pair = Pair()
    pair.slave.raise_ir(4)
    pair.slave.chip.ir[4](0)
    assert pair.master.chip.acknowledge() == 0x0F
    assert pair.isrs() == (0, 0)


def test_a_default_ir7_of_the_slave_sets_only_the_masters_isr_bit() -> None:
    pair = Pair()
    pair.master.raise_ir(2)                                     # IR2 high without a request in the slave
    assert pair.master.chip.acknowledge() == 0x77
    assert pair.isrs() == (0x04, 0)


def test_in_special_fully_nested_mode_a_higher_request_of_the_slave_in_service_is_recognized() -> None:
    for icw4, recognized in ((0x01, 0), (0x11, 1)):
        pair = Pair(master_icw4=icw4)
        pair.slave.raise_ir(4)
        pair.master.chip.acknowledge()
        pair.master.raise_ir(3)
        assert pair.master.intr == 0
        pair.slave.raise_ir(6)
        assert pair.master.intr == 0
        pair.slave.raise_ir(1)
        assert pair.master.intr == recognized
    assert pair.master.chip.acknowledge() == 0x71


def test_without_a_slave_behind_an_input_that_icw3_names_nobody_drives_the_bus() -> None:
    pic = Pic({}, 0x11, 0x10)
    pic.raise_ir(4)
    assert pic.chip.acknowledge() == 0xFF
    assert pic.get(ISR) == 0x10


def test_with_sngl_no_input_has_a_slave() -> None:
    pair = Pair()
    pair.master.initialize(0x13, 0x08)
    pair.master.raise_ir(2)
    assert pair.master.chip.acknowledge() == 0x0A


BYTE = st.integers(0, 0xFF)


@settings(max_examples=200, deadline=None)
@given(irr=BYTE, isr=BYTE, imr=BYTE, lowest=st.integers(0, 7), smm=st.booleans(), sfnm=st.booleans())
def test_priorities_are_those_of_a_slow_resolver(irr: int, isr: int, imr: int, lowest: int, smm: bool, sfnm: bool) -> None:
    pic = Pic({}, 0x11, 0x14, 0x11 if sfnm else 0x01)
    pic.chip.irr, pic.chip.isr = irr, isr
    pic.write("OCW2", 0xC0 | lowest)
    pic.write("OCW3", 0x68 if smm else 0x48)
    pic.write("IMR", imr)
    expected = None
    for level in [(lowest + 1 + i) % 8 for i in range(8)]:
        bit = 1 << level
        held = isr & bit and not (smm and imr & bit)
        if held and not (sfnm and bit & 0x14):
            break
        if irr & bit and not imr & bit:
            expected = level
            break
        if held:
            break
    assert pic.intr == (expected is not None)
    pic.write("OCW3", 0x0C)
    assert pic.read("IRR") == (0 if expected is None else 0x80 | expected)


ACCESS = st.one_of(
    st.tuples(st.sampled_from(["OCW2", "IMR", "ELCR"]), BYTE),
    st.tuples(st.sampled_from(["read IRR", "read IMR", "read ELCR", "acknowledge"]), st.just(0)),
    st.tuples(st.just("ir"), st.integers(0, 15)))


@settings(max_examples=100, deadline=None)
@given(st.lists(ACCESS, max_size=60), st.integers(0, 60))
def test_a_restored_chip_goes_on_as_if_nothing_had_been(accesses: list[tuple[str, int]], cut: int) -> None:
    def run(pic: Bench, part: list[tuple[str, int]]) -> list[int]:
        seen = []
        for what, value in part:
            if what == "ir":
                pic.chip.ir[value >> 1](value & 1)
            elif what == "acknowledge":
                seen.append(pic.chip.acknowledge())
            elif what.startswith("read"):
                seen.append(pic.read(what[5:]))
            else:
                pic.write(what, value)
            seen.append(pic.chip.int.level)
            assert all(0 <= byte <= 0xFF for byte in seen)
        return seen

    def fresh() -> Bench:
        return Bench(I8259, {2: lambda: 0x70})

    whole, early, late = fresh(), fresh(), fresh()
    run(early, accesses[:cut])
    state = early.chip.save()
    late.chip.restore(state)
    assert late.chip.save() == state
    run(whole, accesses[:cut])
    assert run(whole, accesses[cut:]) == run(late, accesses[cut:])
    assert whole.chip.save() == late.chip.save()
