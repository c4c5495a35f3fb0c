"""Exits are counted and priced by what each form offers."""

from __future__ import annotations

import pytest

from emu.cost import exits, forms
from emu.cost.forms import Missing
from emu.cost.workloads import WORKLOADS, Workload

TICKS = Workload("irq", 8, 1024, "", "")
CALLS = Workload("syscall", 4, 32, "", "")


def found(kind, workload, directory):
    form = kind(directory)
    try:
        form.find()
    except Missing as missing:
        pytest.skip(str(missing))
    try:
        sample = form.run(workload, form.rounds(workload))
        return sample, exits.exits(form, workload, sample, None)
    finally:
        form.close()


def test_each_tick_of_our_machine_is_an_alarm_an_acknowledge_and_an_end_of_interrupt(tmp_path):
    sample, out = found(forms.Bare, TICKS, tmp_path)
    ways = {name: count for name, count, _ in out.ways}
    ticks = ways["acknowledge pic1"]
    assert ticks > 20 and ways["port write pic1.OCW2"] == ticks and abs(ways["alarm pit.EDGE0"] - ticks) <= 1
    assert 2 * ticks <= sample.exits <= 2 * ticks + 60          # to set up the chips takes nine; the ledger begins later
    assert 1e-7 < out.price < 1e-3 and out.work > 0


@pytest.mark.parametrize("kind", [forms.Bare, forms.Qemu])
def test_a_system_call_of_a_bare_guest_is_no_exit(kind, tmp_path):
    _, out = found(kind, CALLS, tmp_path)
    assert out.count <= 60                                      # a byte each of what it says at its end


def test_each_piece_that_goes_to_a_disk_is_exits(tmp_path):
    for kind in (forms.Bare, forms.Qemu):
        directory = tmp_path / kind.__name__
        directory.mkdir()
        _, out = found(kind, Workload("io", 7, 1600, "", ""), directory)
        assert out.count > 2 * out.rounds               # written and read back


def test_qemu_s_exits_are_those_of_its_log(tmp_path):
    _, out = found(forms.Qemu, TICKS, tmp_path)
    ways = {name: count for name, count, _ in out.ways}
    assert ways["interrupt"] > 5 and abs(ways["access to a device register"] - ways["interrupt"]) < 20
    assert 1e-9 < out.price < 1e-4


def test_a_hook_has_an_exit_for_each_instruction(tmp_path):
    _, out = found(forms.Hooked, Workload("cpu", 0, 1024, "", ""), tmp_path)
    assert out.count > 16384 * 8 and 1e-8 < out.price < 1e-4


def test_a_process_has_none(tmp_path):
    assert found(forms.Native, WORKLOADS["float"], tmp_path)[1] is None
