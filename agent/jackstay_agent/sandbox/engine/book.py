"""One symbol's order book: price-time priority, exact decimals."""

from __future__ import annotations

from bisect import insort
from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal

ZERO = Decimal(0)
OPEN = frozenset({"NEW", "PARTIALLY_FILLED"})


@dataclass(slots=True)
class Order:
    """One order from acceptance to its end. Quantities in base units, prices in quote units per base unit."""

    id: int
    client_id: str
    owner: str
    symbol: str
    side: str  # BUY | SELL
    type: str
    tif: str
    price: Decimal
    quantity: Decimal
    created_ms: int
    filled: Decimal = ZERO
    cost: Decimal = ZERO
    status: str = "NEW"
    updated_ms: int = 0
    stop_price: Decimal = ZERO
    locked: Decimal = ZERO  # what of the owner's balance it still holds
    trades: list[Trade] = field(default_factory=list)

    @property
    def remaining(self) -> Decimal:
        return self.quantity - self.filled

    @property
    def is_open(self) -> bool:
        return self.status in OPEN


@dataclass(frozen=True, slots=True)
class Trade:
    """One fill of one order; the two sides of a match share ``id``."""

    id: int
    order_id: int
    owner: str
    symbol: str
    side: str
    price: Decimal
    quantity: Decimal
    fee: Decimal
    fee_asset: str
    maker: bool
    at_ms: int


class Book:
    """Resting orders of one symbol. Levels are kept sorted; within a level the oldest stands first."""

    def __init__(self) -> None:
        self._levels: dict[str, dict[Decimal, deque[Order]]] = {"BUY": {}, "SELL": {}}
        self._prices: dict[str, list[Decimal]] = {"BUY": [], "SELL": []}  # ascending
        self.changed: set[tuple[str, Decimal]] = set()  # levels touched since the last depth update

    def best(self, side: str) -> Decimal | None:
        prices = self._prices[side]
        if not prices:
            return None
        return prices[-1] if side == "BUY" else prices[0]

    def crosses(self, taker_side: str, limit: Decimal | None) -> bool:
        """Would a taker of this side and limit (None: any price) meet a resting order?"""
        best = self.best("SELL" if taker_side == "BUY" else "BUY")
        if best is None:
            return False
        if limit is None:
            return True
        return best <= limit if taker_side == "BUY" else best >= limit

    def front(self, side: str) -> Order | None:
        """The resting order that trades next on this side."""
        best = self.best(side)
        return None if best is None else self._levels[side][best][0]

    def add(self, order: Order) -> None:
        level = self._levels[order.side].get(order.price)
        if level is None:
            level = self._levels[order.side][order.price] = deque()
            insort(self._prices[order.side], order.price)
        level.append(order)
        self.changed.add((order.side, order.price))

    def remove(self, order: Order) -> None:
        level = self._levels[order.side][order.price]
        level.remove(order)
        self.touched(order)
        if not level:
            del self._levels[order.side][order.price]
            self._prices[order.side].remove(order.price)

    def touched(self, order: Order) -> None:
        self.changed.add((order.side, order.price))

    def level(self, side: str, price: Decimal) -> Decimal:
        """Open quantity at a price."""
        return sum((order.remaining for order in self._levels[side].get(price, ())), ZERO)

    def depth(self, side: str, limit: int) -> list[tuple[Decimal, Decimal]]:
        """Best levels first."""
        prices = self._prices[side]
        ordered = reversed(prices) if side == "BUY" else iter(prices)
        return [(price, self.level(side, price)) for price, _ in zip(ordered, range(limit), strict=False)]

    def fillable(self, taker_side: str, limit: Decimal | None, wanted: Decimal) -> Decimal:
        """How much of ``wanted`` could trade at once (fill-or-kill looks before it leaps)."""
        side = "SELL" if taker_side == "BUY" else "BUY"
        total = ZERO
        for price, quantity in self.depth(side, len(self._prices[side])):
            if limit is not None and (price > limit if taker_side == "BUY" else price < limit):
                break
            total += quantity
            if total >= wanted:
                break
        return min(total, wanted)
