"""The tables by which a newcomer finds his way in the engine name every file and every technique."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from emu.cpu import unicorn
from emu.cpu.unicorn import fast

HERE = Path(unicorn.__file__).parent


@pytest.mark.parametrize("room", [HERE, HERE / "fast"], ids=["unicorn", "fast"])
def test_every_file_is_in_the_table_of_its_room(room):
    text = (unicorn if room == HERE else fast).__doc__ or ""
    named = set(re.findall(r"\b(\w+)\.py\b", text))
    files = {path.stem for path in room.glob("*.py")} - {"__init__"}
    assert files <= named
    assert not {name for name in named if not any((folder / f"{name}.py").exists() for folder in (HERE, HERE / "fast"))}


def test_every_technique_has_a_row_with_its_gain_and_its_loss():
    rows = dict(re.findall(r"^\| (\w+) +\| (.*) \|?", fast.__doc__ or "", re.MULTILINE))
    del rows["name"]
    assert set(rows) == set(fast.NAMES)
    for row in rows.values():
        assert len(row.split(" | ")) >= 3 and re.search(r"\d", row)


@pytest.mark.parametrize("path", sorted(HERE.rglob("*.py")), ids=lambda path: str(path.relative_to(HERE)))
def test_no_file_is_over_300_lines(path):
    assert len(path.read_text().splitlines()) <= 300
