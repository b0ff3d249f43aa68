"""An agent's part of a budget that all agents of a host share: what the host's book has granted and not yet spent.

Refilled from outside (`budgets.py`, off the hot path); grants end by themselves, so a dead agent's part returns. What
became of each grant is kept until the book has been told (`take_finished`).
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Any

from .rate_rule import TINY, BudgetRule


class _Grant:
    __slots__ = ("ends_at", "left", "number", "weight")

    def __init__(self, weight: float, ends_at: float, number: int) -> None:
        self.weight = self.left = weight
        self.ends_at = ends_at
        self.number = number


class Leased:
    """Spends what was granted from outside; ``wanted`` says how much more would be spent now."""

    __slots__ = ("_finished", "_grants", "ask_at", "overdrawn", "poll_s", "rule", "spent", "wanted")

    def __init__(self, rule: BudgetRule, poll_s: float = 0.005) -> None:
        self.rule = rule
        self.poll_s = poll_s  # how soon a waiting request asks again; the book answers within a millisecond or two
        self.ask_at = 0.0  # before this instant the book has nothing more
        self._grants: deque[_Grant] = deque()
        self._finished: list[tuple[int, float]] = []
        self.wanted = 0.0
        self.spent = 0.0  # out of grants, since the start
        self.overdrawn = 0.0  # spent by the de-risking lane without a grant, since the start

    def grant(self, weight: float, ends_at: float, number: int = 0) -> None:
        """The book granted ``weight``, to be spent before ``ends_at``."""
        self._grants.append(_Grant(weight, ends_at, number))
        self.wanted = 0.0

    def left(self, now: float) -> float:
        """What may be spent without asking anyone."""
        while self._grants and (now >= self._grants[0].ends_at or self._grants[0].left <= TINY):
            gone = self._grants.popleft()
            self._finished.append((gone.number, gone.weight - gone.left))
        return sum(grant.left for grant in self._grants if now < grant.ends_at)

    def take_finished(self, now: float, *, everything: bool = False) -> list[tuple[int, float]]:
        """(number, spent) of the grants that are spent or over since the last call; ``everything``: of all of them."""
        self.left(now if not everything else inf)
        finished, self._finished = self._finished, []
        return finished

    def fits_at(self, now: float, weight: float, ahead: float) -> float:
        if weight + ahead <= self.left(now) + TINY:
            return now
        if weight > self.rule.usable:
            return inf
        self.wanted = max(self.wanted, weight + ahead)
        return max(now, self.ask_at) + self.poll_s

    def take_if(self, now: float, weight: float, ahead: float) -> float:
        at = self.fits_at(now, weight, ahead)
        if at <= now:
            self.take(now, weight)
        return at

    def take(self, now: float, weight: float) -> bool:
        self.left(now)
        for grant in self._grants:
            if now < grant.ends_at:
                part = min(weight, grant.left)
                grant.left -= part
                self.spent += part
                weight -= part
        self.overdrawn += weight
        return weight > TINY

    def give_back(self, now: float, taken_at: float, weight: float) -> None:
        """Into the newest grant that still stands and has room for it; else it is lost, the careful side."""
        if self._grants and now < self._grants[-1].ends_at:
            part = min(weight, self._grants[-1].weight - self._grants[-1].left)
            self._grants[-1].left += part
            self.spent -= part

    def correct(self, now: float, used: float, in_flight: float | None) -> None:
        """The book of the host is corrected, not the share of one agent (budgets.py)."""

    def used(self, now: float) -> float:
        return self.spent + self.overdrawn

    def dump(self, now: float) -> list[Any]:
        return []

    def load(self, rows: list[Any], now: float) -> None:
        """Grants belong to a process; a new one asks for its own."""
