"""Kraken's counters: calls of a key, and orders of an account on a pair. Both fall with time; neither knows a window.

Source: docs.kraken.com, "Spot REST Rate Limits" (Starter: 15, decaying by 0.33 a second) and "Spot Trading Rate
Limits" (Starter: 60 a pair, decaying by 1 a second). A young order is dear to change and dearer to cancel; a cancel is
counted, never refused.
"""

from __future__ import annotations

from dataclasses import dataclass

CALLS_MAX = 15.0
CALLS_DECAY_PER_S = 0.33
ORDERS_MAX = 60.0
ORDERS_DECAY_PER_S = 1.0
# (younger than this many seconds, what it costs more)
CANCEL_COSTS = ((5, 8), (10, 6), (15, 5), (45, 4), (90, 2), (300, 1))
AMEND_COSTS = ((5, 3), (10, 2), (15, 1))
EDIT_COSTS = ((5, 6), (10, 5), (15, 4), (45, 2), (90, 1))


@dataclass(slots=True)
class Counter:
    """A number that goes up with use and down with time; `at` in milliseconds."""

    value: float = 0.0
    at: int = 0

    def now(self, now: int, decay_per_s: float) -> float:
        self.value = max(0.0, self.value - max(0, now - self.at) / 1000 * decay_per_s)
        self.at = now
        return self.value


class Counters:
    """Everybody's counters; they count always and refuse only when `enforced`."""

    def __init__(self, *, enforced: bool) -> None:
        self.enforced = enforced
        self._calls: dict[str, Counter] = {}
        self._orders: dict[tuple[str, str], Counter] = {}

    def call(self, key: str, now: int, cost: int) -> bool:
        """Count a call of the key; False when it is one too many (which is not counted)."""
        counter = self._calls.setdefault(key, Counter())
        if counter.now(now, CALLS_DECAY_PER_S) + cost > CALLS_MAX and self.enforced:
            return False
        counter.value += cost
        return True

    def order(self, account: str, symbol: str, now: int, cost: int) -> bool:
        """Count placing or changing an order on the pair; False when it is one too many."""
        counter = self._orders.setdefault((account, symbol), Counter())
        if counter.now(now, ORDERS_DECAY_PER_S) + cost > ORDERS_MAX and self.enforced:
            return False
        counter.value += cost
        return True

    def cancel(self, account: str, symbol: str, now: int, age_ms: int) -> None:
        counter = self._orders.setdefault((account, symbol), Counter())
        counter.now(now, ORDERS_DECAY_PER_S)
        counter.value += cost_of(CANCEL_COSTS, age_ms)

    def reset(self) -> None:
        self._calls.clear()
        self._orders.clear()


def cost_of(costs: tuple[tuple[int, int], ...], age_ms: int) -> int:
    return next((cost for younger_s, cost in costs if age_ms < younger_s * 1000), 0)
