"""At most ``limit`` in *any* stretch of ``per_s`` seconds, wherever the venue's own window begins.

Kept in sixty steps: what was spent counts until its whole step has left the window, so at least 60/61 of the limit is
usable and no alignment with the venue's clock is needed.
"""

from __future__ import annotations

from math import floor, inf, nextafter
from typing import Any

from .rate_rule import TINY, BudgetRule, row_of

STEPS = 60


class Window:
    __slots__ = ("_epoch", "_ring", "_step_s", "_total", "_usable", "rule")

    def __init__(self, rule: BudgetRule) -> None:
        self.rule = rule
        self._step_s = rule.per_s / STEPS
        self._usable = rule.usable + TINY
        self._ring = [0.0] * (STEPS + 1)  # one more than the window: what began inside a step counts until it is over
        self._total = 0.0
        self._epoch: int | None = None

    def _advance(self, now: float) -> int:
        epoch, last = int(now // self._step_s), self._epoch
        if epoch == last:
            return epoch
        if last is None or epoch - last > STEPS:
            self._ring = [0.0] * (STEPS + 1)
            self._total = 0.0
        elif epoch < last:
            return last  # a caller a moment behind
        else:
            for number in range(last + 1, epoch + 1):
                place = number % (STEPS + 1)
                self._total -= self._ring[place]
                self._ring[place] = 0.0
        self._epoch = epoch
        return epoch

    def fits_at(self, now: float, weight: float, ahead: float) -> float:
        epoch = self._advance(now)
        missing = self._total + weight + ahead - self._usable
        if missing <= 0.0:
            return now
        if weight > self._usable:
            return inf
        for number in range(epoch - STEPS, epoch):
            missing -= self._ring[number % (STEPS + 1)]
            if missing <= 0.0:
                break
        else:
            number = epoch
        at = (number + STEPS + 1) * self._step_s
        while at // self._step_s <= number + STEPS:  # or rounding would wake the caller one step too early, for ever
            at = nextafter(at, inf)
        return at

    def take_if(self, now: float, weight: float, ahead: float) -> float:
        epoch = self._advance(now)
        if self._total + weight + ahead > self._usable:
            return self.fits_at(now, weight, ahead)
        self._ring[epoch % (STEPS + 1)] += weight
        self._total += weight
        return now

    def take(self, now: float, weight: float) -> bool:
        place = self._advance(now) % (STEPS + 1)  # first, for it may begin a new ring
        self._ring[place] += weight
        self._total += weight
        return self._total > self.rule.limit + TINY

    def give_back(self, now: float, taken_at: float, weight: float) -> None:
        self._take_out(self._advance(now), int(taken_at // self._step_s), weight)

    def _take_out(self, epoch: int, number: int, weight: float) -> float:
        """Remove up to ``weight`` from a step that still counts; says how much it was."""
        if not epoch - STEPS <= number <= epoch:
            return 0.0
        place = number % (STEPS + 1)
        gone = min(weight, self._ring[place])
        self._ring[place] -= gone
        self._total -= gone
        return gone

    def correct(self, now: float, used: float, in_flight: float | None) -> None:
        epoch = self._advance(now)
        if used > self._total:
            self.take(now, used - self._total)
        elif in_flight is not None:
            surplus = self._total - used - in_flight
            for number in range(epoch - STEPS, epoch + 1):
                if surplus <= 0.0:
                    break
                surplus -= self._take_out(epoch, number, surplus)

    def used(self, now: float) -> float:
        self._advance(now)
        return max(0.0, self._total)

    def dump(self, now: float) -> list[Any]:
        """Rows [age in steps, weight]."""
        epoch = self._advance(now)
        rows = [[age, self._ring[(epoch - age) % (STEPS + 1)]] for age in range(STEPS + 1)]
        return [row for row in rows if row[1] > 0.0]

    def load(self, rows: list[Any], now: float) -> None:
        epoch = self._advance(now)
        for row in rows:
            age, weight = row_of(row)
            if age == floor(age) and 0 <= age <= STEPS:
                self._ring[(epoch - int(age)) % (STEPS + 1)] += weight
                self._total += weight
