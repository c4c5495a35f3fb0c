"""A trace as lines: one for each instruction, made once for each block, and one for each event, in between.

    ffffffff81000042  start_kernel+0x2      mov eax, dword ptr [rip + 0x10]
              -- 12.345678 ms  port write com1.THR <- 41
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import polars as pl

from emu.trace.code import ADDRESS, Block, disassemble
from emu.trace.select import Selection

Row = dict[str, Any]
EXCEPTIONS = {0: "#DE", 1: "#DB", 2: "NMI", 3: "#BP", 4: "#OF", 5: "#BR", 6: "#UD", 7: "#NM", 8: "#DF", 10: "#TS", 11: "#NP",
              12: "#SS", 13: "#GP", 14: "#PF", 16: "#MF", 17: "#AC", 18: "#MC", 19: "#XM"}
WITH_ERROR = 8, 10, 11, 12, 13, 14, 17
PORT = re.compile(r"\b(in|out|ins[bwd]|outs[bwd])$")
PORTS = "port read", "port write"
PLACE = 32                      # columns for a symbol
ASCII = {byte: chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}" for byte in range(256)} | {
    9: "\\t", 10: "\\n", 13: "\\r"}
Name = Callable[[int], str | None]


def no_name(address: int) -> str | None:
    """Without symbols."""
    return None


def said(row: Row) -> str:
    """An event in words, without its time."""
    kind, name, address, value = row["kind"], row["name"], row["address"], row["value"]
    by = f", by {row['rip']:x}" if row["rip"] else ""
    if kind == "exception":
        vector, at = row["vector"], f"at {row['cs']:04x}:{row['rip']:x}, CPL {row['cpl']}"
        error = f", error {row['error']:x}" if vector in WITH_ERROR else ""
        fault = f", address {address:x}" if vector == 14 else ""
        return f"exception {EXCEPTIONS.get(vector, f'{vector:#x}')} {at}{error}{fault}"
    if kind in ("interrupt", "software interrupt"):
        return f"{kind} {row['vector']:#x} at {row['cs']:04x}:{row['rip']:x}, CPL {row['cpl']}"
    if kind in ("load", "store"):
        return f"{kind} {row['size']} at {address:x}, {value:0{2 * row['size']}x}"
    if kind in ("control register", "msr"):
        return f"{name} <- {value:x}"
    if kind.endswith(" write") and kind != "disk write":
        return f"{kind} {name or f'{address:x}'} <- {value:0{2 * row['size']}x}{by}"
    if kind.endswith(" read") and kind != "disk read":
        return f"{kind} {name or f'{address:x}'} -> {value:0{2 * row['size']}x}{by}"
    if kind.startswith("disk "):
        return f"{kind} {name}" + (f", sector {address}, {value} bytes" if kind != "disk flush" else "")
    if kind == "stack":
        return f"stack pointer {address:x} -> {value:x}"
    if kind == "pin":
        return f"{name} {'rises' if value else 'falls'}"
    if kind == "console":
        return f'console "{"".join(ASCII[byte] for byte in value.to_bytes(row["size"], "little"))}"'
    return f"{kind} {name}".rstrip()


class Lines:
    """The lines of a selection, as text for people, or as JSON for programs."""

    def __init__(self, selection: Selection, name: Name = no_name, syntax: str = "intel", as_json: bool = False,
                 with_events: bool = True, with_accesses: bool = False) -> None:
        self.selection, self.name, self.syntax, self.json = selection, name, syntax, as_json
        self.with_events, self.with_accesses = with_events, with_accesses
        self._parts: dict[int, list[str]] = {}
        self._whole: list[str | None] = [None] * (max(selection.trace.code, default=-1) + 1)
        self._cut: dict[tuple[int, int], str] = {}
        self._ports: dict[int, list[tuple[int, int]]] = {}

    def _lines(self, block: Block) -> list[str]:
        """One text for each instruction, empty where it is not in the ranges."""
        lines = []
        for address, _, mnemonic, operands in disassemble(block, self.syntax):
            address &= ADDRESS
            if not self.selection.inside(address):
                lines.append("")
                continue
            text = f"{mnemonic} {operands}".rstrip()
            symbol = self.name(address)
            if self.json:
                row: Row = {"address": address, "text": text, "cpl": block.cpl}
                lines.append(json.dumps(row if symbol is None else {**row, "symbol": symbol}) + "\n")
            else:
                place = PLACE if self.name is not no_name else 0
                lines.append(f"{address:16x}  {symbol + ' ' if symbol else '':{place}}{text}\n")
        return lines

    def block(self, number: int, begun: int) -> str:
        """The first `begun` instructions of a block."""
        lines = self._parts.get(number)
        if lines is None:
            lines = self._parts[number] = self._lines(self.selection.trace.code[number])
            self._whole[number] = "".join(lines)
        whole = self._whole[number]
        assert whole is not None
        if begun >= len(lines):
            return whole
        text = self._cut.get((number, begun))
        if text is None:
            text = self._cut[number, begun] = "".join(lines[:begun])
        return text

    def event(self, row: Row) -> str:
        """An event's line."""
        if self.json:
            row = {key: value for key, value in row.items()
                   if key in ("time", "kind") or (value not in (0, "", None) and key not in ("nth", "of"))}
            return json.dumps(row) + "\n"
        if row["time"] is None:
            return f"          .. {said(row)}\n"
        return f"          -- {row['time'] / 1e6:.6f} ms  {said(row)}\n"

    def _by(self, row: Row, number: int, begun: int) -> Row:
        """An access to a port with the linear address of its instruction, if the block tells: by its only one, or by their
        order if each has made one access."""
        if number not in self._ports:
            told = enumerate(disassemble(self.selection.trace.code[number]))
            self._ports[number] = [(i, address & ADDRESS) for i, (address, _, name, _) in told if PORT.search(name)]
        ports = [address for i, address in self._ports[number] if i < begun]
        if len(ports) == row["of"]:
            return {**row, "rip": ports[row["nth"] - 1]}
        return {**row, "rip": ports[0]} if len(ports) == 1 else row

    def _events(self) -> pl.DataFrame:
        """Events, and accesses as if they were such, in order; `nth` and `of` count a block's accesses to ports."""
        events = self.selection.events if self.with_events else self.selection.events.clear()
        port = pl.col("kind").is_in(PORTS)
        events = events.with_columns(port.cum_sum().over("position").alias("nth"), port.sum().over("position").alias("of"))
        if self.with_accesses and len(accesses := self.selection.accesses):
            kind = pl.when(pl.col("write")).then(pl.lit("store")).otherwise(pl.lit("load")).alias("kind")
            told = accesses.select("position", kind, pl.lit("").alias("name"), "address", "size", "value")
            return pl.concat([told, events], how="diagonal").sort("position", maintain_order=True)
        return events

    def __iter__(self) -> Iterator[str]:
        """Large pieces of text."""
        selection = self.selection
        code, whole = selection.trace.instruction_counts, self._whole
        events = self._events()
        owners, told = events["position"].to_numpy().astype(np.int64) - 1, 0
        for positions, numbers, lengths in selection.runs():
            for number in np.unique(numbers).tolist():
                if whole[number] is None:
                    self.block(number, 1 << 30)
            texts: list[Any] = list(map(whole.__getitem__, numbers.tolist()))
            for index in np.flatnonzero(lengths < code[numbers]).tolist():
                texts[index] = self.block(int(numbers[index]), int(lengths[index]))
            until = int(np.searchsorted(owners, positions[-1], side="right"))
            rows = np.searchsorted(positions, owners[told:until], side="right") - 1
            before = []
            for index, row in zip(rows.tolist(), events[told:until].iter_rows(named=True), strict=True):
                if index < 0:
                    before.append(self.event(row))
                else:
                    if row["kind"] in PORTS:
                        row = self._by(row, int(numbers[index]), int(lengths[index]))
                    texts[index] += self.event(row)
            told = until
            yield "".join(before + texts)
        if told < len(events):
            yield "".join(self.event(row) for row in events[told:].iter_rows(named=True))


