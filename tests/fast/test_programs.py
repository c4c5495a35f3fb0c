"""Random programs give the same registers, memory, flags, exceptions, blocks and time whatever is on; and the same as QEMU.

A failure prints the smallest part of the program that still fails, as it is assembled.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import hypothesis
import pytest
from hypothesis import HealthCheck, given, settings

from emu.cpu.unicorn.fast import NAMES, NEEDS, REWRITERS
from tests.fast import qemu
from tests.fast.ours import ENDED, Machine, compare_memory, differences, run_moved, run_ours
from tests.fast.programs import Program, program, programs, reduce

ALONE = [",".join(filter(None, (NEEDS.get(name), name))) for name in NAMES]
WITHOUT = [",".join(name for name in NAMES if name != left) for left in NAMES]
wants_qemu = pytest.mark.skipif(not qemu.QEMU, reason="qemu-system-x86_64 is not installed")


def hold(case: Program, compare: Callable[[Program], list[str]]) -> None:
    """Fail with the reduced program."""
    if compare(case):
        case = reduce(case, lambda smaller: bool(compare(smaller)))
        pytest.fail("\n".join([case.listing(), *compare(case)]), pytrace=False)


def on_and_off(case: Program, *techniques: str) -> list[str]:
    image = case.image()
    plain = run_ours(image, "none")
    if plain.stop not in ENDED:
        return []
    return [f"{fast}: {line}" for fast in techniques for line in differences(plain, run_ours(image, fast))]


def cut(case: Program, seed: int, fast: str) -> list[str]:
    image = case.image()
    plain = run_ours(image, "none")
    if plain.stop not in ENDED:
        return []
    return differences(plain, run_ours(image, fast, random.Random(seed)))


def moved(case: Program, seed: int, techniques: list[str]) -> list[str]:
    image = case.image()
    plain = run_ours(image, "none")
    if plain.stop not in ENDED:
        return []
    return differences(plain, run_moved(image, techniques, random.Random(seed)))


def on_qemu(first: int, last: int) -> None:
    cases = [program(seed, portable=True) for seed in range(first, last)]
    for case, theirs in zip(cases, qemu.run_qemu([case.image() for case in cases]), strict=True):
        if found := compare_with_qemu(case, theirs):
            hold(case, lambda case: compare_with_qemu(case, qemu.run_qemu([case.image()], 20)[0]))
            pytest.fail("\n".join([case.listing(), "only behind the programs before it:", *found]), pytrace=False)


def compare_with_qemu(case: Program, theirs: qemu.Outcome) -> list[str]:
    ours = run_ours(case.image(), "all")
    return [*qemu.compare_registers(ours.state, theirs.registers),
            *compare_memory(qemu.architectural(ours.memory), qemu.architectural(theirs.memory))]


@pytest.mark.parametrize("first", range(0, 120, 20))
def test_programs_run_alike_with_all_on_and_all_off_and_with_one_alone(first: int) -> None:
    for seed in range(first, first + 20):
        hold(program(seed), lambda case, seed=seed: on_and_off(case, "all", ALONE[seed % len(ALONE)]))


@given(programs())
@settings(max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_programs_of_hypothesis_run_alike(case: Program) -> None:
    found = on_and_off(case, "all")
    hypothesis.note(case.listing())
    assert not found


@pytest.mark.parametrize("fast", ["none", "all"])
def test_programs_cut_into_slices_run_alike(fast: str) -> None:
    for seed in range(40):
        hold(program(1000 + seed), lambda case, seed=seed: cut(case, seed, fast))


def test_programs_moved_between_engines_with_all_on_and_all_off_run_alike() -> None:
    for seed in range(15):
        hold(program(2000 + seed, most=6), lambda case, seed=seed: moved(case, seed, ["all", "none"]))


@wants_qemu
def test_programs_run_as_on_QEMU() -> None:
    on_qemu(0, 100)


@pytest.mark.long
@pytest.mark.parametrize("first", range(10_000, 12_000, 100))
def test_2000_programs_run_alike(first: int) -> None:
    for seed in range(first, first + 100):
        hold(program(seed), lambda case: on_and_off(case, "all"))


@pytest.mark.long
@pytest.mark.parametrize("fast", [*ALONE, *WITHOUT])
def test_100_programs_run_alike_with_one_technique_alone_and_with_all_others(fast: str) -> None:
    for seed in range(20_000, 20_100):
        hold(program(seed), lambda case: on_and_off(case, fast))


@pytest.mark.long
@pytest.mark.parametrize("first", range(30_000, 30_400, 100))
def test_400_programs_cut_and_moved_run_alike(first: int) -> None:
    for seed in range(first, first + 100):
        hold(program(seed), lambda case, seed=seed: cut(case, seed, "all"))
    for seed in range(first, first + 20):
        hold(program(seed, most=6), lambda case, seed=seed: moved(case, seed, ["all", "none", *ALONE]))


@pytest.mark.long
@wants_qemu
@pytest.mark.parametrize("first", range(40_000, 42_000, 200))
def test_2000_programs_run_as_on_QEMU(first: int) -> None:
    on_qemu(first, first + 200)


def test_the_programs_reach_every_rewriter() -> None:
    """Else the tests above would compare nothing."""
    matched = dict.fromkeys(REWRITERS.keys() & set(NAMES), 0)
    for seed in range(20):
        machine = Machine(program(seed).image(), "all")
        machine.run()
        report = machine.engine.techniques()
        for name in matched:
            matched[name] += report[name]["matched"]
        machine.close()
    assert min(matched.values()) > 5, matched
