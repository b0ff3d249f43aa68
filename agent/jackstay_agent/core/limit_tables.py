"""What venues allow, as data: budgets, who shares them, which header corrects them, what a young order's cancel costs.

For writing profiles: a budget here is a `BudgetRule` that the limiter takes as it is. Facts as of 2026-07 from the
public documentation of each venue (Binance rest-api.md, Bybit v5 rate limit, OKX rate limits, Kraken REST and spot
trading limits, Deribit rate limits, BitMEX API connectors, Hyperliquid and Coinbase Exchange rate limits). Where an
account's tier decides, the lowest tier stands here: too small a budget is slow, too large a one is a ban.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Final

from jackstay_protocols.errors import ValidationError

from .rate_headers import HeaderRule
from .rate_rule import BudgetRule

WHOSE: Final = ("ip", "key", "key and endpoint", "key and symbol", "connection")


@dataclass(frozen=True, slots=True)
class Allowance:
    """One budget of a venue. ``whose``: who shares it. ``cost``: of an ordinary request, in the venue's own unit."""

    rule: BudgetRule
    whose: str
    cost: float = 1.0
    header: HeaderRule | None = None

    def __post_init__(self) -> None:
        if self.whose not in WHOSE:
            raise ValidationError(
                f"Allowance {self.rule.name} is {self.whose!r}'s; one of {', '.join(WHOSE)} is expected"
            )
        if not 0.0 < self.cost <= self.rule.usable:
            raise ValidationError(
                f"Allowance {self.rule.name} costs {self.cost:g} a request; above 0 and up to {self.rule.usable:g} is"
                " expected, or nothing could ever be asked"
            )


def _per(name: str, limit: float, per_s: float, whose: str, header: bytes = b"", kind: str = "used") -> Allowance:
    rule = BudgetRule(name, limit, per_s)
    return Allowance(rule, whose, header=HeaderRule(header, name, kind) if header else None)


def _counter(name: str, limit: float, decay_per_s: float, whose: str, cost: float = 1.0) -> Allowance:
    """A counter that empties evenly: full after ``limit`` at once, empty again after limit / decay seconds."""
    return Allowance(BudgetRule(name, limit, limit / decay_per_s, "bucket"), whose, cost)


LIMITS: Final[Mapping[str, tuple[Allowance, ...]]] = {
    "binance": (
        _per("weight_1m", 6000, 60, "ip", b"x-mbx-used-weight-1m"),
        # Not guaranteed on rejected orders, so it only ever corrects upward.
        _per("orders_10s", 100, 10, "key", b"x-mbx-order-count-10s"),
    ),
    "binance-usdm": (
        _per("weight_1m", 2400, 60, "ip", b"x-mbx-used-weight-1m"),
        _per("orders_10s", 300, 10, "key", b"x-mbx-order-count-10s"),
        _per("orders_1m", 1200, 60, "key", b"x-mbx-order-count-1m"),
    ),
    "bybit": (
        _per("ip_5s", 600, 5, "ip"),
        _per("orders_1s", 10, 1, "key and endpoint", b"x-bapi-limit-status", "remaining"),
        _per("connects_5m", 500, 300, "ip"),
    ),
    "okx": (
        # Place, amend and cancel each have their own; REST and WebSocket share them.
        _per("endpoint_2s", 60, 2, "key and endpoint"),
        _per("orders_2s", 1000, 2, "key"),
    ),
    "kraken": (
        _counter("calls", 15, 0.33, "key"),  # Starter; Intermediate and Pro: 20 at 0.5 and 1 per second
        _counter("engine", 60, 1.0, "key and symbol"),  # Starter; Intermediate 125 at 2.34, Pro 180 at 3.75
    ),
    # At zero credits the venue ends the session, and with cancel-on-disconnect its orders: a share is never spent.
    "deribit": (_counter("credits", 50_000, 10_000, "key", cost=500),),
    "bitmex": (_per("requests_1m", 60, 60, "key", b"x-ratelimit-remaining", "remaining"),),
    "hyperliquid": (
        _per("weight_1m", 1200, 60, "ip"),
        _per("ws_messages_1m", 2000, 60, "ip"),
    ),
    "coinbase-exchange": (
        _counter("ws_requests", 20, 8, "ip"),  # 8 a second, bursts of 20
        _per("ws_messages_1s", 100, 1, "connection"),
    ),
}

#: Things that exist at the same time, per address or key: connections, subscriptions, requests in flight.
AT_ONCE: Final[Mapping[str, Mapping[str, int]]] = {
    "deribit": {"connections": 32},
    "hyperliquid": {"connections": 100, "subscriptions": 1000, "posts_in_flight": 100},
}

#: Kraken's engine: what an action costs while its order is younger than so many seconds; 0 afterwards, adding is 1.
#: Young cancels are the dear ones, so a panic that cancels what was just placed must be budgeted for.
KRAKEN_AGE_COSTS: Final[Mapping[str, tuple[tuple[float, float], ...]]] = {
    "add": ((inf, 1),),
    "amend": ((5, 4), (10, 3), (15, 2), (inf, 1)),  # 1, and 3, 2, 1 more for a young order
    "edit": ((5, 7), (10, 6), (15, 5), (45, 3), (90, 2), (inf, 1)),  # 1, and 6, 5, 4, 2, 1 more
    "cancel": ((5, 8), (10, 6), (15, 5), (45, 4), (90, 2), (300, 1), (inf, 0)),
}


def age_cost(action: str, age_s: float) -> float:
    """What the action on an order of that age costs of Kraken's engine counter. A nonsense age is a young order's."""
    steps = KRAKEN_AGE_COSTS.get(action)
    if steps is None:
        raise ValidationError(
            f"action {action!r} has no cost; one of {', '.join(sorted(KRAKEN_AGE_COSTS))} is expected"
        )
    if not age_s >= 0.0:  # negative or NaN: a clock that cannot be trusted
        return steps[0][1]
    return next((cost for below_s, cost in steps if age_s < below_s), steps[-1][1])
