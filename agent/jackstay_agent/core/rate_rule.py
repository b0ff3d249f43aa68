"""What a venue allows per time, as a checked value, and how a budget's memory is read back from a file."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any

from jackstay_protocols.errors import ValidationError

from .bounds import LONGEST_S, check_choice, check_number

#: Float noise of sums; weights are whole numbers or simple fractions.
TINY = 1e-9


@dataclass(frozen=True, slots=True)
class BudgetRule:
    """What a venue allows: ``limit`` weight per ``per_s`` seconds; ``reserved`` is the share kept for de-risking."""

    name: str
    limit: float
    per_s: float
    kind: str = "window"
    reserved: float = 0.1

    def __post_init__(self) -> None:
        own = f"BudgetRule {self.name}"
        check_number(own, "limit", self.limit, 0.0, 1e9, above_low=True)
        check_number(own, "per_s", self.per_s, 0.0, LONGEST_S, above_low=True)
        check_choice(own, "kind", self.kind, ("window", "bucket", "leased"))
        check_number(own, "reserved", self.reserved, 0.0, 0.9)

    @property
    def usable(self) -> float:
        """What all lanes but the de-risking one may use together."""
        return self.limit * (1.0 - self.reserved)


def row_of(row: Any) -> tuple[float, float]:
    ok = isinstance(row, list | tuple) and len(row) == 2 and all(isinstance(n, int | float) and n >= 0 for n in row)
    if not ok or not all(isfinite(n) and n <= 1e12 for n in row):
        raise ValidationError(f"budget row is {row!r}; [age, weight] of two finite numbers from zero is expected")
    return row[0], row[1]
