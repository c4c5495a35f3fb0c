"""Exits are counted and priced by what each form offers."""

from __future__ import annotations

import pytest

from emu.cost import exits, forms, languages, spawning
from emu.cost.runc import Runc
from emu.cost.workloads import WORKLOADS, Workload
from tests.cost import there

TICKS = Workload("irq", 8, 1024, "", "")
CALLS = Workload("syscall", 4, 32, "", "")


def found(kind, workload, directory):
    with there(kind, directory) as form:
        sample = form.run(workload, form.rounds(workload))
        return sample, exits.exits(form, workload, sample, None)


def test_each_tick_of_our_machine_is_an_alarm_an_acknowledge_and_an_end_of_interrupt(tmp_path):
    sample, out = found(forms.Bare, TICKS, tmp_path)
    ways = {name: count for name, count, _ in out.ways}
    ticks = ways["acknowledge pic1"]
    assert ticks > 20 and all(abs(ways[name] - ticks) <= 1 for name in ("port write pic1.OCW2", "alarm pit.EDGE0"))
    assert 2 * ticks - 2 <= sample.exits <= 2 * ticks + 60      # to set up the chips takes nine
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


def test_the_ledger_takes_itself_out(tmp_path):
    """Its exits and the work besides are what an unwatched run takes: as the ledger has them, they are over twice that."""
    sample, out = found(forms.Bare, Workload("io", 7, 16384, "", ""), tmp_path)
    assert 0.4 < (out.count * out.price + out.device + out.work) / sample.cpu < 1.8
    assert out.device > 0 and sum(spent for _, _, spent in out.ways) == pytest.approx(out.count * out.price + out.device)


def test_a_hook_s_work_is_that_of_the_same_guest_without_it(tmp_path):
    sample, out = found(forms.Hooked, Workload("syscall", 4, 8192, "", ""), tmp_path)
    assert 0.5 < (out.count * out.price + out.work) / sample.cpu < 2
    assert out.work > 8000 * 1e-7                       # eight thousand system calls that Python answers


@pytest.mark.parametrize("kind", [
    forms.Native, forms.Namespaces, Runc, forms.Bare, forms.Qemu, forms.Kvm, languages.Java,
    languages.WebAssembly], ids=lambda kind: kind.name)
def test_a_start_is_the_sum_of_its_stages(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(spawning, "TURNS", 1)
    with there(kind, tmp_path) as form:
        made = spawning.stages(form, 1e-4)
    assert len({what for what, _ in made}) == len(made) >= (1 if kind is forms.Native else 2)
    assert 2e-5 < sum(spent for _, spent in made) < 30
