"""The arithmetic: medians, ratios pair by pair, the record (JSON), the table (Markdown), and the bounds that it must keep."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.bench.catalog import ALLOWANCE, ALONE, BOOT_MEMORY, OURS, QEMU, ROWS, UNICORN, Row

FORMAT = 1
FLOOR_RATIO, IRQ_RATE = 1.15, 200_000           # issue 2, "Speed"; its ratios to QEMU are those of issue 3 or higher
LOAD_RATIO = 1.05                               # issue 3: timer interrupts at 1 kHz, over the load alone
NOISY = 1.25                    # the slowest calibration over the fastest, from which on a row is marked


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Median and extremes, with the values."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values), "values": list(values)}


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    """Ours over theirs, round by round: what disturbs a round disturbs both."""
    return spread([a / b for a, b in zip(ours, theirs, strict=True)])


def entry(row: Row, seconds: Mapping[str, Sequence[float]], calibration: Sequence[float],
          peaks: Mapping[str, Sequence[int]] | None = None) -> dict[str, Any]:
    """One row of the record.  `seconds`: engine -> CPU seconds of each round; ours is there, the others as measured."""
    made: dict[str, Any] = {
        "name": row.name, "what": row.what,
        "seconds": {engine: spread(values) for engine, values in seconds.items()},
        "ratio": {engine: ratios(seconds[OURS], values) for engine, values in seconds.items() if engine != OURS},
        "calibration": spread(calibration),
    }
    if row.interrupts:
        made["rate"] = spread([row.interrupts / value for value in seconds[OURS]])
    if peaks:
        made["peak"] = {engine: max(values) for engine, values in peaks.items()}
    return made


# -- the table

def table(record: Mapping[str, Any]) -> str:
    """The record as Markdown."""
    lines = ["| workload | emu, s | of QEMU TCG | of Unicorn's best | |", "| --- | ---: | ---: | ---: | --- |"]
    for row in record["rows"]:
        notes = []
        if "rate" in row:
            notes.append(f"{row['rate']['median']:,.0f} interrupts a second")
        if ALONE in row["ratio"]:
            notes.append(f"{_ratio(row['ratio'][ALONE])} of the loop alone")
        if OURS in row.get("peak", {}):
            notes.append(f"peak {row['peak'][OURS] >> 20} MiB")
        if row["calibration"]["high"] > NOISY * row["calibration"]["low"]:
            notes.append(f"noisy (native loop +{row['calibration']['high'] / row['calibration']['low'] - 1:.0%})")
        cells = [row["what"], _seconds(row["seconds"][OURS]["median"]), *(
            _ratio(row["ratio"].get(engine)) for engine in (QEMU, UNICORN)), "; ".join(notes)]
        lines.append(f"| {' | '.join(cells)} |")
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    lines += ["", f"CPU seconds (user and system), median of {record['rounds']}; ratios are paired, with their extremes. "
                  f"{versions}.", f"`{record['command']}`"]
    return "\n".join(lines)


def _seconds(value: float) -> str:
    return f"{value:.3f}" if value < 1 else f"{value:.2f}"


def _ratio(ratio: Mapping[str, Any] | None) -> str:
    if ratio is None:
        return ""
    return f"{ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"


# -- the bounds

@dataclass(frozen=True)
class Verdict:
    """One bound, and what was measured; None when the record does not hold it."""

    name: str
    what: str
    bound: float
    value: float | None
    at_least: bool = False

    @property
    def kept(self) -> bool:
        if self.value is None:
            return False
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def __str__(self) -> str:
        value = "not measured" if self.value is None else f"{self.value:,.2f}"
        return (f"{'pass' if self.kept else 'FAIL'}  {self.name}: {self.what} {value}, "
                f"at {'least' if self.at_least else 'most'} {self.bound:,.2f}")


def check(record: Mapping[str, Any], names: Sequence[str] = ()) -> list[Verdict]:
    """Every bound for the rows `names` (none: all), from a record.  Raises ValueError if it is not one."""
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ValueError(f"not a record of format {FORMAT}")
    rows = {row["name"]: row for row in record["rows"]}
    return [verdict for row in ROWS if not names or row.name in names for verdict in _verdicts(row, rows.get(row.name, {}))]


def _verdicts(row: Row, measured: Mapping[str, Any]) -> Iterator[Verdict]:
    def ratio(engine: str) -> float | None:
        return measured.get("ratio", {}).get(engine, {}).get("median")

    if row.bound:
        yield Verdict(row.name, "ratio to QEMU", row.bound, ratio(QEMU))
    if row.image:
        peak = measured.get("peak", {}).get(OURS)
        yield Verdict(row.name, "peak memory in MiB", (BOOT_MEMORY + ALLOWANCE) / (1 << 20), peak and peak / (1 << 20))
    if UNICORN in row.engines:
        yield Verdict(row.name, "ratio to Unicorn's best", FLOOR_RATIO, ratio(UNICORN))
    if ALONE in row.engines:
        yield Verdict(row.name, "ratio to the load alone", LOAD_RATIO, ratio(ALONE))
    if row.name == "irq_rate":
        yield Verdict(row.name, "interrupts a second", IRQ_RATE, measured.get("rate", {}).get("median"), at_least=True)
