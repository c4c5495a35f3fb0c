"""What the README shows works as it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from emu.cli import options
from emu.script import parse

README = (Path(__file__).parent.parent / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = re.findall(r"^(?:sudo )?\.venv/bin/emu (.+?)(?: {2,}#.*)?$", README, re.MULTILINE)
SCRIPT, = re.findall(r"```\n(expect .*?)```", README, re.DOTALL)
OF_QEMU = README[README.index("| emu | QEMU |"):README.index("`serial_bytes`")]


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_of_the_library_runs(example):
    exec(compile(example, "README.md", "exec"), {})


def test_there_is_a_command_for_each_thing_to_do():
    assert {command.split()[0] for command in COMMANDS} >= {"boot", "trace", "profile", "cost"}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_one_that_is_understood(command):
    options.parser().parse_args(shlex.split(command))


def test_every_option_beside_qemus_is_one_of_emu_boot(capsys):
    named = {option for row in OF_QEMU.splitlines() for option in re.findall(r"`(--[a-z-]+)", row.split(" | ")[0])}
    with pytest.raises(SystemExit):
        options.parser().parse_args(["boot", "--help"])
    assert len(named) > 15 and named <= set(re.findall(r"--[a-z-]+", capsys.readouterr().out))


def test_the_script_is_one():
    assert [step.verb for step in parse(SCRIPT)] == ["expect", "send", "expect", "wait", "key", "screenshot", "quit"]


def test_the_links_into_the_repository_lead_somewhere():
    for target in re.findall(r"\]\(((?!https?:)[^)]+)\)", README):
        assert (Path(__file__).parent.parent / target).exists(), target
