"""Durations as people write them: 90s, 30m, 2h, 1d, or seconds."""

from __future__ import annotations

import re
from typing import Any

import click

UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


class Duration(click.ParamType):  # type: ignore[type-arg]
    """Becomes seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,3})?)\s*([smhd]?)", str(value).strip().lower())
        if found is None or float(found[1]) <= 0:
            self.fail(f"{value!r} is no duration; 90s, 30m, 2h or 1d is expected", param, ctx)
        return float(found[1]) * UNITS_S[found[2] or "s"]


def shown(seconds: float | None) -> str:
    """In two units at most: 1h 30m."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f}s"
    for size, unit, below, small in ((86_400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if seconds >= size:
            rest = int(seconds % size // below)
            return f"{int(seconds // size)}{unit}" + (f" {rest}{small}" if rest else "")
    raise AssertionError("the loop covers every size above")
