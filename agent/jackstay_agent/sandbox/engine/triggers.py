"""Conditional orders waiting for a price: stop losses and take profits, fired by the last trade price.

A stop loss of a buyer (and a take profit of a seller) fires when the price rises to its stop price; the other two when
it falls to it. Which of them fires first on one price move: the lowest order id.
"""

from __future__ import annotations

from decimal import Decimal

from .model import Order, OrderRequest, Reject

RISING = frozenset({("BUY", "STOP_LOSS"), ("SELL", "TAKE_PROFIT")})
WORKING_TYPE = {
    "STOP_LOSS": "MARKET",
    "TAKE_PROFIT": "MARKET",
    "STOP_LOSS_LIMIT": "LIMIT",
    "TAKE_PROFIT_LIMIT": "LIMIT",
    "STOP": "LIMIT",
    "TAKE_PROFIT_MARKET": "MARKET",
    "STOP_MARKET": "MARKET",
}


def fires_rising(side: str, kind: str) -> bool:
    """Does this order wait for the price to rise to its stop price?"""
    family = "TAKE_PROFIT" if kind.startswith("TAKE_PROFIT") else "STOP_LOSS"
    return (side, family) in RISING


def check(request: OrderRequest, last_price: Decimal) -> None:
    """Reject("would_trigger") when the stop price is already reached."""
    if reached(request.side, request.type, request.stop_price, last_price):
        raise Reject("would_trigger", str(request.stop_price))


def reached(side: str, kind: str, stop_price: Decimal, last_price: Decimal) -> bool:
    return last_price >= stop_price if fires_rising(side, kind) else last_price <= stop_price


class Triggers:
    """Waiting orders of one symbol."""

    def __init__(self) -> None:
        self._waiting: dict[int, Order] = {}

    def add(self, order: Order) -> None:
        self._waiting[order.id] = order

    def remove(self, order: Order) -> None:
        self._waiting.pop(order.id, None)

    def next(self, last_price: Decimal) -> Order | None:
        """The first order (by id) this price fires; it no longer waits."""
        for order in self._waiting.values():
            if reached(order.side, order.type, order.stop_price, last_price):
                del self._waiting[order.id]
                return order
        return None

    def __len__(self) -> int:
        return len(self._waiting)
