"""emu cost on hosts that lack or refuse something, or end it: rows say so, the rest runs, and nothing is left behind."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import site
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from emu import cli
from emu.cost import forms, measure
from emu.cost.catalog import FORMS
from emu.cost.forms import Native
from emu.cost.room import Room

COST = [sys.executable, "-m", "emu", "cost", "--rounds", "1"]
LONG = "--workload", "cpu", "--workload", "calls"
root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def processes(word):
    """Command lines that hold a word, by process; what has ended and is not yet reaped has none."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if word in line:
            found[int(process.name)] = line
    return found


def cgroups():
    return {str(group) for pattern in ("emu-cost-*", "*/emu-cost-*") for group in Path("/sys/fs/cgroup").glob(pattern)}


@pytest.fixture
def place(tmp_path):
    """TMPDIR of a run; afterwards mounts, cgroups, processes and files are as they were."""
    mounts, groups = Path("/proc/mounts").read_text(), cgroups()
    place = tmp_path / "place"
    place.mkdir()
    place.chmod(0o777)
    yield place
    nothing = {}, [], set(), mounts
    for _ in range(200):                                # what is ended by a signal needs a moment; other tests run, too
        left = processes(str(place)), list(place.iterdir()), cgroups() - groups, Path("/proc/mounts").read_text()
        if left == nothing:
            break
        time.sleep(0.05)
    assert left == nothing


def environment(place, **more):
    return {**os.environ, "TMPDIR": str(place), **more}


def record(place, *options, before="", command=(), names=("spawn",), kinds=(), python=sys.executable, **more):
    """What a run in name spaces of its own tells; `before`: a shell's commands there."""
    words = [*command, python, *COST[1:], "--json", *options]
    for option, values in (("--workload", names), ("--form", kinds)):
        words += [word for value in values for word in (option, value)]
    if before:
        words = ["unshare", "-m", "sh", "-ec", f"{before}\nexec {shlex.join(words)}"]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=120, env=environment(place, **more))
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    return {form["name"]: form for form in json.loads(ended.stdout)["forms"]}


def began(run, text):
    """Wait until a run says so."""
    while text not in (line := run.stderr.readline()):
        assert line
    time.sleep(0.15)


@pytest.mark.parametrize(("form", "number"), [
    ("native", signal.SIGKILL), ("runc", signal.SIGKILL), ("namespaces", signal.SIGKILL), ("emu, bare guest", signal.SIGKILL),
    ("runc", signal.SIGTERM), ("emu, bare guest", signal.SIGINT), ("emu, bare guest", signal.SIGHUP)])
def test_a_run_that_is_ended_leaves_nothing(form, number, place):
    with subprocess.Popen([*COST, *LONG, "--form", form], env=environment(place), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, start_new_session=True) as run:
        began(run, f"in {form}")
        assert list(place.glob("emu-cost-*")) and processes(str(place))
        os.killpg(run.pid, number)
        run.communicate(timeout=30)
    assert run.returncode not in (0, None)


def test_what_a_killed_run_and_its_killed_janitor_left_goes_at_the_next_start(place):
    with subprocess.Popen([*COST, *LONG, "--form", "native"], env=environment(place), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as run:
        began(run, "in native")
        janitor, = (pid for pid, line in processes(str(place)).items() if "janitor.py" in line)
        for pid in (janitor, run.pid):
            os.kill(pid, signal.SIGKILL)
        run.communicate(timeout=30)
    old, = place.glob("emu-cost-*")
    record(place, kinds=["native"])
    assert not old.exists()


def test_the_directory_of_a_run_that_goes_on_is_left_alone(monkeypatch, place):
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    with Room() as first:
        with Room() as second:
            assert first.exists() and second.exists()
        assert first.exists() and not second.exists()


def test_a_form_that_is_killed_while_it_runs_is_shown_and_the_rest_runs(place):
    with subprocess.Popen([*COST, "--json", *LONG, "--form", "emu, bare guest"], env=environment(place),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        began(run, "cpu in emu, bare guest")
        for pid, line in processes(str(place)).items():
            if "emu.cost.guest" in line:
                os.kill(pid, signal.SIGKILL)
        out, _ = run.communicate(timeout=60)
    native, ours = json.loads(out)["forms"]
    assert (ours["cells"]["cpu"]["state"], ours["cells"]["cpu"]["why"]) == ("failed", "killed by SIGKILL")
    assert ours["cells"]["calls"]["state"] == native["cells"]["calls"]["state"] == "ok"


def public(path):
    """Whether every user gets there."""
    return Path(path).exists() and all(parent.stat().st_mode & stat.S_IXOTH for parent in Path(path).resolve().parents)


@root
def test_without_root_rows_say_what_they_need():
    theirs = next((path for path in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}") if public(path)), None)
    if theirs is None or not public(forms.__file__):
        pytest.skip("other users cannot get at Python, or at this directory")
    beside = Path(tempfile.mkdtemp(prefix="of-nobody-", dir="/tmp"))
    beside.chmod(0o755)
    place = beside / "place"
    place.mkdir()
    place.chmod(0o777)
    try:
        subprocess.run([theirs, "-m", "venv", "--without-pip", beside / "venv"], check=True, timeout=60)
        (next((beside / "venv/lib").glob("*/site-packages")) / "ours.pth").write_text(
            "".join(f"import site; site.addsitedir({path!r})\n" for path in site.getsitepackages()))
        found = record(place, command=["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"],
                       python=str(beside / "venv/bin/python"), HOME="/nonexistent",
                       kinds=["runc", "namespaces", "KVM", "CPython"])
        assert list(place.iterdir()) == []
    finally:
        shutil.rmtree(beside)
    assert found["native"]["cells"]["spawn"]["state"] == found["CPython"]["cells"]["spawn"]["state"] == "ok"
    for name in ("runc", "namespaces"):                 # user name spaces may be allowed or not
        assert "root" in found[name].get("missing", "") or "apt-get" in found[name].get("missing", "") or \
            found[name]["cells"]["spawn"]["state"] == "ok"
    if Path("/dev/kvm").exists() and not Path("/dev/kvm").stat().st_mode & stat.S_IROTH:
        assert found["KVM"]["missing"] == "/dev/kvm: Permission denied; root, or the group kvm, would provide it"


@root
def test_without_cgroups_a_container_says_so(place):
    found = record(place, kinds=["runc"], before="mount -t tmpfs none /sys/fs/cgroup")
    assert found["native"]["cells"]["spawn"]["state"] == "ok"
    assert "cgroup" in found["runc"].get("missing", "") + found["runc"]["note"] or "apt-get" in found["runc"]["missing"]


def test_what_is_not_installed_is_named_with_its_package(place):
    names = {"QEMU TCG": "qemu-system-x86", "JVM -Xint": "default-jre-headless", "Ruby YARV": "ruby"}
    found = record(place, kinds=list(names), PATH="/nonexistent")
    for name, package in names.items():
        assert re.search(f"apt-get install {package}$", found[name]["missing"])
    assert found["native"]["cells"]["spawn"]["state"] == "ok"


DEVICES = """\
mkdir -p {0}/dev; for d in null zero urandom; do touch {0}/dev/$d; mount --bind /dev/$d {0}/dev/$d; done
{1}
mount --rbind {0}/dev /dev"""


@root
@pytest.mark.parametrize(("device", "why"), [
    ("", "/dev/kvm is not here"), ("mkdir {0}/dev/kvm", "/dev/kvm: Is a directory"),
    ("touch {0}/dev/kvm; mount --bind /dev/null {0}/dev/kvm", "/dev/kvm: Inappropriate ioctl for device")])
def test_a_kvm_that_is_not_there_or_refuses(device, why, place):
    beside = place.parent
    found = record(place, kinds=["KVM"], before=DEVICES.format(beside, device.format(beside)))
    assert found["KVM"]["missing"].startswith(why)
    assert found["native"]["cells"]["spawn"]["state"] == "ok"


@root
def test_a_full_disk_is_told_by_every_row(place):
    small = place.parent / "small"
    small.mkdir()
    found = record(place, kinds=["runc", "namespaces", "emu, bare guest", "QEMU TCG", "JVM -Xint", "CPython"],
                   command=["env", f"TMPDIR={small}"], names=("cpu", "io"),
                   before=f"mount -t tmpfs -o size=64k none {small}; head -c 61440 /dev/zero > {small}/all")
    for name, form in found.items():
        said = form.get("missing", "") + "".join(cell.get("why", "") for cell in form.get("cells", {}).values())
        assert "No space left" in said or "apt-get" in said, name
    assert found["CPython"]["cells"]["cpu"]["state"] == "ok"         # it writes nothing


@root
def test_a_disk_that_gets_full_while_a_form_works(place):
    small = place.parent / "small"
    small.mkdir()
    found = record(place, kinds=["CPython"], command=["env", f"TMPDIR={small}"], names=("cpu", "io"),
                   before=f"mount -t tmpfs -o size=1m none {small}")
    for form in found.values():
        assert form["cells"]["cpu"]["state"] == "ok"
        assert (form["cells"]["io"]["state"], "No space left" in form["cells"]["io"]["why"]) == ("failed", True)


def test_without_a_place_for_files_there_is_one_line(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    assert cli.main(["cost", "--rounds", "1"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "TMPDIR" in said


def test_what_has_no_end_is_waited_for_once(place, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(place))

    class Endless(Native):
        name = "endless"

        def run(self, workload, rounds):
            return forms.once(["sleep", "60"], 0.3)

    start = time.monotonic()
    record = measure.measure([Native, Endless], ["cpu", "calls", "float"], 3)
    assert time.monotonic() - start < 30
    cells = record["forms"][1]["cells"]
    assert cells["cpu"]["why"] == "no end after 0 s"
    assert cells["calls"]["why"] == cells["float"]["why"] == "not tried: cpu had no end after 0 s"
    assert all(cell["state"] == "ok" for cell in record["forms"][0]["cells"].values())


def test_every_form_of_the_list_has_a_row(place):
    found = record(place, kinds=[kind.name for kind in FORMS], PATH="/nonexistent", HOME="/nonexistent",
                   EMU_CACHE=str(place.parent / "no cache"))
    assert list(found) == [kind.name for kind in FORMS]
    for form in found.values():
        assert form.get("missing") or form["cells"]["spawn"]["state"] == "ok", form
