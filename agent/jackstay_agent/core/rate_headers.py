"""What a venue's headers say about its budgets, as corrections for the limiter.

Reads and doubts; decides nothing. A header that is no plain number is passed over.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite

from jackstay_protocols.errors import ValidationError

KINDS = ("used", "remaining")


@dataclass(frozen=True, slots=True)
class HeaderRule:
    """``header`` (lower case bytes) speaks about budget ``budget``: its use so far, or what remains of its limit."""

    header: bytes
    budget: str
    kind: str = "used"

    def __post_init__(self) -> None:
        if self.kind not in KINDS or self.header != self.header.lower() or not self.header:
            raise ValidationError(
                f"header rule {self.header!r} of kind {self.kind!r}; a lower-case name and one of {KINDS} are expected"
            )


class HeaderReader:
    """Finds the headers of a venue in an answer, in one pass."""

    __slots__ = ("_lengths", "_rules")

    def __init__(self, rules: Iterable[HeaderRule]) -> None:
        self._rules = {rule.header: rule for rule in rules}
        self._lengths = frozenset(len(name) for name in self._rules)  # spares lower() for most headers

    def read(self, headers: Iterable[tuple[bytes, bytes]], limits: dict[str, float]) -> list[tuple[str, float]]:
        """(budget, used) for each header that speaks; ``limits`` turns "remaining" into "used"."""
        found: list[tuple[str, float]] = []
        for name, value in headers:
            if len(name) not in self._lengths:
                continue
            rule = self._rules.get(name.lower())
            if rule is None:
                continue
            try:
                number = float(value)
            except ValueError:
                continue
            if not isfinite(number) or number < 0.0:
                continue
            if rule.kind == "used":
                found.append((rule.budget, number))
            elif rule.budget in limits:
                found.append((rule.budget, max(0.0, limits[rule.budget] - number)))
        return found
