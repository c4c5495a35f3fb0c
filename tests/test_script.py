"""Scripts: their syntax, what is said of a wrong one, and the times at which their steps happen."""

from __future__ import annotations

import pytest

from emu import script
from emu.boards.tiny import Tiny
from emu.firmware import build
from emu.script import BadScript, Step
from tests import guests


def test_the_four_steps():
    assert script.parse('expect "# "\nsend "ls\\n" # look\n\n  # nothing\nwait 0.5\nquit\n') == [
        Step(1, 'expect "# "', "expect", b"# "),
        Step(2, 'send "ls\\n"', "send", b"ls\n"),
        Step(5, "wait 0.5", "wait", ns=500_000_000),
        Step(6, "quit", "quit")]


@pytest.mark.parametrize("quoted, text", [
    (r'"a\tb\r\n"', b"a\tb\r\n"),
    (r'"\x01x"', b"\x01x"),
    (r'"\xff"', b"\xff"),
    (r'"\e[A"', b"\x1b[A"),
    (r'"\u00e4 \\ \""', 'ä \\ "'.encode()),
    ('"grün # kein Kommentar"', "grün # kein Kommentar".encode()),
    (r'"\3\0"', b"\x03\0"),
])
def test_texts_have_pythons_escapes(quoted, text):
    assert script.parse(f"send {quoted}")[0].text == text


@pytest.mark.parametrize("line, said", [
    ("sleep 5", "'sleep' is no step"),
    ('"ls"', "is no step"),
    ("send", "send takes a text in double quotes, not nothing"),
    ("send ls", "send takes a text in double quotes, not ls"),
    ("expect 'login'", "expect takes a text in double quotes"),
    ('expect ""', "a text that is not empty"),
    ('expect "abc', "a quote is not closed"),
    ('expect "abc\\"', "a quote is not closed"),
    ('expect "a" "b"', 'followed by more than it takes: "b"'),
    ('send "\\q"', "no escape \\q"),
    ('send "\\x1"', "no escape \\x"),
    ('send "\\ud800"', "no escape \\ud800"),
    ('send "\\400"', "no escape \\400"),
    ("wait", "wait takes seconds"),
    ("wait soon", "not soon"),
    ("wait -1", "not -1"),
    ("wait nan", "not nan"),
    ("wait 1 2", "followed by more than it takes: 2"),
    ("quit now", "quit takes nothing, not now"),
])
def test_an_error_names_file_and_line(line, said):
    with pytest.raises(BadScript) as error:
        script.parse(f"# a script\n\n{line}\n", "boot.txt")
    assert str(error.value).startswith("boot.txt:3: ") and said in str(error.value) and "\n" not in str(error.value)


def test_a_script_without_steps_is_an_error():
    with pytest.raises(BadScript, match="no steps"):
        script.parse("# nothing\n")


def test_a_file_that_is_not_utf8_is_named_with_its_line(tmp_path):
    path = tmp_path / "script"
    path.write_bytes(b'quit\nsend "\xe4"\n')
    with pytest.raises(BadScript, match=r"script:2: not UTF-8; a byte can be written as \\xe4"):
        script.read(str(path))


@pytest.fixture
def machine():
    with Tiny() as machine:
        yield machine


def play(machine, source):
    """Play a script; the guest time at its end and the step it got to."""
    player = script.Player(machine, script.parse(source), machine.stop)
    machine.on_output = lambda data: player.output()
    player.start()
    machine.run(machine.now + 2_000_000_000)
    return machine.now, player.step


def test_expect_is_tested_as_bytes_are_written(machine):
    machine.load(guests.flat("flood"))
    play(machine, 'expect "xxxx"')
    assert machine.text == "xxxx"


def test_one_expect_begins_where_the_one_before_it_ended(machine):
    machine.load(guests.flat("flood"))
    play(machine, 'expect "xx"\nexpect "xx"\nexpect "x"')
    assert machine.text == "xxxxx"


def test_wait_is_guest_time_and_an_alarm_of_its_own(machine):
    machine.load(guests.flat("sleep"))
    now, step = play(machine, "wait 0.75\nwait 0.25")
    assert 1_000_000_000 <= now < 1_000_001_000 and step is None


def test_what_is_sent_arrives_at_the_rate_of_the_line(machine):
    machine.load(guests.flat("echo"))
    now, step = play(machine, 'send "0123456789"\nexpect "0123456789"')
    assert step is None
    assert 10 * 10 / 9600 * 0.7 < now / 1e9 < 12 * 10 / 9600            # LCR resets to 5 bits: 7 bits a character


def test_a_step_that_the_guest_never_meets_stays(machine):
    machine.load(build.kernel("hello"))
    assert play(machine, 'expect "hello"\nexpect "good-bye"\nquit')[1] == Step(2, 'expect "good-bye"', "expect", b"good-bye")


def test_the_last_lines_are_for_a_person():
    assert script.last_lines(b"") == []
    assert script.last_lines(b"a\r\n\x1b[1mbold\x1b[0m\x07\r\n\r\n") == ["a", "bold\N{REPLACEMENT CHARACTER}"]
    assert script.last_lines(b"".join(b"%d\n" % i for i in range(99))) == [str(i) for i in range(89, 99)]
