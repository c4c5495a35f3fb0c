"""Who may import whom: section 1 of the plan of the house."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import emu

HOUSE = Path(emu.__file__).parent
MAY = {
    "host": "", "screen": "", "device": "", "clock": "", "engine": "", "x86": "", "assembler": "", "bounded": "",
    "bus": "device",
    "chips": "device bus",
    "machine": "bus clock engine device",
    "cpu": "engine x86 assembler",
    "loaders": "x86 engine machine bounded",
    "boards": "machine bus device chips host cpu loaders x86 engine screen",
    "datasheet": "device bus",
}
BASES = {"pci", "atadrive", "atasectors", "atapi"}     # what chips have in common, and no part by itself: no board has one
LIBRARIES = {"unicorn": "cpu", "keystone": "assembler"}
FILES = sorted(HOUSE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(HOUSE).with_suffix("").parts[0]


def imports(path: Path) -> Iterator[str]:
    """Every module that is imported anywhere in the file, by its full name."""
    package = ["emu", *path.relative_to(HOUSE).parent.parts]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[:len(package) - node.level + 1] if node.level else []
            yield from (".".join([*base, *filter(None, [node.module]), alias.name]) for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_a_file_imports_only_what_its_room_may(path):
    here = room(path)
    for name in imports(path):
        top, *rest = name.split(".")
        if top in LIBRARIES:
            assert here == LIBRARIES[top], f"only emu.{LIBRARIES[top]} imports {top}"
        if top == "emu" and rest and here in MAY:
            assert rest[0] in (here, *MAY[here].split()), f"emu.{here} may not import {name}"


@pytest.mark.parametrize("path", [f for f in FILES if room(f) == "chips"], ids=lambda path: path.stem)
def test_chips_never_import_each_other(path):
    for name in imports(path):
        if name.startswith("emu.chips.") and name.split(".")[2] not in BASES:
            module = HOUSE / "chips" / (name.split(".")[2] + ".py")
            assert "Device)" not in module.read_text(), f"{path.name} imports the chip in {module.name}"


@pytest.mark.parametrize("base", sorted(BASES))
def test_no_board_adds_what_is_only_a_base_of_chips(base):
    path = HOUSE / "chips" / (base + ".py")
    classes = {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)}
    for board in (HOUSE / "boards").glob("*.py"):
        for node in ast.walk(ast.parse(board.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, (ast.Name, ast.Attribute)):
                called = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
                added = {arg.id for arg in node.args if isinstance(arg, ast.Name)} if called == "add" else set()
                assert not classes & {called, *added}, board.name
