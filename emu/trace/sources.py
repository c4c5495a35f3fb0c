"""Source lines of addresses, from an ELF file's DWARF line tables."""

from __future__ import annotations

import bisect
import io
import os
import struct
from pathlib import Path
from typing import Any

from emu.trace.symbols import BadSymbols


class Sources:
    """Rows of line tables: an address is of the row before it, until a sequence ends."""

    def __init__(self, rows: list[tuple[int, str, int]] | None = None) -> None:
        """`rows` are (address, file, line); line 0 ends a sequence."""
        rows = sorted(dict.fromkeys(rows or ()), key=lambda row: (row[0], row[2] != 0))
        self._addresses = [row[0] for row in rows]
        self._rows = rows
        self.files: dict[str, set[int]] = {}
        for _, file, line in rows:
            if line:
                self.files.setdefault(file, set()).add(line)

    def __bool__(self) -> bool:
        return bool(self._rows)

    def at(self, address: int) -> tuple[str, int] | None:
        """(file, line) of an instruction."""
        index = bisect.bisect_right(self._addresses, address) - 1
        if index < 0 or not self._rows[index][2]:
            return None
        return self._rows[index][1:]


def read(path: str | os.PathLike[str]) -> Sources:
    """The line tables of a file; empty for one that has none.  Raises BadSymbols."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise BadSymbols(f"{path}: cannot be read: {error.strerror}") from None
    if data[:4] != b"\x7fELF":
        return Sources()
    from elftools.common.exceptions import DWARFError, ELFError
    from elftools.elf.elffile import ELFFile
    try:
        elf = ELFFile(io.BytesIO(data))
        return Sources([row for unit in elf.get_dwarf_info().iter_CUs() for row in _unit(elf.get_dwarf_info(), unit)]
                       if elf.has_dwarf_info() else [])
    except (ELFError, DWARFError, KeyError, IndexError, TypeError, ValueError, UnicodeError, struct.error) as error:
        raise BadSymbols(f"{path}: damaged line tables: {error}") from None


def _unit(dwarf: Any, unit: Any) -> list[tuple[int, str, int]]:
    program = dwarf.line_program_for_CU(unit)
    if program is None:
        return []
    directory = unit.get_top_DIE().attributes.get("DW_AT_comp_dir")
    names = _names(program.header, directory.value.decode(errors="replace") if directory else "")
    states = (entry.state for entry in program.get_entries() if entry.state is not None)
    return [(state.address, names.get(state.file, "?"), 0 if state.end_sequence else state.line) for state in states]


def _names(header: Any, directory: str) -> dict[int, str]:
    """File names by the numbers that rows have; from DWARF 5 on both count from 0, and the directory is an entry."""
    new = header["version"] >= 5
    folders = [folder.decode(errors="replace") for folder in header["include_directory"]]
    folders = folders if new else [directory, *folders]
    names = {}
    for number, entry in enumerate(header["file_entry"], 0 if new else 1):
        folder = folders[entry["dir_index"]] if entry["dir_index"] < len(folders) else ""
        names[number] = os.path.normpath(os.path.join(directory, folder, entry["name"].decode(errors="replace")))
    return names
