"""The run: the forms in turn, round after round; what was measured as one plain record (JSON)."""

from __future__ import annotations

import itertools
import math
import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from emu.cost.children import FormError, NoEnd, Sample
from emu.cost.forms import Form, Missing
from emu.cost.room import Room
from emu.cost.workloads import WORKLOADS, Workload, expected

FORMAT = 1
TRIES = 3                       # of a run that could not be timed
FULL = 5                        # rounds from which on what is slow is measured in each
SURE = 0.95

FAILURES = FormError, OSError, ValueError, subprocess.SubprocessError      # of a form; they are its own


def said(error: Exception) -> str:
    """In one line."""
    return " ".join(str((error.strerror if isinstance(error, OSError) else "") or error).split())


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Median, extremes, and half the width of the median's 95 % confidence interval (None of too few).

    The interval is between order statistics, which asks for no distribution: the median of all that there could be lies
    outside of the k-th from either end with the chance of fewer than k heads in so many throws, twice.
    """
    ordered, count = sorted(values), len(values)
    half = None
    if count >= FULL:
        chance = list(itertools.accumulate(2 * math.comb(count, heads) / 2 ** count for heads in range(count // 2)))
        left_out = max(sum(beyond <= 1 - SURE for beyond in chance) - 1, 0)
        half = (ordered[count - 1 - left_out] - ordered[left_out]) / 2
    return {"median": statistics.median(values), "low": min(values), "high": max(values), "half": half,
            "values": list(values)}


class Cell:
    """One workload in one form."""

    def __init__(self, form: Form, workload: Workload) -> None:
        self.form, self.workload = form, workload
        self.rounds = form.rounds(workload)
        self.worth = form.worth.get(workload.name, 1)
        self.samples: list[Sample] = []
        self.state = "ok"
        self.why = ""
        self.no_end = False
        if workload.name in form.lacks:
            self.state, self.why = "lacks", form.lacks[workload.name]

    def run(self) -> None:
        """Once more; a failure is kept, and is the last."""
        try:
            sample = self._timed()
            right = expected(self.workload.name, self.rounds)
            if sample.result != right:
                raise FormError(f"wrong result: {sample.result:#x}, not {right:#x}")
            self.samples.append(sample)
        except Missing as error:
            self.state, self.why = "lacks", str(error)
        except FAILURES as error:
            self.state, self.why, self.no_end = "failed", said(error), isinstance(error, NoEnd)

    def _timed(self) -> Sample:
        """A run whose beginning was seen before its end: a host that is busy enough shows both at once."""
        for _ in range(TRIES):
            sample = self.form.run(self.workload, self.rounds)
            if self.workload.name == "spawn" or (sample.cpu > 0 and sample.wall > 0):
                return sample
        raise FormError("its work ended before its beginning was seen: this host is too busy to time it")

    def record(self) -> dict[str, Any]:
        made: dict[str, Any] = {"state": self.state, "rounds": self.rounds * self.worth, "whole": self.workload.rounds}
        if self.why:
            made["why"] = self.why
        if self.state != "ok" or not self.samples:
            return made
        scale = self.workload.rounds / (self.rounds * self.worth)
        spawn = self.workload.name == "spawn"

        def times(name: str, factor: float) -> dict[str, Any]:
            return spread([getattr(sample, name) * factor for sample in self.samples])

        made["cpu"] = times("whole_cpu" if spawn else "cpu", scale)
        made["wall"] = times("whole_wall" if spawn else "wall", scale)
        made["start_cpu"], made["start_wall"] = times("start_cpu", 1), times("start_wall", 1)
        counted = [sample.exits for sample in self.samples if sample.exits is not None]
        if counted:
            made["exits"] = round(statistics.median(counted))      # of a run as it was: not all of them scale
        made["peak"] = max(sample.peak for sample in self.samples)
        return made


def measure(kinds: Sequence[type[Form]], names: Sequence[str], rounds: int,
            progress: Callable[[str, float | None], None] = lambda what, done: None, command: str = "") -> dict[str, Any]:
    """Every workload in every form, `rounds` times in turn.  Nothing is left behind, whatever happens.  Raises NoRoom."""
    room = Room()
    forms: list[Form] = []
    try:
        missing: dict[str, str] = {}
        for number, kind in enumerate(kinds):
            form = kind(room.directory / str(number))
            forms.append(form)
            progress(f"looking for {form.name}", 0)
            try:
                form.directory.mkdir()
                form.find()
            except (Missing, *FAILURES) as error:
                missing[form.name] = said(error)
        cells = [[Cell(form, WORKLOADS[name]) for name in names] for form in forms]
        total, done = rounds * len(forms) * len(names), 0
        for turn in range(rounds):
            for column, name in enumerate(names):
                for row, form in enumerate(forms):
                    cell = cells[row][column]
                    progress(f"round {turn + 1} of {rounds}: {name} in {form.name}", done / total)
                    done += 1
                    again = rounds >= FULL or not cell.samples or name not in form.slow
                    if again and cell.state == "ok" and form.name not in missing:
                        cell.run()
                        if cell.no_end:
                            give_up(cells[row], cell)
        return {
            "format": FORMAT, "command": command, "turns": rounds, "host": host(),
            "workloads": [{"name": name, "what": WORKLOADS[name].what, "unit": WORKLOADS[name].unit,
                           "rounds": WORKLOADS[name].rounds} for name in names],
            "forms": [{"name": form.name, "what": form.what, "note": form.note, **(
                {"missing": missing[form.name]} if form.name in missing else
                {"cells": {cell.workload.name: cell.record() for cell in cells[row]}})} for row, form in enumerate(forms)],
        }
    finally:
        for form in forms:
            form.end()
        for form in forms:
            form.close()
        room.close()


def give_up(cells: Sequence[Cell], because: Cell) -> None:
    """What has no end once is not waited for again: the run has a bound."""
    for cell in cells:
        if cell.state == "ok" and not cell.samples:
            cell.state, cell.why = "failed", f"not tried: {because.workload.name} had {because.why}"


def host() -> dict[str, Any]:
    """What the figures are of."""
    model = ""
    flags: set[str] = set()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                model = value.strip()
            elif key.strip() == "flags":
                flags |= set(value.split())
    except OSError:
        pass
    try:
        load = os.getloadavg()[0]
    except OSError:
        load = 0.0
    return {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release(), "machine": platform.machine(),
            "virtualization": sorted(flags & {"vmx", "svm", "hypervisor"}), "load": round(load, 2),
            "python": platform.python_version()}
