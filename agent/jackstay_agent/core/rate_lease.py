"""An agent's part of a budget that all agents of a host share: what the host's book has granted and not yet spent.

Refilled from outside (`budgets.py`, off the hot path); grants end by themselves, so a dead agent's part returns.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Any

from .rate_rule import TINY, BudgetRule


class Leased:
    """Spends what was granted from outside; ``wanted`` says how much more would be spent now."""

    __slots__ = ("_grants", "overdrawn", "poll_s", "rule", "spent", "wanted")

    def __init__(self, rule: BudgetRule, poll_s: float = 0.02) -> None:
        self.rule = rule
        self.poll_s = poll_s
        self._grants: deque[list[float]] = deque()  # [weight left, expires at]
        self.wanted = 0.0
        self.spent = 0.0  # out of grants, since the start
        self.overdrawn = 0.0  # spent by the de-risking lane without a grant; the shared book must hear of it

    def grant(self, weight: float, expires_at: float) -> None:
        self._grants.append([weight, expires_at])
        self.wanted = 0.0

    def left(self, now: float) -> float:
        """What may be spent without asking anyone."""
        while self._grants and (now >= self._grants[0][1] or self._grants[0][0] <= TINY):
            self._grants.popleft()
        return sum(weight for weight, expires_at in self._grants if now < expires_at)

    def fits_at(self, now: float, weight: float, ahead: float) -> float:
        if weight + ahead <= self.left(now) + TINY:
            return now
        if weight > self.rule.usable:
            return inf
        self.wanted = max(self.wanted, weight + ahead)
        return now + self.poll_s

    def take(self, now: float, weight: float) -> bool:
        self.left(now)
        for grant in self._grants:
            if now < grant[1]:
                part = min(weight, grant[0])
                grant[0] -= part
                self.spent += part
                weight -= part
        self.overdrawn += weight
        return weight > TINY

    def give_back(self, now: float, taken_at: float, weight: float) -> None:
        if self._grants and now < self._grants[-1][1]:
            self._grants[-1][0] += weight
            self.spent -= weight

    def correct(self, now: float, used: float, in_flight: float | None) -> None:
        """The book of the host is corrected, not the share of one agent (budgets.py)."""

    def used(self, now: float) -> float:
        return self.spent + self.overdrawn

    def dump(self, now: float) -> list[Any]:
        return []

    def load(self, rows: list[Any], now: float) -> None:
        """Grants belong to a process; a new one asks for its own."""
