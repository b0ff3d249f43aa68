"""Request weights per address and order counts per account, as the venue counts them: fixed windows on the clock."""

from __future__ import annotations

import time
from dataclasses import dataclass

BAN_S = (120.0, 600.0, 3600.0)  # Binance bans from two minutes up (exchanges.md 3.2)


@dataclass(slots=True)
class Window:
    """A fixed window: ``limit`` per ``length_s`` seconds of the wall clock."""

    limit: int
    length_s: float
    start: float = 0.0
    used: int = 0

    def add(self, now: float, amount: int) -> int:
        start = now // self.length_s * self.length_s
        if start != self.start:
            self.start, self.used = start, 0
        self.used += amount
        return self.used

    def left_s(self, now: float) -> float:
        return self.start + self.length_s - now


class Limits:
    """What the venue allows. ``enforce`` False: counts and headers only."""

    def __init__(self, *, enforce: bool, weight_1m: int = 6000, orders_10s: int = 100) -> None:
        self.enforce = enforce
        self.weight_1m = weight_1m
        self.orders_10s = orders_10s
        self.clear()

    def clear(self) -> None:
        self._weight = Window(self.weight_1m, 60)
        self._orders: dict[str, Window] = {}
        self._refused_until = 0.0
        self._banned_until = 0.0
        self._bans = 0

    def charge(self, weight: int) -> tuple[int, int, float]:
        """(used weight, 0 or a status to refuse with, seconds until it makes sense to come back)."""
        now = time.time()
        used = self._weight.add(now, weight)
        if not self.enforce:
            return used, 0, 0.0
        if now < self._banned_until:
            return used, 418, self._banned_until - now
        if now < self._refused_until:
            # Told to stop and came again: a ban, longer each time.
            self._banned_until = now + BAN_S[min(self._bans, len(BAN_S) - 1)]
            self._bans += 1
            return used, 418, self._banned_until - now
        if used > self.weight_1m:
            self._refused_until = now + self._weight.left_s(now)
            return used, 429, self._weight.left_s(now)
        return used, 0, 0.0

    def refuse_for(self, seconds: float) -> None:
        """A rate limit by decree (fault rate_limit): further requests before its end are banned when enforced."""
        self._refused_until = time.time() + seconds

    def count_orders(self, owner: str, orders: int) -> tuple[int, bool]:
        """(orders counted in ten seconds, may this one pass?)."""
        window = self._orders.setdefault(owner, Window(self.orders_10s, 10))
        used = window.add(time.time(), orders)
        return used, not self.enforce or used <= self.orders_10s
