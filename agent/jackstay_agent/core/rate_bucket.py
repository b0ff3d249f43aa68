"""A counter that decays evenly (GCRA; Kraken's counters): ``limit`` at most, empty again after ``per_s`` seconds."""

from __future__ import annotations

from math import inf
from typing import Any

from .rate_rule import TINY, BudgetRule, row_of


class Bucket:
    __slots__ = ("_at", "_level", "rule")

    def __init__(self, rule: BudgetRule) -> None:
        self.rule = rule
        self._level = 0.0
        self._at = -inf

    def _advance(self, now: float) -> None:
        if now > self._at:
            if self._level:
                self._level = max(0.0, self._level - (now - self._at) * self.rule.limit / self.rule.per_s)
            self._at = now

    def fits_at(self, now: float, weight: float, ahead: float) -> float:
        self._advance(now)
        usable = self.rule.usable + TINY
        missing = self._level + weight + ahead - usable
        if missing <= 0.0:
            return now
        # A microsecond more, or rounding would have the caller ask again at once.
        return inf if weight > usable else now + missing * self.rule.per_s / self.rule.limit + 1e-6

    def take_if(self, now: float, weight: float, ahead: float) -> float:
        at = self.fits_at(now, weight, ahead)
        if at <= now:
            self._level += weight
        return at

    def take(self, now: float, weight: float) -> bool:
        self._advance(now)
        self._level += weight
        return self._level > self.rule.limit + TINY

    def give_back(self, now: float, taken_at: float, weight: float) -> None:
        self._advance(now)
        self._level = max(0.0, self._level - weight)

    def correct(self, now: float, used: float, in_flight: float | None) -> None:
        self._advance(now)
        if used > self._level:
            self._level = used
        elif in_flight is not None:
            self._level = min(self._level, used + in_flight)

    def used(self, now: float) -> float:
        self._advance(now)
        return self._level

    def dump(self, now: float) -> list[Any]:
        return [[0, self.used(now)]]

    def load(self, rows: list[Any], now: float) -> None:
        self._advance(now)
        for row in rows[:1]:
            self._level = row_of(row)[1]
