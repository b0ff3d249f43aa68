"""One scrape's rows, by metric; bounded, whatever the agent has met (DESIGN §3 rule 11)."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

from .table import METRICS
from .tally import Histogram

T = TypeVar("T")

ROWS_MAX = 1024  # of one metric: 64 upstreams of 3 breakers in 6 states are the most a sane agent shows
BOTS_MAX = 64
LABEL_CHARS_MAX = 100

Rows = list[tuple[tuple[str, ...], float | Histogram]]


class Picture:
    """``rows[metric]`` is a list of (label values, value)."""

    def __init__(self) -> None:
        self.rows: dict[str, Rows] = {}
        self.dropped = 0

    def put(self, metric: str, value: float | Histogram | None, *labels: object) -> None:
        """One row. None is no row; so is one past the bound, which is counted."""
        if value is None:
            return
        assert len(labels) == len(METRICS[metric].labels), f"{metric} has labels {METRICS[metric].labels}"
        rows = self.rows.setdefault(metric, [])
        if len(rows) >= ROWS_MAX:
            self.dropped += 1
            return
        rows.append((tuple(str(each)[:LABEL_CHARS_MAX] for each in labels), value))

    def at_most(self, bound: int, things: Collection[T]) -> list[T]:
        """The first of them; those past the bound are counted as left out."""
        self.dropped += max(0, len(things) - bound)
        return list(things)[:bound]

    def states(self, metric: str, state: str, known: tuple[str, ...], *labels: object) -> None:
        """A state as Prometheus wants it: a row for each that is known, 1 for the one that is."""
        for each in known if state in known else (*known, state):
            self.put(metric, 1.0 if each == state else 0.0, *labels, each)
