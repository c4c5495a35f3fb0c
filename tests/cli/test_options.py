"""Bad input: one line that says what and where, status 2, no traceback, and nothing has started."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

from emu.cli import main, options
from tests import guests


@pytest.fixture
def bad(tmp_path, capfd):
    """Runs a command line that must be refused; returns its one line."""
    def run(*arguments):
        assert main([str(argument) for argument in arguments]) == 2
        out, err = capfd.readouterr()
        assert out == "" and err.startswith("emu: ") and err.count("\n") == 1, err
        return err[5:]
    return run


@pytest.mark.parametrize("arguments, said", [
    ([], "COMMAND"),
    (["boil"], "invalid choice: 'boil'"),
    (["boot", "--colour", "red"], "--colour"),
    (["boot", "--mem", "16M"], "--mem"),                                # no abbreviations
    (["boot", "a", "b"], "b"),
    (["boot", ""], "IMAGE is empty"),
    (["boot", "windows"], "windows: no such file, and no image is called so"),
    (["boot", "./nothing"], "nothing: cannot read the kernel: No such file"),
    (["boot", "/"], "Is a directory"),
    (["boot", "--kernel", ""], "--kernel: the text is empty"),
    (["boot", "--kernel", "nothing"], "nothing: cannot read the kernel"),
    (["boot", "--kernel", "a\0b"], "kernel"),
    (["boot", "default", "--kernel", "x"], "both IMAGE and --kernel"),
    (["boot", "--initrd", "nothing"], "nothing: cannot read"),
    (["boot", "--memory", "lots"], "--memory: 'lots' is no size"),
    (["boot", "--memory", "0"], "--memory"),
    (["boot", "--memory", "-5M"], "--memory"),
    (["boot", "--memory", "1.3M"], "whole number of MiB"),
    (["boot", "--memory", "100T"], "more than this host has"),
    (["boot", "--memory", "99999999999999G"], "more than this host has"),
    (["boot", "--memory", "1M"], "memory"),
    (["boot", "--cpu", "z80"], "no CPU model named z80; there are"),
    (["boot", "--machine", "mac"], "'mac'"),
    (["boot", "--rtc", "noon"], "--rtc: 'noon' is no time"),
    (["boot", "--rtc", "0001-01-01T00:00:00"], "the year 1 "),
    (["boot", "--rtc", "9999-12-31T23:59:59-10:00"], "--rtc"),
    (["boot", "--rtc", "2026-01-01T00:00:00", "--machine", "tiny"], "no real-time clock"),
    (["boot", "--serial", "morse"], "no serial line 'morse'"),
    (["boot", "--serial", "file:"], "no serial line"),
    (["boot", "--serial", "file:/nowhere/at/all"], "/nowhere/at/all"),
    (["boot", "--serial", "tcp:host:port"], "tcp:HOST:PORT"),
    (["boot", "--serial", "none", "--serial", "stdio"], "given twice"),
    (["boot", "--until", ""], "--until: the text is empty"),
    (["boot", "--timeout", "soon"], "--timeout: 'soon'"),
    (["boot", "--timeout", "nan"], "--timeout"),
    (["boot", "--timeout", "-1"], "--timeout"),
    (["boot", "--host-timeout", "inf"], "--host-timeout"),
    (["boot", "--script", "nothing"], "nothing: cannot read the script"),
    (["boot", "--script", "/"], "Is a directory"),
    (["boot", "--report", "/nowhere/report"], "--report /nowhere/report: cannot be written"),
    (["boot", "--report", "/"], "--report /: cannot be written: Is a directory"),
    (["boot", "--save", "/proc/nothing"], "--save /proc/nothing: cannot be written"),
    (["boot", "--restore", "nothing"], "nothing: cannot read the snapshot"),
    (["boot", "--restore", "/"], "Is a directory"),
    (["boot", "--restore", "x", "hello"], "IMAGE cannot be given with it"),
    (["boot", "--restore", "x", "--append", ""], "--append cannot be given with it"),
    (["images", "fetch", "windows"], "no image is called 'windows'"),
    (["images", "burn"], "'burn'"),
    (["datasheet", "--machine", "mac"], "'mac'"),
])
def test_a_mistake_is_one_line(arguments, said, bad):
    assert said in bad(*arguments)


@pytest.mark.parametrize("option", ["--kernel", "--initrd", "--script", "--restore"])
@pytest.mark.parametrize("content", ["empty", "random", "text"])
def test_a_file_of_anything_is_refused_or_runs(option, content, tmp_path, capfd):
    path = tmp_path / "file"
    data = {"empty": b"", "random": random.Random(4).randbytes(700_000), "text": b"Dear Sir,\n" * 50}[content]
    path.write_bytes(data)
    status = main(["boot", "--serial", "none", option, str(path), "--timeout", "0.001"])
    err = capfd.readouterr().err
    assert err.startswith("emu: ") and err.count("\n") == 1
    if option == "--initrd":                            # anything can be a module of our own Multiboot kernel
        assert status == 4
    else:
        assert status == 2 and str(path) in err


def test_a_script_with_an_error_is_named_before_the_guest_starts(tmp_path, bad):
    path = tmp_path / "script"
    path.write_text('send "a"\nsleep 5\n')
    assert bad("boot", "hello", "--script", path).startswith(f"{path}:2: 'sleep' is no step")


def test_a_full_disk_at_the_end_is_said_and_is_no_success(tmp_path, capfd):
    guest = guests.write("hello", tmp_path)
    assert main(["boot", guest, "--serial", "none", "--until", "hello", "--report", "/dev/full"]) == 2
    assert "--report /dev/full: cannot be written: No space left" in capfd.readouterr().err


def test_an_older_report_stays_when_the_run_never_starts(tmp_path, bad):
    path = tmp_path / "report"
    path.write_text("older")
    bad("boot", "./nothing", "--report", path)
    assert path.read_text() == "older" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("given, blocks", [("1", 1), ("1000", 1000), ("12k", 12_000), ("5M", 5_000_000)])
def test_a_flight_recorder_keeps_so_many_blocks(given, blocks):
    assert options.parser().parse_args(["boot", "--trace", "t", "--flight", given]).flight == blocks


@pytest.mark.parametrize("command", [["--version"], ["--help"], ["boot", "--help"], ["images", "--help"]])
def test_help_is_no_mistake(command):
    done = subprocess.run([sys.executable, "-m", "emu", *command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and done.stdout.startswith(("emu 0", "usage: emu")) and done.stderr == ""
