"""emu cost: the same work comes to the same result in every form, a form that fails is shown, and nothing is left behind."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from dataclasses import replace
from pathlib import Path

import pytest

from emu.boards.tiny import Tiny
from emu.cost import children, forms, guest, kvm, languages, measure, programs, table
from emu.cost.catalog import FORMS
from emu.cost.children import Child, FormError, once
from emu.cost.forms import Form, Missing, Native
from emu.cost.runc import Runc
from emu.cost.workloads import WORKLOADS, expected
from emu.machine import End
from tests.cost import there

LEAST = {"cpu": 2, "calls": 2, "memory": 2, "float": 2, "syscall": 1, "io": 20, "irq": 400, "spawn": 1}
SLOW = {"emu, Linux guest"}         # boots Debian: tests/cost/test_linux.py


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """All that is made lies here, and is gone afterwards."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield tmp_path
    assert not list(tmp_path.glob("emu-cost-*"))


@pytest.mark.parametrize("kind", [kind for kind in FORMS if kind.name not in SLOW], ids=lambda kind: kind.name)
def test_a_form_computes_every_workload_rightly(kind, tmp_path):
    with there(kind, tmp_path) as form:
        for name, rounds in LEAST.items():
            if name in form.lacks or (isinstance(form, forms.Traced) and name != "cpu"):    # a recording takes a second
                continue
            sample = form.run(WORKLOADS[name], rounds)
            assert sample.result == expected(name, rounds), name
            assert sample.wall >= 0 and sample.cpu >= 0 and sample.peak > 0


class Wrong(Native):
    name = "wrong"

    def run(self, workload, rounds):
        return super().run(workload, rounds + 1)


class Killed(Form):
    name = "killed"

    def run(self, workload, rounds):
        return once(["sh", "-c", "kill -9 $$"], 10)


class Absent(Form):
    name = "absent"

    def find(self):
        raise Missing("apt-get install absent")


class Full(Form):
    name = "full"

    def run(self, workload, rounds):
        raise OSError(28, os.strerror(28))


def test_what_fails_is_shown_with_its_error_and_the_rest_runs():
    record = measure.measure([Native, Wrong, Killed, Absent, Full], ["cpu"], 2)
    cells = {form["name"]: form.get("cells", {}).get("cpu") for form in record["forms"]}
    assert cells["native"]["state"] == "ok" and len(cells["native"]["cpu"]["values"]) == 2
    assert cells["wrong"]["why"].startswith("wrong result")
    assert "SIGKILL" in cells["killed"]["why"]
    assert "No space left" in cells["full"]["why"]
    shown = table.table(record)
    assert "missing: absent: apt-get install absent" in shown
    assert shown.count("failed: ") == 3


def test_a_run_whose_beginning_was_not_seen_is_run_again(tmp_path):
    class Late(Native):
        late = 1

        def run(self, workload, rounds):
            sample = super().run(workload, rounds)
            self.late -= 1
            return replace(sample, cpu=0.0) if self.late >= 0 else sample

    form = Late(tmp_path)
    cell = measure.Cell(form, WORKLOADS["calls"])
    cell.run()
    assert cell.state == "ok" and cell.samples[0].cpu > 0
    form.late = measure.TRIES
    cell.run()
    assert cell.state == "failed" and "too busy" in cell.why


class FullDisk(forms.Namespaces):
    """As Namespaces, on a disk of its own that is full after 64 KiB."""

    name = "full disk"

    def run(self, workload, rounds):
        def enter():
            self.enter()
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.mount(b"none", b"/", None, 0x44000, None):                  # MS_REC, MS_PRIVATE
                raise OSError(ctypes.get_errno(), "mount")
            if libc.mount(b"none", str(self.directory / "small").encode(), b"tmpfs", 0, b"size=64k"):
                raise OSError(ctypes.get_errno(), "mount")
            os.chdir(self.directory / "small")

        (self.directory / "small").mkdir(exist_ok=True)
        return once([str(self.program()), str(workload.number), str(rounds)], 20, own=True, inside=enter)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_full_disk_is_shown():
    record = measure.measure([Native, FullDisk], ["io"], 1)
    cell = record["forms"][1]["cells"]["io"]
    assert (cell["state"], cell["why"]) == ("failed", "No space left on device")


def test_a_container_whose_runtime_is_killed_leaves_nothing(tmp_path):
    with there(Runc, tmp_path) as form:
        child = Child(form.command(["0", "4000000"]))           # minutes of work
        while b"\1" not in os.read(child.child.stdout.fileno(), 100):
            pass
        state = json.loads(subprocess.run([form.path, *form._state(), "state", form.id], capture_output=True,
                                          check=True).stdout)
        child.end()
    time.sleep(0.2)
    assert state["status"] in ("running", "created")            # runc says the latter until it has taken its fifo away
    assert not Path(f"/proc/{state['pid']}/exe").exists()
    assert not list(Path("/sys/fs/cgroup").glob(f"*/emu-cost-{os.getpid()}"))
    assert "emu-cost" not in Path("/proc/self/mounts").read_text()


@pytest.mark.parametrize(("probe", "why"), [
    (subprocess.CompletedProcess([], 1, "", "/dev/kvm: Permission denied\n"), "/dev/kvm: Permission denied"),
    (subprocess.CompletedProcess([], 1, "", "/dev/kvm: Device or resource busy\n"), "another hypervisor has the processor"),
    (subprocess.CompletedProcess([], -9, "", ""), "the probe ended with -9"),
    (subprocess.TimeoutExpired("probe", 10), "does not answer within 10 s"),
])
def test_a_kvm_that_refuses_or_hangs_is_missing(probe, why, tmp_path, monkeypatch):
    def run(*arguments, **options):
        if isinstance(probe, Exception):
            raise probe
        return probe

    monkeypatch.setattr(forms.os.path, "exists", lambda path: True)
    monkeypatch.setattr(forms.subprocess, "run", run)
    with pytest.raises(Missing, match=why):
        forms.Kvm(tmp_path).find()


def test_an_emulated_kvm_is_told_and_does_less(tmp_path, monkeypatch):
    monkeypatch.setattr(forms.os.path, "exists", lambda path: True)
    monkeypatch.setattr(forms.subprocess, "run", lambda *a, **k: subprocess.CompletedProcess([], 0, "8600\n", ""))
    monkeypatch.setattr(forms, "hardware", lambda: False)
    form = forms.Kvm(tmp_path)
    form.find()
    assert "emulated (no vmx or svm" in form.note and "8.6 us" in form.note
    assert form.rounds(WORKLOADS["syscall"]) * 256 == WORKLOADS["syscall"].rounds


@pytest.mark.parametrize(("reason", "said"), [
    (kvm.EXIT_FAIL, "entry failed, reason 0x80000021"), (kvm.EXIT_INTERNAL, "internal error 0x80000021"),
    (kvm.EXIT_SHUTDOWN, "triple fault"), (kvm.EXIT_HLT, "its kernel gave up (HLT)"), (99, "exit 99")])
def test_an_exit_that_nobody_wants_is_told_with_the_number_that_KVM_gives(reason, said):
    vm = kvm.VM.__new__(kvm.VM)
    vm.run_ = bytes(32) + (0x80000021).to_bytes(8, "little")        # struct kvm_run: of what failed, its number
    assert vm.told(reason) == said


@pytest.mark.parametrize(("code", "why"), [
    (b"\xEB\xFE", "no end after 1 s"), (b"\x0F\x0B", "KVM: triple fault"), (b"\xF4", "KVM: its kernel gave up"),
    (b"\xA1" + (1 << 29).to_bytes(8, "little"), "KVM: an access to where nothing is")], ids=["jmp", "ud2", "hlt", "mov"])
def test_a_guest_of_KVM_that_runs_away_or_fails_is_ended(code, why, tmp_path):
    with there(forms.Kvm, tmp_path) as form:
        command = form.command(WORKLOADS["spawn"], 1)
        kernel = bytearray((tmp_path / "kernel").read_bytes())
        at = programs.ENTRY64 - programs.KERNEL
        kernel[at:at + len(code)] = code
        (tmp_path / "kernel").write_bytes(kernel)
        with pytest.raises(FormError, match=why):
            once(command, 1, own=True)


def test_a_call_of_KVM_that_a_signal_broke_off_is_made_again(monkeypatch):
    answers = [InterruptedError(), InterruptedError(), 7]

    def broken_off(*arguments):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(kvm.fcntl, "ioctl", broken_off)
    assert kvm.ioctl(0, kvm.CREATE_VM) == 7 and not answers


def test_the_kernel_that_KVM_gets_is_interrupted_where_SYSCALL_comes_to_ring_0(tmp_path):
    """As on a processor; an emulated KVM, whose SYSCALL stays in ring 3, is above, where one is."""
    marks = guest.Marks()
    kernel = programs.kernel(WORKLOADS["irq"].number, 400, by_iret=True)
    with Tiny(guest.MEMORY, debug=marks) as machine:
        path = tmp_path / "kernel"
        path.write_bytes(kernel)
        machine.load(path)
        assert machine.run_until(seconds=10) is End.HALTED
    assert marks.result() == expected("irq", 400)


def test_a_machine_that_is_no_more_leaves_no_memory(tmp_path, capsys):
    bare = guest.Bare("bare", tmp_path)
    try:
        bare.run(WORKLOADS["syscall"].number, 1)
        old = weakref.ref(bare.machines[False])
        bare.run(WORKLOADS["syscall"].number, 1)
        assert old() is None and bare.machines[False] is not None
    finally:
        bare.close()
        gc.unfreeze()


def test_what_is_not_installed_is_named_with_its_package(tmp_path, monkeypatch):
    monkeypatch.setattr(forms.shutil, "which", lambda *arguments, **options: None)
    for kind, package in ((Runc, "runc"), (forms.Qemu, "qemu-system-x86"), (languages.Java, "default-jre-headless"),
                          (languages.Ruby, "ruby")):
        with pytest.raises(Missing, match=f"apt-get install {package}$"):
            kind(tmp_path).find()


def test_a_run_that_is_ended_leaves_nothing(tmp_path):
    run = subprocess.Popen([sys.executable, "-m", "emu", "cost", "--workload", "cpu", "--form", "emu, bare guest"],
                           env={**os.environ, "TMPDIR": str(tmp_path)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with run:
        while b"bare guest" not in run.stderr.readline():
            pass
        assert list(tmp_path.glob("emu-cost-*"))
        run.send_signal(signal.SIGTERM)
        run.communicate(timeout=30)
    assert run.returncode == 143 and not list(tmp_path.iterdir())


def test_a_child_that_hangs_is_ended_in_time():
    with pytest.raises(FormError, match="no end after"):
        once(["sleep", "60"], 0.2)


def test_a_child_that_no_signal_ends_is_left_alone_in_time(monkeypatch):
    child = Child(["sleep", "60"])
    with monkeypatch.context() as patch:
        patch.setattr(children, "STUCK", 0.1)
        patch.setattr(children.os, "wait4", lambda pid, options: (0, 0, None))
        start = time.monotonic()
        child.end(limit=0.1)
        assert time.monotonic() - start < 5
    assert child.child.wait(10) == -signal.SIGKILL


def test_children_die_with_the_process_that_started_them():
    code = ("from emu.cost.children import Child; import sys, time\n"
            "c = Child(['sleep', '60']); print(c.child.pid, flush=True); time.sleep(60)")
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        pid = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            return
        if state == "Z":
            return
        time.sleep(0.02)
    pytest.fail("the child lives on")


def test_a_share_of_the_work_is_stated_and_scaled():
    record = measure.measure([Native, forms.CPython], ["float"], 1)
    cell = record["forms"][1]["cells"]["float"]
    assert cell["rounds"] * 4 == cell["whole"]
    assert "* 1/4 of the work, scaled: CPython" in table.table(record)
    assert table.ratio(record, record["forms"][1], "float") > 2


def test_the_executable_is_what_elf_says():
    elf = programs.elf()
    assert elf[:4] == b"\x7fELF" and elf[0x1000:] == programs.code()
    assert programs.kernel(3, 77)[programs.ARGUMENTS - programs.KERNEL:][:18] == b"3" + bytes(15) + b"77"


@pytest.mark.parametrize(("count", "first", "last"), [(5, 0, 4), (6, 0, 5), (9, 1, 7), (10, 1, 8), (20, 5, 14)])
def test_a_confidence_interval_of_the_median_leaves_out_what_it_may(count, first, last):
    """The ranks of the tables for 95 % (Conover, Practical Nonparametric Statistics); of five it is all that there is."""
    values = [float(2 ** n) for n in range(count)]
    assert measure.spread(values[::-1])["half"] == (values[last] - values[first]) / 2
    assert measure.spread(values[:4])["half"] is None
