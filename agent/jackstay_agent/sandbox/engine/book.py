"""One symbol's resting orders in price-time priority. It knows who is first; it moves no money.

Levels live in a dict by price beside a sorted list of prices; a level keeps its orders in arrival order (a dict is
ordered), so that the best order and a cancel by id are both cheap.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from decimal import Decimal

from .model import ZERO, Order


class Level:
    """All orders resting at one price, oldest first."""

    __slots__ = ("orders", "price", "total")

    def __init__(self, price: Decimal) -> None:
        self.price = price
        self.total = ZERO
        self.orders: dict[int, Order] = {}


class BookSide:
    """Bids or asks. `sign` turns prices so that the best one sorts first on either side."""

    __slots__ = ("_keys", "_levels", "_sign")

    def __init__(self, side: str) -> None:
        self._sign = -1 if side == "BUY" else 1
        self._keys: list[Decimal] = []
        self._levels: dict[Decimal, Level] = {}

    def add(self, order: Order) -> Decimal:
        """Rest the order behind all others at its price; returns the level's new total."""
        key = order.price * self._sign
        level = self._levels.get(key)
        if level is None:
            level = self._levels[key] = Level(order.price)
            insort(self._keys, key)
        level.orders[order.id] = order
        level.total += order.remaining
        return level.total

    def remove(self, order: Order) -> Decimal:
        """Take the order off the book; returns what is left at its price."""
        return self._shrink(order, order.remaining, gone=True)

    def filled(self, order: Order, quantity: Decimal) -> Decimal:
        """The resting order, already updated, was filled by this much; returns what is left at its price."""
        return self._shrink(order, quantity, gone=not order.remaining)

    def shrunk(self, order: Order, quantity: Decimal) -> Decimal:
        """The resting order is about to become smaller by this much and keeps its place; returns the level's total."""
        return self._shrink(order, quantity, gone=False)

    def _shrink(self, order: Order, quantity: Decimal, *, gone: bool) -> Decimal:
        key = order.price * self._sign
        level = self._levels[key]
        if gone:
            del level.orders[order.id]
        level.total -= quantity
        if not level.orders:
            del self._levels[key]
            del self._keys[bisect_left(self._keys, key)]
            return ZERO
        return level.total

    def best(self) -> Level | None:
        return self._levels[self._keys[0]] if self._keys else None

    def levels(self) -> Iterator[Level]:
        """Levels from the best price outwards. Do not change the book while iterating."""
        return (self._levels[key] for key in self._keys)

    def depth(self, count: int) -> list[tuple[Decimal, Decimal]]:
        levels = self._levels
        return [(levels[key].price, levels[key].total) for key in self._keys[:count]]

    def __len__(self) -> int:
        return len(self._keys)


class Book:
    """Both sides of one symbol."""

    __slots__ = ("asks", "bids")

    def __init__(self) -> None:
        self.bids = BookSide("BUY")
        self.asks = BookSide("SELL")

    def side(self, side: str) -> BookSide:
        """The side on which an order of this side rests."""
        return self.bids if side == "BUY" else self.asks

    def opposite(self, side: str) -> BookSide:
        """The side an incoming order of this side trades against."""
        return self.asks if side == "BUY" else self.bids
