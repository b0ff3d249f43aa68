"""Request weights and order counts with Binance's real limits, headers and punishments.

6000 weight a minute per address, 100 orders per ten seconds and 200000 a day per account (spot limits of 2025).
Over the limit: 429 with Retry-After to the end of the window. Who goes on after that is banned: 418, two minutes,
doubling up to three days for repeat offenders (rest-api.md, "IP Limits").
"""

from __future__ import annotations

from dataclasses import dataclass

MINUTE_MS = 60_000
TEN_SECONDS_MS = 10_000
DAY_MS = 86_400_000
REFUSED_BEFORE_BAN = 10
BAN_FIRST_MS = 120_000
BAN_MAX_MS = 3 * DAY_MS


@dataclass(slots=True)
class Window:
    """A fixed window counter."""

    length_ms: int
    opened_at: int = 0
    used: int = 0

    def add(self, now: int, amount: int) -> int:
        opened_at = now - now % self.length_ms
        if opened_at != self.opened_at:
            self.opened_at, self.used = opened_at, 0
        self.used += amount
        return self.used


@dataclass(slots=True)
class Verdict:
    """Over a limit: `status` 429 or 418, and when to come back."""

    status: int
    retry_after_s: int
    banned_until: int = 0


class Limits:
    """One address's request weight and every account's order count."""

    def __init__(self, *, enforced: bool, weight_max: int = 6000, orders_10s_max: int = 100) -> None:
        self.enforced = enforced
        self.weight_max = weight_max
        self.orders_10s_max = orders_10s_max
        self._weight = Window(MINUTE_MS)
        self._orders: dict[str, tuple[Window, Window]] = {}
        self._refused = 0
        self._banned_until = 0
        self._next_ban_ms = BAN_FIRST_MS

    def reset(self) -> None:
        self.__init__(enforced=self.enforced, weight_max=self.weight_max, orders_10s_max=self.orders_10s_max)  # type: ignore[misc]

    def ban(self, now: int, duration_ms: int) -> None:
        self._banned_until = now + duration_ms

    def banned(self, now: int) -> bool:
        return now < self._banned_until

    def spend(self, now: int, weight: int) -> Verdict | None:
        """Count the request; a verdict when it must be refused."""
        if now < self._banned_until:
            return Verdict(418, _seconds(self._banned_until - now), self._banned_until)
        opened_at = self._weight.opened_at
        used = self._weight.add(now, weight)
        if self._weight.opened_at != opened_at:
            self._refused = 0
        if not self.enforced or used <= self.weight_max:
            return None
        self._refused += 1
        if self._refused > REFUSED_BEFORE_BAN:
            self.ban(now, self._next_ban_ms)
            self._next_ban_ms = min(self._next_ban_ms * 2, BAN_MAX_MS)
            self._refused = 0
            return Verdict(418, _seconds(self._banned_until - now), self._banned_until)
        return Verdict(429, _seconds(self._weight.opened_at + MINUTE_MS - now))

    def order(self, now: int, account: str) -> bool:
        """Count one order of the account; False when it is one too many."""
        short, day = self._orders.setdefault(account, (Window(TEN_SECONDS_MS), Window(DAY_MS)))
        day.add(now, 1)
        return short.add(now, 1) <= self.orders_10s_max or not self.enforced

    @property
    def weight_used(self) -> int:
        return self._weight.used

    def headers(self, account: str) -> list[tuple[str, str]]:
        used = str(self._weight.used)
        pairs = [("X-MBX-USED-WEIGHT", used), ("X-MBX-USED-WEIGHT-1M", used)]
        if account in self._orders:
            short, day = self._orders[account]
            pairs += [("X-MBX-ORDER-COUNT-10S", str(short.used)), ("X-MBX-ORDER-COUNT-1D", str(day.used))]
        return pairs


def _seconds(milliseconds: int) -> int:
    """Whole seconds, rounded up: who waits that long is not early."""
    return -(-milliseconds // 1000)
