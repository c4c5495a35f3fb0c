"""emu boot --trace: the options, what they make, and what goes wrong."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time

import pytest

from emu.boards.tiny import Tiny
from emu.cli import main
from emu.firmware import build
from emu.trace import sink
from emu.trace.reader import Trace
from emu.trace.recording import Recording


def emu(*arguments, **options):
    return subprocess.run([sys.executable, "-m", "emu", *map(str, arguments)], capture_output=True, text=True, timeout=120,
                          stdin=subprocess.DEVNULL, check=False, **options)


def report(tmp_path, *arguments):
    done = emu("boot", "ticks", "--report", tmp_path / "report.json", *arguments)
    return done, json.loads((tmp_path / "report.json").read_text())


def test_a_boot_is_recorded_and_its_report_is_that_of_an_unrecorded_one(tmp_path):
    _, plain = report(tmp_path)
    done, recorded = report(tmp_path, "--trace", tmp_path / "t", "--trace-level", "insns", "--trace-from", "ticks")
    assert done.returncode == 33 and recorded["state_sha256"] == plain["state_sha256"]
    assert {key: recorded[key] for key in ("guest_ns", "blocks", "port_reads", "interrupts", "serial_sha256")} == {
        key: plain[key] for key in ("guest_ns", "blocks", "port_reads", "interrupts", "serial_sha256")}
    trace = Trace(tmp_path / "t")
    assert trace.meta["complete"] and 0 < len(trace.blocks()) < recorded["blocks"] == trace.length


def test_a_flight_recorder_writes_when_time_runs_out_and_not_after_a_good_end(tmp_path):
    done = emu("boot", "ticks", "--flight", "1K", "--trace", tmp_path / "bad", "--timeout", "0.3")
    assert done.returncode == 4 and f"the last 1000 blocks are in {tmp_path / 'bad'}" in done.stderr
    assert 0 < len(Trace(tmp_path / "bad").blocks()) <= 1000
    assert emu("boot", "ticks", "--flight", "1K", "--trace", tmp_path / "good").returncode == 33
    assert not (tmp_path / "good").exists()


@pytest.mark.parametrize("arguments, said", [
    (["--trace-cpl", "3"], "--trace-cpl is of a trace: it needs --trace DIR"),
    (["--flight", "10"], "--flight is of a trace"),
    (["--trace-level", "insns"], "--trace-level is of a trace"),
    (["--trace", "x", "--flight", "10", "--trace-time", "1-2"], "--trace-time cannot be given with it"),
    (["--trace", "x", "--flight", "0"], "'0' is no number of blocks"),
    (["--trace", "x", "--trace-range", "20-10"], "the range ends before it begins"),
    (["--trace", "x", "--trace-range", "what?"], "is no range of addresses"),
    (["--trace", "x", "--trace-time", "2-1"], "the span ends before it begins"),
    (["--trace", "x", "--trace-time", "now"], "is no span of guest time"),
    (["--trace", "/proc/self/trace"], "/proc/self/trace: No such file or directory"),
])
def test_a_mistake_is_one_line(arguments, said, capsys):
    assert main(["boot", "ticks", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_a_file_is_no_directory_for_a_trace(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["boot", "ticks", "--trace", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err == f"emu: {tmp_path / 'file'}: a trace is a directory, and this is none\n"


@pytest.mark.parametrize("level", [[], ["--flight", "10"]])
def test_a_directory_has_one_recorder(level, tmp_path, capsys):
    path = tmp_path / "t"
    with Tiny() as m:
        m.load(build.kernel("ticks"))
        recording = Recording(m, path, flight=10)           # writes nothing until its end
        assert main(["boot", "ticks", "--trace", str(path), *level]) == 2
        assert capsys.readouterr().err == f"emu: {path}: another recorder writes into it\n"
        assert not list(path.iterdir())
        recording.stop(write=False)
    assert main(["boot", "ticks", "--trace", str(path), *level]) == 33


@pytest.mark.parametrize("text, said", [("ticks: 20", False), ("never shown", True)])
def test_a_window_that_never_opens_is_said(text, said, tmp_path, capsys):
    assert main(["boot", "ticks", "--trace", str(tmp_path / "t"), "--trace-from", text]) == 33
    warning = f"emu: warning: --trace {tmp_path / 't'}: nothing was recorded: its window never opened\n"
    assert (warning in capsys.readouterr().err) is said
    assert (len(Trace(tmp_path / "t").blocks()) == 0) is said
    assert main(["trace", "stats", str(tmp_path / "t")]) == 0
    out = capsys.readouterr().out
    assert ("\nevents\n" in out) is not said and (out.count("\n") == 1) is said


def test_a_directory_that_is_in_use_is_refused(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["boot", "ticks", "--trace", str(tmp_path)]) == 2
    assert "a trace needs a new or an empty directory" in capsys.readouterr().err


def test_a_disk_that_is_full_is_said_and_the_guest_goes_on(tmp_path, monkeypatch, capfd):
    def full(*arguments, **options):        # no file of the writer may grow
        return popen(*arguments, **options, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2500, 2500)))

    popen = subprocess.Popen
    monkeypatch.setattr(sink.subprocess, "Popen", full)
    assert main(["boot", "ticks", "--trace", str(tmp_path / "t")]) == 33
    out, error = capfd.readouterr()
    assert "ticks: done" in out and "the guest left with status 33" in error
    line, = (line for line in error.splitlines() if "can be read" in line)
    assert line == f"emu: --trace: {tmp_path / 't'}: File too large; what was recorded until then can be read"
    trace = Trace(tmp_path / "t")
    assert not trace.meta["complete"] and len(trace.events) == sum(p["rows"] for p in trace.parts if p["kind"] == "events")
    assert not list((tmp_path / "t").glob(".*"))


def test_an_idle_guest_has_handed_over_all_that_was_recorded_within_a_second(tmp_path):
    child = subprocess.Popen([sys.executable, "-m", "emu", "boot", "--realtime", "--trace", str(tmp_path / "t")],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        length, deadline = 0, time.monotonic() + 60
        while time.monotonic() < deadline and not length:
            time.sleep(0.2)
            if (tmp_path / "t" / "meta.json").exists():
                length = len(Trace(tmp_path / "t").blocks())
        assert length
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
