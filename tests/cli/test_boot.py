"""emu boot: every way in which a run can end, and what the report says of it."""

from __future__ import annotations

import gc
import json
import subprocess
import sys

import pytest

from emu.cli import main
from emu.cli.session import Session
from emu.host import fetch
from tests import guests


def boot(*arguments):
    return main(["boot", "--serial", "none", *map(str, arguments)])


@pytest.fixture
def guest(tmp_path):
    return lambda name: guests.write(name, tmp_path)


def test_until_ends_with_0_as_soon_as_the_text_is_there(guest, capfd):
    assert main(["boot", guest("hello"), "--until", "wor"]) == 0
    out, err = capfd.readouterr()
    assert out == "hello, wor"
    assert err.startswith('emu: "wor" has appeared') and err.count("\n") == 1


@pytest.mark.parametrize("name, status, said", [
    ("exit5", 11, "the guest left with status 11"),
    ("exit200", 401 & 0xFF, "the guest left with status 401"),
    ("halt", 3, "halted for good at 0000:00007c02, with interrupts disabled"),
    ("sleep", 3, "with no timer armed and no input attached"),
    ("triple", 3, "the guest died: triple fault"),
    ("spin", 4, "out of time: --timeout 0.05"),
    ("flood", 4, "out of time"),
    ("reset", 4, "out of time"),
])
def test_an_end_has_its_status_and_one_line(name, status, said, guest, capfd):
    assert boot(guest(name), "--timeout", 0.05 if name != "reset" else 0.00001) == status
    out, err = capfd.readouterr()
    assert out == "" and said in err.splitlines()[0] and err.startswith("emu: ")
    assert err.count("\n") == 1 or name == "triple"               # of which there is more to say: tests/debug


def test_the_collector_leaves_alone_what_is_older_than_the_run_while_it_lasts(guest, monkeypatch):
    seen, run = [], Session.run
    monkeypatch.setattr(Session, "run", lambda session: (seen.append(gc.get_freeze_count()), run(session))[1])
    frozen = gc.get_freeze_count()
    gc.unfreeze()
    try:
        assert boot(guest("hello"), "--until", "wor") == 0
        assert seen[0] > 1000 and gc.get_freeze_count() == 0
    finally:
        if frozen:
            gc.freeze()


def test_until_is_met_on_the_screen_too(tmp_path, capfd):
    code = "mov ax, 0xB800; mov es, ax; mov dword ptr es:[0], 0x074B074F; again: jmp again"        # "OK"
    (tmp_path / "guest").write_bytes(guests.assemble(code, 0x7C00, 16))
    assert boot(tmp_path / "guest", "--until", "OK", "--timeout", 1) == 0
    assert capfd.readouterr().err.startswith('emu: "OK" has appeared')


def test_a_text_that_never_came_is_named_at_the_end(guest, capfd):
    assert boot(guest("hello"), "--until", "login:") == 3
    assert '"login:" has not appeared' in capfd.readouterr().err


def test_host_time_ends_a_guest_that_runs_where_no_memory_is(guest, capfd):
    assert boot(guest("nowhere"), "--host-timeout", 0.3) == 4
    assert "--host-timeout 0.3" in capfd.readouterr().err


def test_a_guest_that_resets_the_machine_starts_again_and_is_counted(guest, tmp_path):
    path = tmp_path / "report"
    boot(guest("reset"), "--timeout", 0.00001, "--report", path)
    assert json.loads(path.read_text())["resets"] > 10


def test_the_report_holds_what_the_run_did(guest, tmp_path):
    path = tmp_path / "report"
    assert boot("ticks", "--report", path) == 33
    report = json.loads(path.read_text())
    assert report["stop"] == "exit" and report["exit_code"] == report["guest_exit"] == 33
    assert report["interrupts"] == {"0": 50} and report["exceptions"] == {}
    assert 480_000_000 < report["guest_ns"] < 510_000_000
    assert report["blocks"] > 100 and report["port_reads"] > 0 and report["port_writes"] > 100
    assert len(report["serial_sha256"]) == len(report["state_sha256"]) == 64 and report["host_seconds"] > 0
    assert [p.name for p in tmp_path.iterdir()] == ["report"]            # nothing half written beside it


SCRIPT = 'expect "emu> "\nsend "ticks\\n"\nexpect "emu> "\nwait 0.25\nsend "exit 3\\n"\nwait 9\n'


def test_two_runs_are_the_same_run(tmp_path):
    script = tmp_path / "script"
    script.write_text(SCRIPT)
    reports = []
    for i in range(2):
        assert boot("--script", script, "--report", tmp_path / f"{i}") == 7
        report = json.loads((tmp_path / f"{i}").read_text())
        report.pop("host_seconds")
        reports.append(report)
    assert reports[0] == reports[1]


def test_a_script_that_is_done_ends_with_0(tmp_path, capfd):
    script = tmp_path / "script"
    script.write_text('expect "ticks: 20"\nquit\n')
    assert main(["boot", "ticks", "--script", str(script)]) == 0
    out, err = capfd.readouterr()
    assert out.endswith("ticks: 20") and err.startswith("emu: the script is done, after 0.")


@pytest.mark.parametrize("source, more, status, where", [
    ('expect "ticks: 30"\nexpect "nowhere"\n', (), 33, ':2: this step was not met: expect "nowhere"'),
    ("# wait\n\nwait 20  # long\n", ("--timeout", 0.1), 4, ":3: this step was not met: wait 20"),
])
def test_a_step_that_fails_is_named_with_the_last_lines(source, more, status, where, tmp_path, capfd):
    script = tmp_path / "script"
    script.write_text(source)
    assert boot("ticks", "--script", script, *more) == status
    err = capfd.readouterr().err
    assert f"emu: {script}{where}\n" in err
    assert "emu:   | ticks: " in err


def test_typed_input_from_a_pipe_reaches_the_guest():
    done = subprocess.run([sys.executable, "-m", "emu", "boot", "echo", "--timeout", "5"], input=b"good morning q",
                          capture_output=True, timeout=60, check=False)
    assert done.returncode == 33 and b"good morning" in done.stdout


def test_the_debug_console_goes_into_a_file(guest, tmp_path, capfd):
    for spec, path in ((tmp_path / "e9", tmp_path / "e9"), (f"file:{tmp_path}/qemu", tmp_path / "qemu")):
        assert main(["boot", guest("debug"), "--debugcon", str(spec)]) == 3
        assert path.read_bytes() == b"ac"
        assert capfd.readouterr().out == "b"


@pytest.mark.parametrize("serial, shown", [("stdio", "abc"), ("none", "ac")])
def test_the_debug_console_on_standard_output_is_in_order_with_the_serial_line(serial, shown, guest, capfd):
    assert main(["boot", guest("debug"), "--serial", serial, "--debugcon", "stdio"]) == 3
    assert capfd.readouterr().out == shown


def test_a_debug_console_that_cannot_be_opened_is_one_line(tmp_path, capfd):
    assert boot("--debugcon", tmp_path / "none" / "file") == 2
    err = capfd.readouterr().err
    assert err.startswith(f"emu: debug console {tmp_path}/none/file: No such file") and err.count("\n") == 1


def test_the_guest_types_into_a_file(guest, tmp_path):
    path = tmp_path / "console"
    assert main(["boot", guest("hello"), "--serial", f"file:{path}"]) == 3
    assert path.read_bytes() == b"hello, world\n"


@pytest.mark.parametrize("machine", ["pc", "tiny"])
def test_the_data_sheet_of_a_board_names_its_chips(machine, capfd):
    assert main(["datasheet", "--machine", machine]) == 0
    out = capfd.readouterr().out
    assert "16550A" in out or "UART16550" in out
    assert ("MC146818" in out) == (machine == "pc")


def test_images_lists_what_can_be_booted(capfd):
    assert main(["images"]) == 0
    out = capfd.readouterr().out
    assert "debian-amd64: " in out and "licence" in out and "our own kernels" in out and "default" in out


def test_verbose_shows_what_the_machine_noticed(guest, capfd):
    assert boot(guest("nowhere"), "-v", "--timeout", 0.00005) == 4
    assert "emu: note: read from memory 0xe0000, where nothing is\n" in capfd.readouterr().err


def test_tiny_boots_too(capfd):
    assert boot("hello", "--machine", "tiny", "--memory", "4M") == 33


def test_the_host_clock_can_be_the_guests(capfd):
    assert boot("hello", "--rtc", "host") == 33


@pytest.fixture
def image(guest, monkeypatch):
    """debian-i386 of the manifest, with another kernel in it."""
    path = guests.Path(guest("exit5"))
    value = fetch.Image("debian-i386", "flat", {"kernel": path}, "", 300 << 20, 96 << 20, "1", None)
    monkeypatch.setattr(fetch, "fetch", lambda name, progress=None: value)
    return value


def test_an_image_brings_its_memory_and_an_option_comes_before_it(image, tmp_path, capfd):
    for more, memory in (((), 300), (("--memory", "128M"), 128)):
        assert boot("debian-i386", "--report", tmp_path / "report", *more) == 11
        assert json.loads((tmp_path / "report").read_text())["memory"] == memory << 20
    assert "warning" not in capfd.readouterr().err


def test_too_little_memory_for_an_image_is_a_warning(image, capfd):
    assert boot("debian-i386", "--memory", "16M") == 11
    assert "warning: debian-i386 was never seen to boot with less than 96M" in capfd.readouterr().err


def test_a_name_is_the_image_and_a_path_the_file(image, guest, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    guests.Path(guest("halt")).rename("debian-i386")
    assert boot("debian-i386") == 11
    assert boot("./debian-i386") == 3


def test_options_replace_the_parts_of_an_image(image, guest):
    assert boot("debian-i386", "--kernel", guest("halt")) == 3
    assert boot("debian-i386", "--append", "quiet") == 2                # a flat binary takes none
