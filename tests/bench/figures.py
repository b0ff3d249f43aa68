"""What every bench module shares: percentiles, interleaved rounds, a table, JSON rows."""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def interleaved(ways: dict[str, Callable[[], list[float]]], rounds: int) -> dict[str, list[list[float]]]:
    """Each way once per round, in turn, so that a noisy minute hits all of them."""
    runs: dict[str, list[list[float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            runs[name].append(way())
    return runs


def latency_rows(bench: str, runs: dict[str, list[list[float]]], baseline: str) -> list[Row]:
    """Medians over rounds of p50 and p99 in microseconds, spread of p50, ratio to the baseline round by round."""
    rows = []
    for name, rounds in runs.items():
        p50 = [percentile(each, 0.5) * 1e6 for each in rounds]
        p99 = [percentile(each, 0.99) * 1e6 for each in rounds]
        base = [percentile(each, 0.5) * 1e6 for each in runs[baseline]]
        rows.append(
            {
                "bench": bench,
                "way": name,
                "p50_us": round(statistics.median(p50), 1),
                "p50_min_us": round(min(p50), 1),
                "p50_max_us": round(max(p50), 1),
                "p99_us": round(statistics.median(p99), 1),
                "ratio_p50": round(statistics.median(mine / other for mine, other in zip(p50, base, strict=True)), 3),
                "baseline": baseline,
                "rounds": len(rounds),
            }
        )
    return rows


def show(rows: list[Row]) -> None:
    """A plain table; columns are the union of the rows' keys, in first-seen order."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[str(row.get(column, "")) for column in columns] for row in rows]
    widths = [max(len(column), *(len(line[at]) for line in cells)) for at, column in enumerate(columns)]
    for line in [columns, *cells]:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    return parser.parse_args(argv)


def finish(rows: list[Row], options: argparse.Namespace) -> list[Row]:
    show(rows)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return rows
